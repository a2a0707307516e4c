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
    scores = detector.score(rows_of(part["messages"]), prepared.messages, progress=progress)
    trained_on = detector.manifest["data"]["fingerprint"]
    return {
        **judge(scores, prepared, split=split, threshold=detector.threshold),
        "model": detector.model,
        "threshold_chosen": detector.manifest["threshold"]["how"],
        # An imported run does not know its data.
        "data_of_training": None if trained_on is None else trained_on == prepared.manifest["fingerprint"],
    }


def judge(scores: Scores, prepared: Prepared, *, split: str, threshold: float) -> dict[str, Any]:
    """What scores are worth, whatever gave them: a run, or a baseline on the same data.

    Args:
        scores: of the part's sessions, in their order; from `threshold` on they mean anomalous.
        prepared: whose part they are of.
        split: `test`, `validation` or `train`.
        threshold: chosen elsewhere than on this part.

    Returns:
        As `evaluate`, without what only a run has.

    Raises:
        DataError: the part is without labels or sessions.
    """
    part = prepared.labelled(split)
    if not len(part):
        raise DataError(f"{prepared.folder} holds no {split} sessions: name another --split, or prepare with a share for it")
    sessions = rows_of(part["messages"])
    labels = part["anomalous"].to_numpy().astype(bool)
    in_train = _occurs(sessions, rows_of(prepared.part("train")["messages"]))
    return {
        **_figures(scores, labels, threshold=threshold),
        "unseen": _figures(scores[~in_train], labels[~in_train], threshold=threshold) if (~in_train).any() else None,
        "sessions": len(sessions),
        "sessions_seen_in_train": int(in_train.sum()),
        "distinct_sessions": len({session.tobytes() for session in sessions}),
        "split": split,
        "log": ", ".join(each["name"] for each in prepared.manifest.get("test_raw", ())) if split == "test" else "",
    }


def _figures(scores: Scores, labels: Labels, *, threshold: float) -> dict[str, Any]:
    """Metrics and their intervals."""
    return {**measure(scores, labels, threshold=threshold).to_dict(), "intervals": intervals(scores, labels, threshold=threshold)}


def _occurs(sessions: list[Rows], among: list[Rows]) -> Labels:
    """For each session whether its exact sequence is among others."""
    known = {session.tobytes() for session in among}
    return np.array([session.tobytes() in known for session in sessions], dtype=np.bool_)
