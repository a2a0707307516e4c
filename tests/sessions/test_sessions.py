"""Records to sessions: what each way of grouping means, and that no division of the input changes
it."""

from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from logllm.config.sessions import SessionSection
from logllm.sessions.message_table import NUMBERED
from logllm.sessions.sessionizer import SESSIONS, Sessionizer

START = datetime(2024, 1, 1, tzinfo=UTC)


def at(seconds):
    return None if seconds is None else START + timedelta(seconds=seconds)


def frame(rows, first=1):
    """Compact records from (seconds, keys, anomalous) rows; message and line follow the record's
    number."""
    numbers = range(first, first + len(rows))
    return pl.DataFrame(
        {
            "record": numbers,
            "file": [0] * len(rows),
            "line": [number + 10 for number in numbers],
            "time": [at(seconds) for seconds, _, _ in rows],
            "keys": [keys for _, keys, _ in rows],
            "message": [number + 100 for number in numbers],
            "anomalous": [anomalous for *_, anomalous in rows],
        },
        schema=NUMBERED,
    )


def timed(*seconds):
    return [(second, [], False) for second in seconds]


def keyed(*keys, seconds=None):
    return [
        (None if seconds is None else seconds[place], list(key), None)
        for place, key in enumerate(keys)
    ]


def run(section, rows, *, cuts=(), first=1):
    """All sessions, the records pushed in frames that end at some cuts; and the sessionizer."""
    grouping = Sessionizer(section)
    records = frame(rows, first)
    bounds = [0, *sorted(cuts), len(rows)]
    pieces = [grouping.push(records[begin:end]) for begin, end in pairwise(bounds)]
    sessions = pl.concat([*pieces, grouping.flush()])
    assert sessions.schema == pl.Schema(SESSIONS)
    return sessions, grouping


def shape(sessions):
    """Sessions as {id: record numbers}."""
    return {
        name: [message - 100 for message in messages]
        for name, messages in sessions.select("session", "messages").iter_rows()
    }


def windows(section, rows, **options):
    return shape(run(section, rows, **options)[0])


def count(size, step=None, **more):
    return SessionSection(by="count", size=size, step=step, **more)


def seconds(size, step=None, **more):
    return SessionSection(by="time", size=size, step=step, **more)


def by_key(**more):
    return SessionSection(by="key", key_pattern="x", **more)


@pytest.mark.parametrize(
    ("section", "records", "expected"),
    [
        (count(3), 7, {"3@1": [1, 2, 3], "3@4": [4, 5, 6], "3@7": [7]}),
        (count(3), 6, {"3@1": [1, 2, 3], "3@4": [4, 5, 6]}),
        (count(3), 0, {}),
        (count(3), 1, {"3@1": [1]}),
        (count(4, 2), 6, {"4@1": [1, 2, 3, 4], "4@3": [3, 4, 5, 6]}),
        (count(4, 2), 7, {"4@1": [1, 2, 3, 4], "4@3": [3, 4, 5, 6], "4@5": [5, 6, 7]}),
        (count(4, 2), 3, {"4@1": [1, 2, 3]}),
        (count(3, 1), 4, {"3@1": [1, 2, 3], "3@2": [2, 3, 4]}),
    ],
)
def test_windows_by_count(section, records, expected):
    assert windows(section, timed(*range(records))) == expected


def test_windows_can_start_at_a_later_record():
    assert windows(count(2), timed(0, 1, 2), first=11) == {"2@11": [11, 12], "2@13": [13]}


@pytest.mark.parametrize(
    ("section", "at_seconds", "expected"),
    [
        (seconds(10), [0, 3, 9, 10, 45], {"10@1": [1, 2, 3], "10@4": [4], "10@5": [5]}),
        (seconds(10), [9, 5, 12], {"10@1": [1, 2], "10@3": [3]}),
        (seconds(10), [9, None, 12], {"10@1": [1], "10@3": [3]}),
        (seconds(10, 5), [1, 6, 11], {"10@1-1": [1], "10@1": [1, 2], "10@2": [2, 3], "10@3": [3]}),
        (seconds(10), [-1, 0], {"10@1": [1], "10@2": [2]}),
        (seconds(10), [], {}),
        (seconds(10), [None], {}),
    ],
)
def test_windows_by_time(section, at_seconds, expected):
    assert windows(section, timed(*at_seconds)) == expected


