"""A run against a labelled part of prepared data: the report."""

from pathlib import Path
from typing import Any

import numpy as np

from logllm.data.prepared import Prepared
from logllm.detect.detector import Detector
from logllm.detect.metrics import Labels, Progress, Scores, intervals, measure
from logllm.errors import DataError
from logllm.model.batch import Rows, rows_of


def evaluate(detector: Detector, data: Path, *, split: str = "test", progress: Progress | None = None) -> dict[str, Any]:
    """Judge a part of prepared data with the run's own threshold.

    Args:
        detector: a loaded run.
        data: a folder that `prepare` wrote.
        split: `test`, `validation` or `train`.
        progress: told of the distinct sessions scored.

    Returns:
        The figures of all sessions at the top; beneath `intervals` (95 %, bootstrap over sessions), `unseen` (the
        figures of the sessions whose messages occur in no train session, None where there is none), counts, and `log`, the name of the
        test part's log where that is another one than the train part's, else empty.

    Raises:
        DataError: data that are not prepared, without labels, or a part without sessions.
    """
    prepared = Prepared.load(data)
    part = prepared.labelled(split)
    if not len(part):
        raise DataError(f"{data} holds no {split} sessions: name another --split, or prepare with a share for it")
    sessions = rows_of(part["messages"])
    labels = part["anomalous"].to_numpy().astype(bool)
    scores = detector.score(sessions, prepared.messages, progress=progress)
    in_train = _occurs(sessions, rows_of(prepared.part("train")["messages"]))
    report = _figures(scores, labels, threshold=detector.threshold)
    trained_on = detector.manifest["data"]["fingerprint"]
    return {
        **report,
        "unseen": _figures(scores[~in_train], labels[~in_train], threshold=detector.threshold) if (~in_train).any() else None,
        "sessions": len(sessions),
        "sessions_seen_in_train": int(in_train.sum()),
        "distinct_sessions": len({session.tobytes() for session in sessions}),
        "split": split,
        "log": ", ".join(each["name"] for each in prepared.manifest.get("test_raw", ())) if split == "test" else "",
        "model": detector.model,
        "threshold_chosen": detector.manifest["threshold"]["how"],
        # An imported run does not know its data.
        "data_of_training": None if trained_on is None else trained_on == prepared.manifest["fingerprint"],
    }


def _figures(scores: Scores, labels: Labels, *, threshold: float) -> dict[str, Any]:
    """Metrics and their intervals."""
    return {**measure(scores, labels, threshold=threshold).to_dict(), "intervals": intervals(scores, labels, threshold=threshold)}


def _occurs(sessions: list[Rows], among: list[Rows]) -> Labels:
    """For each session whether its exact sequence is among others."""
    known = {session.tobytes() for session in among}
    return np.array([session.tobytes() in known for session in sessions], dtype=np.bool_)
