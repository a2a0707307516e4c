"""What is read of a store: all at once, so that no reader holds an old state of it."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl
from sqlalchemy import Connection, Select, and_, select

from logllm.serve.store.frames import READ, Columns, from_rows
from logllm.serve.store.schema import places, spans, verdicts

_NEWEST = ("updated", "first_position", "partition", "session", "piece")
_TEXTS: Columns = {
    "lines": pl.String,
    "files": pl.String,
    "start": pl.String,
    "end": pl.String,
    "updated": pl.String,
}
_ROWS: Columns = READ | _TEXTS
"""Columns as the database gives them."""


class Wanted(NamedTuple):
    """Which verdicts are asked for."""

    anomalous: bool | None
    state: str | None
    since: str | None
    limit: int


def streams(connection: Connection) -> list[str]:
    """The streams that are stored."""
    return list(connection.scalars(select(places.c.stream).distinct().order_by(places.c.stream)))


def accounted(connection: Connection, stream: str, *, partition: str, low: int) -> pl.DataFrame:
    """Lines at or after `low` in a partition of sessions that are over, by session."""
    closed = (verdicts.c.stream == stream, verdicts.c.state != "open")
    here = (
        verdicts.c.partition == partition,
        verdicts.c.last_position >= low,
        verdicts.c.files.is_(None),
    )
    alone = select(verdicts.c.session, verdicts.c.lines, verdicts.c.files).where(*closed, *here)

    # Those over several partitions have their last line in this one in a table of its own.
    same = and_(
        spans.c.stream == verdicts.c.stream,
        spans.c.home == verdicts.c.partition,
        *(spans.c[name] == verdicts.c[name] for name in ("session", "piece", "first_position")),
    )
    there = (spans.c.stream == stream, spans.c.partition == partition, spans.c.last_position >= low)
    over_several = select(verdicts.c.session, verdicts.c.lines, verdicts.c.files).join(spans, same)
    rows = _frame(connection, alone).vstack(_frame(connection, over_several.where(*closed, *there)))

    lists = [pl.col(name).str.json_decode(READ[name]) for name in ("lines", "files")]
    decoded = rows.with_columns(*lists)
    return _lines_in(decoded, partition).filter(pl.col("line") >= low)


def _frame(connection: Connection, statement: Select[tuple[str, str, str]]) -> pl.DataFrame:
    """Sessions with their lines and files as text."""
    rows = [tuple(row) for row in connection.execute(statement)]
    schema = {"session": pl.String, "lines": pl.String, "files": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _lines_in(sessions: pl.DataFrame, partition: str) -> pl.DataFrame:
    """A row for each line of sessions that lies in a partition."""
    alone = sessions.filter(pl.col("files").is_null()).select("session", "lines").explode("lines")
    several = sessions.filter(pl.col("files").is_not_null()).explode("lines", "files")
    here = several.filter(pl.col("files") == partition).select("session", "lines")
    return alone.vstack(here).rename({"lines": "line"})


def newest(connection: Connection, stream: str, *, wanted: Wanted) -> pl.DataFrame:
    """A stream's verdicts, the last written first, as the database gives them."""
    columns = verdicts.c
    conditions = [columns.stream == stream]
    if wanted.anomalous is not None:
        # So said, the index of the anomalous ones serves.
        conditions.append(columns.anomalous if wanted.anomalous else ~columns.anomalous)
    if wanted.state is not None:
        conditions.append(columns.state == wanted.state)
    if wanted.since is not None:
        conditions.append(columns.updated >= wanted.since)
    statement = select(*(columns[name] for name in _ROWS)).where(*conditions)
    last_first = statement.order_by(*(columns[name].desc() for name in _NEWEST)).limit(wanted.limit)
    rows = [tuple(row) for row in connection.execute(last_first)]
    return pl.DataFrame(rows, schema=_ROWS, orient="row")


def merged(frames: Sequence[pl.DataFrame], limit: int) -> pl.DataFrame:
    """Of several streams' verdicts the last written ones."""
    every = pl.concat([pl.DataFrame(schema=_ROWS), *frames])
    return from_rows(every.sort(_NEWEST, descending=True, maintain_order=True).head(limit))
