"""A run made ready for others.

It holds adapters alone or merged weights, and a card, but nothing of this machine.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from logllm.config.model import ModelSection
from logllm.config.recipe import Recipe
from logllm.errors import DataError, ModelError
from logllm.model.base.weights import SMALL_TIER, locate
from logllm.progress import Report
from logllm.runs.card import CARD, MERGED, model_card
from logllm.runs.manifest import (
    LEARNED,
    PROJECTOR,
    find_run,
    model_name,
    read_manifest,
    read_recipe,
    verified,
    write_manifest,
    write_recipe,
)
from logllm.storage import new_folder, sha256, write_atomic

WHOLE = "whole"
"""What a manifest's `bundle` says of a run without adapters."""
_OF_REPORTS = {"model", "split", "average_precision", "intervals", "threshold"}
"""What every report of an evaluation holds."""


@dataclass(frozen=True)
class Bundle:
    """What is to be exported.

    Attributes:
        merged: encoder and decoder whole, with the adapters merged in, instead of adapters that
            need the base models.
        license: the bundle's licence, as the Hugging Face hub spells it.
        reports: files that `logllm evaluate --json` printed for this run; the card shows their
            figures.
    """

    merged: bool = False
    license: str = "other"
    reports: tuple[Path, ...] = ()


def export_run(
    run: Path,
    out: Path,
    *,
    bundle: Bundle,
    force: bool = False,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Write a bundle: a run that `Detector.load` opens, with a model card.

    Base models that were folders of this machine are called by their last name.

    Args:
        run: a finished run.
        out: the bundle's folder.
        bundle: what it is to hold.
        force: replace a bundle that is in the folder.
        progress: told of fetches and conversions of base models.

    Returns:
        The bundle's manifest.

    Raises:
        ModelError: the run is not finished or is a bundle already, or there are no weights, or only
            4-bit ones, to merge into.
        DataError: a report is of another run, or the folder is taken or cannot be written.
    """
    run = find_run(run)
    manifest, recipe = verified(run), read_recipe(run)
    if out.resolve() == run.resolve():
        raise ModelError(f"{out} is the run itself: name another folder for the bundle")
    if "bundle" in manifest:
        remedy = "push it, or export the run that it came from"
        raise ModelError(f"{run} is an exported bundle already: {remedy}")

    # Reports first, and folders' names: what is wrong with either is said before anything is
    # written.
    reports = [_report(path, manifest) for path in bundle.reports]
    section, hub = _named(recipe.model)
    recipe = recipe.model_copy(update={"model": section})
    with new_folder(out, force=force, kind="bundle") as place:
        kind = _write(run, place, bundle=bundle, recipe=recipe, progress=progress)
        write_recipe(place, recipe)

        # The manifest vouches for the files as they are here, and for base models by names that
        # mean something elsewhere.
        names = section.weights
        own_bases = manifest.get("base_models", {})
        bases: dict[str, Any] = {}
        for network, base in own_bases.items():
            bases[network] = {**base, "weights": names[network]}
        written = [file for file in sorted(place.rglob("*")) if file.is_file()]
        files = {str(file.relative_to(place)): sha256(file) for file in written}
        bundled = {**manifest, "bundle": kind, "base_models": bases, "files": files}

        # The card is for people, and may be edited: no hash vouches for it.
        card = model_card(bundled, recipe, hub=hub, license=bundle.license, reports=reports)
        write_atomic(place / CARD, card.encode())
        write_manifest(place, bundled)
    return read_manifest(out)


def _write(
    run: Path,
    place: Path,
    *,
    bundle: Bundle,
    recipe: Recipe,
    progress: Report | None,
) -> str:
    """Write what the run has learnt, and give the kind of bundle that this makes.

    Raises:
        ModelError: there are no weights, or only 4-bit ones, to merge into.
        DataError: there is no room.
    """
    files = read_manifest(run)["files"]
    network = PROJECTOR in files
    if bundle.merged and not network:
        what = f"{run} is a run of method {recipe.method}, which has no adapters to merge"
        raise ModelError(f"{what}: export it without --merged")

    # What is not the network's own is the same in every bundle: how sessions end, what other
    # methods beside it have learnt.
    for name in files:
        if not network or name not in LEARNED:
            target = place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / name, target)
    if not network:
        return WHOLE
    if bundle.merged:
        _merge(run, place, recipe=recipe, progress=progress)
        return MERGED
    _copy(run, place, section=recipe.model)
    return "adapters"


def _named(section: ModelSection) -> tuple[ModelSection, dict[str, str | None]]:
    """Model settings without folders of this machine, and the base models' names on the hub.

    A name is None where a base model is not there.

    Raises:
        ModelError: two folders that cannot be told apart by their last names.
    """
    names: dict[str, str] = {}
    hub: dict[str, str | None] = {}
    for network, weights in section.weights.items():
        # A folder of this machine means nothing elsewhere: its last name does, for whoever has the
        # weights in a folder called so.
        folder = Path(weights).expanduser()
        local = folder.is_dir() or folder.is_absolute() or weights.startswith(".")
        names[network] = folder.resolve().name if local else weights
        small = SMALL_TIER.get(weights)
        on_hub = weights if small is None else small.hub
        hub[network] = None if local else on_hub
    if names["encoder"] == names["decoder"]:
        what = f"both base models' folders are called {names['encoder']}"
        remedy = "rename one and change it in the run's recipe and manifest"
        raise ModelError(f"{what}: {remedy}")

    networks = {"encoder": section.encoder, "decoder": section.decoder}
    renamed = {
        network: inner.model_copy(update={"weights": names[network]})
        for network, inner in networks.items()
    }
    return section.model_copy(update=renamed), hub


def _copy(run: Path, place: Path, *, section: ModelSection) -> None:
    """Copy adapters and projector, the base models called by their names."""
    for name in LEARNED:
        (place / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(run / name, place / name)
    for network, weights in section.weights.items():
        # PEFT's own file names the base model as well.
        path = place / network / "adapter_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        renamed = {**config, "base_model_name_or_path": weights}
        write_atomic(path, json.dumps(renamed, indent=2).encode())


def _merge(run: Path, place: Path, *, recipe: Recipe, progress: Report | None) -> None:
    """Merge the adapters into the base models and write these whole, with their tokenizers.

    Raises:
        ModelError: the run stands on 4-bit weights.
        DataError: there is no room.
    """
    from transformers import AutoTokenizer

    from logllm.model.base.backbone import without_bars
    from logllm.model.checkpoint import load_run

    if "nf4" in (recipe.model.encoder.quantize, recipe.model.decoder.quantize):
        what = (
            f"{run} stands on 4-bit weights, and adapters merged into those would be rounded away"
        )
        remedy = "export without --merged, or train with quantize = 'none'"
        raise ModelError(f"{what}: {remedy}")
    model, _, with_paths, _ = load_run(run, merged=True, progress=progress)
    wholes: dict[str, Any] = {"encoder": model.encoder.model, "decoder": model.decoder.model}
    try:
        with without_bars():
            for network, weights in with_paths.model.weights.items():
                # With its tokenizer: whoever gets the bundle needs no base model at all.
                wholes[network].save_pretrained(place / network)
                tokenizer = AutoTokenizer.from_pretrained(locate(weights))
                tokenizer.save_pretrained(place / network)
    except SafetensorError as exc:
        remedy = "free some space or choose another place"
        raise DataError(f"{place} cannot be written: {exc}; {remedy}") from exc
    shutil.copyfile(run / PROJECTOR, place / PROJECTOR)


def _report(path: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A report of this run, as `logllm evaluate --json` wrote it.

    Raises:
        DataError: it is not readable, of another run, or made at another threshold.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise DataError(
            f"{path} cannot be read: {exc}; write it with logllm evaluate --json"
        ) from exc
    ours = model_name(manifest)
    if not isinstance(report, dict) or _OF_REPORTS - report.keys():
        raise DataError(f"{path} is no report: write it with logllm evaluate --json")

    # Figures of another run, or at another threshold, would be read as this one's.
    if report["model"] != ours:
        raise DataError(
            f"{path} is a report of {report['model']}, not of {ours}: evaluate this run"
        )
    now = manifest["threshold"]["value"]
    if report["threshold"] != now:
        made = f"{path} was made at the threshold {report['threshold']:.4g}"
        raise DataError(f"{made}, and the run's is {now:.4g}: evaluate it again")
    return report
