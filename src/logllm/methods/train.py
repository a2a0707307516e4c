"""Prepared data and a recipe become a run: check, begin, fit, judge, threshold, save, finish."""

import platform
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.errors import DataError, ModelError, RecipeError
from logllm.extras import versions
from logllm.methods.contract import Method, Needs, Workplace
from logllm.methods.frozen import frozen_thresholds
from logllm.methods.mixture import Mixture
from logllm.methods.prepared_part import Part
from logllm.methods.registry import make
from logllm.methods.session_ends import learnt_ends
from logllm.methods.target import OutOfReach, goal
from logllm.methods.translations import translations_of, with_copies
from logllm.methods.validation import judged
from logllm.metrics import Threshold
from logllm.progress import Report
from logllm.runs.manifest import (
    CHECKPOINTS,
    RECIPE,
    read_manifest,
    read_recipe,
    write_manifest,
    write_recipe,
)
from logllm.runs.promotion import check_own
from logllm.sessions.ends import Ends
from logllm.storage import MANIFEST, check_replaceable, flush, new_folder, sha256
from logllm.training.processes import together, writes

_SCRATCH = ".method.new"


@dataclass(frozen=True)
class Fitted:
    """A method that has learnt, and what the validation part says of it."""

    method: Method
    threshold: Threshold
    validation: dict[str, Any]
    """What a manifest says: `threshold`, `metrics`, `reliability`, and maybe `line_threshold`."""
    seconds: float
    """How long the fit took."""
    ends: Ends
    """How sessions begin and end."""
    missed: str = ""
    """Why the threshold does not reach the recipe's target; empty where it does, or where there is
    no target."""


