"""Scores without scikit-learn are scikit-learn's own."""

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from logllm.config.recipe import Recipe
from logllm.methods.checks import MESSAGES, toy
from logllm.methods.contract import Method, Workplace
from logllm.methods.features import EventCounts, VectorSummary, WordPresence, matrices
from logllm.methods.registry import make
from logllm.methods.vectors import FrozenVectors

WORDS = [
    "Lost",
    "replica_3",
    "straße",
    "naïve",
    "x",
    "12",
    "I",
    "été",
    "日志",
    "<*>",
    "ﬁle",
    "a-b",
    "İ",
    "e\u0301t",
]


def made_up(*, sessions: int, seed: int) -> tuple[list[np.ndarray], np.ndarray, pl.Series]:
    """Sessions of forty messages of odd words, with labels that are not easily told; some are there
    several times."""
    rng = np.random.default_rng(seed)
    messages = pl.Series(
        [f"{' '.join(rng.choice(WORDS, size=rng.integers(1, 6)))} {row}" for row in range(40)]
    )
    rows = [rng.integers(0, 40, size=rng.integers(0, 9)) for _ in range(sessions)]
    labels = np.array([session.sum() % 3 == 0 for session in rows])
    return [*rows, *rows[:20]], np.append(labels, ~labels[:20]), messages


def fitted(name: str, train: tuple[list[np.ndarray], np.ndarray, pl.Series]) -> Method:
    sessions, labels, messages = train
    method = make(name, Recipe.of_method(name), workplace=Workplace())
    method.fit(sessions, messages, labels=labels, line_labels=None, seed=7)
    return method


def columns(kind: str, sessions: list[np.ndarray], messages: pl.Series) -> csr_array:
    """What scikit-learn would be given, by its own means."""
    if kind == "counts":
        return csr_array(
            np.stack([np.bincount(rows, minlength=len(messages)) for rows in sessions]).astype(
                float
            )
        )
    texts = [". ".join(messages.gather(rows)) for rows in sessions]
    return csr_array(
        CountVectorizer(binary=True).fit(messages.to_list()).transform(texts).astype(float)
    )


def told_apart(classifier, train: csr_array, labels: np.ndarray, test: csr_array) -> np.ndarray:
    return classifier.fit(train, labels).predict_proba(test)[:, 1]


@pytest.mark.parametrize("kind", ["counts", "words"])
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.real) for seed in (1, 2))]
)
def test_probabilities_are_those_of_scikit_learn(kind, seed) -> None:
    """Equal sessions are one row to ours: its own classifiers are given what ours were."""
    sessions, labels, messages = made_up(sessions=300, seed=seed)
    other, *_ = made_up(sessions=200, seed=seed + 10)
    train, test = columns(kind, sessions, messages), columns(kind, other, messages)
    for name, classifier in (
        ("tree", DecisionTreeClassifier(random_state=7)),
        ("random-forest", RandomForestClassifier(random_state=7)),
    ):
        if (name, kind) == ("random-forest", "words"):
            continue
        method = fitted(f"{name}-{kind}", (sessions, labels, messages))
        classifier.fit(*rows_apart(train, sessions, labels))
        assert np.array_equal(method.score(other, messages), classifier.predict_proba(test)[:, 1])
    regression = LogisticRegression(max_iter=10_000, random_state=7)
    rows, kinds, weights = rows_apart(train, sessions, labels)
    regression.fit(rows, kinds, weights)
    scores = fitted(f"logistic-{kind}", (sessions, labels, messages)).score(other, messages)
    assert np.abs(scores - regression.predict_proba(test)[:, 1]).max() < 1e-12
    forest = IsolationForest(n_estimators=100, random_state=7).fit(train)
    scores = fitted(f"forest-{kind}", (sessions, labels, messages)).score(other, messages)
    assert np.abs(scores + forest.score_samples(test)).max() < 1e-12


def rows_apart(
    train: csr_array, sessions: list[np.ndarray], labels: np.ndarray
) -> tuple[csr_array, np.ndarray, np.ndarray]:
    """Each sequence once a kind, normal ones first, in the order of the first occurrence, with how
    often it is there."""
    first = {session.tobytes(): row for row, session in reversed(list(enumerate(sessions)))}
    of = np.array([first[session.tobytes()] for session in sessions])
    kept = [
        (row, kind)
        for kind in (False, True)
        for row in sorted(set(first.values()))
        if ((of == row) & (labels == kind)).any()
    ]
    weights = np.array([((of == row) & (labels == kind)).sum() for row, kind in kept])
    rows, kinds = (np.array(part) for part in zip(*kept, strict=True))
    return train[rows], kinds, weights


def test_words_are_those_of_the_count_vectorizer() -> None:
    _, _, messages = made_up(sessions=1, seed=0)
    sessions = [np.array([row]) for row in range(len(messages))]
    words = WordPresence()
    words.fit(sessions, messages)
    theirs = CountVectorizer(binary=True)
    assert np.array_equal(
        words.reader(sessions, messages)(sessions).table(),
        theirs.fit_transform(messages.to_list()).toarray(),
    )
    assert words.fitted().facts["words"] == theirs.get_feature_names_out().tolist()


