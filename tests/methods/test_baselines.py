"""Every baseline keeps the same contract, and what each is about can be seen on toy data."""

import json

import numpy as np
import polars as pl
import pytest
import torch

from logllm.data.prepared import Prepared
from logllm.data.sequences import distinct
from logllm.errors import DataError, RecipeError
from logllm.methods import deeplog, network
from logllm.methods.baseline import Labelled
from logllm.methods.classical import Classified, tree
from logllm.methods.cnn import Cnn
from logllm.methods.deeplog import DeepLog
from logllm.methods.features import EventCounts, VectorSummary, WordPresence
from logllm.methods.logrobust import LogRobust
from logllm.methods.neurallog import NeuralLog
from logllm.methods.rapid import Rapid
from logllm.methods.registry import BASELINES, entry
from logllm.methods.unseen import Unseen
from logllm.methods.vectors import FrozenVectors
from logllm.metrics import average_precision
from logllm.study.judged import judged, write_baseline

OPEN, WRITE, SYNC, CLOSE, LOST, PANIC = range(6)
MESSAGES = pl.Series(["file opened", "bytes written", "replica synced", "file closed", "replica lost at <*>", "kernel panic"])
ALTERED = pl.concat([MESSAGES, pl.Series(["replica <*> was lost", "<*>", "something else entirely"])])