def test_late_records_are_counted():
    sessions, grouping = run(seconds(10), timed(5, 11, 6, 12))
    assert shape(sessions) == {"10@1": [1], "10@2": [2, 4]}
    assert grouping.counts["late"] == 1
    _, grouping = run(seconds(10, 5), timed(5, 11, 6, 12))
    assert grouping.counts["late"] == 0  # its later window is still open


def test_sessions_by_key():
    sessions, grouping = run(by_key(), keyed("ab", "a", "", "b", "c"))
    assert shape(sessions) == {"a": [1, 2], "b": [1, 4], "c": [5]}
    assert sessions["lines"].to_list() == [[11, 12], [11, 14], [15]]
    assert sessions["closed"].to_list() == [None, None, None]
    assert grouping.counts == {"keyless": 1, "closed_early": 0}


def test_key_sessions_close_when_idle():
    sessions, grouping = run(
        by_key(idle=10), keyed("a", "b", "a", "b", "a", seconds=[0, 5, 10, 16, 30])
    )
    assert sessions.select("session", "closed").rows() == [
        ("b", "early"),
        ("a", "early"),
        ("b", "early"),
        ("a", None),
    ]
    assert [messages.to_list() for messages in sessions["messages"]] == [
        [102],
        [101, 103],
        [104],
        [105],
    ]
    assert grouping.counts["closed_early"] == 3


def test_the_key_session_that_waited_longest_closes_when_there_are_too_many():
    sessions, _ = run(by_key(max_open_sessions=2), keyed("a", "b", "a", "c", "b"))
    assert sessions.select("session", "closed", "messages").rows() == [
        ("b", "early", [102]),
        ("a", "early", [101, 103]),
        ("c", None, [104]),
        ("b", None, [105]),
    ]


def test_labels_times_and_record_numbers():
    rows = [(5, ["a"], False), (None, ["a"], None), (2, ["a"], True), (9, ["b"], None)]
    sessions, _ = run(by_key(), rows)
    assert sessions.select(
        "start", "end", "anomalous", "item_anomalous", "first", "last", "part"
    ).rows() == [
        (at(2), at(5), True, [False, None, True], 1, 3, 1),
        (at(9), at(9), None, None, 4, 4, 1),
    ]


def test_long_sessions_are_cut_or_go_on():
    rows = [(place, ["k"], place == 4) for place in range(5)]
    cut, grouping = run(by_key(max_messages=2, long="cut"), rows)
    assert shape(cut) == {"k": [1, 2]}
    assert cut.select("anomalous", "item_anomalous", "end").rows() == [
        (True, [False, False], at(4))
    ]
    assert (grouping.long, grouping.messages_cut) == (1, 3)
    split, grouping = run(by_key(max_messages=2, long="split"), rows)
    assert shape(split) == {"k": [1, 2], "k#2": [3, 4], "k#3": [5]}
    assert split.select("part", "anomalous", "start", "lines").rows() == [
        (1, False, at(0), [11, 12]),
        (2, False, at(2), [13, 14]),
        (3, True, at(4), [15]),
    ]
    assert (grouping.long, grouping.messages_cut) == (1, 0)


def test_a_session_of_one_message_and_one_of_ten_thousand():
    rows = keyed("a", *["b"] * 10_000)
    split, _ = run(by_key(), rows)
    assert split["messages"].list.len().to_list() == [1, *[128] * 78, 16]
    assert split["session"][-1] == "b#79"
    cut, _ = run(by_key(long="cut"), rows)
    assert cut["messages"].list.len().to_list() == [1, 128]


