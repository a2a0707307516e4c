"""Parts of a large plain file, which several processes read with the lines of one."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.errors import DataError
from logllm.logs.archives import FAULTS, Counted, Transcoded, other_kind, unpack
from logllm.logs.calendar.timeline import LOOKED_AT, newest_first
from logllm.logs.inputs.refusals import refuse
from logllm.logs.inputs.urls import is_url
from logllm.logs.inside.other_kinds import kinds
from logllm.logs.lines import (
    BLOCK,
    BOMS,
    NO_LINES,
    CutOff,
    Lines,
    lines_in,
    whole_lines,
)
from logllm.logs.times import round_the_year

SPAN = 16 * BLOCK
"""About so many bytes of a file are one part."""
_NEAR = 1 << 16
"""A part ends with a line that ends at most so many bytes before the place where it should."""
_STATEFUL = ("csv", "w3c", "export")
"""Kinds whose lines say something only beside others of their file."""


class Span(NamedTuple):
    """A part of a file that holds whole lines."""

    start: int
    """The byte that it begins with."""
    end: int | None
    """The byte behind its last one; None: it goes on to the file's end."""


WHOLE = Span(0, None)
"""All of a file."""


def line_by_line(described: FormatSection) -> bool:
    """Whether each line of a format is a record by itself, wherever in its file it stands.

    It is not where lines go on with a record, where a header names the fields, or where times lack
    a year, which then comes from all lines together.
    """
    alone = all(kind.continuation is None for kind in kinds(described.innermost))
    whole = described.partial is None and described.records is None
    dated = not any(map(round_the_year, described.time_formats))
    plain = described.inside is None and described.kind not in _STATEFUL
    return alone and whole and dated and plain


def oldest_first(times: pl.Series) -> bool:
    """Whether the times of a file's first lines say that it need not be turned.

    Where there are too few to tell, reading may have to wait for the file's end.
    """
    known = times.drop_nulls()
    return len(known) >= LOOKED_AT and not newest_first(known)


def spans(name: str, *, size: int) -> list[Span]:
    """The parts of a file, each of whole lines.

    A file is one part if it is small, an archive, in UTF-16, or not on this machine's disks.

    Args:
        name: the file's.
        size: about so many bytes are a part; a multiple of `BLOCK`, so that parts have the frames
            of lines that one pass over the file has.

    Raises:
        DataError: it cannot be read.
    """
    if is_url(name):
        return [WHOLE]
    try:
        total = Path(name).stat().st_size
        with Path(name).open("rb") as file:
            if total <= size or not _is_plain(file.read(BLOCK)):
                return [WHOLE]
            places = range(size, total, size)
            cuts = [cut for place in places if (cut := _line_end(file, before=place))]
    except OSError as exc:
        raise DataError(f"{name} cannot be read: {exc.strerror}") from exc
    return [Span(*bounds) for bounds in zip([0, *cuts], [*cuts, None], strict=True)]


def span_lines(name: str, span: Span, *, encoding: str, batch_lines: int) -> Iterator[Lines]:
    """The lines of a part of a file, numbered from 1, in the frames of one pass over the file.

    Args:
        name: the file's.
        span: a part, as `spans` gives it.
        encoding: `utf-8` or `latin-1`.
        batch_lines: most lines in a frame.

    Raises:
        CutOff: it cannot be read on; the lines before have been given.
        DataError: it cannot be read at all, or is an archive of several files or no text.
    """
    last = 0
    try:
        with Path(name).open("rb") as file:
            bom = b"" if span.start else BOMS[encoding]
            for block in whole_lines(_blocks(file, span), bom):
                if not span.start and not last and (kind := other_kind(block)):
                    refuse(kind, name=name, tool="cat")
                like = replace(NO_LINES, file=name)
                lines = lines_in(block, after=last, encoding=encoding, like=like)
                last += lines.frame.height
                # What was done to all lines of a block is counted once.
                for place, part in enumerate(lines.frame.iter_slices(batch_lines)):
                    yield replace(lines if place == 0 else lines.counted(), frame=part)
    except FAULTS as exc:
        where = f"after {last:,} whole lines from byte {span.start:,} on"
        raise CutOff(f"{name} cannot be read on {where} ({exc})") from exc


def _is_plain(start: bytes) -> bool:
    """Whether a file that begins so holds text as it is: no archive, and not in UTF-16."""
    _, tool = unpack(Counted(BytesIO(start)))
    text = Transcoded(BytesIO(start), "utf-8").read(len(start))
    return tool is None and text == start


def _line_end(file: BinaryIO, *, before: int) -> int | None:
    """The place behind the last line that ends before a place; None: none ends near it."""
    file.seek(before - _NEAR)
    end = file.read(_NEAR).rfind(b"\n")
    return None if end < 0 else before - _NEAR + end + 1


def _blocks(file: BinaryIO, span: Span) -> Iterator[bytes]:
    """The bytes of a part, cut where one pass over the file cuts them: at multiples of `BLOCK`."""
    start = span.start
    file.seek(start)
    while span.end is None or start < span.end:
        stop = (start // BLOCK + 1) * BLOCK
        if span.end is not None:
            stop = min(stop, span.end)
        block = file.read(stop - start)
        if not block:
            return
        yield block
        start += len(block)
