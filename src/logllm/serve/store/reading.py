"""What is read of a store: all at once, so that no reader holds an old state of it."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl
from sqlalchemy import ColumnElement, Connection, TextClause, select

from logllm.serve.store.frames import READ, Columns, from_rows
from logllm.serve.store.schema import IS_ANOMALOUS, IS_OPEN, SAME_SESSION, places, spans, verdicts

_NEWEST = ("updated", "first_position", "partition", "session", "piece")
_TEXTS: Columns = dict.fromkeys(("lines", "files", "start", "end", "updated"), pl.String)
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
    names = select(places.c.stream).distinct()
    in_order = names.order_by(places.c.stream)
    return list(connection.scalars(in_order))


def accounted(connection: Connection, stream: str, *, partition: str, low: int) -> pl.DataFrame:
    """The last line of each session that is over, in a partition, where it is at or after `low`.

    Pieces of one session are taken together.
    """
    columns = verdicts.c
    # A session over already and with a line at or after `low` would be judged again when lines from
    # `low` on are read again: who replays leaves out its lines up to the last.
    is_over = (columns.stream == stream, columns.state != "open")
    is_here = columns.partition == partition
    is_late = columns.last_position >= low
    positions = select(columns.session, columns.piece, columns.last_position)
    own = positions.where(*is_over, is_here, is_late)

    # Those over several partitions have their last line in this one in a table of its own.
    span_is_here = (spans.c.stream == stream, spans.c.partition == partition)
    span_is_late = spans.c.last_position >= low
    several = select(columns.session, columns.piece, spans.c.last_position)
    with_spans = several.join(spans, SAME_SESSION)
    elsewhere = with_spans.where(*is_over, *span_is_here, span_is_late)

    rows = [tuple(row) for row in connection.execute(own)]
    rows += [tuple(row) for row in connection.execute(elsewhere)]
    schema: Columns = {"session": pl.String, "piece": pl.Int64, "last": pl.Int64}
    pieces = pl.DataFrame(rows, schema=schema, orient="row")
    # A long session goes on as `blk_7#2`, `blk_7#3`: lines name it `blk_7`. A first piece keeps its
    # name, which may itself end in such a number.
    without_number = pl.col("session").str.replace(r"#\d+$", "")
    is_later_piece = pl.col("piece") > 1
    whole = pl.when(is_later_piece).then(without_number).otherwise("session")
    sessions = pieces.group_by(whole.alias("session"), maintain_order=True)
    return sessions.agg(pl.col("last").max())


def newest(connection: Connection, stream: str, *, wanted: Wanted) -> pl.DataFrame:
    """A stream's verdicts, the last written first, as the database gives them."""
    columns = verdicts.c
    # What has an index of its own is written as the index has it, or the database reads all rows.
    conditions: list[ColumnElement[bool] | TextClause] = [columns.stream == stream]
    if wanted.anomalous is not None:
        conditions.append(IS_ANOMALOUS if wanted.anomalous else ~columns.anomalous)
    if wanted.state is not None:
        in_state = columns.state == wanted.state
        conditions.append(IS_OPEN if wanted.state == "open" else in_state)
    if wanted.since is not None:
        conditions.append(columns.updated >= wanted.since)
    read = [columns[name] for name in _ROWS]
    matching = select(*read).where(*conditions)
    # Verdicts of one transaction have one time: the rest of the key orders them the same way
    # always.
    order = [columns[name].desc() for name in _NEWEST]
    last_first = matching.order_by(*order).limit(wanted.limit)
    rows = [tuple(row) for row in connection.execute(last_first)]
    return pl.DataFrame(rows, schema=_ROWS, orient="row")


def merged(frames: Sequence[pl.DataFrame], limit: int) -> pl.DataFrame:
    """The verdicts of several streams that were written last."""
    # The empty frame gives the columns where there is no stream at all. The database's order holds
    # within each stream only.
    every = pl.concat([pl.DataFrame(schema=_ROWS), *frames])
    newest_first = every.sort(_NEWEST, descending=True, maintain_order=True)
    return from_rows(newest_first.head(limit))
