"""The learning rate over a stage."""

import pytest

from logllm.config.train import StageSection
from logllm.training.loop import learning_rate


def rates(schedule: str, *, total: int) -> list[float]:
    stage = StageSection(trains=("projector",), lr=1.0, epochs=1, schedule=schedule)
    return [learning_rate(stage, done=done, total=total) for done in range(total)]


def test_tenths_fall_at_each_tenth_and_nowhere_else() -> None:
    assert rates("tenths", total=100) == pytest.approx([0.7 ** (done // 10) for done in range(100)])


def test_one_cycle_begins_low_is_highest_at_three_tenths_and_ends_lowest() -> None:
    cycle = rates("one-cycle", total=100)
    assert cycle[0] == pytest.approx(1 / 25)
    assert cycle[30] == max(cycle) == pytest.approx(1.0)
    assert cycle[:31] == sorted(cycle[:31])
    assert cycle[30:] == sorted(cycle[30:], reverse=True)
    assert cycle[-1] < 0.01


def test_constant_is_constant() -> None:
    assert rates("constant", total=7) == [1.0] * 7
