"""A run made ready for others: adapters alone or merged weights, a model card, and nothing of this machine."""

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
"""A manifest's `bundle` of a run without adapters."""


@dataclass(frozen=True)
class Bundle:
    """What is to be exported.

    Attributes:
        merged: encoder and decoder whole, with the adapters merged in, instead of adapters that need the base models.
        license: the bundle's licence, as the Hugging Face hub spells it.
        reports: files that `logllm evaluate --json` printed for this run; the card shows their figures.
    """

    merged: bool = False
    license: str = "other"
    reports: tuple[Path, ...] = ()


def export_run(run: Path, out: Path, *, bundle: Bundle, force: bool = False, progress: Report | None = None) -> dict[str, Any]:
    """Write a bundle: a run that `Detector.load` opens, with a model card.

    Base models that were folders of this machine are called by their last name.

    Args:
        run: a finished run.
        out: the bundle's folder.
        bundle: what it is to be.
        force: replace a bundle that is in the folder.
        progress: told of fetches and conversions of base models.

    Returns:
        The bundle's manifest.

    Raises:
        ModelError: no finished run, a bundle already, or 4-bit weights or none at all to merge into.
        DataError: a report of another run, or a folder that is taken or cannot be written.
    """
    run = find_run(run)
    manifest, recipe = verified(run), read_recipe(run)
    if out.resolve() == run.resolve():
        raise ModelError(f"{out} is the run itself: name another folder for the bundle")
    if "bundle" in manifest:
        raise ModelError(f"{run} is an exported bundle already: push it, or export the run that it came from")
    reports = [_report(path, manifest) for path in bundle.reports]
    section, hub = _named(recipe.model)
    recipe = recipe.model_copy(update={"model": section})
    with new_folder(out, force=force, kind="bundle") as place:
        kind = _write(run, place, bundle=bundle, recipe=recipe, progress=progress)
        write_recipe(place, recipe)
        names = section.weights
        bases = {part: {**base, "weights": names[part]} for part, base in manifest.get("base_models", {}).items()}
        files = {str(file.relative_to(place)): sha256(file) for file in sorted(place.rglob("*")) if file.is_file()}
        bundled = {**manifest, "bundle": kind, "base_models": bases, "files": files}
        card = model_card(bundled, recipe, hub=hub, license=bundle.license, reports=reports)
        write_atomic(place / CARD, card.encode())
        write_manifest(place, bundled)
    return read_manifest(out)


def _write(run: Path, place: Path, *, bundle: Bundle, recipe: Recipe, progress: Report | None) -> str:
    """Write what the run has learnt; gives what kind of bundle that makes.

    Raises:
        ModelError: 4-bit weights, or nothing, to merge into.
        DataError: no room.
    """
    files = read_manifest(run)["files"]
    network = PROJECTOR in files
    if bundle.merged and not network:
        raise ModelError(f"{run} is a run of method {recipe.method}, which has no adapters to merge: export it without --merged")

    # What is not the network's own is the same in every bundle: how sessions end, what other methods beside it have learnt.
    for name in files:
        if not network or name not in LEARNED:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / name, place / name)
    if not network:
        return WHOLE
    if bundle.merged:
        _merge(run, place, recipe=recipe, progress=progress)
        return MERGED
    _copy(run, place, section=recipe.model)
    return "adapters"


def _named(section: ModelSection) -> tuple[ModelSection, dict[str, str | None]]:
    """Model settings without folders of this machine, and the base models' names on the hub where they have one.

    Raises:
        ModelError: two folders that cannot be told apart by their last names.
    """
    parts = {"encoder": section.encoder, "decoder": section.decoder}
    names: dict[str, str] = {}
    hub: dict[str, str | None] = {}
    for part, weights in section.weights.items():
        folder = Path(weights).expanduser()
        local = folder.is_dir() or folder.is_absolute() or weights.startswith(".")
        names[part] = folder.resolve().name if local else weights
        hub[part] = None if local else SMALL_TIER[weights].hub if weights in SMALL_TIER else weights
    if names["encoder"] == names["decoder"]:
        raise ModelError(
            f"both base models' folders are called {names['encoder']}: rename one and change it in the run's recipe and manifest"
        )
    return section.model_copy(update={part: inner.model_copy(update={"weights": names[part]}) for part, inner in parts.items()}), hub


def _copy(run: Path, place: Path, *, section: ModelSection) -> None:
    """Copy adapters and projector, the base models called by their names."""
    for name in LEARNED:
        (place / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(run / name, place / name)
    for part, weights in section.weights.items():
        path = place / part / "adapter_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        write_atomic(path, json.dumps({**config, "base_model_name_or_path": weights}, indent=2).encode())


def _merge(run: Path, place: Path, *, recipe: Recipe, progress: Report | None) -> None:
    """Merge the adapters into the base models and write these whole, with their tokenizers.

    Raises:
        ModelError: 4-bit weights.
        DataError: no room.
    """
    from transformers import AutoTokenizer

    from logllm.model.base.backbone import without_bars
    from logllm.model.checkpoint import load_run

    if "nf4" in (recipe.model.encoder.quantize, recipe.model.decoder.quantize):
        raise ModelError(
            f"{run} stands on 4-bit weights, and adapters merged into those would be rounded away: export without --merged, "
            "or train with quantize = 'none'"
        )
    model, _, with_paths, _ = load_run(run, merged=True, progress=progress)
    wholes: dict[str, Any] = {"encoder": model.encoder.model, "decoder": model.decoder.model}
    try:
        with without_bars():
            for part, weights in with_paths.model.weights.items():
                wholes[part].save_pretrained(place / part)
                AutoTokenizer.from_pretrained(locate(weights)).save_pretrained(place / part)
    except SafetensorError as exc:
        raise DataError(f"{place} cannot be written: {exc}; free some space or choose another place") from exc
    shutil.copyfile(run / PROJECTOR, place / PROJECTOR)


def _report(path: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A report of `logllm evaluate --json`, if it is this run's.

    Raises:
        DataError: not readable, another run's, or made at another threshold.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise DataError(f"{path} cannot be read: {exc}; write it with logllm evaluate --json") from exc
    ours = model_name(manifest)
    if not isinstance(report, dict) or not {"model", "split", "average_precision", "intervals", "threshold"} <= report.keys():
        raise DataError(f"{path} is no report: write it with logllm evaluate --json")
    if report["model"] != ours:
        raise DataError(f"{path} is a report of {report['model']}, not of {ours}: evaluate this run")
    if report["threshold"] != (now := manifest["threshold"]["value"]):
        raise DataError(f"{path} was made at the threshold {report['threshold']:.4g}, and the run's is {now:.4g}: evaluate it again")
    return report
