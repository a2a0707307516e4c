"""How many sessions came when, in stretches of equal length."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import ceil, floor
from threading import Lock
from typing import Any, NamedTuple

from sqlalchemy import Connection, ScalarSelect, Text, TextClause, column, func, select, values

from logllm.serve.store.frames import stored_time
from logllm.serve.store.reading import streams
from logllm.serve.store.schema import IS_ANOMALOUS, verdicts

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_SECONDS = (1, 2, 5, 10, 15, 30)
_MINUTES = tuple(minutes * _MINUTE for minutes in (1, 2, 5, 10, 15, 30))
_HOURS = tuple(hours * _HOUR for hours in (1, 2, 3, 6, 12))
_WIDTHS = (*_SECONDS, *_MINUTES, *_HOURS)
"""Seconds that a stretch may last; from a day on it is any number of days."""
_UNSETTLED = 300.0
"""Seconds back from now in which sessions may still come, by clocks that differ."""
_HOLDS = 300.0
"""Seconds for which a count holds."""
_MOST = 10_000
"""Counts that are remembered."""
_BIN = values(column("first", Text), column("last", Text), name="bins")


Clock = Callable[[], float]
Span = tuple[datetime, datetime]


class Wanted(NamedTuple):
    """Which time is looked at."""

    stream: str | None
    """Of one watch; none: of all."""
    since: datetime
    until: datetime
    bins: int
    """At most so many stretches."""


class _Stretch(NamedTuple):
    """A stretch of time, of one stream or of all."""

    stream: str | None
    first: datetime
    last: datetime


class _Count(NamedTuple):
    """What was counted in a stretch, and when."""

    sessions: int
    anomalous: int
    counted: float


class Timeline:
    """Counts sessions by the time when they were last written.

    What lies some minutes back hardly changes: it is counted once in five minutes, however many
    pages ask. Several threads may use it; what two of them count at once is the same.
    """

    def __init__(self, *, clock: Clock = time.time) -> None:
        """Nothing counted yet; `clock` gives seconds since 1970."""
        self._clock = clock
        self._counted: dict[_Stretch, _Count] = {}
        self._lock = Lock()

    def bins(
        self,
        connection: Connection,
        wanted: Wanted,
    ) -> list[dict[str, Any]]:
        """Sessions, and how many of them are anomalous, in stretches that begin at round times."""
        bounds = stretches(wanted.since, wanted.until, most=wanted.bins)
        now = self._clock()
        counts = self._known(now)
        # Pages ask for the last 24 hours again and again: all but the last stretches are known.
        places = {span: _Stretch(wanted.stream, *span) for span in bounds}
        lacking = [span for span in bounds if places[span] not in counts]

        fresh = _counts(connection, lacking, stream=wanted.stream)
        counted = {}
        for span, numbers in fresh.items():
            counted[places[span]] = _Count(*numbers, now)
        self._keep(counted, now)
        counts |= counted
        return [_told(counts[places[span]], span) for span in bounds]

    def _known(self, now: float) -> dict[_Stretch, _Count]:
        """What was counted not too long ago."""
        with self._lock:
            counted = list(self._counted.items())
        since = now - _HOLDS
        return {place: count for place, count in counted if count.counted > since}

    def _keep(self, counted: dict[_Stretch, _Count], now: float) -> None:
        """Remember what hardly changes any more; begin anew where that is much."""
        settled = datetime.fromtimestamp(now - _UNSETTLED, UTC)
        past = {}
        for place, count in counted.items():
            if place.last < settled:
                past[place] = count
        with self._lock:
            # A cache that is begun anew is filled by the next page; nothing else is lost.
            if len(self._counted) > _MOST:
                self._counted.clear()
            self._counted |= past


def _told(count: _Count, span: Span) -> dict[str, Any]:
    """A stretch as it is given."""
    start = stored_time(span[0])
    return {"start": start, "sessions": count.sessions, "anomalous": count.anomalous}


def stretches(
    since: datetime,
    until: datetime,
    *,
    most: int,
) -> list[tuple[datetime, datetime]]:
    """Stretches of one round length that together hold a span of time.

    >>> noon = datetime(2026, 11, 27, 12, tzinfo=UTC)
    >>> spans = stretches(noon, noon.replace(minute=55), most=12)
    >>> len(spans), spans[0][1].isoformat()
    (11, '2026-11-27T12:05:00+00:00')
    """
    first, last = since.timestamp(), until.timestamp()
    # A span that ends before it begins holds nothing.
    if last <= first:
        return []
    width = _width(first, last, most=most)
    # Whole multiples of the width since 1970, so that the same stretches come again a minute later.
    bounds = range(floor(first / width), ceil(last / width) + 1)
    times = [_time(number * width) for number in bounds]
    return list(pairwise(times))


def _width(first: float, last: float, *, most: int) -> int:
    """The shortest round length with which so many stretches suffice."""
    # A stretch that the span only touches counts, at its beginning as at its end.
    for width in _WIDTHS:
        first_number = floor(first / width)
        last_number = ceil(last / width)
        if last_number - first_number <= most:
            return width
    # One more than the span has, for it need not begin where a day does.
    days = (last - first) / _DAY
    days_each = ceil(days / max(1, most - 1))
    return days_each * _DAY


def _time(seconds: float) -> datetime:
    """A time from seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def _counts(
    connection: Connection,
    spans: Sequence[Span],
    *,
    stream: str | None,
) -> dict[Span, tuple[int, int]]:
    """How many sessions some stretches hold, and how many anomalous ones, read from an index."""
    if not spans:
        return {}
    names = streams(connection) if stream is None else [stream]
    pairs = [(stored_time(first), stored_time(last)) for first, last in spans]
    table = _BIN.data(pairs).cte()
    sessions = _count(names, table)
    anomalous = _count(names, table, IS_ANOMALOUS)
    # One statement for all stretches: a hundred would take a hundred ways to a server.
    counted = select(table.c.first, sessions, anomalous)
    by_first = {first: (count, odd) for first, count, odd in connection.execute(counted)}
    firsts = [first for first, _ in pairs]
    return {span: by_first[first] for span, first in zip(spans, firsts, strict=True)}


def _count(
    names: Sequence[str],
    table: Any,
    *conditions: TextClause,
) -> ScalarSelect[Any]:
    """How many verdicts of some streams lie in a stretch."""
    of_streams = verdicts.c.stream.in_(names)
    from_first = verdicts.c.updated >= table.c.first
    before_last = verdicts.c.updated < table.c.last
    count = select(func.count()).select_from(verdicts)
    here = count.where(of_streams, from_first, before_last, *conditions)
    return here.scalar_subquery()
