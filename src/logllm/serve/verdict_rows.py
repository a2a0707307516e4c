"""Verdict frames as rows of the store."""

import json
from collections.abc import Sequence
from typing import Any, Literal

import polars as pl

from logllm.detect.evidence.whole_records import Written
from logllm.logs.redaction import redact
from logllm.methods.trouble import gravity
from logllm.serve.store.frames import VERDICTS
from logllm.sessions.message_table import kinds_of

_MOST_TEXTS = 200
"""Lines that are kept of an anomalous session."""
_QUIET = 16
"""The messages of one in so many normal sessions are kept, too.

Retraining learns from them what is usual.
"""
LONGEST_KIND = 300
"""Characters of what tells faults apart."""
_MORE = ("minds", "new_words", "expected", "p")


def rows(
    verdicts: pl.DataFrame,
    sessions: pl.DataFrame,
    *,
    names: Sequence[str],
    state: Literal["open", "closed"],
    shown: pl.DataFrame,
) -> pl.DataFrame:
    """Rows (`logllm.serve.store.frames.VERDICTS`) for verdicts on some sessions.

    Args:
        verdicts: as `logllm.detect.judging.closed_sessions.Judging.verdicts` gives them.
        sessions: those judged, in the same order.
        names: of the partitions.
        state: whether the sessions are open; closed ones may have closed early.
        shown: what `shown_of` gave.
    """
    # Positions are numbers of lines of the first line's partition: those in others lie in its
    # spans.
    present = set(verdicts.columns)
    partitions = pl.Series(names, dtype=pl.String)
    own = pl.col("files").list.first()
    lists = pl.struct("lines", "files")
    numbers = pl.List(pl.UInt64)
    own_lines = lists.map_batches(lambda column: _own_lines(column), return_dtype=numbers)
    several = pl.col("files").list.n_unique() > 1
    placed = sessions.with_columns(several=several, own_lines=own_lines)
    first_position = pl.col("own_lines").list.first()
    last_position = pl.col("own_lines").list.max()

    # `files` are places in the list of names; only sessions over several partitions keep them.
    name_of = pl.lit(partitions)
    named = pl.col("files").list.eval(name_of.gather(pl.element()))
    files = pl.when("several").then(named)
    own_state = pl.col("closed").fill_null(state)
    partition = name_of.gather(own)
    columns = placed.select(
        "session",
        "lines",
        "start",
        "end",
        partition=partition,
        piece="part",
        first_position=first_position,
        last_position=last_position,
        state=own_state,
        files=files,
    )

    # What the verdict itself says.
    cut = verdicts["cut"] if "cut" in present else None
    evidence = _json(verdicts, ["evidence"], alone=True)
    more = _json(verdicts, [name for name in _MORE if name in present])
    judged = verdicts.select("score", "anomalous", "model").to_dict()
    further = {"cut": cut, "evidence": evidence, "more": more}
    judged_columns = pl.DataFrame({**judged, **further}, strict=False)
    every = pl.concat([columns, judged_columns, shown], how="horizontal")
    return every.select(VERDICTS.keys()).cast(VERDICTS)  # type: ignore[arg-type]


def _own_lines(lists: pl.Series) -> pl.Series:
    """For each session, its lines in the partition of its first line."""
    sessions = lists.struct.unnest().with_row_index("row")
    frame = sessions.explode("lines", "files")
    first = pl.col("files").first().over("row")
    own = frame.filter(pl.col("files") == first)
    return own.group_by("row", maintain_order=True).agg("lines")["lines"]


def _json(verdicts: pl.DataFrame, names: list[str], *, alone: bool = False) -> list[str | None]:
    """Some columns of each verdict as a JSON object, nulls left out.

    With `alone` it is the value of the first column itself.
    """
    wanted = [name for name in names if name in verdicts.columns]
    if not wanted:
        return [None] * verdicts.height
    texts: list[str | None] = []
    for row in verdicts.select(wanted).iter_rows(named=True):
        telling = _telling(row)
        value = telling.get(wanted[0]) if alone else telling
        # What says nothing is null in the store, not an empty object.
        silent = not telling or value is None
        texts.append(None if silent else json.dumps(value, ensure_ascii=False))
    return texts


def _telling(row: dict[str, Any]) -> dict[str, Any]:
    """What of a row says something."""
    return {name: value for name, value in row.items() if value is not None}


