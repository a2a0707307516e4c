"""Thresholds and weights from kinds of fault that were held out."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import polars as pl
import pytest

from logllm.config.recipe import Recipe
from logllm.config.train import TrainSection
from logllm.errors import DataError
from logllm.methods.contract import Method, Needs, Workplace
from logllm.methods.frozen import Frozen, frozen_thresholds
from logllm.methods.mixture import mixed
from logllm.methods.prepared_part import Part
from logllm.methods.registry import make
from logllm.metrics import Scores, sigmoid
from logllm.sessions.message_table import Rows
from tests.methods.test_held_out import FAULTS, ROUTINE, part

TWO_FOLDS = TrainSection(folds=2)


def fresh(name: str) -> Callable[[], Method]:
    """What makes a method of a name."""
    return partial(make, name, Recipe.of_method(name), workplace=Workplace())


def frozen(method: Callable[[], Method], data: Part, *, seed: int = 0) -> Frozen:
    """What two folds choose."""
    chosen = frozen_thresholds(method, data, section=TrainSection(folds=2, seed=seed))
    assert chosen is not None
    return chosen


class Pair(Method):
    """A mixture of a mind that knows faults by their words, more or less, and one that does not;
    both draw noise."""

    needs = Needs.SESSIONS
    scale = "logits"

    def __init__(self, *, reader: float, quick: float, fitted: list[int] | None = None) -> None:
        self.weights = {"reader": 0.25, "quick": 1.0}
        self._sure = {"reader": reader, "quick": quick}
        self._fitted = [] if fitted is None else fitted

    def fit(self, sessions: Sequence[Rows], messages: pl.Series, **_: object) -> None:
        self._fitted.append(len(sessions))

    def minds(self, sessions: Sequence[Rows], messages: pl.Series) -> dict[str, Scores]:
        dice = np.random.default_rng(len(sessions))
        faulty = np.array([(session >= len(ROUTINE)).any() for session in sessions])
        return {
            name: sure * np.where(faulty, 2.0, -2.0) + dice.normal(size=len(sessions))
            for name, sure in self._sure.items()
        }

    def score(self, sessions: Sequence[Rows], messages: pl.Series, **_: object) -> Scores:
        return sigmoid(mixed(self.minds(sessions, messages), self.weights))

    def weighings(self) -> list[dict[str, float]]:
        return [{"reader": weight, "quick": 1.0} for weight in (0.25, 0.0, 4.0)]

    def quick(self) -> "Quick":
        return Quick(self)


class Quick:
    """The mind of a pair that is not the reader."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair

    def fit(self, sessions: Sequence[Rows], messages: pl.Series, **labels: object) -> None:
        self._pair.fit(sessions, messages, **labels)

    def minds(self, sessions: Sequence[Rows], messages: pl.Series) -> dict[str, Scores]:
        return {"quick": self._pair.minds(sessions, messages)["quick"]}


def test_too_few_kinds_of_fault_hold_none_out() -> None:
    assert frozen_thresholds(fresh("logistic-words"), part(faults=2), section=TWO_FOLDS) is None


def test_sessions_without_labels_are_refused_with_the_remedy() -> None:
    with pytest.raises(DataError, match=r"no labels: --set train\.folds=0"):
        frozen_thresholds(fresh("novelty"), part()._replace(labels=None), section=TWO_FOLDS)


def test_the_threshold_is_taken_from_what_was_held_out() -> None:
    told: list[tuple[str, float | None]] = []
    chosen = frozen_thresholds(
        fresh("logistic-words"),
        part(),
        section=TWO_FOLDS,
        report=lambda text, share: told.append((text, share)),
    )
    assert chosen is not None
    threshold = chosen.sessions
    assert "kinds of fault held out, 2 folds" in threshold.how
    assert 0 < threshold.value < 1
    assert [share for _, share in told] == [0.0, 0.5]
    assert (chosen.weights, list(chosen.about)) == (None, ["line_threshold"])  # it is one mind


@pytest.mark.parametrize("lines", [True, False], ids=["lines-labelled", "sessions-labelled"])
def test_lines_have_a_threshold_of_their_own_where_they_have_labels(lines: bool) -> None:
    chosen = frozen(fresh("logistic-words"), part(lines=lines))
    assert (chosen.lines is not None) == lines
    if chosen.lines is not None:
        assert 0 < chosen.lines.value < 1
        assert chosen.lines.sessions > chosen.sessions.sessions  # of lines there are more
        assert chosen.lines.how == chosen.sessions.how


@pytest.mark.parametrize(
    ("reader", "quick", "weight"),
    [(2.0, 0.1, 4.0), (-4.0, 1.0, 0.0), (2.0, 2.0, 0.25)],
    ids=["the-reader-knows", "the-reader-misleads", "both-know"],
)
def test_the_mind_that_knows_faults_that_are_held_out_counts_most(
    reader: float, quick: float, weight: float
) -> None:
    chosen = frozen(lambda: Pair(reader=reader, quick=quick), part())
    assert chosen.weights is not None
    assert chosen.weights["reader"] == weight
    about = chosen.about["weights"]
    assert about["reader"] == weight
    assert [tried["reader"] for tried in about["tried"]] == [0.25, 0.0, 4.0]
    best = max(tried["average_precision"] for tried in about["tried"])
    own = next(tried["average_precision"] for tried in about["tried"] if tried["reader"] == weight)
    assert own >= best - 0.005


def test_quick_minds_judge_every_kind_of_fault_three_times() -> None:
    fitted: list[int] = []
    chosen = frozen(lambda: Pair(reader=1.0, quick=1.0, fitted=fitted), part())
    assert len(fitted) == 2 + 3 * 3
    assert abs(chosen.about["weights"]["moved"]) < 1  # the folds are of one kind here


def test_the_threshold_lies_between_what_is_normal_and_what_is_not() -> None:
    data = part()
    chosen = frozen(lambda: Pair(reader=3.0, quick=3.0), data)
    pair = Pair(reader=3.0, quick=3.0)
    called = pair.score(data.sessions, data.messages) >= chosen.sessions.value
    assert data.labels is not None
    assert (called == data.labels).mean() > 0.98
    assert chosen.sessions.f1 is not None
    assert chosen.sessions.f1 > 0.9


def test_there_is_a_fault_for_every_kind() -> None:
    assert len(FAULTS) >= 6  # below that nothing is held out
