"""CSV: column names, cells, and lines to whole rows; quoted cells may hold line breaks, and a quote that nobody closes costs the row it stands in."""

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
        cells = next(csv.reader([text.removeprefix("\ufeff").replace("\r", " ")], delimiter=separator), [])
    except csv.Error:  # a quote within a cell that is not quoted, or a cell of megabytes
        return ()
    return tuple(cell.strip() for cell in cells)


def headed(rows: Iterable[Lines], separator: str, *, counts: Counts) -> Iterator[Lines]:
    """Rows with their columns' names, which each file's first row gives and which is counted as a line."""
    columns: tuple[str, ...] = ()
    file = None
    for lines in rows:
        if lines.index != file and lines.frame.height:
            file = lines.index
            columns = header(lines.frame["text"][0], separator)
            for name in ("headers", "lines"):
                counts[name] += 1
            lines = replace(lines, frame=lines.frame.slice(1))
        yield replace(lines, columns=columns)


def cell_pattern(separator: str) -> str:
    """Pattern of a cell, quoted or not; a quote is one where a cell begins (RFC 4180, section 2)."""
    between = re.escape(separator)
    return f'(?:"(?:[^"]|"")*"|[^"{between}\\n][^{between}\\n]*|)'


class CsvRows:
    """Lines to whole rows of CSV.

    By RFC 4180 a quote opens a cell only where the cell begins, and closes it only where it ends. A quote that is not closed so, within
    `LONGEST_LINE` characters and before the file ends, is a stray one: its line is a row of its own, and the next line begins another.
    """

    def __init__(self, separator: str, counts: Counts) -> None:
        """Nothing held back.

        Args:
            separator: What stands between cells.
            counts: Where joined lines (`continued`, and `lines`, of which the frames hold fewer) are counted.
        """
        between, cell, quoted = re.escape(separator), cell_pattern(separator), '(?:[^"]|"")*'
        self._opens = f'^(?:{cell}{between})*"{quoted}$'
        self._goes_on = f'^{quoted}(?:"{between}(?:{cell}{between})*"{quoted})?$'
        self._closes = f'^{quoted}"(?:{between}{cell})*$'
        self._counts = counts
        self._held: pl.DataFrame | None = None

    def push(self, piece: pl.DataFrame) -> pl.DataFrame:
        """Whole rows, each with its first line's number."""
        return self._rows(piece if self._held is None else pl.concat([self._held, piece]), ended=False)

    def flush(self) -> pl.DataFrame | None:
        """The lines of a row that never ended."""
        held, self._held = self._held, None
        return None if held is None else self._rows(held, ended=True)

    def _rows(self, lines: pl.DataFrame, *, ended: bool) -> pl.DataFrame:
        """Rows of lines that begin with a row; the lines of the last one are held back where it may go on."""
        opens = lines["text"].str.contains(self._opens)
        if not opens.any():
            return lines
        open_after = self._open_after(lines["text"], opens, ended=ended)
        row = (~open_after.shift(1, fill_value=False)).cum_sum()
        self._held = lines.filter(row == row[-1]) if open_after[-1] else None
        whole = lines.filter(row != row[-1]) if open_after[-1] else lines
        rows = whole.group_by(row.head(whole.height).alias("row"), maintain_order=True)
        joined = rows.agg(pl.col("line").first(), pl.col("text").str.join("\n")).drop("row")
        for name in ("continued", "lines"):
            self._counts[name] += whole.height - joined.height
        return joined

    def _open_after(self, text: pl.Series, opens: pl.Series, *, ended: bool) -> pl.Series:
        """Whether a row is open after each line, the first of which begins one.

        What a line makes of an open row and of none is known for all lines at once, and so is where a row would end that began at it.
        """
        inside, size, line = pl.col("inside"), pl.col("size"), text.alias("line").to_frame()
        frame = line.select(
            opens=opens,
            inside=pl.col("line").str.contains(self._goes_on),
            closes=pl.col("line").str.contains(self._closes),
            length=pl.col("line").str.len_chars() + 1,  # with its line end
            size=(pl.col("line").str.len_chars() + 1).cum_sum(),
        )
        closed = pl.when(~inside).then("closes").shift(-1).backward_fill()  # by the next line that does not go on; null: it is not here
        length = pl.when(~inside).then(size).shift(-1).backward_fill().fill_null(size.last()) - size + pl.col("length") - 1
        begins = pl.col("opens") & closed.fill_null(not ended) & (length <= LONGEST_LINE)
        frame = frame.with_columns(begins=begins)
        turned = (pl.col("begins") & ~inside).cum_sum() % 2 == 1
        settled = pl.when(pl.col("begins") == inside).then(inside ^ turned).forward_fill().fill_null(False)
        return frame.select(settled ^ turned).to_series()
