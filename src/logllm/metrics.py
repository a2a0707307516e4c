"""Scores, and how good they are.

Precision, recall, F1, average precision, intervals, and the choice of a threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from logllm.counting import agreeing

Scores = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.int64]
_BANDS = 10

_NEWTON_STEPS = 60

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


def measure(
    scores: Scores, labels: Labels, *, threshold: float, weights: Weights | None = None
) -> Metrics:
    """Compare scores with labels; a score of at least `threshold` is called anomalous.

    Precision, recall and F1 are 0 where they would be 0 / 0.

    >>> measure(np.array([0.9, 0.2, 0.6]), np.array([True, False, False]), threshold=0.5).f1
    0.6666666666666666
    """
    weight = np.ones(len(scores), dtype=np.int64) if weights is None else weights
    # One weight a session: a bootstrap counts some twice and leaves others out.
    called = scores >= threshold
    tp = int(weight[called & labels].sum())
    fp = int(weight[called & ~labels].sum())
    tn = int(weight[~called & ~labels].sum())
    fn = int(weight[~called & labels].sum())
    # Without an anomaly there is nothing to rank first.
    average = None
    if tp + fn:
        averages = average_precision(scores, labels, weights=weight[None])
        average = float(averages[0])
    # Each is a share of something that may be empty.
    precision = tp / (tp + fp) if tp + fp else 0.0
    recall = tp / (tp + fn) if tp + fn else 0.0
    f1 = 2 * tp / (2 * tp + fp + fn) if tp else 0.0
    return Metrics(
        precision=precision,
        recall=recall,
        f1=f1,
        average_precision=average,
        threshold=threshold,
        tp=tp,
        fp=fp,
        tn=tn,
        fn=fn,
    )


def average_precision(scores: Scores, labels: Labels, *, weights: Weights | Scores) -> Scores:
    """Average precision, as scikit-learn defines it, for each row of weights, (rows,).

    It is not a number (NaN) for a row in which no anomaly has a weight.

    >>> scores, labels = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
    >>> once_and_twice = np.ones((2, 4), dtype=np.int64) * [[1], [2]]
    >>> average_precision(scores, labels, weights=once_and_twice).round(4).tolist()
    [0.8333, 0.8333]
    """
    # From the highest score down: equal scores are called together, so that figures are read only
    # where a run of them ends.
    order = np.argsort(-scores, kind="stable")
    run_ends = np.flatnonzero(np.diff(scores[order]))
    ends = np.append(run_ends, len(scores) - 1)
    ordered = weights[:, order]
    hits = np.cumsum(ordered * labels[order], axis=1)[:, ends]
    called = np.cumsum(ordered, axis=1)[:, ends]

    # The sum over these places of precision there, times the recall gained since the last one.
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.nan_to_num(hits / called)
        gained = np.diff(hits, axis=1, prepend=0)
        means: Scores = (precision * gained).sum(axis=1) / hits[:, -1]
    return means


@dataclass(frozen=True)
class Threshold:
    """Where normal ends, and how that was decided."""

    value: float
    how: str
    sessions: int
    anomalous: int
    f1: float | None = None


def chosen_on(split: str, fingerprint: str) -> str:
    """How a threshold names the sessions it was chosen on.

    By that name a report on the same sessions is recognised.

    >>> chosen_on("test", "1205463eec4bc1aa")
    'the test part of 1205463e'
    """
    return f"the {split} part of {fingerprint[:8]}"


def within_verdicts(lines: Sequence[Scores], sessions: Scores) -> Scores:
    """What the lines of sessions say, each no more than its session's verdict, (lines,).

    >>> within_verdicts([np.array([0.9, 0.1]), np.array([0.4])], np.array([0.6, 0.5])).tolist()
    [0.6, 0.1, 0.4]
    """
    gated: list[Scores] = []
    for of_session, verdict in zip(lines, sessions, strict=True):
        gated.append(np.minimum(of_session, verdict))
    return np.concatenate([*gated, np.zeros(0)])


def f1_by_threshold(
    scores: Scores, labels: Labels, *, weights: Scores | None = None
) -> tuple[Scores, Scores]:
    """Each distinct score, ascending, and the F1 of a threshold at it.

    A session counts once, or as much as its weight says.

    >>> values, f1 = f1_by_threshold(np.array([0.2, 0.9, 0.9]), np.array([False, True, True]))
    >>> values.tolist(), f1.tolist()
    ([0.2, 0.9], [0.8, 1.0])
    """
    weight = np.ones(len(scores)) if weights is None else weights
    values, of = np.unique(scores, return_inverse=True)
    # Sums from each value up: of what lies at it, and at all higher ones.
    anomalous = weight * labels
    of_value = np.bincount(of, weights=anomalous, minlength=len(values))
    positives = of_value[::-1].cumsum()[::-1]
    called_at = np.bincount(of, weights=weight, minlength=len(values))
    called = called_at[::-1].cumsum()[::-1]
    # 2 tp / (2 tp + fp + fn), as called is tp + fp and the anomalous ones are tp + fn.
    f1: Scores = 2 * positives / (called + anomalous.sum())
    return values, f1


def choose_threshold(
    scores: Scores,
    labels: Labels,
    *,
    scale: Literal["logits", "scores"],
    weights: Scores | None = None,
    close: float = 0.0,
) -> Threshold:
    """The threshold of best F1 on a validation part: the middle of the best interval.

    Between two neighbouring distinct scores every threshold calls the same sessions anomalous. Of
    several intervals of equal F1 the widest is taken. With fewer than ten anomalies the threshold
    is .5.

    Args:
        scores: of the sessions, in [0, 1].
        labels: which sessions are anomalous.
        scale: what intervals and their middles are measured in: `logits` for scores that are
            probabilities of a softmax; `scores` for methods that give exactly 0 and 1, from whose
            infinite logits every middle is as good as 0 or 1 itself.
        weights: how much each session counts; none: once.
        close: not only the best F1 counts but all that are lower by no more than this, and the mean
            of their thresholds is taken: where many are about as good, the best one is a matter of
            chance.

    >>> scores, labels = np.array([0.0] * 10 + [0.8] * 10), np.array([False] * 10 + [True] * 10)
    >>> choose_threshold(scores, labels, scale="scores").value
    0.4
    """
    anomalous = int(labels.sum())
    if anomalous < FEW_ANOMALIES:
        few = agreeing(anomalous, "{anomaly|anomalies}")
        how = f"default: {few} in validation, {FEW_ANOMALIES} needed to choose"
        return Threshold(0.5, how, len(labels), anomalous)

    values = on_scale(scores, scale)

    # An interval ends at each distinct value; the first one begins below them all.
    ends, f1 = f1_by_threshold(values, labels, weights=weights)
    begins = np.concatenate([[ends[0] - 2.0], ends[:-1]])
    # Equal figures may differ in their last bits.
    highest = float(f1.max())
    best = np.flatnonzero(f1 >= highest - close - 1e-12)
    lengths = (ends - begins)[best]
    middles = (ends + begins)[best] / 2
    # The widest one counts; or, of all that are close, the mean, wide ones counting more.
    if close:
        middle = float(np.average(middles, weights=lengths))
    else:
        middle = float(middles[lengths.argmax()])
    value = score_at(middle, scale)
    return Threshold(value, "best F1 on validation", len(labels), anomalous, highest)


def even_odds(values: Scores, labels: Labels, *, weights: Scores) -> tuple[float, float]:
    """The line on which the logarithms of the odds lie: its slope, and its height at 0.

    The odds are those of "anomalous", and their logarithms rise evenly with a number.
    It is logistic regression on one number. No label is quite certain (Platt: *Probabilistic
    outputs for support vector machines*, 1999), so that the slope is finite where the number
    tells all labels apart.

    Args:
        values: the number, (b,).
        labels: True for anomalous, (b,).
        weights: how much each counts.

    >>> values, labels = np.array([-1.0, 0.0, 2.0, 3.0]), np.array([False, False, True, True])
    >>> slope, begin = even_odds(values, labels, weights=np.ones(4))
    >>> round(-begin / slope, 6)
    1.0
    """
    anomalous = float(weights[labels].sum())
    normal = float(weights[~labels].sum())
    likely_of_anomalous = (anomalous + 1) / (anomalous + 2)
    likely_of_normal = 1 / (normal + 2)
    wanted = np.where(labels, likely_of_anomalous, likely_of_normal)

    # Newton's method on a number of mean 0 and spread 1, whose steps are bounded: it then does not
    # leap.
    middle, spread = float(values.mean()), float(values.std()) or 1.0
    scaled = (values - middle) / spread
    design = np.stack([scaled, np.ones(len(values))])  # (2, b)
    line = np.zeros(2)  # its slope, and its height at the mean
    for _ in range(_NEWTON_STEPS):
        likely = sigmoid(line @ design)
        gradient = design @ (weights * (likely - wanted))
        certainty = weights * likely * (1 - likely)
        curvature = (design * certainty) @ design.T
        # A little more on the diagonal: it can be solved where all values are one.
        curvature += np.eye(2) * 1e-9 * weights.sum()
        step = np.linalg.solve(curvature, gradient)
        longest = float(np.abs(step).max()) or 1.0
        shortened = min(1.0, 2.0 / longest)
        line -= step * shortened

    # The line in units of the number itself again.
    slope = float(line[0]) / spread
    return slope, float(line[1]) - slope * middle


def even_threshold(values: Scores, labels: Labels, *, weights: Scores) -> float | None:
    """The threshold of best F1, if the odds of "anomalous" rise evenly with the score.

    None: they fall.

    A threshold of the best F1 itself moves with a session or two where many thresholds are about
    as good; this one is settled by all sessions together. F1 is best where a session is anomalous
    with half the probability that F1 then is (Lipton, Elkan, Naryanaswamy: *Optimal thresholding
    of classifiers to maximize F1 measure*, 2014).

    Args:
        values: the scores, or their logits, (b,).
        labels: True for anomalous, (b,).
        weights: how much each session counts.

    >>> values = np.array([-1.0, 0.0, 2.0, 3.0])
    >>> round(even_threshold(values, values > 1, weights=np.full(4, 1000.0)), 2)
    1.0
    """
    slope, begin = even_odds(values, labels, weights=weights)
    if slope <= 0:
        return None
    likely = sigmoid(slope * values + begin)
    order = np.argsort(-values, kind="stable")
    # Expected hits and calls from each session up, where it is anomalous with its own probability.
    hits = np.cumsum((weights * likely)[order])
    called = np.cumsum(weights[order])
    f1 = 2 * hits / (called + hits[-1])
    # Half of the best F1 is the probability at the threshold; there the line is at its logit.
    probability = float(f1.max()) / 2
    odds = probability / (1 - probability)
    return (float(np.log(odds)) - begin) / slope


def threshold_between(values: Scores, at: int, *, scale: Literal["logits", "scores"]) -> float:
    """The threshold that calls sessions anomalous from a score on.

    It lies in the middle between that score and the next lower one.

    >>> threshold_between(np.array([0.2, 0.6, 0.9]), 1, scale="scores")
    0.4

    Args:
        values: the distinct scores, ascending.
        at: the score's place among them.
        scale: what the middle is taken in (`choose_threshold`).
    """
    around = on_scale(values[max(at - 1, 0) : at + 1], scale)
    # Below the lowest score there is none: a point on the scale stands for it.
    below = around[0] if at else around[0] - 2.0
    middle = float((below + around[-1]) / 2)
    return score_at(middle, scale)


def on_scale(scores: Scores, scale: Literal["logits", "scores"]) -> Scores:
    """Scores, or their logits, finite where a score is 0 or 1."""
    if scale == "scores":
        return scores
    # The least number above 0 and the largest below 1: their logits are finite.
    least, most = np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg
    within = np.clip(scores, least, most)
    logits: Scores = np.log(within) - np.log1p(-within)
    return logits


def score_at(place: float, scale: Literal["logits", "scores"]) -> float:
    """The score at a place of the scale."""
    if scale == "logits":
        return float(1 / (1 + np.exp(-place)))
    return min(max(place, 0.0), 1.0)


def calibration(scores: Scores, labels: Labels) -> dict[str, Any]:
    """How far scores are from probabilities, in ten bands of equal width.

    `error` is the mean distance of the bands, each weighted by its sessions (Naeini 2015).

    >>> calibration(np.array([0.0, 0.0, 1.0, 1.0]), np.array([False, False, True, False]))["error"]
    0.25
    """
    # A score of 1 belongs to the last band, not to one of its own.
    band_at = (scores * _BANDS).astype(int)
    of = np.minimum(band_at, _BANDS - 1)
    bands: list[dict[str, Any]] = []
    distance = 0.0
    for number in np.unique(of).tolist():
        inside = of == number
        band = {
            "from": number / _BANDS,
            "to": (number + 1) / _BANDS,
            "sessions": int(inside.sum()),
            "mean": float(scores[inside].mean()),
            "anomalous": float(labels[inside].mean()),
        }
        bands.append(band)
        gap = abs(band["mean"] - band["anomalous"])
        distance += band["sessions"] * gap
    return {"error": float(distance / len(scores)), "bands": bands}
