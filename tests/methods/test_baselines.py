"""Every baseline keeps the same contract, and what each is about can be seen on toy data."""

import numpy as np
import polars as pl
import pytest
import torch

from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.errors import DataError
from logllm.evaluate.trivial import judged
from logllm.methods.checks import ALTERED, CLOSE, LOST, MESSAGES, OPEN, PANIC, SYNC, WRITE, Toy, toy
from logllm.methods.classical import Classified
from logllm.methods.classifiers import Forest
from logllm.methods.cnn import Cnn
from logllm.methods.contract import Method, Needs, Workplace
from logllm.methods.deeplog import DeepLog, windows_of
from logllm.methods.features import EventCounts, VectorSummary, WordCounts, WordPresence
from logllm.methods.logrobust import LogRobust
from logllm.methods.network import padded, with_padding
from logllm.methods.neurallog import NeuralLog
from logllm.methods.prepared_part import Part
from logllm.methods.rapid import Rapid
from logllm.methods.registry import entry, make, names, recipe_for
from logllm.methods.unseen import Unseen
from logllm.methods.vectors import FrozenVectors
from logllm.metrics import measure
from logllm.sessions.message_table import distinct
from tests.tiny import with_parts

BASELINES = [name for name in names() if name not in {"logllm", "both"}]


@pytest.fixture(scope="session")
def vectors(tiny_models) -> FrozenVectors:
    return FrozenVectors(tiny_models.encoder)


@pytest.fixture
def train() -> Toy:
    return toy(sessions=80, seed=0)


@pytest.fixture
def new(tiny_models):
    """Makes a method that reads the tiny encoder."""

    def made(name: str) -> Method:
        recipe = Recipe.of_method(name).model_copy(update={"model": tiny_models})
        if name == "deeplog":  # it learns for a moment alone
            return DeepLog(recipe, Workplace(), steps=30, batch=64)
        return make(name, recipe, workplace=Workplace())

    return made


def learnt(method: Method, train: Toy, *, seed: int = 0) -> Method:
    """The same method, fitted."""
    method.fit(
        train.sessions, MESSAGES, labels=train.labels, line_labels=train.line_labels, seed=seed
    )
    return method


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", BASELINES)
def test_what_is_to_be_learnt_is_learnt(name, new, train) -> None:
    test = toy(sessions=40, seed=1)
    scores = learnt(new(name), train, seed=3).score(test.sessions, ALTERED)
    # Of 40 sessions 4 are anomalous; a forest sees no labels, and so few failures that are alike
    # hide one another from it.
    least = 0.25 if name.startswith("forest-") else 0.9
    assert measure(scores, test.labels, threshold=0.5).average_precision > least


@pytest.mark.parametrize(
    "name", [name for name in BASELINES if not name.startswith(("forest-", "grep"))]
)
def test_what_cannot_be_learnt_from_is_refused(name, new, train) -> None:
    with pytest.raises(DataError, match="normal"):
        learnt(new(name), train.only(True))


@pytest.mark.parametrize(
    "name", [name for name in BASELINES if entry(name).needs is Needs.SESSIONS]
)
def test_labels_that_are_missing_are_named(name, new, train) -> None:
    with pytest.raises(DataError, match="have no labels"):
        new(name).fit(train.sessions, MESSAGES, labels=None, line_labels=None, seed=0)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ["unseen", "rapid", "deeplog"])
def test_what_is_normal_is_learnt_without_the_anomalous_sessions(name, new, train) -> None:
    """With labels as from the normal sessions alone; without labels from all, so that nothing is
    new."""
    sessions = toy(sessions=40, seed=1).sessions
    labelled = learnt(new(name), train).score(sessions, MESSAGES)
    normal = new(name)
    kept = train.only(False).sessions
    normal.fit(kept, MESSAGES, labels=None, line_labels=None, seed=0)
    assert np.array_equal(normal.score(sessions, MESSAGES), labelled)
    unlabelled = new(name)
    unlabelled.fit(train.sessions, MESSAGES, labels=None, line_labels=None, seed=0)
    lost = [LOST in session for session in sessions]
    assert unlabelled.score(sessions, MESSAGES)[lost].max() < labelled[lost].min()


def test_lines_are_learnt_from_their_own_labels(new, train) -> None:
    alerts = [np.ones(len(session), dtype=bool) for session in train.sessions]
    for line_labels, said in ((None, "labels are of sessions"), (alerts, "all alerts")):
        with pytest.raises(DataError, match=said):
            learnt(new("logistic-lines"), train._replace(line_labels=line_labels))


