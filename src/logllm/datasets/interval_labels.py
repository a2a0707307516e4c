"""Labels of intervals of time: from when to when something was wrong."""

from datetime import date, datetime
from pathlib import Path

import polars as pl

from logllm.config.format import FormatSection
from logllm.counting import plural
from logllm.errors import DataError
from logllm.logs.times import parse_times

_SHOWN = 3  # intervals in an error
_FORMS = ("iso", "epoch", "epoch_ms")
_MINUTES = r"^(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d)(\s|$|[Zz+-])"


def intervals(
    table: pl.DataFrame, described: FormatSection, *, source: Path, today: date
) -> pl.DataFrame:
    """Intervals of a table of labels: `from`, `to` (UTC), `written` (for people), `anomalous`.

    Times are written as ISO 8601 (seconds may be left out), in seconds or milliseconds since 1970,
    or as in the log. A time without a zone is UTC, as it is in a log.

    Args:
        table: text columns `from`, `to`, and `anomalous` (bool).
        described: the log's format.
        source: the file, for errors.
        today: gives times without a year theirs.

    Raises:
        DataError: no interval, a time that cannot be read, or an interval that ends before it
            begins.
    """
    forms = (*_FORMS, *described.time_format)
    if not table.height:
        raise DataError(f"labels {source} holds no interval")
    ends: dict[str, pl.Series] = {}
    for name in ("from", "to"):
        written = table[name].str.strip_chars().fill_null("")
        # `2024-07-03 09:00` has no seconds, which ISO 8601 lets one leave out and `iso` does not.
        with_seconds = written.str.replace(_MINUTES, "${1}:00${2}")
        times = parse_times(with_seconds, forms, today=today)
        ends[name] = times
        unread = written.filter(times.is_null())
        if len(unread):
            raise DataError(
                f"labels {source}: {name} {unread[0]!r} is no time that can be read: write it as "
                "2024-07-03 09:00:00+02:00, or as in the log"
            )
    as_written = pl.format("{} to {}", "from", "to")
    read = table.select(ends["from"], ends["to"], "anomalous", written=as_written)
    backward = read.filter(pl.col("to") < pl.col("from"))
    if backward.height:
        raise DataError(f"labels {source}: {backward['written'][0]} ends before it begins")
    return read


def without_zone(table: pl.DataFrame) -> bool:
    """Whether some time of an interval names no zone, so that UTC is taken.

    >>> without_zone(pl.DataFrame({"from": ["2024-07-03 09:00"], "to": ["2024-07-03T09:10Z"]}))
    True
    """
    # `09:00+02:00`, `09:00Z` and `09:00 CET` name a zone.
    clock = r"\d\d:\d\d"
    named = r"(?:[A-Za-z]{1,5}|[+-]\d\d:?\d?\d?)\s*$"
    for name in ("from", "to"):
        has_time = table[name].str.contains(clock)
        has_zone = table[name].str.contains(named)
        if (has_time & ~has_zone).any():
            return True
    return False


def with_interval_labels(
    sessions: pl.DataFrame, labels: pl.DataFrame, *, source: Path
) -> pl.DataFrame:
    """Sessions with the labels of intervals.

    A session is anomalous where it overlaps an interval of an anomalous label, else normal.

    A session reaches from its first record to its last, an interval from its first moment to its
    last, both included. A session without times has no label.

    Raises:
        DataError: the log has no times, or an interval holds nothing of any session.
    """
    row = pl.int_range(pl.len()).alias("row")
    timed = sessions.select(row, "start", "end").drop_nulls("start")
    if not timed.height:
        raise DataError(
            f"labels {source} are by time, and the log has no times: label sessions, or lines where"
            " it is one file"
        )
    # Both reach from a first moment to a last one: they overlap if each begins before the other
    # ends.
    numbered = labels.with_row_index("interval")
    begins_before = pl.col("start") <= pl.col("to")
    ends_after = pl.col("end") >= pl.col("from")
    touching = numbered.join_where(timed, begins_before, ends_after)

    # An interval that holds nothing is nearly always in another zone than the log.
    idle = numbered.join(touching, on="interval", how="anti")
    if idle.height:
        shown = ", ".join(idle["written"].head(_SHOWN))
        if idle.height > _SHOWN:
            shown += f" and {idle.height - _SHOWN} more"
        of_all = f"{plural(idle.height, 'interval')} of {labels.height:,}"
        holds = "holds" if idle.height == 1 else "hold"
        first, last = _shown(timed["start"].min()), _shown(timed["end"].max())
        raise DataError(
            f"labels {source}: {of_all} {holds} "
            f"no session ({shown}): the log reaches from {first} to {last} UTC, "
            "and times without a zone are read as UTC: add the zone, such as +02:00"
        )
    # A session without times has no label: nobody knows whether it lies in an interval.
    hit = touching.filter("anomalous")["row"].unique()
    inside = pl.int_range(pl.len()).is_in(hit.implode())
    has_time = pl.col("start").is_not_null()
    return sessions.with_columns(anomalous=pl.when(has_time).then(inside))


def _shown(time: object) -> str:
    """A time for people."""
    return f"{time:%Y-%m-%d %H:%M:%S}" if isinstance(time, datetime) else "?"
