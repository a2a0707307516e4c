"""When sessions began and incidents were, as bars and spans along one line of time.

Places on it are in per cent of its length.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

BARS = 72
"""Bars of a timeline."""

_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3_600, 86_400
_STEPS = (
    *(_SECOND, 2, 5, 10, 15, 30),
    *(_MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY, 90 * _DAY, 180 * _DAY, 365 * _DAY),
)
"""Seconds between two marks of time."""
_MARKS = 6
"""How many marks of time there are at most."""
_EDGE = 6.0
"""How near to an end, in per cent, a mark has no room for its words."""
_LABEL = 5.0
"""How wide the number of an incident is, in per cent: as wide as on a phone, the narrowest page."""
_EDGE_OF_LABELS = 1.0
"""How near to an end, in per cent, the middle of a number may come."""
_LEAST = 0.6
"""Width of the shortest span, in per cent."""


class Bar(NamedTuple):
    """Sessions that began in one stretch of time."""

    x: float
    width: float
    sessions: int
    anomalous: int
    height: float
    """In per cent of the highest bar."""
    marked: float
    """The height of its part for anomalous sessions, in per cent of the highest bar."""
    start: datetime


class Mark(NamedTuple):
    """A mark of time."""

    x: float
    words: str
    seldom: bool
    """Whether it is left out where there is little room."""


class Interval(NamedTuple):
    """From when to when something was; None where that is not known."""

    start: datetime | None
    end: datetime | None


class Span(NamedTuple):
    """An incident."""

    number: int
    """From 1, in the order in which incidents are told."""
    x: float
    width: float
    lane: int
    """How many spans lie above it."""
    label: float
    """Where the middle of its number is."""


class Timeline(NamedTuple):
    """A log's time."""

    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    spans: tuple[Span, ...]
    lanes: int
    start: datetime
    end: datetime
    most: int
    """Sessions of the highest bar."""


def timeline(verdicts: pl.DataFrame, incidents: Sequence[Interval]) -> Timeline | None:
    """The timeline of a log; None where its times are not known, or are all the same.

    Args:
        verdicts: of all its sessions.
        incidents: in the order in which they are told.
    """
    # One point in time has no length to draw along.
    start, end = verdicts["start"].min(), verdicts["end"].max()
    if not isinstance(start, datetime) or not isinstance(end, datetime) or start >= end:
        return None
    spans = _spans(incidents, start=start, end=end)
    bars = _bars(verdicts, start=start, end=end)
    lanes = {span.lane for span in spans}
    most = max(bar.sessions for bar in bars)
    return Timeline(
        bars=bars,
        marks=_marks(start, end),
        spans=spans,
        lanes=len(lanes),
        start=start,
        end=end,
        most=most,
    )


def _bars(verdicts: pl.DataFrame, *, start: datetime, end: datetime) -> tuple[Bar, ...]:
    """The sessions by when they began."""
    length = (end - start).total_seconds()
    timed = verdicts.filter(pl.col("start").is_not_null())
    # Which of the 72 bars each session began in; the log's last moment belongs to the last one.
    after = timed["start"] - start
    seconds = after.dt.total_microseconds().to_numpy() / 1e6
    bar_of_session = (seconds / length * BARS).astype(np.int64)
    place = np.minimum(bar_of_session, BARS - 1)
    # How many sessions, and how many anomalous ones, each bar has; empty bars are not drawn.
    calls = timed["anomalous"].to_numpy()
    counts = np.bincount(place, minlength=BARS)
    anomalous = np.bincount(place, weights=calls, minlength=BARS)
    most = counts.max()
    width = 100 / BARS
    bars: list[Bar] = []
    for at in np.flatnonzero(counts).tolist():
        count, bad = int(counts[at]), float(anomalous[at])
        began = timedelta(seconds=length * at / BARS)
        bar = Bar(
            x=at * width,
            width=width,
            sessions=count,
            anomalous=int(bad),
            height=100 * count / most,
            marked=100 * bad / most,
            start=start + began,
        )
        bars.append(bar)
    return tuple(bars)


def _marks(start: datetime, end: datetime) -> tuple[Mark, ...]:
    """Marks at round times, few enough to be read.

    >>> start = datetime(2026, 1, 5, 9, 58, tzinfo=UTC)
    >>> [mark.words for mark in _marks(start, start + timedelta(minutes=25))]
    ['10:00', '10:05', '10:10', '10:15', '10:20']
    """
    length = (end - start).total_seconds()
    # The smallest step that gives few enough marks; of a log of many years a multiple of the last.
    longest = _STEPS[-1]
    multiple = 1 + length // (_MARKS * longest)
    steps = (step for step in _STEPS if length / step <= _MARKS)
    step = next(steps, longest * multiple)
    began, ended = start.timestamp(), end.timestamp()
    first = -(-began // step) * step
    times = np.arange(first, ended + 1e-6, step)
    # Seconds are written only where marks are less than a minute apart.
    clock = "%H:%M" if step >= _MINUTE else "%H:%M:%S"
    several_days = start.date() != end.date()
    marks: list[Mark] = []
    for seconds in times.tolist():
        x = 100 * (seconds - began) / length
        if not _EDGE <= x <= 100 - _EDGE:
            continue
        # At midnight the day is written, which is what a reader then wants to know.
        time = datetime.fromtimestamp(seconds, UTC)
        midnight = several_days and time.time() == time.min.time()
        words = time.strftime("%m-%d" if midnight else clock)
        every_second = len(marks) % 2 == 1
        marks.append(Mark(x, words, seldom=every_second))
    return tuple(marks)


def _spans(incidents: Sequence[Interval], *, start: datetime, end: datetime) -> tuple[Span, ...]:
    """Incidents whose times are known; those that would touch each other lie in several lanes."""
    length = (end - start).total_seconds()
    # Numbers stay those of the list, though spans are laid out by time.
    known: list[tuple[datetime, datetime, int]] = []
    for number, incident in enumerate(incidents, 1):
        if incident.start and incident.end:
            known.append((incident.start, incident.end, number))
    # The right end of the last span in each lane: the next one goes into the first lane with room.
    ends: list[float] = []
    spans: list[Span] = []
    for began, ended, number in sorted(known, key=lambda span: span[0]):
        place = 100 * (began - start).total_seconds() / length
        lasts = 100 * (ended - began).total_seconds() / length
        # A short incident still has to be seen, and its number must not leave the page.
        x = min(place, 100 - _LEAST)
        width = max(lasts, _LEAST)
        middle = max(x + width / 2, _EDGE_OF_LABELS)
        label = min(middle, 100 - _EDGE_OF_LABELS)
        # Its number may be wider than the span itself.
        left = min(x, label - _LABEL / 2)
        right = max(x + width, label + _LABEL / 2)
        with_room = (lane for lane, last in enumerate(ends) if last <= left)
        lane = next(with_room, len(ends))
        ends[lane : lane + 1] = [right]
        spans.append(Span(number, x, width, lane, label))
    return tuple(spans)
