"""The paired bootstrap of two methods' average precision."""

import numpy as np
import pytest

from logllm.evaluate.paired import paired_difference
from logllm.metrics import measure

LABELS = np.random.default_rng(0).random(300) < 0.2


def noisy(seed, *, noise):
    """Scores that know the labels, more or less, some of them equal."""
    return (LABELS + noise * np.random.default_rng(seed).standard_normal(len(LABELS))).round(1)


def precision(scores, labels=LABELS):
    """Average precision of plain sessions."""
    return measure(scores, labels, threshold=0.5).average_precision


def test_a_better_method_is_above_and_equal_ones_are_not():
    good, bad = [noisy(seed, noise=0.3) for seed in range(3)], noisy(9, noise=1.5)
    found = paired_difference(good, bad, labels=LABELS)
    expected = np.mean([precision(scores) for scores in good]) - precision(bad)
    assert found.estimate == pytest.approx(expected)
    assert 0 < found.lower < found.estimate < found.upper
    assert found.share_above == 1
    back = paired_difference(bad, good, labels=LABELS)
    assert (back.estimate, back.share_above) == (pytest.approx(-found.estimate), 0)
    same = paired_difference(bad, bad, labels=LABELS)
    assert same == (0, 0, 0, 0)


def test_the_interval_is_that_of_resampling_one_by_one():
    a, b = noisy(1, noise=0.8), noisy(2, noise=1.0)
    rng = np.random.default_rng(5)
    drawn = [rng.integers(len(LABELS), size=len(LABELS)) for _ in range(300)]
    plain = [precision(a[rows], LABELS[rows]) - precision(b[rows], LABELS[rows]) for rows in drawn]
    found = paired_difference(a, b, labels=LABELS, seed=1)
    assert [found.lower, found.upper] == pytest.approx(
        np.percentile(plain, [2.5, 97.5]).tolist(), abs=0.03
    )
    assert found.share_above == pytest.approx(np.mean(np.array(plain) > 0), abs=0.06)
    assert (
        found
        == paired_difference(a, b, labels=LABELS, seed=1)
        != paired_difference(a, b, labels=LABELS, seed=2)
    )


def test_groups_keep_their_numbers():
    # One group's labels are all that varies: drawn within groups, every resample is the same.
    labels = np.array([True] * 10 + [False] * 30)
    a, b = np.where(labels, 0.9, 0.1), np.where(labels, 0.1, 0.9)
    within = paired_difference(a, b, labels=labels, groups=np.where(labels, 0, 1))
    assert within.lower == within.upper == pytest.approx(within.estimate)
    across = paired_difference(a, b, labels=labels)
    assert across.lower < across.estimate < across.upper


def test_without_an_anomaly_there_is_no_difference():
    found = paired_difference(
        np.array([0.1, 0.9]), np.array([0.9, 0.1]), labels=np.array([False, False])
    )
    assert np.isnan(found).all()
