"""A method fitted to prepared data, and where its verdicts begin."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from logllm.datasets.prepared import Prepared
from logllm.errors import DataError
from logllm.methods.contract import Method, Needs, Report
from logllm.methods.parts import Part
from logllm.metrics import (
    FEW_ANOMALIES,
    Labels,
    Scores,
    Threshold,
    calibration,
    measure,
    threshold_of,
)
from logllm.sessions.message_table import Rows


@dataclass(frozen=True)
class Fitted:
    """A method that has learnt, and what the validation part says of it."""

    method: Method
    threshold: Threshold
    validation: dict[str, Any]
    """What a manifest says: `threshold`, `metrics`, `reliability`."""
    seconds: float
    """That the fit took."""


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
        raise DataError(f"{prepared.folder} holds no train sessions: prepare it with a smaller share for test")
    return part


def fitted(method: Method, prepared: Prepared, *, part: Part, seed: int, report: Report | None = None) -> Fitted:
    """Fit a method on the train part, and choose its threshold on the validation part.

    Args:
        method: made, and not fitted yet.
        prepared: the data.
        part: what `learnt_from` gave.
        seed: of all that it draws.
        report: told of the validation part's scoring.

    Raises:
        DataError: sessions that the method cannot learn from.
        ModelError: what it stands on is missing.
    """
    started = time.perf_counter()
    method.fit(
        part.sessions,
        prepared.messages,
        labels=part.labels,
        line_labels=part.line_labels,
        seed=seed,
    )
    seconds = time.perf_counter() - started
    validation = Part.of(prepared, "validation")
    threshold, said = _judged(method, validation, report=report)
    return Fitted(method, threshold, said, seconds)


def _judged(method: Method, part: Part, *, report: Report | None) -> tuple[Threshold, dict[str, Any]]:
    """The threshold, and what a manifest says of the validation part."""

    def scored(sessions: Sequence[Rows]) -> Scores:
        progress = None
        if report is not None:
            progress = lambda done, total: report("scoring the validation part", done / total)  # noqa: E731
        return method.score(sessions, part.messages, progress=progress)

    own = len(part.sessions)
    if part.labels is None:
        return _unmeasured(Threshold(0.5, "default: the validation part has no labels", own, 0))
    lines = part.line_labels if method.judges_beginnings else None
    sessions, labels = _with_beginnings(part.sessions, part.labels, line_labels=lines)
    scores = scored(sessions) if len(sessions) else np.zeros(0)
    threshold = threshold_of(scores, labels, scale=method.scale)
    if len(sessions) > own:
        threshold = replace(threshold, how=f"{threshold.how}, each session's beginnings included")
    if not own:
        return _unmeasured(threshold)
    figures = measure(scores[:own], labels[:own], threshold=threshold.value).to_dict()
    reliability = calibration(scores[:own], labels[:own])
    return threshold, {"threshold": asdict(threshold), "metrics": {"validation": figures}, "reliability": reliability}


def _unmeasured(threshold: Threshold) -> tuple[Threshold, dict[str, Any]]:
    """The same of a validation part that says nothing of how good a method is."""
    return threshold, {"threshold": asdict(threshold), "metrics": {"validation": None}, "reliability": None}


def _with_beginnings(sessions: list[Rows], labels: Labels, *, line_labels: list[Labels] | None) -> tuple[list[Rows], Labels]:
    """The sessions, and their beginnings where these can be labelled and there are anomalies enough to choose by."""
    if line_labels is None or int(labels.sum()) < FEW_ANOMALIES:
        return sessions, labels
    from logllm.training.augment import with_beginnings

    return with_beginnings(sessions, labels, alerts=line_labels)