def test_standardised_vectors_score_as_the_pipeline_does(tiny_models) -> None:
    train, test = toy(sessions=60, seed=0), toy(sessions=30, seed=1)
    recipe = Recipe.of_method("logistic-vectors").model_copy(update={"model": tiny_models})
    method = make("logistic-vectors", recipe, workplace=Workplace())
    first = [
        row
        for row, session in enumerate(train.sessions)
        if session.tobytes() not in {other.tobytes() for other in train.sessions[:row]}
    ]
    sessions = [train.sessions[row] for row in first]
    method.fit(sessions, MESSAGES, labels=train.labels[first], line_labels=None, seed=0)
    summary = VectorSummary(FrozenVectors(tiny_models.encoder))
    rows = np.concatenate([np.flatnonzero(train.labels[first] == kind) for kind in (False, True)])
    x, y = (summary.reader(some, MESSAGES)(some).table() for some in (sessions, test.sessions))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000)).fit(
        x[rows], train.labels[first][rows]
    )
    # Theirs is float32.
    assert (
        np.abs(method.score(test.sessions, MESSAGES) - pipeline.predict_proba(y)[:, 1]).max() < 1e-5
    )


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "name", ["tree-counts", "random-forest-counts", "logistic-words", "forest-words"]
)
def test_a_score_does_not_depend_on_how_many_are_scored_at_once(name) -> None:
    method = fitted(name, made_up(sessions=300, seed=0))
    sessions, _, messages = made_up(sessions=6000, seed=0)
    told: list[tuple[int, int]] = []
    scores = method.score(
        sessions, messages, progress=lambda done, total: told.append((done, total))
    )
    assert len(told) == 2  # 4,096 at once
    assert told[0][0] < told[-1][0] == told[-1][1] <= len(sessions)
    for few in (slice(0, 7), slice(5000, 5001)):
        assert np.array_equal(method.score(sessions[few], messages), scores[few])


def test_a_matrix_is_never_large() -> None:
    sessions, _, messages = made_up(sessions=30, seed=0)
    counts = EventCounts()
    counts.fit(sessions, messages)
    (whole,) = matrices(counts, sessions, messages=messages)
    few = list(matrices(counts, sessions, messages=messages, cells=100))
    assert [len(matrix.table()) for matrix in few] == [2] * 25  # 40 columns
    assert np.array_equal(np.concatenate([matrix.table() for matrix in few]), whole.table())


LIGHT = ["tree-counts", "random-forest-counts", "logistic-words", "forest-counts", "unseen"]
ENCODED = ["rapid", "logistic-vectors", "logistic-lines"]


@pytest.mark.real
def test_scoring_loads_neither_scikit_learn_nor_torch(tmp_path) -> None:
    """In a new process, and the scores are the same to the last bit; methods that read vectors are
    at least made."""
    train, sessions = toy(sessions=60, seed=0), toy(sessions=40, seed=1).sessions
    scores = {}
    for name in LIGHT:
        method = make(name, Recipe.of_method(name), workplace=Workplace())
        method.fit(train.sessions, MESSAGES, labels=train.labels, line_labels=None, seed=0)
        (tmp_path / name).mkdir()
        method.save(tmp_path / name)
        scores[name] = method.score(sessions, MESSAGES).tolist()
    program = (
        "import json, sys\nfrom pathlib import Path\nfrom logllm.methods.contract import"
        " Workplace\nfrom logllm.methods.registry import make, recipe_for\nfrom"
        " logllm.methods.checks import MESSAGES, toy\nmethods = {name: make(name,"
        f" recipe_for(name), workplace=Workplace()) for name in {LIGHT + ENCODED!r}}}\nscores ="
        f" {{}}\nfor name in {LIGHT!r}:\n    methods[name].load(Path({str(tmp_path)!r}) / name)\n  "
        "  scores[name] = methods[name].score(toy(sessions=40, seed=1).sessions,"
        " MESSAGES).tolist()\nheavy = {'torch', 'sklearn', 'scipy', 'transformers', 'peft',"
        " 'accelerate'} & sys.modules.keys()\nprint(json.dumps([scores, sorted(heavy)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded, heavy = json.loads(done.stdout)
    assert heavy == []
    assert loaded == scores


def test_a_forest_of_one_session_says_nothing() -> None:
    one = [np.array([1, 2])]
    method = make("forest-counts", Recipe.of_method("forest-counts"), workplace=Workplace())
    method.fit(one, MESSAGES, labels=None, line_labels=None, seed=0)
    theirs = IsolationForest(random_state=0).fit(np.array([[1.0, 1.0]]))
    scores = method.score([*one, np.array([1, 1, 1])], MESSAGES)
    assert (
        scores.tolist()
        == (-theirs.score_samples(np.array([[1.0, 1.0], [3.0, 0.0]]))).tolist()
        == [0.5, 0.5]
    )
