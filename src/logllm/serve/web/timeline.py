"""How many sessions came when, in stretches of equal length."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil, floor
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Text, TextClause, column, func, select, values

from logllm.serve.store.frames import stored_time
from logllm.serve.store.reading import streams
from logllm.serve.store.schema import IS_ANOMALOUS, verdicts

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_WIDTHS = (
    *(1, 2, 5, 10, 15, 30),
    *(minutes * _MINUTE for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * _HOUR for hours in (1, 2, 3, 6, 12)),
)
"""Seconds that a stretch may last; from a day on it is any number of days."""
_BIN = values(column("first", Text), column("last", Text), name="bins")


def timeline(
    connection: Connection,
    stream: str | None,
    *,
    since: datetime,
    until: datetime,
    bins: int,
) -> list[dict[str, Any]]:
    """Sessions by the time when they were last written, and how many of them are anomalous.

    Args:
        connection: of a store.
        stream: of one watch; none: of all.
        since: where it begins.
        until: where it ends.
        bins: at most so many stretches; they begin at round times.
    """
    bounds = stretches(since, until, most=bins)
    pairs = [(stored_time(first), stored_time(last)) for first, last in bounds]
    if not pairs:
        return []
    names = streams(connection) if stream is None else [stream]
    table = _BIN.data(pairs).cte()
    counted = select(table.c.first, _count(names, table), _count(names, table, IS_ANOMALOUS))
    rows = connection.execute(counted.order_by(table.c.first))
    return [{"start": start, "sessions": sessions, "anomalous": anomalous} for start, sessions, anomalous in rows]


def stretches(
    since: datetime,
    until: datetime,
    *,
    most: int,
) -> list[tuple[datetime, datetime]]:
    """Stretches of one round length that together hold a span of time.

    >>> noon = datetime(2026, 11, 27, 12, tzinfo=UTC)
    >>> spans = stretches(noon, noon + timedelta(minutes=55), most=12)
    >>> len(spans), spans[0][1].isoformat()
    (11, '2026-11-27T12:05:00+00:00')
    """
    first, last = since.timestamp(), until.timestamp()
    if last <= first:
        return []
    width = _width(first, last, most=most)
    numbers = range(floor(first / width), ceil(last / width))
    return [(_time(number * width), _time((number + 1) * width)) for number in numbers]


def _width(first: float, last: float, *, most: int) -> int:
    """The shortest round length with which so many stretches suffice."""
    for width in _WIDTHS:
        if ceil(last / width) - floor(first / width) <= most:
            return width
    # One more than the span has, for it need not begin where a day does.
    days = ceil((last - first) / _DAY / max(1, most - 1))
    return days * _DAY


def _time(seconds: float) -> datetime:
    """A time from seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def _count(
    names: Sequence[str],
    table: Any,
    *conditions: TextClause,
) -> ScalarSelect[Any]:
    """How many verdicts of some streams lie in a stretch; an index alone says so."""
    times = (verdicts.c.updated >= table.c.first, verdicts.c.updated < table.c.last)
    here = (verdicts.c.stream.in_(names), *times, *conditions)
    return select(func.count()).select_from(verdicts).where(*here).scalar_subquery()
