"""Every method that comes with logllm passes the checks that are there for those of others, and the
checks can fail."""

import json
import pickle
import random
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from logllm.config.recipe import Recipe
from logllm.errors import DataError, ModelError
from logllm.methods.checks import ALTERED, MESSAGES, check_method, toy
from logllm.methods.contract import Method, Needs, Workplace
from logllm.methods.deeplog import DeepLog
from logllm.methods.registry import entry, make, names

BASELINES = [name for name in names() if name not in {"logllm", "both"}]
ENCODED = {
    "rapid",
    "logistic-vectors",
    "logistic-extremes",
    "logistic-lines",
    "logrobust",
    "neurallog",
}
"""Methods whose scores depend in their last digits on which messages are encoded at once."""
SLOW = {"neurallog", "logrobust"}
"""Methods that share their code with faster ones: all checks run in the slower tier."""
ROUNDED = {*ENCODED, "cnn"}
"""The same, and one that depends on which sessions are scored at once."""


def maker(name):
    """What makes a method of a name; DeepLog learns for a moment alone."""
    if name == "deeplog":
        return partial(DeepLog, steps=30, batch=64)
    return lambda recipe, workplace: make(name, recipe, workplace=workplace)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.real) if name in SLOW else name for name in BASELINES],
)
def test_a_method_keeps_the_contract(name, tiny_models, tmp_path) -> None:
    recipe = Recipe.of_method(name).model_copy(update={"model": tiny_models})
    close = 1e-5 if name in ROUNDED else 0.0
    check_method(maker(name), tmp_path, recipe=recipe, close=close)


@pytest.mark.real
@pytest.mark.parametrize("name", ["logllm", "both"])
def test_what_trains_a_network_keeps_the_contract(name, tiny_recipe, tmp_path) -> None:
    stages = tuple(
        stage.model_copy(update={"epochs": None, "max_sessions": 16})
        for stage in tiny_recipe.train.stages
    )
    train = tiny_recipe.train.model_copy(update={"stages": stages})
    check_method(
        maker(name), tmp_path, recipe=tiny_recipe.model_copy(update={"train": train}), close=1e-5
    )


