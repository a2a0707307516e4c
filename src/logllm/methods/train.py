"""Prepared data and a recipe become a run: the one place that writes runs."""

import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.errors import DataError, ModelError, RecipeError
from logllm.methods.contract import Method, Report, Workplace
from logllm.methods.fitting import Fitted, fitted, learnt_from
from logllm.methods.registry import make
from logllm.runs.manifest import RECIPE, read_manifest, read_recipe, write_manifest, write_recipe
from logllm.storage import MANIFEST, check_replaceable, flush_all, new_folder, sha256

_LIBRARIES = ("logllm", "numpy", "polars", "scikit-learn", "torch", "transformers", "peft", "accelerate")
_SCRATCH = ".method.new"


def train(  # noqa: PLR0913 - the library's front door: what, on what, where to, and ways to watch it
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
        The run's manifest.

    Raises:
        DataError: data that are not prepared, that lack the labels the method learns from, or hold
            only one class where it learns from both.
        ModelError: weights that are missing, a run that exists already or is another one, a full
            disk.
        RecipeError: there is no such method, or a run to go on with has another recipe.
    """
    prepared = Prepared.load(data)
    begun = _to_go_on_with(out, recipe) if resume else None
    if begun is None:
        _check_free(out, force=force)
    workplace = Workplace(folder=out, begun=begun or {}, report=progress, watch=watch)
    method = make(recipe.method, recipe, workplace=workplace)
    # What a run can be refused for is found out here, while an older one is still in its place.
    part = learnt_from(prepared, method)
    if method.resumes:
        method.check(
            part.sessions,
            prepared.messages,
            labels=part.labels,
            line_labels=part.line_labels,
        )
    fresh = _first_manifest(out, recipe, prepared=prepared, method=method)
    if begun is not None:
        _check_same(out, begun, fresh=fresh)
        if begun["state"] == "done":
            if method.resumes:  # left by a kill after the manifest was written
                _remove_checkpoints(out)
            return begun
    if method.resumes:
        begun = begun or _begin(out, recipe, fresh=fresh, force=force)
        method = make(recipe.method, recipe, workplace=replace(workplace, begun=begun))
    done = fitted(method, prepared, part=part, seed=recipe.train.seed, report=progress)
    if method.resumes:
        _finish(out, done, begun=begun or fresh)
        _remove_checkpoints(out)
        return read_manifest(out)
    with new_folder(out, force=force, kind="run") as folder:
        write_recipe(folder, recipe)
        _finish(folder, done, begun=fresh)
    return read_manifest(out)


def checked(recipe: Recipe, data: Path) -> dict[str, Any]:
    """What there is to learn from, after all that `train` would refuse before it begins.

    Args:
        recipe: the method and its settings.
        data: a folder that `prepare` wrote.

    Returns:
        `method`, and of the train part `sessions`, `anomalous` (none where that is not known) and `distinct_messages`.

    Raises:
        DataError, ModelError, RecipeError: as `train`.
    """
    prepared = Prepared.load(data)
    method = make(recipe.method, recipe, workplace=Workplace())
    part = learnt_from(prepared, method)
    method.check(part.sessions, prepared.messages, labels=part.labels, line_labels=part.line_labels)
    return {
        "method": recipe.method,
        "sessions": len(part.sessions),
        "anomalous": None if part.labels is None else int(part.labels.sum()),
        "distinct_messages": len(prepared.messages),
    }


def _to_go_on_with(out: Path, recipe: Recipe) -> dict[str, Any] | None:
    """The manifest of a run that was begun here.

    Raises:
        ModelError: the folder is no run.
        RecipeError: it was begun with another recipe.
    """
    if not (out / MANIFEST).exists():
        return None
    begun = read_manifest(out)
    if read_recipe(out) != recipe:
        raise RecipeError(f"{out} was begun with another recipe (see {out / RECIPE}): resume with the same one and the same --set")
    return begun


def _check_free(out: Path, *, force: bool) -> None:
    """Whether a run may be made here.

    Raises:
        ModelError: there is one, and `force` is off.
        DataError: something else is here.
    """
    if not force and (out / MANIFEST).exists():
        read_manifest(out)
        raise ModelError(f"{out} holds a run already: name a new folder, go on with --resume, or start over with --force")
    check_replaceable(out, force=force, kind="run")


def _first_manifest(out: Path, recipe: Recipe, *, prepared: Prepared, method: Method) -> dict[str, Any]:
    """What is known of a run before it has learnt."""
    versions = {"python": platform.python_version(), **_versions()}
    data = {"fingerprint": prepared.manifest["fingerprint"], "prepare": prepared.manifest["settings"]}
    return {
        **method.about(),
        "name": out.resolve().name,
        "state": "training",
        "method": recipe.method,
        "recipe": recipe.name,
        "seed": recipe.train.seed,
        "machine": platform.machine(),
        "versions": versions,
        "data": data,
        "counts": prepared.manifest["parts"],
        "labelled": prepared.manifest["unlabelled"] < prepared.manifest["sessions"],
    }


def _versions() -> dict[str, str]:
    """Releases of the libraries that are installed; none of them is imported for it."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _check_same(out: Path, begun: Mapping[str, Any], *, fresh: Mapping[str, Any]) -> None:
    """Whether a run was begun on these data and these base models.

    Raises:
        ModelError: it was not.
    """
    for field in ("data", "base_models"):
        if begun.get(field) != fresh.get(field):
            raise ModelError(
                f"{out}: manifest field {field} disagrees: it was begun with other {field.replace('_', ' ')}; train into a new folder"
            )


def _begin(out: Path, recipe: Recipe, *, fresh: Mapping[str, Any], force: bool) -> dict[str, Any]:
    """A run's folder with recipe and manifest, for a method that goes on after interruptions."""
    with new_folder(out, force=force, kind="run") as folder:
        write_recipe(folder, recipe)
        write_manifest(folder, fresh)
    return read_manifest(out)


def _finish(folder: Path, done: Fitted, *, begun: Mapping[str, Any]) -> None:
    """Write what a method has learnt, then the manifest that vouches for it.

    Raises:
        ModelError: the disk is full, or cannot be written.
    """
    scratch = folder / _SCRATCH
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        done.method.save(scratch)
        files = {str(file.relative_to(scratch)): sha256(file) for file in sorted(scratch.rglob("*")) if file.is_file()}
        flush_all(scratch)
        for path in sorted(scratch.iterdir()):
            _put(path, folder / path.name)
        scratch.rmdir()
    except (OSError, SafetensorError, DataError) as exc:
        said = getattr(exc, "strerror", None) or exc
        again = "go on with --resume" if done.method.resumes else "train it again"
        raise ModelError(f"run {begun['name']} cannot be written: {said}; make room, then {again}") from exc
    # What a method says of itself comes first: it takes no name of what every manifest says.
    manifest = {
        "seconds": round(done.seconds, 1),
        **done.method.about(),
        **begun,
        **done.validation,
        "state": "done",
        "files": files,
    }
    write_manifest(folder, manifest)


def _put(path: Path, target: Path) -> None:
    """Move a file or a folder to where another one may be."""
    if target.is_dir():
        shutil.rmtree(target)
    path.replace(target)


def _remove_checkpoints(out: Path) -> None:
    """Remove what a training kept to go on with."""
    from logllm.training.state import remove_states

    remove_states(out)
