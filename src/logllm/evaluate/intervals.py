"""How far figures would move with other sessions: many draws of them at once."""

import numpy as np

from logllm.metrics import Labels, Scores, Weights, average_precision

NAMES = ("precision", "recall", "f1", "average_precision")
"""The figures that get intervals."""
_AT_ONCE = 100


def intervals(
    scores: Scores, labels: Labels, *, threshold: float, resamples: int = 1000, seed: int = 0
) -> dict[str, list[float]]:
    """95 % bootstrap intervals over sessions.

    They are by percentiles (Efron and Tibshirani 1993, chapter 13). Each resample draws as many
    sessions as there are, with replacement. A resample without anomalies is drawn again, at most
    as often as there are resamples.

    Returns:
        For precision, recall, f1 and average_precision the lower and the upper end; empty without
        an anomaly.
    """
    if not labels.any():
        return {}
    rng = np.random.default_rng(seed)

    # Equal sessions weigh alike: a resample is a draw of counts over the distinct (score, label)
    # pairs.
    columns = np.stack([scores, labels.astype(float)])
    pairs, counts = np.unique(columns, axis=1, return_counts=True)
    score = pairs[0]
    label = pairs[1].astype(bool)
    chances = counts / counts.sum()

    # Some at once, to bound the memory; twice as many draws as are wanted, as one without an
    # anomaly has no recall and does not count.
    figures = np.zeros((0, len(NAMES)))
    for drawn in range(0, 2 * resamples, _AT_ONCE):
        size = min(_AT_ONCE, 2 * resamples - drawn)
        weights = rng.multinomial(len(scores), chances, size=size)
        has_anomaly = weights[:, label].any(axis=1)
        rows = _figures(score, label, threshold=threshold, weights=weights[has_anomaly])
        figures = np.concatenate([figures, rows])[:resamples]
        if len(figures) == resamples:
            break
    # Rounding may carry an end past 0 or 1.
    ends = np.percentile(figures, [2.5, 97.5], axis=0).clip(0, 1)
    return {name: ends[:, at].tolist() for at, name in enumerate(NAMES)}


def _figures(scores: Scores, labels: Labels, *, threshold: float, weights: Weights) -> Scores:
    """Figures for each row of weights, (rows, 4), as `logllm.metrics.measure` defines them."""
    called = scores >= threshold
    hit = called & labels
    missed = ~called & labels
    tp = weights[:, hit].sum(axis=1)
    fp = weights[:, called & ~labels].sum(axis=1)
    fn = weights[:, missed].sum(axis=1)

    # 0/0 is 0 here: a resample in which nothing is called, or nothing is anomalous.
    precision = tp / np.maximum(tp + fp, 1)
    recall = tp / np.maximum(tp + fn, 1)
    f1 = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    average = average_precision(scores, labels, weights=weights)
    return np.stack([precision, recall, f1, average], axis=1)
