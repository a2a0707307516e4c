"""How far figures would move with other sessions: many draws of them at once."""

import numpy as np

from logllm.metrics import Labels, Scores, Weights, average_precision

NAMES = ("precision", "recall", "f1", "average_precision")
"""The figures that get intervals."""
_AT_ONCE = 100


def intervals(scores: Scores, labels: Labels, *, threshold: float, resamples: int = 1000, seed: int = 0) -> dict[str, list[float]]:
    """95 % bootstrap intervals over sessions, by percentiles (Efron and Tibshirani 1993, chapter 13).

    Each resample draws as many sessions with replacement; one without anomalies is drawn again, at most as often as
    there are resamples.

    Returns:
        For precision, recall, f1 and average_precision the lower and the upper end; empty without an anomaly.
    """
    if not labels.any():
        return {}
    rng = np.random.default_rng(seed)
    # Equal sessions weigh alike: a resample is a draw of counts over the distinct (score, label) pairs.
    pairs, counts = np.unique(np.stack([scores, labels.astype(float)]), axis=1, return_counts=True)
    score, label = pairs[0], pairs[1].astype(bool)
    found = np.zeros((0, len(NAMES)))
    for drawn in range(0, 2 * resamples, _AT_ONCE):
        weights = rng.multinomial(len(scores), counts / counts.sum(), size=min(_AT_ONCE, 2 * resamples - drawn))
        weights = weights[weights[:, label].any(axis=1)]
        found = np.concatenate([found, _figures(score, label, threshold=threshold, weights=weights)])[:resamples]
        if len(found) == resamples:
            break
    ends = np.percentile(found, [2.5, 97.5], axis=0)
    return {name: ends[:, at].clip(0, 1).tolist() for at, name in enumerate(NAMES)}


def _figures(scores: Scores, labels: Labels, *, threshold: float, weights: Weights) -> Scores:
    """Figures for each row of weights, (rows, 4), as `logllm.metrics.measure` defines them."""
    called = scores >= threshold
    tp, fp, fn = (weights[:, some].sum(axis=1) for some in (called & labels, called & ~labels, ~called & labels))
    precision = tp / np.maximum(tp + fp, 1)
    average = average_precision(scores, labels, weights=weights)
    return np.stack([precision, tp / np.maximum(tp + fn, 1), 2 * tp / np.maximum(2 * tp + fp + fn, 1), average], axis=1)