@pytest.mark.parametrize("name", BASELINES)
def test_what_it_needs_is_in_its_entry(name) -> None:
    assert (
        type(make(name, Recipe.of_method(name), workplace=Workplace())).needs is entry(name).needs
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", [name for name in BASELINES if name not in ENCODED])
def test_what_is_loaded_scores_the_same_to_the_last_bit(name, tmp_path) -> None:
    train, sessions = toy(sessions=80, seed=0), toy(sessions=40, seed=1).sessions
    method, loaded = (maker(name)(Recipe.of_method(name), Workplace()) for _ in range(2))
    lines = train.line_labels if method.needs is Needs.LINES else None
    method.fit(train.sessions, MESSAGES, labels=train.labels, line_labels=lines, seed=3)
    method.save(tmp_path)
    loaded.load(tmp_path)
    assert np.array_equal(loaded.score(sessions, ALTERED), method.score(sessions, ALTERED))


def test_files_of_another_method_are_refused(tmp_path) -> None:
    train = toy(sessions=20, seed=0)
    for name in ("tree-counts", "cnn"):
        method = make(name, Recipe.of_method(name), workplace=Workplace())
        method.fit(train.sessions, MESSAGES, labels=train.labels, line_labels=None, seed=0)
        method.save(tmp_path)
        for other in {"tree-words", "logistic-counts", "forest-counts", "deeplog", "rapid"}:
            with pytest.raises(ModelError, match=str(tmp_path)):
                make(other, Recipe.of_method(other), workplace=Workplace()).load(tmp_path)
    for broken in (b"", b"[]", b"{"):
        (tmp_path / "fitted.json").write_bytes(broken)
        with pytest.raises(ModelError, match="train it again"):
            method.load(tmp_path)


class Length(Method):
    """One that keeps the contract: the longer, the stranger."""

    needs = Needs.NOTHING

    def __init__(self, recipe, workplace) -> None:
        """Nothing to set."""

    def fit(self, sessions, messages, *, labels, line_labels, seed) -> None:
        if not sessions:
            raise DataError("no session to learn from")
        self._usual = float(np.mean([len(session) for session in sessions]))

    def score(self, sessions, messages, *, progress=None):
        sizes = np.array([len(session) for session in sessions], dtype=np.float64)
        return sizes / (sizes + self._usual)

    def save(self, folder) -> None:
        (folder / "length.json").write_text(json.dumps(self._usual))

    def load(self, folder) -> None:
        try:
            self._usual = json.loads((folder / "length.json").read_text())
        except OSError as exc:
            raise ModelError("no files") from exc


class OutOfRange(Length):
    def score(self, sessions, messages, *, progress=None):
        return super().score(sessions, messages) * 3


class Single(Length):
    def score(self, sessions, messages, *, progress=None):
        return super().score(sessions, messages).astype(np.float32)


class Drawn(Length):
    def score(self, sessions, messages, *, progress=None):
        return np.random.default_rng().random(len(sessions))


class Unlucky(Length):
    def fit(self, sessions, messages, *, labels, line_labels, seed) -> None:
        random.seed(seed)
        super().fit(sessions, messages, labels=labels, line_labels=line_labels, seed=seed)


class ByPlace(Length):
    def score(self, sessions, messages, *, progress=None):
        return np.array([session.sum() / 1000 for session in sessions], dtype=np.float64)


class Pickled(Length):
    def save(self, folder) -> None:
        super().save(folder)
        (folder / "model.pkl").write_bytes(pickle.dumps(self._usual))


class Elsewhere(Length):
    def save(self, folder) -> None:
        super().save(folder)
        (folder.parent / "length.json").write_text("1")


class Rounded(Length):
    def save(self, folder) -> None:
        (folder / "length.json").write_text(json.dumps(round(self._usual)))


class Greedy(Length):
    def fit(self, sessions, messages, *, labels, line_labels, seed) -> None:
        if labels is None:
            raise DataError("labels, please")
        super().fit(sessions, messages, labels=labels, line_labels=line_labels, seed=seed)


class Careless(Length):
    needs = Needs.SESSIONS


class Shared(Length):
    def score(self, sessions, messages, *, progress=None):
        self._last = [len(session) for session in sessions]
        time.sleep(0.02)  # the other thread's turn
        sizes = np.array(self._last, dtype=np.float64)
        return sizes / (sizes + self._usual)


class WholeLines(Length):
    def score_lines(self, sessions, messages):
        return [np.zeros(1) for _ in sessions]


class Talkative(Length):
    def about(self):
        return {"folder": Path("somewhere")}


def test_a_method_of_ones_own_passes(tmp_path) -> None:
    check_method(Length, tmp_path)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (OutOfRange, r"scores: in \[0, 1\]"),
        (Single, "scores: float64"),
        (Drawn, "scores the same twice"),
        (Unlucky, "generators of your own"),
        (ByPlace, "another order"),
        (Pickled, "not .'model.pkl'"),
        (Elsewhere, "into its folder alone"),
        (Rounded, "what was loaded scores"),
        (Careless, "fit without labels of sessions must raise DataError, and did not"),
        (Shared, "two threads"),
        (WholeLines, "line scores: shape"),
        (Talkative, "not JSON serializable"),
    ],
)
def test_a_breach_is_found(method, said, tmp_path) -> None:
    with pytest.raises((AssertionError, TypeError), match=said):
        check_method(method, tmp_path)


def test_labels_that_nobody_promised_are_not_asked_for(tmp_path) -> None:
    with pytest.raises(DataError, match="labels, please"):
        check_method(Greedy, tmp_path)
