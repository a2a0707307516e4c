"""A baseline on prepared data: fitted on train, its threshold chosen on validation, judged on test as a run of LogLLM is."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from logllm import __version__
from logllm.config.model import EncoderSection
from logllm.config.recipe import Recipe
from logllm.data.files import MANIFEST, new_folder, write_atomic, write_json
from logllm.data.prepared import PARTS, Prepared
from logllm.detect.evaluate import judge, score_frame
from logllm.errors import DataError
from logllm.methods.contract import Report, Workplace
from logllm.methods.parts import Part
from logllm.methods.registry import entry, make
from logllm.metrics import Labels, Scores, Threshold, choose_threshold

VERSION = 1
"""Version of the folder's layout."""
_ENCODER = {"weights", "pooling", "max_tokens", "dtype", "quantize", "compute"}
"""What a frozen encoder's vectors depend on."""


class Judged(NamedTuple):
    """What a baseline is worth."""

    report: dict[str, Any]
    """As `logllm.detect.evaluate.evaluate` gives, and: seed, seconds, the choice of the threshold, settings."""
    scores: pl.DataFrame
    """Of validation and test (`logllm.detect.evaluate.score_frame`)."""


def judged(
    name: str, prepared: Prepared, *, seed: int = 0, encoder: EncoderSection | None = None, progress: Report | None = None
) -> Judged:
    """Fit a baseline on the train part and judge it on the test part.

    It sees what LogLLM's training sees: the train part to learn from, the validation part for the threshold and nothing else. With
    fewer than ten anomalies in validation the threshold is .5.

    Args:
        name: of the baseline (`logllm.methods.registry.names`).
        prepared: labelled data.
        seed: of all that it draws.
        encoder: whose frozen vectors are read; without it the small tier's.
        progress: told what is being done.

    Raises:
        RecipeError: there is no such baseline.
        DataError: data without labels or test sessions, or that the baseline cannot learn from.
        ModelError: the encoder is missing.
    """
    tell = progress or (lambda _what, _share: None)
    chosen = entry(name)
    recipe = recipe_with(encoder or EncoderSection(), name=name)
    method = make(name, recipe, workplace=Workplace(report=progress))
    labels = {part: prepared.labelled(part)["anomalous"].to_numpy().astype(bool) for part in PARTS}
    train, validation, test = (Part.of(prepared, part) for part in PARTS)
    if not train.sessions:
        raise DataError(f"{prepared.folder} holds no train sessions: prepare it with a smaller share for test")
    tell(f"fitting {name}", 0.0)
    started = time.perf_counter()
    method.fit(train.sessions, train.messages, labels=labels["train"], line_labels=train.line_labels, seed=seed)
    fitted = time.perf_counter()
    tell(f"fitting {name}", 1.0)
    before, scores = (method.score(part.sessions, part.messages) for part in (validation, test))
    seconds = {"fit": fitted - started, "score": time.perf_counter() - fitted}
    threshold = threshold_of(before, labels["validation"])
    report = {
        **judge(scores, prepared, split="test", threshold=threshold.value),
        "model": name,
        "threshold_chosen": threshold.how,
        "data_of_training": True,
        "seed": seed,
        "seconds": seconds,
        "threshold_choice": asdict(threshold),
        "settings": {
            "what": chosen.what,
            "source": chosen.source,
            "encoder": recipe.model.encoder.model_dump(mode="json", include=_ENCODER),
        },
    }
    frames = [score_frame(found, prepared, split=split) for split, found in (("validation", before), ("test", scores))]
    return Judged(report, pl.concat(frames))


def write_baseline(out: Path, found: Judged, *, force: bool = False) -> None:
    """Write down what came of a baseline: `manifest.json`, `report.json`, `scores.parquet`.

    The fitted baseline itself is not kept here: fitting again with the same seed gives the same one.

    Args:
        out: the folder to make.
        found: what `judged` gave.
        force: replace a baseline that is there.

    Raises:
        DataError: the folder exists, or cannot be written.
    """
    report = found.report
    manifest = {
        "kind": "baseline",
        "version": VERSION,
        "logllm": __version__,
        "name": report["model"],
        "seed": report["seed"],
        "data": {"fingerprint": report["fingerprint"]},
        "threshold": report["threshold_choice"],
        "settings": report["settings"],
    }
    with new_folder(out, force=force, kind="baseline") as folder:
        write_atomic(folder / "scores.parquet", found.scores.write_parquet)
        write_json(folder / "report.json", report)
        write_json(folder / MANIFEST, manifest)


def recipe_with(encoder: EncoderSection, *, name: str) -> Recipe:
    """A method as it comes, but for the encoder that it may read vectors of."""
    recipe = Recipe.of_method(name)
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"encoder": encoder})})


def threshold_of(scores: Scores, labels: Labels) -> Threshold:
    """The threshold of best F1 as a run chooses it, but the middle between scores and not between their logits.

    Many baselines give scores of exactly 0 and 1, from whose infinite logits every middle is as good as 0 or 1 itself.
    """
    return choose_threshold(scores, labels, score=lambda middle: min(max(middle, 0.0), 1.0))
