"""Lines of one program inside the records of another, such as a server's in a container's log.

They are taken out, with what the records around them say.
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

`time`, `label` and `key` are those of the records around it, `stream` is null where the line is
none of the outer format. `further` says that it goes on with the line before it, whatever it says,
and `first` that it is the first of its outer line.
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
    >>> text = '{"log": "INFO: up\\n\\tand running\\n", "time": "t"}'
    >>> rows, fields, _ = opened(pl.DataFrame({"line": [1], "text": [text]}), outer)
    >>> rows["text"].to_list(), fields.message.to_list(), fields.time.to_list()
    (['INFO: up', '\tand running'], ['up', None], ['t', 't'])

    Args:
        lines: `line` (u64) and `text`.
        described: their format.
        key_field: the field that holds the key of a record, of any layer.
    """
    *outer, inner = described.layers
    if not outer:
        fields, kind = read_kinds(lines["text"], inner, key_field=key_field)
        return Opened(lines, fields, kind)
    # What is known around a line starts empty; each layer from the outside in adds what it says.
    nulls = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in _OUTER.items()]
    rows = lines.with_columns(*nulls)
    source = pl.int_range(pl.len())
    rows = rows.with_columns(further=pl.lit(False), first=pl.lit(True), source=source)
    for layer in outer:
        rows = _inside(rows, layer, key_field=key_field)
    inner_kinds = (inner, *inner.beside)
    is_inner = any(may_have(other, key_field) for other in inner_kinds)
    own_key = key_field if is_inner else None
    fields, kind = read_kinds(rows["text"], inner, key_field=own_key)
    # Of what the inner record does not say the outer one may say something.
    time = _or(fields.time, rows["time"])
    label = _or(fields.label, rows["label"])
    key = _or(fields.key, rows["key"])
    rows = rows.with_row_index("row").drop("time", "label", "key")
    return Opened(rows, fields._replace(time=time, label=label, key=key), kind)


def _or(own: pl.Series | None, outer: pl.Series) -> pl.Series:
    """What the inner record says, else what the outer one says."""
    if own is None:
        return outer
    is_said = own.is_not_null()
    return own.zip_with(is_said, outer)


def _inside(rows: pl.DataFrame, layer: FormatSection, *, key_field: str | None) -> pl.DataFrame:
    """The lines in the messages of some rows; a row that is none of the format stays as it is."""
    text, is_pattern = rows["text"], layer.kind == "pattern"
    is_marked = is_pattern and FURTHER in group_names(layer.pattern or "")
    own_key = key_field if may_have(layer, key_field) else None
    mark = FURTHER if is_marked else None
    wanted = (layer.label, own_key, mark, layer.time, layer.day, *layer.streams)
    names = [name for name in wanted if name is not None]
    written = text.str.strip_chars_start() if is_pattern else text
    columns = read_named(written, layer, names=names)
    message = columns[layer.message]

    # A line goes on where the record says so (`further`), or where it is no record but looks so.
    outside = message.is_null()
    goes_on = rows["further"]
    if mark is not None:
        further = columns[mark].fill_null("")
        goes_on = goes_on | (further != "")
    if layer.continuation is not None:
        goes_on |= outside & text.str.contains(layer.continuation)

    # What this layer says comes before what those around it say.
    inside = message.str.strip_chars_end("\r\n")
    label = None if layer.label is None else columns[layer.label]
    key = None if own_key is None else columns[own_key]
    of_streams = [columns[name] for name in layer.streams]
    taken = rows.with_columns(
        text=inside.zip_with(~outside, text),
        time=_or(time_in(columns, layer), rows["time"]),
        label=_or(label, rows["label"]),
        key=_or(key, rows["key"]),
        further=goes_on,
        stream=_stream(rows["stream"], of_streams, outside=outside),
    )
    # A message that is an object is one record, whatever line breaks are in it.
    one_record = layer.inside is None or layer.inside.kind == "json"
    return taken if one_record else _one_a_row(taken)


def _stream(before: pl.Series, names: list[pl.Series], *, outside: pl.Series) -> pl.Series:
    """The streams of some rows, more precisely than before; null where that is not known."""
    names_so_far = [name.fill_null("") for name in (before, *names)]
    joined = pl.concat_str(*names_so_far, separator=_BETWEEN)
    stream = pl.select(joined).to_series()
    return stream.zip_with(~outside, before)


def _one_a_row(rows: pl.DataFrame) -> pl.DataFrame:
    """Messages of several lines as so many rows, of which all but the first go on."""
    if not rows["text"].str.contains("\n", literal=True).any():
        return rows
    # A container writes a stack trace as one record: its lines are read as such again.
    pieces = rows.with_columns(pl.col("text").str.split("\n"), piece=pl.int_range(pl.len()))
    split = pieces.explode("text")
    piece = split["piece"]
    later = (piece == piece.shift(1)).fill_null(False)
    further = pl.col("further") | later
    first = pl.col("first") & ~later
    return split.with_columns(further=further, first=first).drop("piece")