def test_equal_sessions_weigh_as_much_as_they_do_together() -> None:
    """The same counts under both labels: the share of anomalous ones is the probability."""
    one = Toy([np.array([OPEN])] * 4, np.array([True, False, False, False]), [])
    counted = learnt(Classified(EventCounts(), Forest(trees=1)), one)
    assert counted.score(one.sessions, MESSAGES).tolist() == [0.25] * 4
    kept, of = distinct([np.array([2]), np.array([1]), np.array([2])])
    assert ([session.tolist() for session in kept], of.tolist()) == ([[2], [1]], [0, 1, 0])


def test_features(vectors) -> None:
    sessions = [np.array([WRITE, WRITE, CLOSE]), np.array([OPEN])]
    counts = EventCounts()
    counts.fit(sessions, MESSAGES)
    assert counts.reader(sessions, MESSAGES)(sessions).table().tolist() == [[0, 2, 1], [1, 0, 0]]
    other = [np.array([LOST, CLOSE])]
    assert counts.reader(other, MESSAGES)(other).table().tolist() == [[0, 0, 1]]
    words = WordPresence()
    words.fit(sessions, MESSAGES)  # bytes, closed, file, opened, written
    other = [np.array([WRITE, CLOSE, CLOSE]), np.array([PANIC])]
    assert words.reader(other, MESSAGES)(other).table().tolist() == [[1, 1, 1, 0, 1], [0] * 5]
    with pytest.raises(DataError, match="no word"):
        WordPresence().fit([np.array([0])], pl.Series(["<*>"]))
    table = vectors.table(sessions, MESSAGES)
    assert not table[SYNC].any()  # it occurs nowhere, and is not encoded
    each = table[[WRITE, WRITE, CLOSE]]
    whole = np.concatenate([each.mean(0), each.max(0), each.min(0)])
    summary = VectorSummary(vectors).reader(sessions, MESSAGES)(sessions).table()
    assert np.allclose(summary[0], whole, atol=1e-6)
    extremes = VectorSummary(vectors, kinds=("max", "min")).reader(sessions, MESSAGES)(sessions)
    assert np.allclose(extremes.table()[0], whole[each.shape[1] :], atol=1e-6)


def test_unseen_is_the_share_raised_by_a_half(new, train) -> None:
    rule = learnt(new("unseen"), train)
    sessions = [np.array([OPEN, CLOSE]), np.array([OPEN, PANIC]), np.array([LOST])]
    assert isinstance(rule, Unseen)
    assert rule.score(sessions, MESSAGES).tolist() == [0, 0.75, 1]
    lines = rule.score_lines(sessions, MESSAGES)
    assert [line.tolist() for line in lines] == [[0, 0], [0, 1], [1]]


def test_grep_counts_words_of_trouble(new, train) -> None:
    table = pl.Series(["opened", "write failed", "kernel panic"])
    rule = learnt(new("grep"), train)
    sessions = [np.array(rows) for rows in ([0], [0, 1], [2], [1, 1, 2])]
    assert rule.score(sessions, table).tolist() == [0, 2 / 3, 0.75, 0.5 + 4 / 6 / 2]
    assert [lines.tolist() for lines in rule.score_lines(sessions, table)] == [
        [0],
        [0, 0.5],
        [1],
        [0.5, 0.5, 1],
    ]


def test_rapid_takes_the_strangest_message(new, train) -> None:
    near = learnt(new("rapid"), train)
    sessions = [[OPEN, CLOSE], [LOST], [PANIC], [PANIC, OPEN, LOST]]
    rows = [np.array(session) for session in sessions]
    known, lost, panic, both = near.score(rows, MESSAGES)
    assert isinstance(near, Rapid)
    assert known == 0
    assert 0 < min(lost, panic) < max(lost, panic) == both
    assert near.score_lines(rows, MESSAGES)[3].tolist() == [panic, 0, lost]


def test_a_session_of_single_lines_is_its_most_alert_message(new, train) -> None:
    method = learnt(new("logistic-lines"), train)
    sessions = [np.array([OPEN, LOST, CLOSE]), np.array([WRITE, OPEN])]
    lines = method.score_lines(sessions, MESSAGES)
    assert [line.max() for line in lines] == method.score(sessions, MESSAGES).tolist()
    assert lines[0].argmax() == 1


