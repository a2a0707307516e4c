"""Two methods on the same sessions: is one better, or was it chance?"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from logllm.metrics import Labels, Scores, Weights, average_precision

RESAMPLES = 2000
"""Draws of a bootstrap."""
_AT_ONCE = 100


class Difference(NamedTuple):
    """How much higher a figure of one method is than another's."""

    estimate: float
    """On the sessions as they are."""
    lower: float
    """Lower end of the 95 % interval."""
    upper: float
    """Upper end."""
    share_above: float
    """In what share of the resamples it is above zero."""


def paired_difference(
    scores_a: Scores | Sequence[Scores],
    scores_b: Scores | Sequence[Scores],
    *,
    labels: Labels,
    groups: npt.NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Difference:
    """How much higher one method's average precision is than another's, with its interval.

    The interval is by percentiles of a paired bootstrap over sessions (Efron and Tibshirani 1993).
    Each resample draws sessions with replacement, the same ones for both methods, and from each
    group as many as it has; a resample without an anomaly is left out. The interval holds for these
    seeds and models: it does not tell how another training would have gone.

    Args:
        scores_a: a score for each session, or a list of such scores, one for each seed; in every
            resample the mean over seeds counts.
        scores_b: the other method's; it may have a different number of seeds.
        labels: which sessions are anomalous.
        groups: which group, such as the fold, each session is of; none: all are of one.
        seed: decides the draws.

    >>> labels = np.array([True, False] * 20)
    >>> paired_difference(np.where(labels, 0.9, 0.1), np.full(40, 0.5), labels=labels).share_above
    1.0
    """
    first = _rows(scores_a)
    second = _rows(scores_b)
    of = np.zeros(len(labels)) if groups is None else groups
    # Equal sessions weigh alike: a resample is a draw of counts over the distinct ones.
    columns = np.vstack([of, labels, first, second]).astype(np.float64)
    distinct, counts = np.unique(columns, axis=1, return_counts=True)
    group = distinct[0]
    label = distinct[1].astype(np.bool_)
    a = distinct[2 : 2 + len(first)]
    b = distinct[2 + len(first) :]

    # Both methods have the same weights in a resample.
    def differences(weights: Weights) -> Scores:
        of_a = _weighted(a, label, weights=weights)
        of_b = _weighted(b, label, weights=weights)
        return of_a - of_b

    estimate = float(differences(counts[None])[0])
    draws = _draws(group, counts, rng=np.random.default_rng(seed))
    resampled = np.concatenate([differences(weights) for weights in draws])
    # In a resample without an anomaly average precision is no number.
    resampled = resampled[~np.isnan(resampled)]
    if not len(resampled):
        return Difference(estimate, float("nan"), float("nan"), float("nan"))
    return _spread(estimate, resampled)


def f1_difference(
    called_a: Labels, called_b: Labels, *, labels: Labels, seed: int = 0
) -> Difference:
    """F1 of a method's verdicts less that of another's, with the bootstrap of `paired_difference`.

    Args:
        called_a: which sessions a method calls anomalous.
        called_b: which the other one does.
        labels: which are.
        seed: decides the draws.

    >>> labels = np.array([True, False] * 20)
    >>> f1_difference(labels, np.ones(40, dtype=np.bool_), labels=labels).lower > 0.1
    True
    """
    both = np.vstack([labels, called_a, called_b])

    def difference(cells: Labels, weights: Weights) -> Scores:
        label, a, b = cells
        return _f1(label, a, weights=weights) - _f1(label, b, weights=weights)

    return _of_verdicts(both, difference, seed=seed)


def share_difference(true_a: Labels, true_b: Labels, *, seed: int = 0) -> Difference:
    """How much larger the share of sessions is for which one thing is true than another.

    The interval is by the bootstrap of `paired_difference`.

    >>> share_difference(np.array([True] * 8), np.array([True, False] * 4)).estimate
    0.5
    """
    # One resampling for both: sessions that are hard for both cancel out of the difference.
    both = np.vstack([true_a, true_b])

    def difference(cells: Labels, weights: Weights) -> Scores:
        of_a: Scores = (weights * cells[0]).sum(axis=1)
        of_b: Scores = (weights * cells[1]).sum(axis=1)
        share: Scores = (of_a - of_b) / weights.sum(axis=1)
        return share

    return _of_verdicts(both, difference, seed=seed)


def _f1(labels: Labels, called: Labels, *, weights: Weights) -> Scores:
    """F1 for each row of weights."""
    hits = (weights * (called & labels)).sum(axis=1)
    calls = (weights * called).sum(axis=1)
    anomalies = (weights * labels).sum(axis=1)
    # 2 tp / (2 tp + fp + fn), as calls are tp + fp and anomalies tp + fn.
    f1: Scores = 2 * hits / np.maximum(calls + anomalies, 1)
    return f1


def _spread(estimate: float, resampled: Scores) -> Difference:
    """A difference with its interval, by percentiles."""
    lower, upper = np.percentile(resampled, [2.5, 97.5])
    share_above = float((resampled > 0).mean())
    return Difference(estimate, float(lower), float(upper), share_above)


def _of_verdicts(
    both: Labels, difference: Callable[[Labels, Weights], Scores], *, seed: int
) -> Difference:
    """A difference between verdicts: equal ones weigh alike, as in `paired_difference`."""
    cells, counts = np.unique(both, axis=1, return_counts=True)
    estimate = float(difference(cells, counts[None])[0])
    draws = _draws(np.zeros(len(counts)), counts, rng=np.random.default_rng(seed))
    resampled = np.concatenate([difference(cells, weights) for weights in draws])
    return _spread(estimate, resampled)


def _rows(scores: Scores | Sequence[Scores]) -> Scores:
    """Scores with a row a seed."""
    return np.atleast_2d(np.asarray(scores, dtype=np.float64))


def _draws(groups: Scores, counts: Weights, *, rng: np.random.Generator) -> Iterator[Weights]:
    """How often each distinct session is drawn, a row a resample, some rows at once."""
    for _ in range(RESAMPLES // _AT_ONCE):
        weights = np.zeros((_AT_ONCE, len(counts)), dtype=np.int64)
        for group in np.unique(groups):
            # Within each group as many sessions as it has, so that no fold weighs more by chance.
            members = groups == group
            total = int(counts[members].sum())
            chances = counts[members] / total
            weights[:, members] = rng.multinomial(total, chances, size=_AT_ONCE)
        yield weights


def _weighted(scores: Scores, labels: Labels, *, weights: Weights) -> Scores:
    """Average precision for each row of weights, averaged over the rows of scores.

    It is NaN where the weights leave no anomaly.
    """
    of_seeds = [average_precision(row, labels, weights=weights) for row in scores]
    means: Scores = np.mean(of_seeds, axis=0)
    return means
