"""Verdicts as frames in the library, and as rows of text and numbers in a store."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

import polars as pl

from logllm.logs.times import UTC_MICROSECONDS

Columns = dict[str, pl.DataType | type[pl.DataType]]
VERDICTS: Columns = {
    "partition": pl.String,
    "session": pl.String,
    "piece": pl.Int64,
    "first_position": pl.Int64,
    "last_position": pl.Int64,
    "state": pl.String,
    "score": pl.Float64,
    "anomalous": pl.Boolean,
    "lines": pl.List(pl.UInt64),
    "files": pl.List(pl.String),
    "evidence": pl.String,
    "start": UTC_MICROSECONDS,
    "end": UTC_MICROSECONDS,
    "model": pl.String,
    "cut": pl.String,
    "more": pl.String,
    "texts": pl.String,
    "kind": pl.String,
    "messages": pl.String,
}
"""Columns of the verdicts that are written.

`partition` is that of the first line, `first_position` and `last_position` are the numbers of the
first and the last line there; `state` is `open`, `closed` or `early`; `files` is the partition of
each line, of a session that lies in several; `evidence`, `more` (an object), `texts` and
`messages` (lists) are JSON; `kind` is what anomalous sessions of one fault share.
"""
READ: Columns = {
    "stream": pl.String,
    **VERDICTS,
    "updated": UTC_MICROSECONDS,
    "incident": pl.Int64,
    "change": pl.Int64,
}
"""Columns of the verdicts that are read. Besides the written ones these are the incident that a
verdict belongs to, and the number of the transaction that wrote it last.
"""
KEY = ("partition", "session", "piece", "first_position")
"""What tells a stream's verdicts apart."""


class VerdictKey(NamedTuple):
    """What tells one verdict of a store from all others."""

    stream: str
    partition: str
    session: str
    piece: int
    first_position: int


_TEXTS = ("evidence", "more", "texts", "kind", "messages")
_REWRITTEN = ("session", "lines", "files", "start", "end", *_TEXTS)
"""Columns that a store writes in another way."""

_TIME = "%Y-%m-%dT%H:%M:%S%.6fZ"
NUL_PICTURE = "␀"
"""Stands for NUL, which PostgreSQL refuses."""
_LONGEST_NAME = 400
"""Bytes of a session's name: an index of PostgreSQL takes some 2,700 for all of a key."""
_BEGINNING = 80
"""Characters that stay of a longer name, before what tells it from others."""


def stored_time(time: datetime) -> str:
    """A time as it is stored: UTC, always as long, so that texts sort as times do.

    >>> stored_time(datetime(2026, 11, 27, 12, tzinfo=UTC))
    '2026-11-27T12:00:00.000000Z'
    """
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def stored_names(names: pl.Series) -> pl.Series:
    r"""Sessions' names as a store holds them, such that every database takes them into an index.

    NUL, which PostgreSQL refuses, becomes its picture. A long name keeps its beginning, and a hash
    of all of it. A name that is stored already stays as it is.

    >>> names = stored_names(pl.Series(["blk_7", "a\x00b", "x" * 500]))
    >>> names[:2].to_list(), len(names[2])
    (['blk_7', 'a␀b'], 145)
    """
    # Few names are long, often none: only those go through Python, each once.
    clean = names.str.replace_all("\x00", NUL_PICTURE, literal=True)
    long = clean.filter(clean.str.len_bytes() > _LONGEST_NAME).unique()
    if long.is_empty():
        return clean
    return clean.replace(long, pl.Series([_shortened(name) for name in long]))


def _shortened(name: str) -> str:
    """The beginning of a name, and a hash that tells it from others which begin alike."""
    return f"{name[:_BEGINNING]}…{sha256(name.encode()).hexdigest()}"


def to_rows(
    verdicts: pl.DataFrame,
    *,
    stream: str,
    updated: str,
    change: int,
) -> pl.DataFrame:
    """Verdicts as the table's columns."""
    # Lists are stored as JSON. Numbers joined by commas are such a list already: [3,4,9].
    as_texts = pl.col("lines").cast(pl.List(pl.String))
    numbers = as_texts.list.join(",")
    lines = pl.concat_str(pl.lit("["), numbers, pl.lit("]"))

    # Names need quoting, which Polars does for structs alone: {"files":["a.log","b.log"]}, whose
    # inner part is the list. A session of one partition has none.
    files = pl.struct("files").struct.json_encode()
    names = files.str.strip_prefix('{"files":').str.strip_suffix("}")
    of_several = pl.col("files").is_not_null()

    texts = pl.col(_TEXTS).str.replace_all("\x00", NUL_PICTURE, literal=True)
    session = pl.col("session").map_batches(stored_names, return_dtype=pl.String)
    times = pl.col("start", "end").dt.strftime(_TIME)

    # The same in every row: whose verdicts they are, and which transaction writes them.
    of_stream = pl.lit(stream).alias("stream")
    at_time = pl.lit(updated).alias("updated")
    of_change = pl.lit(change).alias("change")
    as_they_are = [name for name in VERDICTS if name not in _REWRITTEN]
    partitions = pl.when(of_several).then(names).alias("files")
    return _typed(verdicts).select(
        of_stream,
        *as_they_are,
        session,
        lines.alias("lines"),
        partitions,
        texts,
        times,
        at_time,
        of_change,
    )


def _typed(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Verdicts with exactly the types that are written: a column of nulls may have another."""
    columns = [pl.col(name).cast(kind) for name, kind in VERDICTS.items()]
    return verdicts.select(columns)


def spans_of(verdicts: pl.DataFrame) -> pl.DataFrame:
    """The last line in each partition (`into`) of sessions that lie in several partitions."""
    over_several = _typed(verdicts.filter(pl.col("files").is_not_null()))
    session = pl.col("session").map_batches(stored_names, return_dtype=pl.String)
    own = over_several.select("partition", session, "piece", "first_position", "lines", "files")

    # A line's number and its partition stand at the same place of two lists: they come apart
    # together, one row a line.
    per_line = own.explode("lines", "files")
    into = pl.col("files").alias("into")
    last = pl.col("lines").max().cast(pl.Int64).alias("last_position")
    return per_line.group_by(*KEY, into, maintain_order=True).agg(last)


def from_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a store as verdicts."""
    # Text that says UTC by its Z is read without a zone, which is then named: no time moves.
    written = pl.col("start", "end", "updated").str.to_datetime(_TIME, time_unit="us")
    times = written.dt.replace_time_zone("UTC")
    lines = pl.col("lines").str.json_decode(READ["lines"])
    files = pl.col("files").str.json_decode(READ["files"])
    return rows.with_columns(times, lines, files).select(*READ)
