"""A session's score as the largest of the verdicts after each of its messages."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from logllm.config.recipe import Recipe
from logllm.methods.contract import Workplace
from logllm.methods.logllm import LogLLMMethod
from logllm.metrics import Scores
from logllm.progress import Progress
from logllm.sessions.message_table import Rows

MESSAGES = pl.Series(["fine", "alert", "all is well again"])
SAYS = np.array([-0.5, 4.0, -3.0])
"""What each message adds to the verdict."""


class Adding:
    """A scorer in whose verdict every message of a session adds up; it notes how many sessions it
    was asked of."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def score(
        self, sessions: Sequence[Rows], messages: pl.Series, *, progress: Progress | None = None
    ) -> Scores:
        assert messages is MESSAGES
        self.asked.append(len(sessions))
        return np.array([SAYS[session].sum() - 1.0 for session in sessions])


def method(verdict: str) -> LogLLMMethod:
    """LogLLM with that scorer."""
    recipe = Recipe.load("tiny")
    model = recipe.model.model_copy(update={"verdict": verdict})
    made = LogLLMMethod(recipe.model_copy(update={"model": model}), Workplace())
    made.scorer = Adding()  # type: ignore[assignment]
    return made


def rows(*places: int) -> Rows:
    return np.array(places, dtype=np.int64)


@pytest.mark.parametrize(
    ("session", "last", "largest"),
    [
        (rows(0, 1, 2), -0.5, 2.5),
        (rows(0, 0, 1), 2.0, 2.0),
        (rows(0, 0, 0), -2.5, -1.5),
        (rows(), -1.0, -1.0),
    ],
    ids=["alert-forgotten", "alert-last", "no-alert", "no-message"],
)
def test_an_alert_is_not_forgotten_over_what_follows(
    session: Rows, last: float, largest: float
) -> None:
    assert method("last").margins([session], MESSAGES).tolist() == [last]
    assert method("largest").margins([session], MESSAGES).tolist() == [largest]


def test_sessions_have_their_own_verdicts_whatever_is_beside_them() -> None:
    dice = np.random.default_rng(0)
    sessions = [dice.integers(0, 3, size) for size in dice.integers(0, 9, 60)]
    together = method("largest").margins(sessions, MESSAGES)
    assert together.tolist() == [
        method("largest").margins([session], MESSAGES)[0] for session in sessions
    ]


def test_beginnings_of_long_logs_are_scored_some_at_a_time_and_equal_sessions_once() -> None:
    dice = np.random.default_rng(0)
    sessions = [dice.integers(0, 3, 128) for _ in range(1200)]
    made, told = method("largest"), list[tuple[int, int]]()
    margins = made.margins(
        [*sessions, *sessions], MESSAGES, progress=lambda done, total: told.append((done, total))
    )
    assert margins[:1200].tolist() == margins[1200:].tolist()
    assert isinstance(made.scorer, Adding)
    assert sum(made.scorer.asked) == 1200 * 128
    assert len(made.scorer.asked) > 1
    assert max(made.scorer.asked) <= 65_536 + 128
    assert told[-1] == (1200, 1200)


def test_few_takes_it_and_the_paper_does_not() -> None:
    assert Recipe.load("few").model.verdict == "largest"
    assert {Recipe.load(name).model.verdict for name in ("bgl", "hdfs", "small", "postgres")} == {
        "last"
    }
