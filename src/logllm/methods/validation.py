"""A fitted method on the validation part: its threshold, its figures, and how sure it is."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from logllm.methods.contract import Method
from logllm.methods.prepared_part import Part
from logllm.methods.target import Goal
from logllm.metrics import FEW_ANOMALIES, Threshold, calibration, choose_threshold, measure
from logllm.progress import Progress, Report
from logllm.training.sampler import with_beginnings


def judged(
    method: Method,
    part: Part,
    *,
    frozen: Threshold | None,
    wanted: Goal | None,
    report: Report | None,
) -> tuple[Threshold, dict[str, Any], str]:
    """The threshold, what a manifest says of the validation part, and why a target is missed.

    A threshold that has been chosen already stays. The reason is empty where nothing is missed.

    Args:
        method: fitted.
        part: the validation part.
        frozen: a threshold that was chosen on kinds of fault held out.
        wanted: what the threshold is to reach.
        report: told how much is scored.
    """
    sessions, labels, own = part.sessions, part.labels, len(part.sessions)
    told = None if report is None else _scoring(report)
    if labels is None:
        unlabelled = Threshold(0.5, "default: the validation part has no labels", own, 0)
        if wanted is None:
            return *_unmeasured(unlabelled), ""
        scores = method.score(sessions, part.messages, progress=told)
        threshold, missed = wanted.reached(scores, None, scale=method.scale, otherwise=unlabelled)
        return *_unmeasured(threshold), missed

    # Beginnings are judged, too, where they can be labelled and there are anomalies enough to
    # choose by.
    chosen_here = frozen is None and wanted is None
    lines = part.line_labels if method.judges_beginnings and chosen_here else None
    if lines is not None and int(labels.sum()) >= FEW_ANOMALIES:
        sessions, labels = with_beginnings(sessions, labels, alerts=lines)

    scores = np.zeros(0)
    if sessions:
        scores = method.score(sessions, part.messages, progress=told)
    threshold = frozen or choose_threshold(scores, labels, scale=method.scale)
    if len(sessions) > own:
        threshold = replace(threshold, how=f"{threshold.how}, each session's beginnings included")
    if not own:
        return *_unmeasured(threshold), ""
    missed = ""
    if wanted is not None:
        threshold, missed = wanted.reached(scores, labels, scale=method.scale, otherwise=threshold)

    # How good it is, and how sure, is said of whole sessions.
    figures = asdict(measure(scores[:own], labels[:own], threshold=threshold.value))
    validation = {
        "threshold": asdict(threshold),
        "metrics": {"validation": figures},
        "reliability": calibration(scores[:own], labels[:own]),
    }
    return threshold, validation, missed


def _scoring(report: Report) -> Progress:
    """Progress that reports how much of the validation part is scored."""

    def told(done: int, total: int) -> None:
        report("scoring the validation part", done / total)

    return told


def _unmeasured(threshold: Threshold) -> tuple[Threshold, dict[str, Any]]:
    """The threshold and the manifest's part where nothing says how good a method is."""
    chosen = asdict(threshold)
    return threshold, {"threshold": chosen, "metrics": {"validation": None}, "reliability": None}