# The library's front door: what, on what, where to, and ways to watch it
def train(  # noqa: PLR0913
    recipe: Recipe,
    data: Path,
    *,
    out: Path,
    resume: bool = False,
    force: bool = False,
    watch: Callable[[Any], None] | None = None,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Train a run of whatever method the recipe names.

    Args:
        recipe: the method and its settings.
        data: a folder that `prepare` wrote.
        out: the run's folder, new or, with `resume`, one whose training was cut off.
        resume: go on from the last checkpoint, where the method keeps some. On one CPU machine with
            the same thread count LogLLM's weights end the same, byte for byte, as without the
            interruption.
        force: replace a run that is there; it stays until the new one can begin.
        watch: told of each step of a method that takes steps.
        progress: told of fetches, conversions and the validation part's scoring.

    Returns:
        The run's manifest. Of several processes (`logllm.training.processes`) all learn, and the
        first writes: the others get the manifest that the run began with.

    Raises:
        DataError: the data are not prepared, lack the labels that the method learns from, or hold
            only one class where it learns from both.
        ModelError: weights are missing, a run exists already or is another one, or the disk is
            full.
        RecipeError: there is no such method, or the run to resume has another recipe.
        OutOfReach: no threshold reaches the recipe's target; the run is written all the same.
    """
    # Check: what a run can be refused for is found out while an older one is still in its place.
    prepared = Prepared.load(data)
    goal(prepared, recipe.target, split="validation")
    begun = _begun(out, recipe) if resume and (out / MANIFEST).exists() else None
    if begun is None:
        if not force and (out / MANIFEST).exists():
            read_manifest(out)  # raises where it is no run's
            remedy = "name a new folder, go on with --resume, or start over with --force"
            raise ModelError(f"{out} holds a run already: {remedy}")
        check_replaceable(out, force=force, kind="run")
        check_own(out)
    workplace = Workplace(folder=out, begun=begun or {}, report=progress, watch=watch)
    method = make(recipe.method, recipe, workplace=workplace)
    part = learnt_from(prepared, method)
    if method.resumes:
        method.check(part.sessions, part.messages, labels=part.labels, line_labels=part.line_labels)
    if recipe.train.languages:
        translations_of(prepared, recipe.train)  # raises where there are none
    manifest = _first_manifest(out, recipe, prepared=prepared, method=method)
    if begun is not None:
        _check_same(out, begun, fresh=manifest)
        manifest = begun

    # Begin, where a method goes on after interruptions: recipe and manifest are there before it
    # learns.
    if begun is None and method.resumes:
        manifest = _begin(out, recipe, manifest=manifest, force=force)

    # Fit, judge, choose the threshold; then save and finish: the manifest comes last.
    done = None
    if manifest["state"] != "done":
        done = fitted(method, prepared, part=part, recipe=recipe, workplace=workplace)
    if writes():
        _write(out, recipe, begun=manifest, done=done, force=force)
    _check_reached(out, done)
    return read_manifest(out) if writes() else manifest


def _begin(
    out: Path, recipe: Recipe, *, manifest: Mapping[str, Any], force: bool
) -> dict[str, Any]:
    """Make a run's folder; of several processes the first does, when all have made their checks.

    Returns:
        The manifest.
    """
    together()
    if writes():
        with new_folder(out, force=force, kind="run") as folder:
            write_recipe(folder, recipe)
            write_manifest(folder, manifest)
    together()
    return read_manifest(out)


def _write(
    out: Path,
    recipe: Recipe,
    *,
    begun: Mapping[str, Any],
    done: Fitted | None,
    force: bool,
) -> None:
    """Write what a method has learnt; for a run that was done before, write nothing.

    Raises:
        ModelError: the disk is full, or cannot be written.
    """
    if done is not None and done.method.resumes:
        _finish(out, done, begun=begun)
    elif done is not None:
        with new_folder(out, force=force, kind="run") as folder:
            write_recipe(folder, recipe)
            _finish(folder, done, begun=begun)
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)  # after a kill there may be some


def _check_reached(out: Path, done: Fitted | None) -> None:
    """Check that a run that has just been trained reaches its recipe's target.

    Raises:
        OutOfReach: it does not.
    """
    if done is not None and done.missed:
        trained = f"{out} is trained all the same, with a threshold of {done.threshold.value:.3g}"
        raise OutOfReach(f"{done.missed}; {trained}")


def checked(recipe: Recipe, data: Path) -> dict[str, Any]:
    """What there is to learn from, after all checks that `train` makes before it begins.

    Args:
        recipe: the method and its settings.
        data: a folder that `prepare` wrote.

    Returns:
        `method`, and of the train part `sessions`, `anomalous` (None where that is not known) and
        `distinct_messages`.

    Raises:
        DataError, ModelError, RecipeError: as `train`.
    """
    prepared = Prepared.load(data)
    method = make(recipe.method, recipe, workplace=Workplace())
    part = learnt_from(prepared, method)
    method.check(part.sessions, part.messages, labels=part.labels, line_labels=part.line_labels)
    if recipe.train.languages:
        translations_of(prepared, recipe.train)
    return {
        "method": recipe.method,
        "sessions": len(part.sessions),
        "anomalous": None if part.labels is None else int(part.labels.sum()),
        "distinct_messages": len(prepared.messages),
    }


def _begun(out: Path, recipe: Recipe) -> dict[str, Any]:
    """The manifest of a run that was begun here.

    Raises:
        ModelError: the folder is no run.
        RecipeError: it was begun with another recipe.
    """
    begun = read_manifest(out)
    if read_recipe(out) != recipe:
        what = f"{out} was begun with another recipe (see {out / RECIPE})"
        raise RecipeError(f"{what}: resume with the same one and the same --set")
    return begun


def learnt_from(prepared: Prepared, method: Method) -> Part:
    """The train part, with the labels that a method needs.

    Raises:
        DataError: it holds no sessions, or those labels are missing.
    """
    part = Part.of(prepared, "train")
    if method.needs is not Needs.NOTHING and part.labels is None:
        prepared.labelled("train")  # raises, and says what to do
    if method.needs is Needs.LINES and part.line_labels is None:
        raise DataError("labels are of sessions: this method learns from labels of lines")
    if not part.sessions:
        what = f"{prepared.folder} holds no train sessions"
        raise DataError(f"{what}: prepare it with a smaller share for test")
    return part


def _first_manifest(
    out: Path,
    recipe: Recipe,
    *,
    prepared: Prepared,
    method: Method,
) -> dict[str, Any]:
    """What is known of a run before it has learnt."""
    of_data = prepared.manifest
    return {
        # What a method says of itself comes first: it takes no name of what every manifest says.
        **method.about(),
        "name": out.resolve().name,
        "state": "training",
        "method": recipe.method,
        "recipe": recipe.name,
        "seed": recipe.train.seed,
        # With the versions: elsewhere, or with others, the last digits of scores may differ.
        "machine": platform.machine(),
        "versions": versions(),
        "data": {"fingerprint": of_data["fingerprint"], "prepare": of_data["settings"]},
        "counts": of_data["parts"],
        "labelled": of_data["unlabelled"] < of_data["sessions"],
    }


def _check_same(out: Path, begun: Mapping[str, Any], *, fresh: Mapping[str, Any]) -> None:
    """Check that a run was begun on these data and these base models.

    Raises:
        ModelError: it was not.
    """
    for field in ("data", "base_models"):
        if begun.get(field) != fresh.get(field):
            other = f"it was begun with other {field.replace('_', ' ')}"
            what = f"{out}: manifest field {field} disagrees"
            raise ModelError(f"{what}: {other}; train into a new folder")


def fitted(
    method: Method,
    prepared: Prepared,
    *,
    part: Part,
    recipe: Recipe,
    workplace: Workplace,
) -> Fitted:
    """Fit a method on the train part, and choose its threshold.

    It is chosen on the validation part, or on kinds of fault that are held out.

    Args:
        method: made, and not fitted yet.
        prepared: the data.
        part: what `learnt_from` gave.
        recipe: the settings that it was made with.
        workplace: what it was made with besides.

    Raises:
        DataError: the method cannot learn from these sessions.
        ModelError: base models or other files are missing.
    """
    started = time.perf_counter()
    seed = recipe.train.seed
    learnt, translations = part, {}
    if recipe.train.languages:
        translations = translations_of(prepared, recipe.train)
        learnt = with_copies(part, translations, seed=seed)
    method.copies = len(learnt.sessions) - len(part.sessions)
    method.fit(
        learnt.sessions,
        learnt.messages,
        labels=learnt.labels,
        line_labels=learnt.line_labels,
        seed=seed,
    )

    # Kinds of fault held out, fold after fold, by new methods that leave no checkpoints. Whoever
    # wants a target wants it reached on the validation part.
    wanted = goal(prepared, recipe.target, split="validation")
    frozen = None
    if recipe.train.folds and wanted is None:
        apart = replace(workplace, folder=None, begun={})
        fresh = partial(make, recipe.method, recipe, workplace=apart)
        frozen = frozen_thresholds(
            fresh,
            part,
            section=recipe.train,
            translations=translations,
            report=workplace.report,
        )
    if frozen is not None and frozen.weights is not None and isinstance(method, Mixture):
        method.weights = frozen.weights
    seconds = time.perf_counter() - started

    # The validation part says how good it is, and where nothing was held out also the threshold.
    validation_part = Part.of(prepared, "validation")
    of_sessions = None if frozen is None else frozen.sessions
    threshold, validation, missed = judged(
        method,
        validation_part,
        frozen=of_sessions,
        wanted=wanted,
        report=workplace.report,
    )
    if translations:
        validation["copies"] = {"languages": list(translations), "sessions": method.copies}
    if frozen is not None:
        validation |= frozen.about
    ends = learnt_ends(prepared, method)
    return Fitted(method, threshold, validation, seconds, ends, missed)


def _finish(folder: Path, done: Fitted, *, begun: Mapping[str, Any]) -> None:
    """Write what a method has learnt, then the manifest that vouches for it.

    Raises:
        ModelError: the disk is full, or cannot be written.
    """
    scratch = folder / _SCRATCH
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        # Into a folder of its own first: a method that fails in the middle leaves no run that looks
        # whole.
        scratch.mkdir()
        done.method.save(scratch)
        done.ends.save(scratch)
        written = sorted(scratch.rglob("*"))
        files = {str(path.relative_to(scratch)): sha256(path) for path in written if path.is_file()}
        flush(scratch, *written)
        # What is in the way is of a training that was cut off.
        for path in sorted(scratch.iterdir()):
            target = folder / path.name
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
        scratch.rmdir()
    except (OSError, SafetensorError, DataError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        again = "go on with --resume" if done.method.resumes else "train it again"
        what = f"run {begun['name']} cannot be written: {reason}"
        raise ModelError(f"{what}; make room, then {again}") from exc
    # What a method says of itself comes first: it takes no name of what every manifest says.
    about = done.method.about()
    # What resumes counts the seconds before an interruption, too; what was learnt for the threshold
    # alone it does not.
    seconds = max(round(done.seconds, 1), about.get("seconds", 0.0))
    manifest = {
        **about,
        "seconds": seconds,
        **begun,
        **done.validation,
        "state": "done",
        "files": files,
    }
    write_manifest(folder, manifest)