def shown_of(
    sessions: pl.DataFrame,
    verdicts: pl.DataFrame,
    *,
    written: Written,
    messages: pl.Series,
    over: bool,
) -> pl.DataFrame:
    """What is kept of sessions besides their verdicts: of anomalous ones, and of some normal ones.

    Args:
        sessions: of `logllm.sessions.sessionizer.SESSIONS`.
        verdicts: on them.
        written: gives what is written in lines.
        messages: the message table.
        over: whether they have closed; of normal ones that are open nothing is kept.

    Returns:
        `texts`, the records as they are written, with their further lines, and `messages`, masked,
        each a JSON list; and
        `kind`, the message of the line that tells most, with quoted words taken out. For a normal
        session only `messages`, and only for one in some.
    """
    # One row a line of an anomalous session, each with its message and as it is written.
    judged = sessions.with_row_index("row").filter(verdicts["anomalous"])
    lists = pl.col("lines", "files", "messages").list.head(_MOST_TEXTS)
    places = judged.select("row", lists).explode("lines", "files", "messages")
    masked = messages.gather(places["messages"])
    places = places.select("row", file="files", line="lines", message=masked)
    places = places.with_columns(text=written.texts(places.drop("row")))
    # Masks leave what a person might take for secret: a name in a path, a token that is no number.
    if written.redacted and places.height:
        places = places.with_columns(message=redact(places["message"]))
    foremost = _foremost(places, verdicts)
    normal = sessions.with_row_index("row").filter(~verdicts["anomalous"] & over)
    quiet = _quiet(normal, messages, redacted=written.redacted)

    # One row for each session, whether there is anything to be shown of it.
    by_session = places.group_by("row", maintain_order=True).agg("text", "message")
    every = sessions.select(pl.row_index("row"))
    of_all = every.join(by_session, on="row", how="left", maintain_order="left")
    of_all = of_all.join(foremost, on="row", how="left", maintain_order="left")
    of_all = of_all.join(quiet, on="row", how="left", maintain_order="left")
    kept = of_all.select(pl.coalesce("message", "quiet")).to_series()
    shown = [_list(lines) for lines in of_all["text"].to_list()]
    masked_lists = [_list(lines) for lines in kept.to_list()]
    columns = {"texts": shown, "messages": masked_lists, "kind": of_all["kind"]}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def _quiet(normal: pl.DataFrame, messages: pl.Series, *, redacted: bool) -> pl.DataFrame:
    """The messages of some normal sessions (`row`, `quiet`), drawn by their names."""
    # By name, not by chance: a session that is judged twice is drawn both times or neither.
    lot = pl.col("session").hash(seed=0) % _QUIET
    drawn = normal.filter(lot == 0)
    first_messages = pl.col("messages").list.head(_MOST_TEXTS)
    places = drawn.select("row", first_messages).explode("messages")
    lines = places.select("row", quiet=messages.gather(places["messages"]))
    if redacted and lines.height:
        lines = lines.with_columns(quiet=redact(lines["quiet"]))
    return lines.group_by("row", maintain_order=True).agg("quiet")


def _foremost(places: pl.DataFrame, verdicts: pl.DataFrame) -> pl.DataFrame:
    """The kind of each anomalous session (`row`, `kind`): that of its most telling line.

    It is the gravest of the lines that were named as evidence, and among equally grave ones the
    one with the highest score: an error goes before the statement that it stopped. A session
    without such lines is known by its first line.
    """
    # Without evidence all lines say the same, and the gravest of them counts.
    of_lines = places.with_columns(loud=0.0)
    if "evidence" in verdicts.columns:
        named = verdicts.select("evidence", row=pl.row_index()).explode("evidence")
        telling = named.filter(pl.col("evidence").is_not_null()).unnest("evidence")
        line = pl.col("line").cast(pl.UInt64)
        loud = telling.select("row", line, loud=pl.col("score"))
        once = loud.unique(["row", "line"], keep="first", maintain_order=True)
        of_lines = places.join(once, on=["row", "line"], how="left", maintain_order="left")
    is_named = pl.col("loud").is_not_null()
    grades = gravity(of_lines["message"])
    graded = of_lines.with_columns(named=is_named, gravity=grades)
    # Sessions in their order; of each, lines that were named, then grave ones, then loud ones.
    by = ["row", "named", "gravity", "loud"]
    descending = [False, True, True, True]
    order = graded.sort(by, descending=descending, maintain_order=True)
    foremost = order.unique("row", keep="first", maintain_order=True)
    kind = kinds_of(foremost["message"]).str.slice(0, LONGEST_KIND)
    return foremost.select("row", kind=kind)


def _list(lines: list[str | None] | None) -> str | None:
    """A list as JSON; none where there is none."""
    return None if lines is None else json.dumps(lines, ensure_ascii=False)
