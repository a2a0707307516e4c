"""The paired bootstrap of two methods' average precision."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.detect.metrics import average_precision
from logllm.study.paired import mean_average_precision, paired_difference, pooled

LABELS = np.random.default_rng(0).random(300) < 0.2


def noisy(seed, *, noise):
    """Scores that know the labels, more or less, some of them equal."""
    return (LABELS + noise * np.random.default_rng(seed).standard_normal(len(LABELS))).round(1)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans()), min_size=1, max_size=20))
def test_it_is_the_average_precision_of_the_reports(pairs):
    scores, labels = np.array([score for score, _ in pairs]), np.array([label for _, label in pairs])
    expected = average_precision(scores, labels)
    assert mean_average_precision(scores, labels) == pytest.approx(np.nan if expected is None else expected, nan_ok=True)


def test_a_better_method_is_above_and_equal_ones_are_not():
    good, bad = [noisy(seed, noise=0.3) for seed in range(3)], noisy(9, noise=1.5)
    found = paired_difference(good, bad, labels=LABELS)
    expected = np.mean([average_precision(scores, LABELS) for scores in good]) - average_precision(bad, LABELS)
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
    plain = [average_precision(a[rows], LABELS[rows]) - average_precision(b[rows], LABELS[rows]) for rows in drawn]
    found = paired_difference(a, b, labels=LABELS, seed=1)
    assert [found.lower, found.upper] == pytest.approx(np.percentile(plain, [2.5, 97.5]).tolist(), abs=0.03)
    assert found.share_above == pytest.approx(np.mean(np.array(plain) > 0), abs=0.06)
    assert found == paired_difference(a, b, labels=LABELS, seed=1) != paired_difference(a, b, labels=LABELS, seed=2)


def test_groups_keep_their_numbers():
    # One group's labels are all that varies: drawn within groups, every resample is the same.
    labels = np.array([True] * 10 + [False] * 30)
    a, b = np.where(labels, 0.9, 0.1), np.where(labels, 0.1, 0.9)
    within = paired_difference(a, b, labels=labels, groups=np.where(labels, 0, 1))
    assert within.lower == within.upper == pytest.approx(within.estimate)
    across = paired_difference(a, b, labels=labels)
    assert across.lower < across.estimate < across.upper


def test_without_an_anomaly_there_is_no_difference():
    found = paired_difference(np.array([0.1, 0.9]), np.array([0.9, 0.1]), labels=np.array([False, False]))
    assert np.isnan(found).all()


def test_pooled_is_one_set_over_folds_and_seeds():
    folds = [(noisy(seed, noise=0.5)[part], LABELS[part]) for seed, part in ((1, slice(0, 100)), (2, slice(100, 300)))]
    found = pooled(folds)
    assert found.scores.shape == (1, 300)
    assert np.bincount(found.groups).tolist() == [100, 200]
    whole = np.concatenate([scores for scores, _ in folds])
    assert found.average_precision == pytest.approx(average_precision(whole, LABELS))
    seeds = pooled([([scores, scores + 1], labels) for scores, labels in folds])
    assert seeds.scores.shape == (2, 300)
    assert seeds.average_precision == pytest.approx(found.average_precision)
