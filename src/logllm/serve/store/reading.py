"""What is read of a store: all at once, so that no reader holds an old state of it."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl
from sqlalchemy import Connection, and_, select

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
    """Of sessions that are over the last line in a partition, where it lies at or after `low`; pieces of one session together."""
    columns = verdicts.c
    closed = (columns.stream == stream, columns.state != "open")
    here = (columns.partition == partition, columns.last_position >= low)
    own = select(columns.session, columns.piece, columns.last_position).where(*closed, *here)

    # Those over several partitions have their last line in this one in a table of its own.
    same = and_(
        spans.c.stream == columns.stream,
        spans.c.home == columns.partition,
        *(spans.c[name] == columns[name] for name in ("session", "piece", "first_position")),
    )
    there = (spans.c.stream == stream, spans.c.partition == partition, spans.c.last_position >= low)
    elsewhere = select(columns.session, columns.piece, spans.c.last_position).join(spans, same)
    statements = (own, elsewhere.where(*closed, *there))
    rows = [tuple(row) for statement in statements for row in connection.execute(statement)]
    schema: Columns = {"session": pl.String, "piece": pl.Int64, "last": pl.Int64}
    pieces = pl.DataFrame(rows, schema=schema, orient="row")
    whole = pl.when(pl.col("piece") > 1).then(pl.col("session").str.replace(r"#\d+$", "")).otherwise("session")
    return pieces.group_by(whole.alias("session"), maintain_order=True).agg(pl.col("last").max())


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
