"""Records of several lines as they are written, and what they are called in one line."""

from collections.abc import Mapping
from typing import Protocol

import polars as pl

from logllm.config.format import FormatSection
from logllm.logs.inside.other_kinds import begins, read_kinds
from logllm.logs.inside.traces import called
from logllm.logs.joining import in_pieces
from logllm.logs.redaction import redact

_REACH = 200
"""How many lines after the first one of a record are looked at."""
_BEGINNING, _END = 19, 10
"""How many lines of a longer record are shown, before and after those that are left out."""

_FIRST_SHOWN, _FURTHER_SHOWN = 1_000, 300
"""How many characters of a record's first line are shown, and of each further one."""

Line = tuple[object, int]
"""A file, by its place or by its name, and a line's number."""


class Written(Protocol):
    """Knows what is written in lines."""

    @property
    def redacted(self) -> bool:
        """Whether what is secret is taken out of lines."""

    def texts(self, places: pl.DataFrame) -> pl.Series:
        """What is written in some records, as it may be shown, their further lines too.

        Args:
            places: `file` (the input's place), `line`, the first one's, and `message`, the masked
                message.
        """


def titles(places: pl.DataFrame, written: Written) -> pl.Series:
    """What some records are called in one line, as it may be shown.

    It is their first line as it is written; of a trace it is the exception.

    Args:
        places: as `Written.texts` takes them.
        written: gives what is written in lines.
    """
    return titles_of(written.texts(places), places["message"], redacted=written.redacted)


def titles_of(texts: pl.Series, messages: pl.Series, *, redacted: bool) -> pl.Series:
    """What records are called in one line.

    Args:
        texts: what is written in them, as it may be shown.
        messages: their masked messages.
        redacted: take out of these what is secret.
    """
    several = messages.str.contains("\n", literal=True).fill_null(value=False)
    if redacted and several.any():
        # Masks leave what a person might take for secret.
        without = redact(messages.filter(several))
        messages = messages.clone().scatter(several.arg_true(), without)
    return called(texts, messages)


def reaching(places: pl.DataFrame) -> pl.DataFrame:
    """The lines that may be part of records: `file`, `line`, each once.

    Args:
        places: `file`, `line`, the first one's, and `message`; one of a single line has a message
            of a single line.
    """
    first = places.select("file", "line")
    several = _several(places)
    if several.is_empty():
        return first.unique(maintain_order=True)
    offsets = pl.int_ranges(1, _REACH + 1, dtype=pl.UInt64)
    after = several.select("file", "line", by=offsets).explode("by")
    further = after.select("file", line=pl.col("line") + pl.col("by"))
    return pl.concat([first, further]).unique(maintain_order=True)


def whole_records(
    places: pl.DataFrame, *, written: pl.DataFrame, described: FormatSection
) -> pl.DataFrame:
    """The further lines of records: `file`, `line`, the first one's, and `further`.

    Only records that have some are rows. Of a long record lines in the middle are left out.

    Args:
        places: as `reaching` takes them.
        written: `file`, `line` and `text`, as far as lines can be read.
        described: the log's format.
    """
    file_type: pl.DataType = places["file"].dtype
    columns: list[tuple[str, pl.DataType]] = [
        ("file", file_type),
        ("line", pl.UInt64()),
        ("further", pl.String()),
    ]
    schema = pl.Schema(columns)
    several = _several(places)
    # Lines inside others, and pieces of lines, say nothing of their records by themselves.
    alone = described.inside is None and not in_pieces(described)
    if several.is_empty() or not alone or described.continuation is None:
        return pl.DataFrame(schema=schema)
    lines = written.unique(["file", "line"], maintain_order=True).drop_nulls("text")
    # One pass over the lines that may be further ones, then record by record.
    goes_on = _goes_on(lines["text"], described)
    going_on = lines.filter(goes_on).select("file", "line", "text")
    texts = {(file, line): text.rstrip() for file, line, text in going_on.iter_rows()}
    rows: list[tuple[object, int, str]] = []
    firsts = several.select("file", "line").unique(maintain_order=True)
    for file, first in firsts.iter_rows():
        further = _further(texts, first=(file, first))
        if further is not None:
            rows.append((file, first, further))
    return pl.DataFrame(rows, schema=schema, orient="row")


def with_further(
    places: pl.DataFrame, *, written: pl.DataFrame, described: FormatSection
) -> pl.DataFrame:
    """Lines that are written, with the further lines of the records that they begin (`further`).

    Args:
        places: as `reaching` takes them.
        written: `file`, `line` and `text`, as far as lines can be read.
        described: the log's format.
    """
    further = whole_records(places, written=written, described=described)
    return written.join(further, on=["file", "line"], how="left", maintain_order="left")


def shortened(texts: pl.Series) -> pl.Series:
    """Records, each of their lines cut at its end where it is too long to be shown.

    Args:
        texts: records, the lines of each divided by line breaks.
    """
    lines = texts.str.split("\n")
    rows = pl.DataFrame({"lines": lines})
    # Each line by itself, so that the exception at a trace's end is still there.
    first = _cut(pl.col("lines").list.first(), most=_FIRST_SHOWN)
    each = _cut(pl.element(), most=_FURTHER_SHOWN)
    further = pl.col("lines").list.slice(1).list.eval(each)
    whole = pl.concat_list(first, further).list.join("\n")
    return rows.select(whole).to_series()


def _cut(line: pl.Expr, *, most: int) -> pl.Expr:
    """A line of so many characters at most."""
    beginning = line.str.head(most) + "…"
    is_long = line.str.len_chars() > most
    return pl.when(is_long).then(beginning).otherwise(line)


def _several(places: pl.DataFrame) -> pl.DataFrame:
    """The places of records that have several lines."""
    has_break = pl.col("message").str.contains("\n", literal=True)
    return places.filter(has_break)


def _goes_on(text: pl.Series, described: FormatSection) -> pl.Series:
    """Which lines go on with the record before them, as `logllm.logs.joining` joins them."""
    message = read_kinds(text, described).fields.message
    continued = text.str.contains(described.continuation or "")
    return message.is_null() & continued & ~begins(text, described)


def _further(texts: Mapping[Line, str], *, first: Line) -> str | None:
    """The further lines of a record as they are shown; None where there are none."""
    file, last = first
    further: list[str] = []
    # As far as lines that go on follow each other without a gap.
    while text := texts.get((file, last + 1)):
        further.append(text)
        last += 1
    # A deep trace tells most at its ends.
    if len(further) > _BEGINNING + _END + 1:
        further = [*further[:_BEGINNING], "…", *further[-_END:]]
    return "\n".join(further) or None
