"""CSV: column names, cells, and lines to whole rows.

Quoted cells may hold line breaks, and a quote that nobody closes costs the row it stands in.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import polars as pl

from logllm.logs.lines import LONGEST_LINE, Counts, Lines


def header(text: str, separator: str) -> tuple[str, ...]:
    """Column names of a CSV file's first row; none where it is no row.

    >>> header("at;'log' text;x", ";")
    ('at', "'log' text", 'x')
    """
    try:
        row = text.removeprefix("\ufeff").replace("\r", " ")
        cells = next(csv.reader([row], delimiter=separator), [])
    except csv.Error:  # a quote within a cell that is not quoted, or a cell of megabytes
        return ()
    return tuple(cell.strip() for cell in cells)


def headed(rows: Iterable[Lines], separator: str, *, counts: Counts) -> Iterator[Lines]:
    """Rows with the names of their columns.

    Each file's first row gives the names; it is counted as a line.
    """
    columns: tuple[str, ...] = ()
    file = None
    for lines in rows:
        # Each file begins with its own header, which is a line but no record.
        if lines.index != file and lines.frame.height:
            file = lines.index
            columns = header(lines.frame["text"][0], separator)
            for name in ("headers", "lines"):
                counts[name] += 1
            lines = replace(lines, frame=lines.frame.slice(1))
        yield replace(lines, columns=columns)


def cell_pattern(separator: str) -> str:
    """Pattern of a cell, quoted or not.

    A quote opens a cell only where the cell begins (RFC 4180, section 2).
    """
    between = re.escape(separator)
    return f'(?:"(?:[^"]|"")*"|[^"{between}\\n][^{between}\\n]*|)'


class CsvRows:
    """Lines to whole rows of CSV.

    By RFC 4180 a quote opens a cell only where the cell begins, and closes it only where it ends. A
    quote that is not closed so, within `LONGEST_LINE` characters and before the file ends, is a
    stray one: its line is a row of its own, and the next line begins another.
    """

    def __init__(self, separator: str, counts: Counts) -> None:
        """Nothing held back.

        Args:
            separator: What stands between cells.
            counts: Where joined lines (`continued`, and `lines`, of which the frames hold fewer)
                are counted.
        """
        # A line opens a cell that goes over its end; goes on with an open one, closing it and
        # opening another perhaps; or closes it for good.
        # A row may go on after a line end within quotes: lines that open such a cell, lie within
        # it, close it.
        between, cell = re.escape(separator), cell_pattern(separator)
        quoted = '(?:[^"]|"")*'
        cells_before = f"(?:{cell}{between})*"
        self._opens = f'^{cells_before}"{quoted}$'
        self._goes_on = f'^{quoted}(?:"{between}{cells_before}"{quoted})?$'
        self._closes = f'^{quoted}"(?:{between}{cell})*$'
        self._counts = counts
        self._held: pl.DataFrame | None = None

    def push(self, piece: pl.DataFrame) -> pl.DataFrame:
        """Whole rows, each with its first line's number."""
        lines = piece if self._held is None else pl.concat([self._held, piece])
        return self._rows(lines, ended=False)

    def flush(self) -> pl.DataFrame | None:
        """The lines of a row that never ended."""
        held, self._held = self._held, None
        return None if held is None else self._rows(held, ended=True)

    def _rows(self, lines: pl.DataFrame, *, ended: bool) -> pl.DataFrame:
        """Rows of lines that begin with a row.

        The lines of the last one are held back where it may go on.
        """
        opens = lines["text"].str.contains(self._opens)
        if not opens.any():
            return lines
        open_after = self._open_after(lines["text"], opens, ended=ended)
        row = (~open_after.shift(1, fill_value=False)).cum_sum()
        # Lines of one row have one number; the last row is held back where it may go on.
        is_last = row == row[-1]
        self._held = lines.filter(is_last) if open_after[-1] else None
        whole = lines.filter(~is_last) if open_after[-1] else lines
        number = row.head(whole.height).alias("row")
        by_row = whole.group_by(number, maintain_order=True)
        first, text = pl.col("line").first(), pl.col("text").str.join("\n")
        joined = by_row.agg(first, text).drop("row")
        for name in ("continued", "lines"):
            self._counts[name] += whole.height - joined.height
        return joined

    def _open_after(self, text: pl.Series, opens: pl.Series, *, ended: bool) -> pl.Series:
        """Whether a row is open after each line, the first of which begins one.

        What a line makes of an open row and of none is known for all lines at once, and so is where
        a row would end that began at it.
        """
        inside, size, line = pl.col("inside"), pl.col("size"), pl.col("line")
        length_with_end = line.str.len_chars() + 1
        lines = text.alias("line").to_frame()
        frame = lines.select(
            opens=opens,
            inside=line.str.contains(self._goes_on),
            closes=line.str.contains(self._closes),
            length=length_with_end,
            size=length_with_end.cum_sum(),
        )

        # A row that began here would be closed by the next line that does not go on, if that closes
        # it; null: that line is not here. So long it would be then, without its last line end.
        closes_here = pl.when(~inside).then("closes")
        ends_here = pl.when(~inside).then(size)
        closed = closes_here.shift(-1).backward_fill().fill_null(not ended)
        end = ends_here.shift(-1).backward_fill().fill_null(size.last())
        length = end - size + pl.col("length") - 1
        short_enough = length <= LONGEST_LINE
        frame = frame.with_columns(begins=pl.col("opens") & closed & short_enough)

        # A line makes of "no row is open" `begins`, of "one is open" `inside`. Where both are the
        # same that is settled; where they differ the state is kept, or turned over.
        begins_row = pl.col("begins")
        turns_over = begins_row & ~inside
        turned = turns_over.cum_sum() % 2 == 1
        certain = pl.when(begins_row == inside).then(inside ^ turned)
        settled = certain.forward_fill().fill_null(False)
        return frame.select(settled ^ turned).to_series()
