"""Figures against scikit-learn's and against sums done by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from logllm.evaluate.intervals import intervals
from logllm.metrics import average_precision, choose_threshold, measure, sigmoid

SCORED = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]), st.booleans()),
    min_size=2,
    max_size=60,
)


@given(SCORED)
def test_figures_are_scikit_learns(scored) -> None:
    scores, labels = (
        np.array([score for score, _ in scored]),
        np.array([label for _, label in scored]),
    )
    found = measure(scores, labels, threshold=0.5)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, scores >= 0.5, average="binary", zero_division=0
    )
    assert (found.precision, found.recall, found.f1) == pytest.approx((precision, recall, f1))
    assert found.tp + found.fn == labels.sum()
    assert found.tp + found.fp + found.tn + found.fn == len(labels)
    if labels.any():
        assert found.average_precision == pytest.approx(average_precision_score(labels, scores))
    else:
        assert found.average_precision is None


@given(SCORED, st.integers(0, 2**32 - 1))
def test_weights_count_like_repetitions(scored, seed) -> None:
    scores, labels = (
        np.array([score for score, _ in scored]),
        np.array([label for _, label in scored]),
    )
    weights = np.random.default_rng(seed).integers(0, 4, size=len(scores))
    weighted = measure(scores, labels, threshold=0.3, weights=weights)
    by_row = average_precision(scores, labels, weights=np.stack([weights, 2 * weights]))
    assert by_row == pytest.approx(
        [np.nan if weighted.average_precision is None else weighted.average_precision] * 2,
        nan_ok=True,
    )
    repeated = measure(np.repeat(scores, weights), np.repeat(labels, weights), threshold=0.3)
    assert (weighted.tp, weighted.fp, weighted.tn, weighted.fn) == (
        repeated.tp,
        repeated.fp,
        repeated.tn,
        repeated.fn,
    )
    assert weighted.average_precision == (
        None if repeated.average_precision is None else pytest.approx(repeated.average_precision)
    )


def test_intervals_hold_the_figure_and_shrink_with_more_sessions() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (50, 1500):
        labels = rng.random(count) < 0.2
        scores = np.clip(labels * 0.4 + rng.random(count) * 0.6, 0, 1)
        figure = measure(scores, labels, threshold=0.5)
        ends = intervals(scores, labels, threshold=0.5, resamples=100)
        for name, (low, high) in ends.items():
            assert 0 <= low <= getattr(figure, name) <= high <= 1
        widths.append(ends["f1"][1] - ends["f1"][0])
    assert widths[1] < widths[0] / 2
    assert intervals(np.array([0.2, 0.1]), np.array([False, False]), threshold=0.5) == {}


def test_threshold_is_the_middle_of_the_best_interval_in_logits() -> None:
    logits = np.array([-4.0, -3.0, -1.0, *np.linspace(3.0, 5.0, 12)])
    labels = np.array([False, False, False] + [True] * 12)
    chosen = choose_threshold(sigmoid(logits), labels, scale="logits")
    assert chosen.f1 == 1.0
    assert chosen.value == pytest.approx(1 / (1 + np.exp(-1.0)))  # halfway between -1 and 3


def test_of_intervals_of_equal_f1_the_widest_is_taken() -> None:
    """10 of 10 anomalies in 20 called and 9 in 17 have the F1 2/3; from 1 to 5 it is wider than
    below 0."""
    at_five, at_one, at_zero = [5.0] * 17, [1.0] * 2, [0.0]
    labels = np.array([True] * 9 + [False] * 8 + [False] * 2 + [True])
    chosen = choose_threshold(sigmoid(np.array(at_five + at_one + at_zero)), labels, scale="logits")
    assert chosen.f1 == pytest.approx(2 / 3)
    assert chosen.value == pytest.approx(1 / (1 + np.exp(-3.0)))


def test_ten_anomalies_are_enough_to_choose() -> None:
    scores = np.array([0.2] * 5 + [0.9] * 10)
    for scale in ("logits", "scores"):
        assert choose_threshold(scores, scores > 0.5, scale=scale).how == "best F1 on validation"
        assert choose_threshold(scores[:-1], scores[:-1] > 0.5, scale=scale).value == 0.5


def test_intervals_hold_95_of_100_resamples() -> None:
    """Half of 200 anomalies are recalled: the recall's standard error is .0354, and 95 % are 1.96
    of it to either side (90 %: 1.64)."""
    scores = np.array([0.9, 0.1] * 100 + [0.1] * 200)
    labels = np.array([True] * 200 + [False] * 200)
    low, high = intervals(scores, labels, threshold=0.5)["recall"]
    assert (high - low) / 2 / 0.0354 == pytest.approx(1.96, abs=0.15)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=30, max_size=80))
def test_no_threshold_does_better(scored) -> None:
    logits, labels = (
        np.array([float(logit) for logit, _ in scored]),
        np.array([label for _, label in scored]),
    )
    chosen = choose_threshold(sigmoid(logits), labels, scale="logits")
    if labels.sum() < 10:
        assert chosen.value == 0.5
        assert chosen.how.startswith("default")
        return
    scores = 1 / (1 + np.exp(-logits))
    best = max(measure(scores, labels, threshold=float(value)).f1 for value in np.unique(scores))
    assert (
        measure(scores, labels, threshold=chosen.value).f1
        == pytest.approx(best)
        == pytest.approx(chosen.f1)
    )


def test_a_threshold_by_weights_is_the_one_of_repeated_sessions() -> None:
    dice = np.random.default_rng(0)
    labels = dice.random(60) < 0.4
    scores = np.round(np.clip(0.3 * labels + dice.random(60) * 0.7, 0, 1), 2)
    weights = dice.integers(1, 4, 60)
    weighted = choose_threshold(scores, labels, scale="scores", weights=weights.astype(float))
    repeated = choose_threshold(
        np.repeat(scores, weights), np.repeat(labels, weights), scale="scores"
    )
    assert (weighted.value, weighted.f1) == (repeated.value, repeated.f1)


def test_thresholds_of_which_many_are_about_as_good_give_their_mean() -> None:
    # From .1 to .79 F1 is .98; between .79 and .795 it is 1.
    scores = np.array([0.1] * 30 + [0.79] + [0.8] * 10 + [0.795] * 10)
    labels = np.array([False] * 30 + [False] + [True] * 20)
    best = choose_threshold(scores, labels, scale="scores")
    about = choose_threshold(scores, labels, scale="scores", close=0.05)
    assert 0.79 < best.value < 0.795
    assert about.value == pytest.approx((0.1 + 0.795) / 2)
    assert about.f1 == best.f1
