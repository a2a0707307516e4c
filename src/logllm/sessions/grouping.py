"""Rows that know their group become sessions: the one place that knows a session's columns."""

import polars as pl

from logllm.config.sessions import SessionSection
from logllm.logs.records import RECORDS
from logllm.logs.times import UTC_MICROSECONDS

NUMBERED: dict[str, pl.DataType | type[pl.DataType]] = {**RECORDS, "message": pl.UInt32}
"""Columns of records whose messages are numbers of the message table."""

SESSIONS: dict[str, pl.DataType | type[pl.DataType]] = {
    "session": pl.String,
    "part": pl.UInt32,
    "messages": pl.List(pl.UInt32),
    "lines": pl.List(pl.UInt64),
    "files": pl.List(pl.UInt32),
    "start": UTC_MICROSECONDS,
    "end": UTC_MICROSECONDS,
    "anomalous": pl.Boolean,
    "item_anomalous": pl.List(pl.Boolean),
    "closed": pl.String,
    "first": pl.UInt64,
    "last": pl.UInt64,
}
"""Columns of sessions.

`part` counts from 1 and is 1 where a session was not divided; `lines`, `files` and `item_anomalous` go with `messages`; `closed` is
`early` for a key session that could have gone on; `first` and `last` are record numbers.
"""


def no_sessions() -> pl.DataFrame:
    """A frame of sessions without any."""
    return pl.DataFrame(schema=SESSIONS)


class Grouping:
    """Groups of rows to sessions, the long ones cut or divided."""

    def __init__(self, settings: SessionSection) -> None:
        self._most = settings.max_messages
        self._split = settings.long == "split"
        self.long = 0
        """Sessions longer than `max_messages` so far."""
        self.messages_cut = 0
        """Messages left out of them so far."""

    def sessions(self, rows: pl.DataFrame, *, closed: str | None = None) -> pl.DataFrame:
        """One session a group, in the order in which groups first appear; a session's records stay in the order of the rows.

        Args:
            rows: Columns of numbered records, `group` (any type) and `session` (text, the same throughout a group).
            closed: What the sessions' `closed` says.
        """
        if not rows.height:
            return no_sessions()
        frame = _aggregated(rows, ["group"])
        lengths = frame["messages"].list.len()
        long = lengths.filter(lengths > self._most)
        self.long += len(long)
        if len(long) and self._split:
            frame = _aggregated(rows.with_columns(part=pl.int_range(pl.len()).over("group") // self._most + 1), ["group", "part"])
        elif len(long):
            self.messages_cut += int(long.sum()) - self._most * len(long)
            frame = frame.with_columns(pl.col("messages", "lines", "files", "item_anomalous").list.head(self._most))
        part = pl.col("part") if "part" in frame.columns else pl.lit(1)
        return frame.select(
            session=pl.when(part > 1).then(pl.format("{}#{}", "session", part)).otherwise("session"),
            part=part,
            messages="messages",
            lines="lines",
            files="files",
            start="start",
            end="end",
            anomalous="any_anomalous",
            item_anomalous=pl.when(pl.col("any_anomalous").is_not_null()).then("item_anomalous"),
            closed=pl.lit(closed, dtype=pl.String),
            first="first",
            last="last",
        ).cast(SESSIONS)  # type: ignore[arg-type]


def _aggregated(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """One row a group."""
    return rows.group_by(keys, maintain_order=True).agg(
        pl.col("session").first().cast(pl.String),
        pl.col("message").alias("messages"),
        pl.col("line").alias("lines"),
        pl.col("file").alias("files"),
        pl.col("time").min().alias("start"),
        pl.col("time").max().alias("end"),
        pl.col("anomalous").max().alias("any_anomalous"),
        pl.col("anomalous").alias("item_anomalous"),
        pl.col("record").first().alias("first"),
        pl.col("record").last().alias("last"),
    )
