"""Partitions that several processes share: what is lost is dropped, what the store refuses is not
written."""

import pytest

from logllm.config.watch import WatchSection
from logllm.serve.sources.contract import Taken
from logllm.serve.store.verdict_store import Store
from logllm.serve.stream import Stream
from logllm.serve.surroundings import Surroundings, Watched
from tests.serve.scripted import Clock, Errors, Script, settings

CLOCK = Clock()

LINES = {
    "t/0": [f"2026-11-03 12:00:0{second} x message" for second in range(4)],
    "t/1": [f"2026-11-03 12:00:0{second} y message" for second in range(4)],
}


class Sharing(Script):
    """A source whose partitions come and go as a test says."""

    def __init__(self, lines):
        super().__init__(lines)
        self.refusals = []
        self.lose = []

    def alone(self):
        pass

    def refused(self, partitions):
        self.refusals += partitions

    def take(self, wait):
        lost, self.lose = self.lose, []
        return Taken([], lost) if lost else super().take(wait)


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "app.db")
    yield opened
    opened.close()


def member(store, *partitions, lines=LINES, told=lambda words: None):
    """A process that has claimed some partitions."""
    source = Sharing({name: lines[name] for name in partitions})
    around = Surroundings(Errors(), WatchSection(begin="start"), store, "test", told, clock=CLOCK)
    stream = Stream(Watched("app", source, settings(), apart=True), around)
    stream.begin()
    return source, stream


def step(source, stream, partition, count):
    CLOCK.now += 2  # open sessions are judged once a second
    source.give(partition, count, arrived=CLOCK.now)
    stream.take(0)
    stream.store(at_once=True)


def rows(store):
    frame = store.verdicts("app").sort("session")
    return list(frame.select("session", "lines", "state").iter_rows())


def test_a_process_that_was_taken_for_dead_writes_nothing_and_tells_its_source(store):
    source, zombie = member(store, "t/0", "t/1")
    step(source, zombie, "t/0", 2)
    other_source, other = member(store, "t/0")
    step(other_source, other, "t/0", 3)
    assert rows(store) == [("x", [1, 2, 3], "open")]
    source.give("t/1", 1, arrived=CLOCK.now)
    step(source, zombie, "t/0", 1)
    assert source.refusals == ["t/0"]
    assert rows(store) == [("x", [1, 2, 3], "open"), ("y", [1], "open")]
    step(source, zombie, "t/0", 1)
    zombie.end()
    zombie.store(at_once=True)
    assert rows(store) == [("x", [1, 2, 3], "open"), ("y", [1], "closed")]
    step(other_source, other, "t/0", 1)
    other.end()
    other.store(at_once=True)
    assert rows(store) == [("x", [1, 2, 3, 4], "closed"), ("y", [1], "closed")]
    assert other_source.refusals == []


def test_sessions_of_a_lost_partition_are_left_to_its_new_owner(store):
    source, first = member(store, "t/0", "t/1")
    source.give("t/1", 2, arrived=CLOCK.now)
    step(source, first, "t/0", 2)
    source.lose = ["t/0"]
    first.take(0)
    first.end()
    first.store(at_once=True)
    assert rows(store) == [("x", [1, 2], "open"), ("y", [1, 2], "closed")]
    other_source, other = member(store, "t/0")
    step(other_source, other, "t/0", 4)
    other.end()
    other.store(at_once=True)
    assert rows(store) == [("x", [1, 2, 3, 4], "closed"), ("y", [1, 2], "closed")]


def test_a_session_is_not_idle_while_its_lines_wait_at_the_source(store):
    """Judging took long: of what came meanwhile the next lines are taken, and those behind them are
    not yet."""
    source, stream = member(store, "t/0", "t/1")
    step(source, stream, "t/0", 2)
    came = CLOCK.now + 1
    CLOCK.now += 1_000
    source.give("t/1", 1, arrived=came)
    stream.take(0)
    source.give("t/0", 2, arrived=came)
    stream.take(0)
    stream.store(at_once=True)
    assert rows(store) == [("x", [1, 2, 3, 4], "open"), ("y", [1], "open")]
    stream.take(0)
    stream.store(at_once=True)
    assert rows(store) == [("x", [1, 2, 3, 4], "closed"), ("y", [1], "closed")]


def test_a_session_over_two_partitions_is_counted_and_said_once(store):
    words = []
    lines = {
        name: [f"2026-11-03 12:00:0{at} {key} message" for at, key in enumerate(keys)]
        for name, keys in (("t/0", "xyz"), ("t/1", "wxy"))
    }
    source, stream = member(store, "t/0", "t/1", lines=lines, told=words.append)
    step(source, stream, "t/0", 3)
    step(source, stream, "t/1", 1)
    assert "divided_sessions" not in stream.counts
    step(source, stream, "t/1", 2)
    stream.end()
    stream.store(at_once=True)
    assert stream.counts["divided_sessions"] == 2
    (said,) = words
    assert said.startswith("app: session x has lines in t/0 and in t/1")


def test_a_session_that_goes_on_elsewhere_after_a_rebalance_is_not_divided(store):
    lines = {"t/0": LINES["t/0"], "t/1": LINES["t/0"]}
    source, stream = member(store, "t/0", "t/1", lines=lines)
    step(source, stream, "t/0", 2)
    source.lose = ["t/0"]
    stream.take(0)
    step(source, stream, "t/1", 2)
    assert "divided_sessions" not in stream.counts
