"""A watch that learns: what is normal becomes usual, what is not never does, and a kill changes
nothing."""

import json
from copy import copy

import numpy as np
import polars as pl
import pytest
from sqlalchemy import func, select

from logllm.config.recipe import Recipe
from logllm.config.watch import WatchSection
from logllm.errors import RecipeError
from logllm.methods.contract import Workplace
from logllm.methods.novelty import Novelty
from logllm.serve.feedback.answers_given import Said, find_session, give
from logllm.serve.incidents.grouping import Incidents
from logllm.serve.learning_on.learnings import forgotten
from logllm.serve.learning_on.learnings import told as learnings
from logllm.serve.learning_on.learnt_rows import Learning, rows_after
from logllm.serve.store.service_schema import learnt
from logllm.serve.store.verdict_store import Store
from logllm.serve.stream import Stream
from logllm.serve.surroundings import Surroundings, Watched
from tests.serve.scripted import Errors, Script
from tests.serve.scripted import settings as prepared
from tests.serve.test_stream import written

ROUTINE = ["opens", "reads", "closes"]
ONCE = ["apple", "pear", "plum", "fig", "quince", "lemon", "cherry", "grape", "melon", "peach"]
MESSAGES = pl.Series([*ROUTINE, "waits", *ONCE])


def fitted() -> Novelty:
    """Novelty that knows a hundred sessions: they open, read, wait and close, and one in ten says
    something once."""
    method = Novelty(Recipe.of_method("novelty"), Workplace())
    sessions = [np.array([0, 1, 2, 3 if at % 10 else 4 + at // 10]) for at in range(100)]
    method.fit(sessions, MESSAGES, labels=None, line_labels=None, seed=0)
    return method


class Novel(Errors):
    """A run of novelty."""

    name = "novel@1"
    recipe = Recipe.of_method("novelty", overrides=["detect.cache_sessions=0"])

    def __init__(self, method):
        self.method = method

    def opinion(self, sessions, messages, *, progress=None):
        return self.method.opinion(sessions, messages)

    def line_scores(self, rows, messages):
        return self.method.score_lines([rows], messages)[0]

    def score_lines(self, sessions, messages):
        return self.method.score_lines(sessions, messages)

    def learning_on(self):
        return self.method.learning_on()

    def judging_by(self, method):
        other = copy(self)
        other.method = method
        return other


@pytest.fixture(scope="module")
def run():
    return Novel(fitted())


def watching(run, source, store, *, prepare=None, told=lambda words: None, **how):
    """A stream that learns, and has begun."""
    section = WatchSection(**({"begin": "start", "learn": True, "idle": 100_000} | how))
    also = [Incidents(section.incidents)]
    around = Surroundings(run, section, store, "test", told, also=also)
    stream = Stream(
        Watched(
            "app", source, prepare or prepared(by="count", key_field=None, size=4), apart=False
        ),
        around,
    )
    stream.begin()
    return stream


def sessions_of(*sessions):
    """Lines of windows of four lines each, from what the fourth line says besides the routine."""
    at, lines = 0, []
    for session in sessions:
        for message in session:
            lines += written((at, "x", message))
            at += 1
    return lines


def told(*messages):
    """A session of four lines."""
    return [*ROUTINE, *messages]


def judge(run, store, lines, *, step=7, **how):
    """Watch all lines; the stream."""
    source = Script({"a": lines})
    stream = watching(run, source, store, **how)
    while not source.over:
        source.give("a", step)
        stream.take(0)
        stream.store(at_once=True)
    stream.end()
    stream.store(at_once=True)
    return stream


def scores(store):
    """Sessions that are closed, in order, with their scores."""
    rows = (
        store.verdicts("app", limit=10_000).filter(pl.col("state") != "open").sort("first_position")
    )
    return list(rows.select("session", "score", "anomalous").iter_rows())


def test_what_is_new_and_quiet_is_learnt_and_said(run, store):
    before = run.method.score([np.array([0])], pl.Series(["opens"])).tolist()
    quiet = [told("waits")] * 4 + [told("rests a while")] * 60
    stream = judge(run, store, sessions_of(*quiet))
    rows = scores(store)
    assert rows[4][1] > 2 * rows[-1][1]
    assert 60 <= stream.counts["learnt_sessions"] <= 64  # the last ones wait for others
    assert stream.counts["learnt_kinds"] == 1
    assert list(stream.learner.news) == ["rests a while"]
    assert stream.learner.news["rests a while"].endswith("x rests a while")
    assert run.method.score([np.array([0])], pl.Series(["opens"])).tolist() == before


@pytest.mark.real
def test_an_incident_that_repeats_is_never_learnt(run, store):
    fault = told("disk failed")
    lines = sessions_of(*[told("waits"), fault] * 20)
    stream = judge(run, store, lines)
    rows = scores(store)
    assert [anomalous for _, _, anomalous in rows] == [False, True] * 20
    assert stream.counts["learnt_kinds"] == 0
    assert rows[1][1] <= rows[-1][1] + 0.01


@pytest.mark.real
def test_a_new_kind_by_which_a_session_was_an_alarm_is_not_learnt_from_normal_ones(run, store):
    """`rests` alone is quiet; four times in a session it is an alarm, and single ones of it are
    held back from then on."""
    alarm = ["opens", "rests", "rests", "rests"]
    stream = judge(run, store, sessions_of(alarm, *[told("rests")] * 30))
    rows = scores(store)
    assert rows[0][2]
    assert stream.counts["learnt_kinds"] == 0


def test_without_it_nothing_is_learnt(run, store):
    stream = judge(run, store, sessions_of(*[told("rests")] * 30), learn=False)
    assert stream.learner is None
    assert learnings(store, None, run=None) == []
    assert len({score for _, score, _ in scores(store)}) == 1


def test_a_method_that_cannot_learn_on_is_refused(store):
    with pytest.raises(RecipeError, match=r"method grep.*--learn.*novelty"):
        watching(Errors(), Script({"a": []}), store)


@pytest.mark.real
def test_a_false_alarm_is_learnt_and_what_is_called_anomalous_is_forgotten(run, store):
    lines = sessions_of(
        *[told("waits")] * 3, told("renewal failed as planned"), *[told("waits")] * 3
    )
    judge(run, store, lines)
    (alarm,) = [name for name, _, anomalous in scores(store) if anomalous]
    give(store, find_session(store, alarm), said=Said("normal", by="ann"))

    more = sessions_of(*[told("waits")] * 3, *[told("renewal failed as planned")] * 5)
    stream = judge(run, store, lines + more)
    assert stream.counts["learnt_false_alarms"] == 1
    assert [anomalous for _, _, anomalous in scores(store)][7:] == [False] * 8

    last = scores(store)[-1][0]
    give(
        store,
        find_session(store, last),
        said=Said("anomalous", by="ann", messages=tuple(told("renewal failed as planned"))),
    )
    stream = judge(
        run, store, lines + more + sessions_of(told("waits"), told("renewal failed as planned"))
    )
    assert [anomalous for _, _, anomalous in scores(store)][-2:] == [False, True]


@pytest.mark.real
def test_nothing_secret_is_learnt(run, store):
    secret, shown = told("sets password=hunter"), told("mails ann@example.com")
    stream = judge(run, store, sessions_of(*[secret, shown] * 10), redact=True)
    assert stream.learner.news == {"mails <*>": written((7, "x", "mails <email>"))[0]}
    assert stream.counts["sessions_not_learnt"] == 10
    with store.transaction(reading=True) as connection:
        bodies = str(rows_after(connection, Learning("app", run.name), number=0))
    assert "mails" in bodies
    assert "hunter" not in bodies
    assert "ann@example" not in bodies


@pytest.mark.real
def test_what_was_learnt_can_be_forgotten_while_a_watch_goes_on(run, store):
    lines = sessions_of(*[told("rests")] * 40)
    stream = judge(run, store, lines[:120])
    assert stream.counts["learnt_sessions"] > 0
    assert forgotten(store, "app") == [Learning("app", run.name)]
    source = stream.source
    source.lines["a"] = lines
    source.give("a", 4)
    stream.take(0)
    stream.end()
    stream.store(at_once=True)
    rows = scores(store)
    assert stream.counts["learnt_sessions"] <= 1
    assert rows[-1][1] < rows[0][1]  # it was judged before the watch noticed
    assert judge(run, store, lines).counts["learnt_sessions"] < 20


@pytest.mark.real
def test_entries_become_one_now_and_then(run, store):
    lines = sessions_of(*[told("rests"), told("waits")] * 160)
    judge(run, store, lines, step=4)
    with store.transaction(reading=True) as connection:
        assert connection.scalar(select(func.count()).select_from(learnt)) < 260
        assert connection.scalar(select(func.max(learnt.c.number))) >= 320
        assert (
            connection.scalar(select(func.count()).select_from(learnt).where(learnt.c.whole)) == 1
        )
    again = judge(run, store, lines)
    assert again.counts["learnt_sessions"] + again.counts["sessions_not_learnt"] > 300


@pytest.mark.real
def test_another_run_begins_anew_and_one_that_cannot_learn_is_said(run, store):
    words = []
    source = Script({"a": sessions_of(*[told("rests")] * 20)})
    stream = watching(run, source, store, told=words.append)
    source.give("a", 40)
    stream.take(0)
    stream.store(at_once=True)
    assert stream.counts["learnt_sessions"] > 0
    other = Novel(run.method)
    other.name = "novel@2"
    stream.judge_by(other, cache=None)
    assert stream.counts["learnt_sessions"] == 0
    source.give("a", 20)
    stream.take(0)
    stream.store(at_once=True)
    assert [learning["model"] for learning in learnings(store, None, run=None)] == [
        "novel@1",
        "novel@2",
    ]
    stream.judge_by(Errors(), cache=None)
    assert "nothing more is learnt" in words[-1]
    source.give("a", 20)
    stream.take(0)
    stream.store(at_once=True)
    assert store.verdicts("app").sort("first_position")["model"].to_list()[-1] == "errors@1"


@pytest.mark.real
def test_processes_of_one_stream_learn_from_one_another(run, store):
    section = WatchSection(begin="start", learn=True, idle=100_000)
    members = []
    for name in ("t/0", "t/1"):
        source = Script({name: sessions_of(*[told("rests")] * 20)})
        around = Surroundings(run, section, store, "test", lambda words: None)
        stream = Stream(
            Watched("app", source, prepared(by="count", key_field=None, size=4), apart=True), around
        )
        stream.begin()
        members.append((name, source, stream))
    for _ in range(4):
        for name, source, stream in members:
            source.give(name, 20)
            stream.take(0)
            stream.store(at_once=True)
    first, second = (stream.learner.counts for _, _, stream in members)
    assert second["learnt_sessions"] + second["sessions_not_learnt"] > 30
    assert 0 <= second["learnt_sessions"] - first["learnt_sessions"] <= 6
    with store.transaction(reading=True) as connection:
        numbers = [
            row.number for row in rows_after(connection, Learning("app", run.name), number=0)
        ]
    assert numbers == list(range(1, len(numbers) + 1))


class KilledError(Exception):
    """The process is no more."""


class Dying:
    """A store whose process is killed before or after one of its writes."""

    def __init__(self, store: Store, *, lives: int, after: bool) -> None:
        self._store, self._lives, self._after = store, lives, after

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def write(self, *arguments, **options):
        self._lives -= 1
        if self._lives < 0 and not self._after:
            raise KilledError
        done = self._store.write(*arguments, **options)
        if self._lives < 0:
            raise KilledError
        return done


KINDS = {
    "windows": {"by": "count", "key_field": None, "size": 4},
    "overlapping": {"by": "count", "key_field": None, "size": 4, "step": 2},
    "keys": {},
}
KILLS = 12  # at most


@pytest.mark.real
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.real)])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.real] if kind == "overlapping" else [])
        for kind in KINDS
    ],
    ids=KINDS,
)
def test_any_division_and_any_kill_give_the_same_verdicts(kind, seed, run, tmp_path):
    rng = np.random.default_rng(seed)
    prepare = prepared(**KINDS[kind])
    said = rng.choice(["waits", "rests", "sleeps", "disk failed", "opens"], size=14)
    events = [
        (at, f"k{at}", message) for at, session in enumerate(said) for message in told(session)
    ]
    lines = written(*events)
    whole, halting = Store.open(tmp_path / "whole.db"), Store.open(tmp_path / "halting.db")
    at_once = judge(run, whole, lines, step=len(lines), prepare=prepare)
    stream, kills, ended = None, 0, False
    while not ended:
        if stream is None:
            lives = int(rng.integers(0, 4)) if kills < KILLS else 1_000
            source = Script({"a": lines})
            stream = watching(
                run,
                source,
                Dying(halting, lives=lives, after=bool(rng.integers(2))),
                prepare=prepare,
            )
        source.give("a", int(rng.integers(1, 40)))
        stream.take(0)
        ended = source.over
        if ended:
            stream.end()
        try:
            stream.store(at_once=True)
        except KilledError:
            stream, kills, ended = None, kills + 1, False
    assert kills >= 4
    assert scores(halting) == scores(whole)
    assert stream.learner.counts == at_once.learner.counts
    whole.close()
    halting.close()


def test_bodies_are_json_that_others_can_read(run, store):
    judge(run, store, sessions_of(*[told("rests")] * 8))
    with store.transaction(reading=True) as connection:
        bodies = [json.loads(body) for body in connection.scalars(select(learnt.c.body))]
    assert bodies[-1]["sessions"] == 8
