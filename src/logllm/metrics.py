"""Scores, and how good they are: precision, recall, F1, average precision, intervals, and the choice of a threshold."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from logllm.errors import agreeing

Scores = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]
"""Told how many of how many distinct sessions are scored."""

_BANDS = 10

FEW_ANOMALIES = 10
"""With fewer anomalies than this no threshold is chosen."""


def sigmoid(logits: Scores) -> Scores:
    """P(anomalous) of logit differences, without overflow.

    >>> sigmoid(np.array([0.0, 1000.0])).tolist()
    [0.5, 1.0]
    """
    return np.exp(-np.logaddexp(0.0, -logits))


@dataclass(frozen=True)
class Metrics:
    """Figures of one set of scores at one threshold; anomalous is positive."""

    precision: float
    recall: float
    f1: float
    average_precision: float | None
    """None where there is no anomaly."""
    threshold: float
    tp: int
    fp: int
    tn: int
    fn: int

    def to_dict(self) -> dict[str, Any]:
        """As one flat JSON object."""
        return asdict(self)


def measure(scores: Scores, labels: Labels, *, threshold: float, weights: Weights | None = None) -> Metrics:
    """Compare scores with labels; a score of at least `threshold` is called anomalous.

    Precision, recall and F1 are 0 where they would be 0 / 0.

    >>> measure(np.array([0.9, 0.2, 0.6]), np.array([True, False, False]), threshold=0.5).f1
    0.6666666666666666
    """
    weight = np.ones(len(scores), dtype=np.int64) if weights is None else weights
    called = scores >= threshold
    tp, fp, tn, fn = (int(weight[chosen].sum()) for chosen in (called & labels, called & ~labels, ~called & ~labels, ~called & labels))
    return Metrics(
        precision=tp / (tp + fp) if tp + fp else 0.0,
        recall=tp / (tp + fn) if tp + fn else 0.0,
        f1=2 * tp / (2 * tp + fp + fn) if tp else 0.0,
        average_precision=average_precision(scores, labels, weights=weight),
        threshold=threshold,
        tp=tp,
        fp=fp,
        tn=tn,
        fn=fn,
    )


def average_precision(scores: Scores, labels: Labels, *, weights: Weights | None = None) -> float | None:
    """Area under the precision-recall steps, as scikit-learn defines it; None without an anomaly.

    >>> average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.8333333333333333
    """
    from sklearn.metrics import average_precision_score

    if not (labels if weights is None else labels & (weights > 0)).any():
        return None
    return min(1.0, float(average_precision_score(labels, scores, sample_weight=weights)))


@dataclass(frozen=True)
class Threshold:
    """Where normal ends, and how that was decided."""

    value: float
    how: str
    sessions: int
    anomalous: int
    f1: float | None = None


def chosen_on(split: str, fingerprint: str) -> str:
    """How a threshold names the sessions it was chosen on, so that a report on the same ones is recognised.

    >>> chosen_on("test", "1205463eec4bc1aa")
    'the test part of 1205463e'
    """
    return f"the {split} part of {fingerprint[:8]}"


def f1_by_threshold(scores: Scores, labels: Labels) -> tuple[Scores, Scores]:
    """Each distinct score, ascending, and F1 when all sessions from it on are called anomalous.

    >>> values, f1 = f1_by_threshold(np.array([0.2, 0.9, 0.9]), np.array([False, True, True]))
    >>> values.tolist(), f1.tolist()
    ([0.2, 0.9], [0.8, 1.0])
    """
    values, of = np.unique(scores, return_inverse=True)
    positives = np.bincount(of, weights=labels, minlength=len(values))[::-1].cumsum()[::-1]
    called = np.bincount(of, minlength=len(values))[::-1].cumsum()[::-1]
    return values, 2 * positives / (called + labels.sum())


def choose_threshold(logits: Scores, labels: Labels, *, score: Callable[[float], float] | None = None) -> Threshold:
    """The threshold of best F1 on a validation part: the middle, in logits, of the best interval.

    Between two neighbouring distinct logits every threshold calls the same sessions anomalous. Of several intervals of
    equal F1 the widest is taken. With fewer than ten anomalies the threshold is .5.

    Args:
        logits: of the sessions, or scores in whatever other scale the middle is to be taken.
        labels: which sessions are anomalous.
        score: the score that a value of that scale stands for; none: the logistic function.
    """
    anomalous = int(labels.sum())
    if anomalous < FEW_ANOMALIES:
        return Threshold(
            0.5,
            f"default: {agreeing(anomalous, '{anomaly|anomalies}')} in validation, {FEW_ANOMALIES} needed to choose",
            len(labels),
            anomalous,
        )
    values, f1 = f1_by_threshold(logits, labels)
    below = np.concatenate([[values[0] - 2.0], values[:-1]])
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    chosen = best[np.argmax((values - below)[best])]
    middle = (values[chosen] + below[chosen]) / 2
    value = float(1 / (1 + np.exp(-middle))) if score is None else score(float(middle))
    return Threshold(value, "best F1 on validation", len(labels), anomalous, float(f1[chosen]))


def logit(scores: Scores) -> Scores:
    """The inverse of `sigmoid`, finite where a score is 0 or 1.

    >>> logit(np.array([0.5, 1.0])).round(1).tolist()
    [0.0, 36.7]
    """
    within = np.clip(scores, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)
    return np.log(within) - np.log1p(-within)


def threshold_of(scores: Scores, labels: Labels, *, scale: Literal["logits", "scores"]) -> Threshold:
    """The threshold of best F1 (`choose_threshold`), the middle taken on a method's own scale.

    Args:
        scores: of the sessions, in [0, 1].
        labels: which sessions are anomalous.
        scale: `logits` for scores that are probabilities of a softmax; `scores` for methods that give exactly 0 and 1, from whose
            infinite logits every middle is as good as 0 or 1 itself.
    """
    if scale == "logits":
        return choose_threshold(logit(scores), labels)
    return choose_threshold(scores, labels, score=lambda middle: min(max(middle, 0.0), 1.0))


def calibration(scores: Scores, labels: Labels) -> dict[str, Any]:
    """How far scores are from probabilities: in ten bands of equal width, and their mean distance weighted by sessions (Naeini 2015).

    >>> calibration(np.array([0.0, 0.0, 1.0, 1.0]), np.array([False, False, True, False]))["error"]
    0.25
    """
    band = np.minimum((scores * _BANDS).astype(int), _BANDS - 1)
    bands = [
        {
            "from": at / _BANDS,
            "to": (at + 1) / _BANDS,
            "sessions": int((band == at).sum()),
            "mean": float(scores[band == at].mean()),
            "anomalous": float(labels[band == at].mean()),
        }
        for at in np.unique(band).tolist()
    ]
    error = sum(each["sessions"] * abs(each["mean"] - each["anomalous"]) for each in bands) / len(scores)
    return {"error": float(error), "bands": bands}