def toy(*, sessions: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Sessions that open, work and close, every tenth of which does not work but loses replicas."""
    rng = np.random.default_rng(seed)
    labels = np.arange(sessions) % 10 == 0
    bodies = [rng.choice([LOST] if label else [WRITE, SYNC], size=rng.integers(1, 6) + 3 * label) for label in labels]
    return [np.array([OPEN, *body, CLOSE]) for body in bodies], labels


@pytest.fixture(autouse=True)
def _short(monkeypatch) -> None:
    monkeypatch.setattr(network, "_MOST_STEPS", 60)
    monkeypatch.setattr(deeplog, "_STEPS", 30)
    monkeypatch.setattr(deeplog, "_BATCH", 64)


@pytest.fixture
def _without_intervals(monkeypatch) -> None:
    monkeypatch.setattr("logllm.detect.evaluate.intervals", lambda *_, **__: {})


@pytest.fixture(scope="session")
def vectors(tiny_models) -> FrozenVectors:
    return FrozenVectors(tiny_models.encoder)


@pytest.fixture
def train() -> Labelled:
    sessions, labels = toy(sessions=80, seed=0)
    return Labelled(sessions, labels, MESSAGES, [session == LOST for session in sessions])


@pytest.mark.parametrize("name", BASELINES)
def test_contract(name, vectors, train) -> None:
    """Learns what is to be learnt, takes what it has never seen, and comes out the same a second time."""
    state = torch.get_rng_state()
    sessions, labels = toy(sessions=40, seed=1)
    # Altered: messages that the table of `fit` lacks, one that no session of train holds, a repeated session, one without messages.
    altered = [*sessions, np.array([OPEN, 6, 7, 8, CLOSE]), np.array([PANIC]), sessions[0], np.array([], dtype=np.int64)]
    found = []
    for _ in range(2):
        baseline = BASELINES[name].make(vectors)
        baseline.fit(train, seed=3)
        found.append(baseline.score(altered, ALTERED))
    scores = found[0]
    assert np.array_equal(*found)
    assert scores.shape == (len(altered),)
    assert scores.dtype == np.float64
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[-2] == scores[0]
    # Of 40 sessions 4 are anomalous; a forest sees no labels, and so few failures that are alike hide one another from it.
    assert (average_precision(scores[:40], labels) or 0) > (0.25 if name.startswith("forest-") else 0.9)
    # Messages are known by their text: in another order of the table they are the same.
    order = np.array([8, 2, 5, 0, 7, 1, 6, 4, 3])
    assert np.allclose(baseline.score([order.argsort()[session] for session in altered], ALTERED.gather(order)), scores, atol=1e-6)
    assert len(baseline.score(altered[:1], ALTERED)) == 1
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", [name for name in BASELINES if not name.startswith("forest-")])
def test_what_cannot_be_learnt_from_is_refused(name, vectors, train) -> None:
    failures = [session for session, label in zip(train.sessions, train.labels, strict=True) if label]
    with pytest.raises(DataError, match="normal"):
        BASELINES[name].make(vectors).fit(Labelled(failures, np.ones(len(failures), dtype=bool), MESSAGES), seed=0)


def test_lines_are_learnt_from_their_own_labels(vectors, train) -> None:
    for alerts, said in (
        (None, "labels are of sessions"),
        ([np.ones(len(session), dtype=bool) for session in train.sessions], "all alerts"),
    ):
        with pytest.raises(DataError, match=said):
            BASELINES["logistic-lines"].make(vectors).fit(train._replace(alerts=alerts), seed=0)


def test_equal_sessions_weigh_as_much_as_they_do_together() -> None:
    """The same counts under both labels: the share of anomalous ones is the probability."""
    one = Labelled([np.array([OPEN])] * 4, np.array([True, False, False, False]), MESSAGES)
    counted = Classified(EventCounts(), tree)
    counted.fit(one, seed=0)
    assert counted.score(one.sessions, MESSAGES).tolist() == [0.25] * 4
    kept, of = distinct([np.array([2]), np.array([1]), np.array([2])])
    assert ([session.tolist() for session in kept], of.tolist()) == ([[2], [1]], [0, 1, 0])


def test_features(vectors) -> None:
    sessions = [np.array([WRITE, WRITE, CLOSE]), np.array([OPEN])]
    counts = EventCounts()
    counts.fit(sessions, MESSAGES)
    assert counts.matrix(sessions, MESSAGES).toarray().tolist() == [[0, 2, 1], [1, 0, 0]]
    assert counts.matrix([np.array([LOST, CLOSE])], MESSAGES).toarray().tolist() == [[0, 0, 1]]
    words = WordPresence()
    words.fit(sessions, MESSAGES)  # bytes, closed, file, opened, written
    assert words.matrix([np.array([WRITE, CLOSE, CLOSE]), np.array([PANIC])], MESSAGES).toarray().tolist() == [[1, 1, 1, 0, 1], [0] * 5]
    with pytest.raises(DataError, match="no word"):
        WordPresence().fit([np.array([0])], pl.Series(["<*>"]))
    table = vectors.table(sessions, MESSAGES)
    assert not table[SYNC].any()  # it occurs nowhere, and is not encoded
    each = table[[WRITE, WRITE, CLOSE]]
    whole = np.concatenate([each.mean(0), each.max(0), each.min(0)])
    assert np.allclose(VectorSummary(vectors).matrix(sessions, MESSAGES)[0], whole, atol=1e-6)
    assert np.allclose(VectorSummary(vectors, parts=("max", "min")).matrix(sessions, MESSAGES)[0], whole[each.shape[1] :], atol=1e-6)


def test_unseen_is_the_share_raised_by_a_half(train) -> None:
    rule = Unseen()
    rule.fit(train, seed=0)
    assert rule.score([np.array([OPEN, CLOSE]), np.array([OPEN, PANIC]), np.array([LOST])], MESSAGES).tolist() == [0, 0.75, 1]


def test_rapid_takes_the_strangest_message(vectors, train) -> None:
    near = Rapid(vectors)
    near.fit(train, seed=0)
    known, lost, panic, both = near.score(
        [np.array([OPEN, CLOSE]), np.array([LOST]), np.array([PANIC]), np.array([PANIC, OPEN, LOST])], MESSAGES
    )
    assert known == 0
    assert 0 < min(lost, panic) < max(lost, panic) == both


def test_deeplog_is_surprised_by_what_does_not_follow(train, monkeypatch) -> None:
    """An event out of place, an end too early, and most of all what no normal session holds."""
    monkeypatch.setattr(deeplog, "_STEPS", 100)
    model = DeepLog()
    model.fit(train, seed=0)
    sessions = [[OPEN, WRITE, SYNC, CLOSE], [OPEN, WRITE, OPEN, CLOSE], [OPEN, WRITE, SYNC], [OPEN, WRITE, LOST, CLOSE]]
    usual, odd, early, never = model.score([np.array(session) for session in sessions], MESSAGES)
    assert 2 * usual < min(odd, early), (usual, odd, early)
    assert max(odd, early) < never == 1


def test_deeplogs_windows() -> None:
    windows, which, session = deeplog._windows([np.array([3, 4]), np.array([3])], np.array([0, 0, 0, 1, 2, 3]))
    assert windows[which][:, -4:].tolist() == [[0, 0, 0, 1], [0, 0, 1, 2], [0, 1, 2, 3], [0, 0, 0, 1], [0, 0, 1, 3]]
    assert (len(windows), session.tolist()) == (4, [0, 0, 0, 1, 1])


@pytest.mark.parametrize("kind", [Cnn, LogRobust, NeuralLog])
def test_a_score_does_not_depend_on_what_is_beside_it(kind) -> None:
    torch.manual_seed(0)
    model = kind(6).eval()
    table = network._with_padding(torch.arange(6) if kind is Cnn else torch.randn(6, 6))
    short, long = np.array([1, 2]), np.array([3, 1, 2, 5, 4, 1, 1, 1])
    with torch.no_grad():
        alone = [model(*network._padded([session], table)).item() for session in (short, long)]
        together = model(*network._padded([short, long], table)).tolist()
    assert together == pytest.approx(alone, abs=1e-5)


@pytest.mark.usefixtures("_without_intervals")
def test_the_report_is_that_of_a_run(tiny_data, tmp_path) -> None:
    found = judged("tree-counts", Prepared.load(tiny_data), seed=0)
    report, prepared = found.report, Prepared.load(tiny_data)
    assert (report["model"], report["f1"], report["fingerprint"]) == ("tree-counts", 1.0, prepared.manifest["fingerprint"])
    test = found.scores.filter(split="test")
    assert test["session"].to_list() == prepared.part("test")["session"].to_list()
    assert set(found.scores["split"]) == {"validation", "test"}
    called = test.filter(pl.col("score") >= report["threshold"])
    assert (called["anomalous"].sum(), len(called)) == (report["tp"], report["tp"] + report["fp"])
    write_baseline(tmp_path / "run", found)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (manifest["kind"], manifest["name"], manifest["threshold"]["value"]) == ("baseline", "tree-counts", report["threshold"])
    with pytest.raises(DataError, match="--force"):
        write_baseline(tmp_path / "run", found)


@pytest.mark.usefixtures("_without_intervals")
def test_the_threshold_comes_from_validation_where_that_has_enough_anomalies(tiny_data, monkeypatch) -> None:
    assert judged("unseen", Prepared.load(tiny_data)).report["threshold"] == 0.5
    monkeypatch.setattr("logllm.metrics.FEW_ANOMALIES", 1)
    report = judged("unseen", Prepared.load(tiny_data)).report
    assert report["threshold_chosen"] == "best F1 on validation"
    assert 0.25 < report["threshold"] < 0.5  # in the middle between 0 and the lowest of the raised shares
    assert report["f1"] == 1


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(RecipeError, match="nearest is 'deeplog'"):
        entry("deplog")
