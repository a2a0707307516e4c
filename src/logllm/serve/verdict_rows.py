"""Verdict frames as rows of the store."""

import json
from collections.abc import Sequence
from typing import Any, Literal

import polars as pl

from logllm.detect.evidence.telling_lines import Written
from logllm.serve.store.frames import VERDICTS

_MOST_TEXTS = 200
"""Lines that are kept of an anomalous session."""
_MORE = ("minds", "new_words", "expected", "p")


def rows(
    verdicts: pl.DataFrame,
    sessions: pl.DataFrame,
    *,
    names: Sequence[str],
    state: Literal["open", "closed"],
    texts: Sequence[str | None],
) -> pl.DataFrame:
    """Rows (`logllm.serve.store.frames.VERDICTS`) for verdicts on some sessions.

    Args:
        verdicts: as `logllm.detect.judging.closed_sessions.Judging.verdicts` gives them.
        sessions: those judged, in the same order.
        names: of the partitions.
        state: whether the sessions are open; closed ones may have closed early.
        texts: what `texts_of` gave.
    """
    there = set(verdicts.columns)
    partitions = pl.Series(names, dtype=pl.String)
    own = pl.col("files").list.first()
    lists = pl.struct("lines", "files")
    placed = sessions.with_columns(
        several=pl.col("files").list.n_unique() > 1,
        own_lines=lists.map_batches(lambda column: _own_lines(column), return_dtype=pl.List(pl.UInt64)),
    )
    named = pl.col("files").list.eval(pl.lit(partitions).gather(pl.element()))
    columns = placed.select(
        partition=pl.lit(partitions).gather(own),
        session="session",
        piece="part",
        first_position=pl.col("own_lines").list.first(),
        last_position=pl.col("own_lines").list.max(),
        state=pl.col("closed").fill_null(state),
        lines="lines",
        files=pl.when("several").then(named),
        start="start",
        end="end",
    )
    told = pl.DataFrame(
        {
            "score": verdicts["score"],
            "anomalous": verdicts["anomalous"],
            "model": verdicts["model"],
            "cut": verdicts["cut"] if "cut" in there else None,
            "evidence": _json(verdicts, ["evidence"], alone=True),
            "more": _json(verdicts, [name for name in _MORE if name in there]),
            "texts": texts,
        },
        strict=False,
    )
    both = pl.concat([columns, told], how="horizontal")
    return both.select(VERDICTS.keys()).cast(VERDICTS)  # type: ignore[arg-type]


def _own_lines(lists: pl.Series) -> pl.Series:
    """Of each session the lines that lie where its first one does."""
    frame = lists.struct.unnest().with_row_index("row").explode("lines", "files")
    first = pl.col("files").first().over("row")
    own = frame.filter(pl.col("files") == first)
    return own.group_by("row", maintain_order=True).agg("lines")["lines"]


def _json(verdicts: pl.DataFrame, names: list[str], *, alone: bool = False) -> list[str | None]:
    """Some columns of each verdict as a JSON object without what says nothing; `alone`: the first one's value itself."""
    wanted = [name for name in names if name in verdicts.columns]
    if not wanted:
        return [None] * verdicts.height
    objects = (_telling(row) for row in verdicts.select(wanted).iter_rows(named=True))
    values = ((row.get(wanted[0]) if alone else row) if row else None for row in objects)
    return [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]


def _telling(row: dict[str, Any]) -> dict[str, Any]:
    """What of a row says something."""
    return {name: value for name, value in row.items() if value is not None}


def texts_of(
    sessions: pl.DataFrame,
    anomalous: pl.Series,
    *,
    written: Written,
    messages: pl.Series,
) -> list[str | None]:
    """The lines of anomalous sessions as they are written, each a JSON list; of others none.

    Args:
        sessions: of `logllm.sessions.sessionizer.SESSIONS`.
        anomalous: which of them are.
        written: gives what is written in lines.
        messages: the message table.
    """
    texts: list[str | None] = [None] * sessions.height
    judged = sessions.with_row_index("row").filter(anomalous)
    if not judged.height:
        return texts
    lists = pl.col("lines", "files", "messages").list.head(_MOST_TEXTS)
    places = judged.select("row", lists).explode("lines", "files", "messages")
    places = places.select("row", file="files", line="lines", message=messages.gather(places["messages"]))
    of_lines = places.select("row", text=written.texts(places.drop("row")))
    for row, lines in of_lines.group_by("row", maintain_order=True).agg("text").iter_rows():
        texts[row] = json.dumps(lines, ensure_ascii=False)
    return texts
