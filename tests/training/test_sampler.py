"""Which sessions a stage sees, and how fast it learns from them."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.config.train import StageSection, TrainSection
from logllm.training.loop import learning_rate
from logllm.training.sampler import drawn, oversampled, stage_order


def settings(**changes) -> TrainSection:
    stage = {name: changes.pop(name) for name in list(changes) if name in StageSection.model_fields}
    return TrainSection(stages=(StageSection(trains=("projector",), lr=1.0, **stage),), **changes)


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.floats(0, 0.9))
def test_oversampling_counts(labels, share) -> None:
    """max(int(share x majority / (1 - share)), minority): paper.md, section 1; each class keeps
    every row."""
    labels = np.array(labels)
    rows = oversampled(labels, share=share, rng=np.random.default_rng(0))
    minority, majority = sorted((int(labels.sum()), int((~labels).sum())))
    wanted = max(int(share * majority / (1 - share)), minority) if minority else 0
    assert len(rows) == majority + wanted
    assert set(rows.tolist()) == set(range(len(labels)))
    counts = np.bincount(rows)
    rare = labels if labels.sum() <= (~labels).sum() else ~labels
    if minority:
        assert counts[rare].max() - counts[rare].min() <= 1
    assert (counts[~rare] == 1).all() or labels.sum() * 2 == len(labels)


def test_stage_one_draws_without_replacement() -> None:
    labels = np.arange(2000) < 700
    order = stage_order(labels, settings(max_sessions=1000), stage=0)
    assert len(order) == 1000
    assert np.bincount(order).max() <= 2  # 700 anomalous, 557 wanted: nobody is repeated at .3
    assert len(set(order.tolist())) == 1000


def test_a_small_set_is_drawn_again_and_again() -> None:
    order = stage_order(np.arange(10) < 4, settings(max_sessions=35), stage=0)
    assert len(order) == 35
    assert np.bincount(order).min() >= 3


def test_epochs_and_their_floor() -> None:
    labels = np.arange(100) < 40
    assert len(stage_order(labels, settings(epochs=2), stage=0)) == 200
    assert len(stage_order(labels, settings(epochs=2, min_epoch_sessions=250), stage=0)) == 600


def test_the_last_incomplete_micro_batch_can_be_dropped() -> None:
    labels = np.arange(10) < 4
    assert (
        len(
            stage_order(labels, settings(epochs=1, batch=4, micro_batch=4, drop_last=True), stage=0)
        )
        == 8
    )


def test_order_is_a_function_of_seed_and_stage() -> None:
    labels = np.arange(50) < 20
    stages = settings(epochs=1).stages * 2
    section = TrainSection(stages=stages)
    first, second = (stage_order(labels, section, stage=stage).tolist() for stage in (0, 1))
    assert first != second
    assert first == stage_order(labels, section, stage=0).tolist()
    assert first != stage_order(labels, section.model_copy(update={"seed": 1}), stage=0).tolist()


def test_one_cycle_is_torchs() -> None:
    import torch

    stage = StageSection(trains=("decoder",), lr=6e-4, epochs=1, schedule="one-cycle")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-4, total_steps=1001)
    for done in range(1000):
        assert learning_rate(stage, done=done, total=1000) == pytest.approx(
            schedule.get_last_lr()[0], rel=0.02, abs=1e-8
        )
        optimizer.step()
        schedule.step()


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=60))
def test_equal_sessions_are_drawn_as_often_as_the_setting_says(made) -> None:
    sessions, labels = (
        [np.array([message]) for message, _ in made],
        np.array([label for _, label in made]),
    )
    for how, times in (
        ("sessions", lambda n: n),
        ("distinct", lambda n: 1),
        ("roots", lambda n: math.ceil(math.sqrt(n))),
    ):
        rows = drawn(sessions, labels, how=how)
        assert (np.diff(rows) > 0).all()
        assert Counter(made[row] for row in rows) == {
            each: times(count) for each, count in Counter(made).items()
        }


def test_the_rest_of_a_minority_is_drawn_without_repetition() -> None:
    """1 + 39 wanted of 20: each once, and 19 of them once more."""
    labels = np.array([True] * 20 + [False] * 91)
    rows = oversampled(labels, share=0.3, rng=np.random.default_rng(0))
    minority = np.bincount(rows[rows < 20], minlength=20)
    assert sorted(minority.tolist()) == [1] + [2] * 19