@pytest.mark.real
def test_deeplog_is_surprised_by_what_does_not_follow(train) -> None:
    """An event out of place, an end too early, and most of all what no normal session holds."""
    model = learnt(DeepLog(Recipe.of_method("deeplog"), Workplace(), steps=100, batch=64), train)
    sessions = [
        [OPEN, WRITE, SYNC, CLOSE],
        [OPEN, WRITE, OPEN, CLOSE],
        [OPEN, WRITE, SYNC],
        [OPEN, WRITE, LOST, CLOSE],
    ]
    rows = [np.array(session) for session in sessions]
    usual, odd, early, never = model.score(rows, MESSAGES)
    assert 2 * usual < min(odd, early), (usual, odd, early)
    assert max(odd, early) < never == 1
    lines = model.score_lines(rows, MESSAGES)
    assert [line.argmax() for line in (lines[1], lines[3])] == [2, 2]  # where the surprise stands
    assert lines[1].max() == odd
    assert lines[2].max() < early  # its end surprises, and the end is no line


def test_deeplogs_windows() -> None:
    windows, which, session = windows_of(
        [np.array([3, 4]), np.array([3])], np.array([0, 0, 0, 1, 2, 3])
    )
    assert windows[which][:, -4:].tolist() == [
        [0, 0, 0, 1],
        [0, 0, 1, 2],
        [0, 1, 2, 3],
        [0, 0, 0, 1],
        [0, 0, 1, 3],
    ]
    assert (len(windows), session.tolist()) == (4, [0, 0, 0, 1, 1])


@pytest.mark.parametrize("kind", [Cnn, LogRobust, NeuralLog])
def test_a_score_does_not_depend_on_what_is_beside_it(kind) -> None:
    torch.manual_seed(0)
    model = kind(6).eval()
    table = with_padding(torch.arange(6) if kind is Cnn else torch.randn(6, 6))
    short, long = np.array([1, 2]), np.array([3, 1, 2, 5, 4, 1, 1, 1])
    with torch.no_grad():
        alone = [model(*padded([session], table)).item() for session in (short, long)]
        together = model(*padded([short, long], table)).tolist()
    assert together == pytest.approx(alone, abs=1e-5)


def test_the_report_is_that_of_a_run(tiny_data) -> None:
    prepared = Prepared.load(tiny_data)
    found = judged(recipe_for("tree-counts"), prepared)
    report = found.report
    assert (report["model"], report["f1"], report["fingerprint"]) == (
        "tree-counts",
        1.0,
        prepared.manifest["fingerprint"],
    )
    assert len(found.scores) == len(prepared.part("test"))
    called = found.scores >= report["threshold"]
    assert ((called & found.labels).sum(), called.sum()) == (
        report["tp"],
        report["tp"] + report["fp"],
    )


def test_the_threshold_comes_from_validation_where_that_has_enough_anomalies(
    tiny_data, tmp_path
) -> None:
    prepared = Prepared.load(tiny_data)
    assert judged(recipe_for("unseen"), prepared).report["threshold"] == 0.5
    more = with_parts(tiny_data, tmp_path / "more", validation=prepared.part("train"))
    report = judged(recipe_for("unseen"), Prepared.load(more)).report
    assert report["threshold_chosen"] == "best F1 on validation"
    # In the middle between 0 and the lowest of the raised shares.
    assert 0.25 < report["threshold"] < 0.5
    assert report["f1"] == 1


def test_parts_without_labels_are_read(tiny_data, tmp_path) -> None:
    prepared = Prepared.load(tiny_data)
    labelled = Part.of(prepared, "train")
    frame = prepared.part("train")
    assert labelled.labels is not None
    assert labelled.labels.tolist() == frame["anomalous"].to_list()
    assert [rows.tolist() for rows in labelled.sessions] == frame["messages"].to_list()
    nothing = frame.with_columns(anomalous=pl.lit(None, dtype=pl.Boolean))
    without = with_parts(tiny_data, tmp_path / "without", train=nothing)
    assert Part.of(Prepared.load(without), "train").labels is None


def test_the_share_of_words_never_seen() -> None:
    messages = pl.Series(["open file", "close file", "lost the file", "", "boom"])
    words = WordCounts()
    words.fit([np.array([0, 1])], messages)
    sessions = [
        np.array(session, dtype=np.int64) for session in ([0, 1], [0, 2], [2, 2], [4], [3], [])
    ]
    assert words.new_words(sessions, messages).tolist() == [0, 2 / 5, 2 / 3, 1, 0, 0]
