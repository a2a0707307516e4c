"""Measuring an engine on a finished run, and writing down whether it may be used."""

from pathlib import Path
from typing import Any

from logllm.data.prepared import Prepared
from logllm.data.sequences import rows_of
from logllm.detect.detector import Detector
from logllm.errors import DataError
from logllm.metrics import Progress, sigmoid
from logllm.model.checkpoint import write_manifest
from logllm.model.engine import Engine
from logllm.model.guard import EXACT, compare
from logllm.model.scorer import Scorer


def admit(run: Path, data: Path, *, engine: str = "bf16", split: str = "validation", progress: Progress | None = None) -> dict[str, Any]:
    """Compare an engine's scores of a part of prepared data with exact ones; the outcome goes into the run's manifest.

    Args:
        run: a folder that `train` wrote.
        data: a folder that `prepare` wrote.
        engine: the engine to measure.
        split: `validation`, `train` or `test`; labels are not looked at.
        progress: told of the distinct sessions scored, by each engine in turn.

    Returns:
        What `guard.compare` found.

    Raises:
        DataError: data that are not prepared, or a part without sessions.
        ModelError: not a finished run, or an engine that cannot run its decoder.
    """
    prepared = Prepared.load(data)
    part = prepared.part(split)
    if not len(part):
        raise DataError(f"{data} holds no {split} sessions: name another --split, or prepare with a share for it")
    sessions = rows_of(part["messages"])
    detector = Detector.load(run, engine=EXACT)
    section = detector.recipe.detect.model_copy(update={"engine": engine})
    rounding = Engine(detector.engine.model, section=section, threshold=detector.threshold)
    rounded = Scorer(rounding, detector.tokenizer, max_tokens=detector.recipe.model.encoder.max_tokens)
    exact = detector.score(sessions, prepared.messages, progress=progress)
    found = compare(exact, sigmoid(rounded.score(sessions, prepared.messages, progress=progress)), threshold=detector.threshold)
    write_manifest(run, {**detector.manifest, "engines": {**detector.manifest.get("engines", {}), engine: found}})
    return found
