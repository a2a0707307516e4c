"""What a page shows: when things were, which lines of a session, and which of them are marked."""

from datetime import UTC, datetime, timedelta
from io import BytesIO

import polars as pl
import pytest

from logllm.detect.page.judged import Judged
from logllm.detect.page.marks import marked_lines
from logllm.detect.page.opened import FURTHER, LINES, MARKS, begun_lines, shown_lines
from logllm.detect.page.timeline import Interval, timeline
from logllm.detect.page.written import PutAside
from logllm.logs.arriving import Arriving
from logllm.logs.lines import STDIN, lines_at

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def sessions(*words: str, **columns: list) -> pl.DataFrame:
    """Sessions whose messages are letters, one a line; lines are numbered on from 1."""
    lines, last = [], 0
    for word in words:
        lines.append(list(range(last + 1, last + 1 + len(word))))
        last += len(word)
    return pl.DataFrame(
        {
            "messages": [[ord(letter) - ord("a") for letter in word] for word in words],
            "lines": lines,
            **columns,
        },
        schema_overrides={"messages": pl.List(pl.UInt32), "lines": pl.List(pl.UInt64)},
    )


def marked(*marks: tuple) -> pl.DataFrame:
    return pl.DataFrame(list(marks), schema=MARKS, orient="row")


MESSAGES = pl.Series("abcdefghij"[place] for place in range(10))


def opened(frame: pl.DataFrame, *marks: tuple, messages: pl.Series = MESSAGES):
    return shown_lines(frame, messages, marks=marked(*marks), begun=begun_lines(frame))


def test_repeats_are_shown_once_with_their_marked_line() -> None:
    first, second = opened(sessions("aabbba", "ab"), (0, 4, None, 0.9))
    assert [(line.place, line.times, line.last, line.mark) for line in first.lines] == [
        ((None, 1), 2, 2, None),
        ((None, 4), 3, 5, 0.9),
        ((None, 6), 1, 6, None),
    ]
    assert [line.times for line in second.lines] == [1, 1]
    assert first.after == second.after == 0


def test_repeats_end_where_another_file_begins() -> None:
    frame = sessions("aaa", files=[["x.log", "x.log", "y.log"]])
    (session,) = opened(frame, (0, 3, "y.log", 0.5))
    assert [(line.place, line.times, line.mark) for line in session.lines] == [
        (("x.log", 1), 2, None),
        (("y.log", 3), 1, 0.5),
    ]


def test_of_a_long_session_what_is_marked_its_company_and_the_ends_are_shown() -> None:
    long = "ab" * 500
    (session,) = opened(sessions(long), (0, 600, None, 0.7))
    shown = [line.place[1] for line in session.lines]
    assert len(shown) == LINES
    assert {1, 2, 10, 597, 600, 603, 996, 1000} <= set(shown)
    assert sum(line.before + line.times for line in session.lines) + session.after == len(long)
    gaps = [(line.place[1], line.before) for line in session.lines if line.before]
    assert gaps == [(597, 597 - shown[shown.index(597) - 1] - 1), (996, 996 - 603 - 1)]


def test_a_record_of_several_lines_ends_where_another_begins() -> None:
    messages = pl.Series(["fails\nat x\nat y", "goes on", "\n".join(["long"] * 30)])
    frame = sessions("abac").with_columns(lines=pl.Series([[1, 4, 5, 6]], dtype=pl.List(pl.UInt64)))
    (session,) = opened(frame, messages=messages)
    assert [line.further for line in session.lines[:3]] == [(2, 3), (), ()]
    assert (len(session.lines[3].further), session.lines[3].more) == (FURTHER, 29 - FURTHER)
    (alone,) = shown_lines(frame, messages, marks=marked(), begun={})
    assert [line.further for line in alone.lines] == [()] * 4


@pytest.mark.parametrize("several", [False, True], ids=["one input", "several"])
def test_evidence_is_marked(several) -> None:
    lines = [
        {"line": 2, "file": "x.log", "score": 0.9, "text": "b"},
        {"line": 1, "file": "y.log", "score": 0.6, "text": "a"},
    ]
    told = (
        lines
        if several
        else [{name: line[name] for name in line if name != "file"} for line in lines]
    )
    frame = sessions("ab", "ab", evidence=[None, told])
    marks = marked_lines(frame, Judged(frame, reading=None, detector=None))
    assert marks.rows() == [
        (1, 2, "x.log" if several else None, 0.9),
        (1, 1, "y.log" if several else None, 0.6),
    ]


def times(*starts: float, anomalous: int = 0) -> pl.DataFrame:
    """Sessions of half a second that begin some seconds after noon."""
    began = [NOON + timedelta(seconds=start) for start in starts]
    return pl.DataFrame(
        {
            "start": began,
            "end": [start + timedelta(seconds=0.5) for start in began],
            "anomalous": [place < anomalous for place in range(len(starts))],
        }
    )


def test_a_timeline_counts_every_session() -> None:
    line = timeline(times(0, 1, 1.2, 300, anomalous=2), [])
    assert line is not None
    assert sum(bar.sessions for bar in line.bars) == 4
    assert sum(bar.anomalous for bar in line.bars) == 2
    assert (line.most, max(bar.height for bar in line.bars)) == (3, 100)
    assert [mark.words for mark in line.marks] == ["12:01", "12:02", "12:03", "12:04"]
    assert all(0 <= bar.x < 100 for bar in line.bars)


def test_incidents_that_would_touch_each_other_lie_in_lanes() -> None:
    second = lambda at: NOON + timedelta(seconds=at)  # noqa: E731
    incidents = [
        Interval(second(10), second(12)),
        Interval(None, None),
        Interval(second(11), second(11)),
        Interval(second(200), second(300)),
    ]
    line = timeline(times(0, 300), incidents)
    assert line is not None
    assert [(span.number, span.lane) for span in line.spans] == [(1, 0), (3, 1), (4, 0)]
    assert line.lanes == 2
    assert all(span.width > 0 and span.x + span.width <= 100.01 for span in line.spans)


@pytest.mark.parametrize(
    "frame",
    [
        times(1).with_columns(end="start"),
        times(1).with_columns(pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("start")),
    ],
)
def test_without_times_there_is_no_timeline(frame) -> None:
    assert timeline(frame, []) is None


def test_days_are_named_where_there_are_several() -> None:
    line = timeline(times(0, 40 * 3600), [])
    assert line is not None
    assert [mark.words for mark in line.marks] == ["11-28", "12:00", "11-29"]


@pytest.mark.parametrize(
    "made", [BytesIO, lambda text: Arriving([text[:7], text[7:]])], ids=["file", "pipe"]
)
def test_standard_input_can_be_looked_up_again(made) -> None:
    aside = PutAside(made(b"one\ntwo\nthree\n"))
    while aside.read(4):
        assert aside.comes(0.1)
    assert lines_at(STDIN, [3, 1], stdin=aside.again()) == {1: "one", 3: "three"}
    assert lines_at(STDIN, [2], stdin=aside.again()) == {2: "two"}