def test_flushing_what_is_older():
    moment = at(10)
    grouping = Sessionizer(by_key())
    grouping.push(frame(keyed("a", "b", "c", seconds=[5, 10, None])))
    assert grouping.flush(moment).select("session", "closed").rows() == [("a", "early")]
    grouping.push(frame(keyed("a", seconds=[11]), 4))
    assert grouping.flush()["session"].to_list() == ["b", "c", "a"]
    assert not grouping.flush().height

    grouping = Sessionizer(seconds(10))
    grouping.push(frame(timed(5, 11)))
    assert not grouping.flush(moment).height
    assert shape(grouping.flush(at(20))) == {"10@2": [2]}
    grouping.push(frame(timed(19, 20), 3))
    assert grouping.counts["late"] == 1
    assert shape(grouping.flush()) == {"10@4": [4]}

    grouping = Sessionizer(count(3))
    assert not grouping.flush(moment).height
    grouping.push(frame(timed(5, 9)))
    assert not grouping.flush(at(9)).height
    assert shape(grouping.flush(moment)) == {"3@1": [1, 2]}
    assert shape(grouping.push(frame(timed(20, 21, 22), 3))) == {"3@3": [3, 4, 5]}
    assert not grouping.flush().height


KEYS = st.lists(st.sampled_from("abcd"), unique=True, max_size=3)
TIMES = st.one_of(st.none(), st.integers(0, 60))
ROWS = st.lists(st.tuples(TIMES, KEYS, st.sampled_from([None, False, True])), max_size=18)
CUTS = st.lists(st.integers(0, 18), max_size=5)
SECTIONS = st.one_of(
    st.builds(count, st.integers(1, 6)),
    st.builds(
        lambda size, less, most: count(size, max(1, size - less), max_messages=most),
        *[st.integers(1, 6)] * 3,
    ),
    st.builds(seconds, st.integers(1, 30)),
    st.builds(
        lambda size, less: seconds(size, max(1, size - less)),
        st.integers(1, 30),
        st.integers(0, 30),
    ),
    st.builds(
        lambda idle, most, longest, long: by_key(
            idle=idle, max_open_sessions=most, max_messages=longest, long=long
        ),
        st.one_of(st.none(), st.integers(1, 30)),
        st.integers(1, 4),
        st.integers(1, 6),
        st.sampled_from(["cut", "split"]),
    ),
)


@pytest.mark.real
@settings(max_examples=70)
@given(section=SECTIONS, rows=ROWS, cuts=CUTS)
def test_any_chunking_gives_the_same_sessions(section, rows, cuts):
    whole, first = run(section, rows)
    pieces, second = run(section, rows, cuts=[min(cut, len(rows)) for cut in cuts])
    assert_frame_equal(whole, pieces)
    assert (first.counts, first.long) == (second.counts, second.long)


@pytest.mark.real
@settings(max_examples=50)
@given(
    rows=ROWS,
    cuts=CUTS,
    idle=st.one_of(st.none(), st.integers(1, 30)),
    most=st.integers(1, 4),
)
def test_key_sessions_are_what_a_simple_loop_makes(rows, cuts, idle, most):
    waiting: OrderedDict[str, tuple[int | None, list[int]]] = OrderedDict()
    closed = []
    clock = None
    for number, (second, keys, _) in enumerate(rows, 1):
        if second is not None:
            if clock is None:
                waiting = OrderedDict(
                    (key, (second, records)) for key, (_, records) in waiting.items()
                )
            clock = second if clock is None else max(clock, second)
        for key in keys:
            for other, (seen, _) in list(waiting.items()):
                if idle is not None and seen is not None and clock - seen > idle:
                    closed.append((other, "early", waiting.pop(other)[1]))
            _, records = waiting.pop(key, (None, []))
            waiting[key] = (clock, [*records, number])
            if len(waiting) > most:
                other, (_, records) = waiting.popitem(last=False)
                closed.append((other, "early", records))
    for other, (seen, _) in list(waiting.items()):
        if idle is not None and seen is not None and clock - seen > idle:
            closed.append((other, "early", waiting.pop(other)[1]))
    closed += [
        (key, None, records)
        for key, (_, records) in sorted(waiting.items(), key=lambda item: item[1][1][0])
    ]
    sessions, _ = run(
        by_key(idle=idle, max_open_sessions=most), rows, cuts=[min(cut, len(rows)) for cut in cuts]
    )
    found = [
        (name, early, [message - 100 for message in messages])
        for name, early, messages in sessions.select("session", "closed", "messages").iter_rows()
    ]
    assert sorted(found, key=str) == sorted(closed, key=str)
    assert [entry for entry in found if entry[1]] == [entry for entry in closed if entry[1]]
