"""W3C extended logs: a line `#Fields: ...` names the columns of the rows after it.

Other lines that begin with `#` say other things.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

import polars as pl

from logllm.config.format import FormatSection
from logllm.logs.lines import Counts, Lines

_DIRECTIVE = "#"
_NAMES = r"(?i)^#fields[:\t]"
_DAY = r"(?i)^#(?:start-)?date:\s*([0-9]{4}-[0-9]{2}-[0-9]{2})"
_DATE, _TIME = "date", "time"


def w3c_names(line: str) -> tuple[str, ...]:
    r"""Column names in a `#Fields` line; none in any other.

    >>> w3c_names("#Fields: date time cs(User-Agent)"), w3c_names("#fields\tts\tuid")
    (('date', 'time', 'cs(User-Agent)'), ('ts', 'uid'))
    >>> w3c_names("#Version: 1.0")
    ()
    """
    if not re.match(_NAMES, line):
        return ()
    names = re.split(r"[\s,]+", line[len("#fields:") :])
    return tuple(name for name in names if name)


@cache
def w3c_row(separator: str, columns: int, *, places: tuple[int, ...]) -> str:
    r"""Pattern of a row with a group for each cell that is wanted.

    Blanks between cells may be several, since no cell is empty where they stand between them.

    >>> pl.Series(["a  b", 'a "b c" ', "a b c"]).str.extract(w3c_row(" ", 2, places=(1,))).to_list()
    ['b', '"b c"', None]
    """
    # IIS separates by blanks, Zeek by tabs; empty cells are a `-`, never nothing.
    blank = separator == " "
    between = "[ \t]+" if blank else re.escape(separator)
    other = r"[^\s]+" if blank else f"[^{between}]*"
    cell = f'(?:"[^"]*"|{other})'
    cells = [f"(?<c{place}>{cell})" if place in places else cell for place in range(columns)]
    return rf"^{between.join(cells)}\s*$"


def with_columns(
    batches: Iterable[Lines], described: FormatSection, *, counts: Counts
) -> Iterator[Lines]:
    """Rows with the names of their columns, as the line before them says.

    Before any such line they are as the format says.

    Args:
        batches: lines as they lie in files.
        described: the format.
        counts: where lines with `#` are counted (`headers`, and `lines`, of which the frames hold
            fewer).
    """
    file, names, day = -1, "", ""
    for lines in batches:
        if lines.index != file:
            file, names, day = lines.index, "", ""
        # Header lines stand anywhere, and say how the rows up to the next one are to be read.
        rows = _headed(lines.frame, names=names, day=day)
        if rows.height:
            names, day = rows["names"][-1], rows["day"][-1]
        headers = rows["text"].str.starts_with(_DIRECTIVE)
        for name in ("headers", "lines"):
            counts[name] += int(headers.sum())
        rows = rows.filter(~headers)
        if not rows.height:  # what was done to its lines is counted all the same
            yield replace(lines, frame=lines.frame.clear())
        for alike in rows.partition_by("part", maintain_order=True):
            yield _named(alike, lines, described=described)
            lines = lines.counted()


def _headed(frame: pl.DataFrame, *, names: str, day: str) -> pl.DataFrame:
    """Lines with the line that names their columns, their day, and a number for those alike.

    Args:
        frame: lines of one file.
        names: the last line before them that names columns; empty: none does.
        day: the last day before them.
    """
    # A file may change its columns in the middle, after a restart of the server.
    text = pl.col("text")
    named = pl.when(text.str.contains(_NAMES)).then(text)
    rows = frame.with_columns(
        names=named.forward_fill().fill_null(names),
        day=text.str.extract(_DAY).forward_fill().fill_null(day),
    )
    header = pl.struct("names", "day").rle_id()
    return rows.with_columns(part=header)


def _named(alike: pl.DataFrame, lines: Lines, *, described: FormatSection) -> Lines:
    """Rows of one header; a day that it names is put behind rows that say a time of day alone."""
    columns = w3c_names(alike["names"][0]) or described.columns
    day = alike["day"][0]
    frame = alike.select("line", "text")
    # The day stands once above rows that say only a time of day: it is put behind each.
    if day and _TIME in columns and _DATE not in columns:
        columns = (*columns, _DATE)
        frame = frame.with_columns(pl.col("text").str.strip_chars_end() + described.separator + day)
    return replace(lines, frame=frame, columns=columns)
