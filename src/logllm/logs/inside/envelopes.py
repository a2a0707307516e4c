"""Lines of one program inside the records of another, such as a server's in a container's log.

Taken out, with what is known around them.
"""

from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.logs.fields import Fields, group_names, may_have, read_named, time_in
from logllm.logs.inside.other_kinds import read_kinds

FURTHER = "further"
"""The group of an outer format that matches something in a line that goes on with the one before
it."""

_BETWEEN = "\x1f"
_OUTER = {
    "time": pl.String,
    "label": pl.String,
    "key": pl.String,
    "stream": pl.String,
    "further": pl.Boolean,
    "first": pl.Boolean,
}
"""What is known of an inner line besides its text.

Time, label and key of the records around it, its stream (null where the line is none of the outer
format), whether it goes on with the line before it whatever it says, and whether it is the first of
its outer line.
"""


class Opened(NamedTuple):
    """Inner lines and what they hold."""

    rows: pl.DataFrame
    """`line`, `text` and in a format with another inside: `row`, a number that grows, `source`, the
    row of the outer line, `stream`, `further`, `first`."""
    fields: Fields
    """The innermost format's fields; times, labels and keys of the records around it where it has
    none."""
    kind: pl.Series
    """The place of each record's format in `logllm.logs.inside.other_kinds.kinds` of the innermost
    one."""


def opened(
    lines: pl.DataFrame, described: FormatSection, *, key_field: str | None = None
) -> Opened:
    r"""What lines of a format hold, or the lines inside their messages.

    >>> server = FormatSection(name="server", pattern="(?<level>[A-Z]+): (?<message>.*)")
    >>> outer = FormatSection(name="json", kind="json", message="log", time="time", inside=server)
    >>> lines = pl.DataFrame({"line": [1], "text": ['{"log": "INFO: up\\n\\tand running\\n", "time": "t"}']})
    >>> rows, fields, _ = opened(lines, outer)
    >>> rows["text"].to_list(), fields.message.to_list(), fields.time.to_list()
    (['INFO: up', '\tand running'], ['up', None], ['t', 't'])

    Args:
        lines: `line` (u64) and `text`.
        described: their format.
        key_field: the field that holds the key of a record, of any layer.
    """
    *outer, inner = described.layers
    if not outer:
        return Opened(lines, *read_kinds(lines["text"], inner, key_field=key_field))
    # What is known around a line starts empty; each layer from the outside in adds what it says.
    nulls = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in _OUTER.items()]
    rows = lines.with_columns(*nulls)
    source = pl.int_range(pl.len())
    rows = rows.with_columns(further=pl.lit(False), first=pl.lit(True), source=source)
    for layer in outer:
        rows = _inside(rows, layer, key_field=key_field)
    is_inner = any(may_have(kind, key_field) for kind in (inner, *inner.beside))
    own_key = key_field if is_inner else None
    fields, kind = read_kinds(rows["text"], inner, key_field=own_key)
    given = fields._replace(
        time=_or(fields.time, rows["time"]),
        label=_or(fields.label, rows["label"]),
        key=_or(fields.key, rows["key"]),
    )
    rows = rows.with_row_index("row").drop("time", "label", "key")
    return Opened(rows, given, kind)


def _or(own: pl.Series | None, outer: pl.Series) -> pl.Series:
    """What the inner record says, else the outer one."""
    return outer if own is None else own.zip_with(own.is_not_null(), outer)


def _inside(rows: pl.DataFrame, layer: FormatSection, *, key_field: str | None) -> pl.DataFrame:
    """The lines in the messages of some rows; a row that is none of the format stays as it is."""
    is_marked = layer.kind == "pattern" and FURTHER in group_names(layer.pattern or "")
    own_key = key_field if may_have(layer, key_field) else None
    wanted = (layer.label, own_key, FURTHER if is_marked else None)
    names = [name for name in (*wanted, layer.time, layer.day, *layer.streams) if name is not None]
    text = rows["text"]
    if layer.kind == "pattern":
        text = text.str.strip_chars_start()
    columns = read_named(text, layer, names=names)
    time = time_in(columns, layer)
    label, key, further = (columns[name] if name is not None else None for name in wanted)
    message = columns[layer.message]

    # A line goes on where the record says so (`further`), or where it is no record but looks so.
    outside = message.is_null()
    goes_on = rows["further"]
    if further is not None:
        goes_on = goes_on | (further.fill_null("") != "")
    if layer.continuation is not None:
        goes_on |= outside & rows["text"].str.contains(layer.continuation)

    inside = message.str.strip_chars_end("\r\n")
    taken = rows.with_columns(
        text=inside.zip_with(~outside, rows["text"]),
        time=rows["time"] if time is None else _or(time, rows["time"]),
        label=rows["label"] if label is None else _or(label, rows["label"]),
        key=rows["key"] if key is None else _or(key, rows["key"]),
        further=goes_on,
    )
    of_streams = [columns[name] for name in layer.streams]
    taken = taken.with_columns(stream=_stream(rows["stream"], of_streams, outside=outside))
    # A message that is an object is one record, whatever line breaks are in it.
    one_record = layer.inside is None or layer.inside.kind == "json"
    return taken if one_record else _one_a_row(taken)


def _stream(before: pl.Series, names: list[pl.Series], *, outside: pl.Series) -> pl.Series:
    """The streams of some rows, more precisely than before; null where that is not known."""
    names_so_far = [before.fill_null(""), *(name.fill_null("") for name in names)]
    joined = pl.concat_str(*names_so_far, separator=_BETWEEN)
    known = pl.select(joined).to_series()
    return known.zip_with(~outside, before)


def _one_a_row(rows: pl.DataFrame) -> pl.DataFrame:
    """Messages of several lines as so many rows, of which all but the first go on."""
    if not rows["text"].str.contains("\n", literal=True).any():
        return rows
    # A container writes a stack trace as one record: its lines are read as such again.
    pieces = rows.with_columns(pl.col("text").str.split("\n"), piece=pl.int_range(pl.len()))
    split = pieces.explode("text")
    later = (split["piece"] == split["piece"].shift(1)).fill_null(False)
    return split.with_columns(
        further=pl.col("further") | later, first=pl.col("first") & ~later
    ).drop("piece")
