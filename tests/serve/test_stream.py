"""From lines to rows of the store: the sessions of batch, whatever the pieces and the kills."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.logs.reader import Reader
from logllm.logs.redaction import redact_text
from logllm.serve.store.troubles import StoreFull
from logllm.serve.store.verdict_store import Store
from logllm.sessions.message_table import MessageTable
from logllm.sessions.sessionizer import Sessionizer
from tests.serve.scripted import KEYED, Clock, Errors, Script, begun
from tests.serve.scripted import settings as prepared

START = datetime(2026, 11, 3, 12, 0, 0, tzinfo=UTC)


def written(*events: tuple[int, str, str]) -> list[str]:
    """Lines at so many seconds, with a key and a message."""
    return [
        f"{START + timedelta(seconds=at):%Y-%m-%d %H:%M:%S} {key} {message}"
        for at, key, message in events
    ]


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "app.db")
    yield opened
    opened.close()


def rows(store: Store, **wanted) -> list[tuple]:
    """Sessions that are stored: name, lines, state and whether they are anomalous."""
    frame = store.verdicts("app", **wanted).sort("partition", "first_position", "session")
    return list(frame.select("session", "lines", "state", "anomalous").iter_rows())


def batch(lines: list[str], tmp_path, prepare) -> set[tuple[str, tuple[int, ...]]]:
    """The sessions that `detect` makes of a file with these lines."""
    log = tmp_path / "batch.log"
    log.write_text("".join(f"{line}\n" for line in lines))
    reader, table, sessionizer = (
        Reader(prepare, today=START.date()),
        MessageTable(),
        Sessionizer(prepare.sessions),
    )
    closed = [sessionizer.push(table.numbered(frame)) for frame in reader.read([log])]
    sessions = pl.concat([*closed, sessionizer.flush()])
    return {
        (session, tuple(numbers))
        for session, numbers in sessions.select("session", "lines").iter_rows()
    }


def test_messages_of_a_few_normal_sessions_are_kept_for_retraining(store):
    lines = written(*((at, f"s{at}", f"reads block {at}") for at in range(160)))
    source = Script({"a": lines})
    stream = begun(source, store, prepared(), idle=1000)
    source.give("a", 160)
    stream.take(0)
    stream.store(at_once=True)
    assert store.verdicts("app")["messages"].null_count() == 160  # they are open
    stream.end()
    stream.store(at_once=True)
    verdicts = store.verdicts("app")
    kept = verdicts.drop_nulls("messages")
    assert 2 <= kept.height <= 24
    assert kept["texts"].null_count() == kept.height
    assert not kept["anomalous"].any()
    numbers = dict(kept.select("session", "messages").iter_rows())
    assert all(json.loads(messages) == ["reads block <*>"] for messages in numbers.values())


def test_a_session_is_open_and_then_closed(store):
    source = Script({"a": written((0, "x", "begins"), (1, "y", "begins"), (2, "x", "ERROR lost"))})
    clock = Clock()
    stream = begun(source, store, prepared(), clock=clock, idle=60)
    source.give("a", 2, arrived=clock.now)
    stream.take(0)
    stream.store(at_once=True)
    assert rows(store) == [("x", [1], "open", False), ("y", [2], "open", False)]
    clock.now += 2
    source.give("a", 1, arrived=clock.now)
    stream.take(0)
    stream.store(at_once=True)
    assert rows(store) == [("x", [1, 3], "open", True), ("y", [2], "open", False)]
    assert source.lows == {"a": 1}
    clock.now += 61
    stream.take(0)
    stored = stream.store(at_once=True)
    assert (stored.closed, stored.anomalous) == (2, 1)
    assert rows(store) == [("x", [1, 3], "closed", True), ("y", [2], "closed", False)]
    assert source.lows == {"a": 4}


def test_what_is_kept_of_an_anomalous_session(store):
    lines = written((0, "x", "begins for 10.0.0.1"), (1, "x", "ERROR lost 10.0.0.1"))
    source = Script({"a": lines})
    stream = begun(source, store, prepared())
    source.give("a", 9)
    stream.take(0)
    stream.end()
    stream.store(at_once=True)
    row = store.verdicts("app").row(0, named=True)
    assert json.loads(row["texts"]) == lines
    evidence = json.loads(row["evidence"])
    assert (evidence[0]["line"], evidence[0]["text"]) == (2, lines[1])
    assert json.loads(row["messages"]) == ["begins for <*>", "ERROR lost <*>"]
    assert row["kind"] == "ERROR lost <*>"
    assert row["model"] == Errors.name
    assert (row["start"], row["end"]) == (START, START + timedelta(seconds=1))


TRACE = [
    "Traceback (most recent call last):",
    '  File "/srv/shop/disk.py", line 31, in flush',
    "    os.write(rows, password='hunter2')",
    "OSError: [Errno 122] Disk quota exceeded",
]


@pytest.mark.parametrize("redact", [False, True], ids=["as-written", "redacted"])
def test_a_trace_is_kept_whole_and_called_by_its_exception(store, redact):
    first = written((1, "x", f"ERROR {TRACE[0]}"))
    before, after = written((0, "x", "begins")), written((2, "x", "ends"))
    source = Script({"a": [*before, *first, *TRACE[1:], *after]})
    joining = KEYED.model_copy(update={"continuation": r"^\s|^\w+Error"})
    prepare = prepared().model_copy(update={"format": joining})
    stream = begun(source, store, prepare, redact=redact)
    source.give("a", 9)
    stream.take(0)
    stream.end()
    stream.store(at_once=True)
    verdicts = store.verdicts("app")
    row = verdicts.row(0, named=True)
    whole = "\n".join([*first, *TRACE[1:]])
    if redact:
        whole = redact_text(whole)
        assert "hunter2" not in str(row)
    assert row["lines"] == [1, 2, 6]
    assert json.loads(row["texts"]) == [*before, whole, *after]
    (telling,) = json.loads(row["evidence"])
    assert (telling["line"], telling["text"]) == (2, TRACE[-1])


def test_nothing_secret_is_stored(store):
    source = Script(
        {
            "a": written(
                (0, "x", "ERROR login failed for ann@example.com from 10.0.0.1 password=hunter2")
            )
        }
    )
    stream = begun(source, store, prepared(), redact=True)
    source.give("a", 9)
    stream.take(0)
    stream.end()
    stream.store(at_once=True)
    row = store.verdicts("app").row(0, named=True)
    assert "hunter2" not in str(row)
    assert "ann@example.com" not in str(row)
    assert "ERROR" in row["texts"]


def test_a_line_from_the_future_closes_nothing(store):
    future = ["2099-01-01 00:00:00 z from the future"]
    lines = written((0, "x", "begins")) + future + written((1, "x", "goes on"), (2, "x", "goes on"))
    source = Script({"a": lines})
    stream = begun(source, store, prepared(), idle=60)
    for _ in lines:
        source.give("a", 1)
        stream.take(0)
    stream.store(at_once=True)
    assert rows(store) == [("x", [1, 3, 4], "open", False), ("z", [2], "open", False)]


def test_a_log_of_the_past_closes_by_its_own_clock(store):
    events = [
        (at, key, "works")
        for at, key in ((0, "x"), (1, "y"), (100, "y"), (101, "y"), (102, "y"), (103, "y"))
    ]
    source = Script({"a": written(*events)})
    stream = begun(source, store, prepared(), idle=60)
    source.give("a", 9)
    stream.take(0)
    stream.store(at_once=True)
    assert rows(store) == [
        ("x", [1], "closed", False),
        ("y", [2], "closed", False),
        ("y", [3, 4, 5, 6], "open", False),
    ]


def test_what_stays_open_for_too_long_closes_early(store):
    source = Script({"a": written(*((at, "x", "works") for at in range(4)))})
    clock = Clock()
    stream = begun(source, store, prepared(), clock=clock, idle=60, max_open_age=100)
    for _ in range(4):
        clock.now += 40
        source.give("a", 1, arrived=clock.now)
        stream.take(0)
    stream.store(at_once=True)
    assert next(state for _, _, state, _ in rows(store)) == "early"
    assert source.lows["a"] > 1


def test_a_former_owner_stops(store, tmp_path):
    from logllm.errors import ServeError

    lines = written((0, "x", "begins"), (1, "x", "goes on"))
    source = Script({"a": lines})
    stream = begun(source, store, prepared())
    source.give("a", 1)
    stream.take(0)
    begun(Script({"a": lines}), store, prepared())
    with pytest.raises(ServeError, match="another process"):
        stream.store(at_once=True)
    assert rows(store) == []


class Troubled:
    """A store whose writes fail so many times before one works."""

    def __init__(self, store: Store, *, failures: int) -> None:
        self._store = store
        self._failures = failures

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def write(self, *arguments, **options):
        if self._failures:
            self._failures -= 1
            raise StoreFull("the disk is full")
        return self._store.write(*arguments, **options)


def test_what_a_full_store_refused_is_written_later(store):
    source = Script({"a": written((0, "x", "ERROR lost"), (1, "y", "begins"))})
    clock = Clock()
    stream = begun(source, Troubled(store, failures=2), prepared(), clock=clock, idle=60)
    source.give("a", 9, arrived=clock.now)
    stream.take(0)
    for later in (0, 70):
        clock.now += later
        for assembly in stream.assemblies:
            assembly.tick(clock.now)
        with pytest.raises(StoreFull):
            stream.store(at_once=True)
        assert source.lows == {}
    stored = stream.store(at_once=True)
    assert (stored.closed, stored.anomalous) == (2, 1)
    assert rows(store) == [("x", [1], "closed", True), ("y", [2], "closed", False)]
    assert source.lows == {"a": 3}


@pytest.mark.real
def test_new_messages_for_ever_take_no_more_memory(store):
    lines = written(
        *(
            (step, f"k{step}", "says " + "".join(chr(97 + int(digit)) for digit in str(step)))
            for step in range(25_000)
        )
    )
    source = Script({"a": lines})
    stream = begun(source, store, prepared(), idle=60)
    tables = []
    while not source.over:
        source.give("a", 2_500)
        stream.take(0)
        stream.store(at_once=True)
        tables.append(len(stream.assemblies[0].messages))
    assert max(tables) < 23_000
    assert any(after < before for before, after in pairwise(tables))
    stream.end()
    stream.store(at_once=True)
    assert stream.sessions == len(lines)


def test_a_pause_divides_a_session_also_after_a_restart(store):
    """What is read again is not taken for as late as the log had come to when it was stored."""
    events = [
        (0, "x"),
        (50, "y"),
        (51, "y"),
        (52, "y"),
        (100, "x"),
        (101, "y"),
        (102, "y"),
        (103, "y"),
    ]
    lines = written(*((at, key, "works") for at, key in events))
    source = Script({"a": lines})
    stream = begun(source, store, prepared(), idle=60)
    source.give("a", 4)
    stream.take(0)
    stream.store(at_once=True)
    source = Script({"a": lines})
    stream = begun(source, store, prepared(), idle=60)
    source.give("a", 9)
    stream.take(0)
    stream.end()
    stream.store(at_once=True)
    assert [row[:2] for row in rows(store)] == [("x", [1]), ("y", [2, 3, 4, 6, 7, 8]), ("x", [5])]


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from("vwxyz"),
        st.sampled_from(["begins", "ERROR lost", "ends"]),
    ),
    max_size=40,
)
SESSIONS = {
    "keys": {},
    "pauses": {"idle": 5},
    "cut": {"max_messages": 3, "long": "cut"},
    "split": {"max_messages": 3, "long": "split"},
    "windows": {"by": "count", "key_field": None, "size": 4},
    "overlapping": {"by": "count", "key_field": None, "size": 4, "step": 2},
    "minutes": {"by": "time", "key_field": None, "size": 10},
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", SESSIONS, ids=SESSIONS)
@pytest.mark.parametrize("examples", [3, pytest.param(40, marks=pytest.mark.real)])
def test_any_division_and_any_kill_give_the_sessions_of_batch(kind, examples, tmp_path_factory):
    check = given(events=EVENTS, data=st.data())(_check_division_and_kills)
    settings(max_examples=examples)(check)(kind=kind, tmp_path_factory=tmp_path_factory)


def _check_division_and_kills(events, data, kind, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("kills")
    prepare = prepared(**SESSIONS[kind])
    at, lines = 0, []
    for step, key, message in events:
        at += step
        lines += written((at, key, message))
    store = Store.open(tmp_path / "app.db")
    how = {"idle": prepare.sessions.idle or 100_000, "max_open_age": 100_000}
    source = Script({"a": lines})
    stream = begun(source, store, prepare, **how)
    while not source.over:
        source.give("a", data.draw(st.integers(1, 7), label="lines"))
        stream.take(0)
        then = data.draw(st.sampled_from(["go on", "store", "kill", "end and kill"]), label="then")
        if then == "store":
            stream.store(at_once=True)
        if then in ("kill", "end and kill"):
            source = Script({"a": lines})
            stream = begun(source, store, prepare, **how)
    stream.end()
    stream.store(at_once=True)
    stored = {
        (session, tuple(numbers)) for session, numbers, state, _ in rows(store) if state != "open"
    }
    assert stored == (batch(lines, tmp_path, prepare) if lines else set())
    assert len(rows(store)) == len(stored)
    store.close()
