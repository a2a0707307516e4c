"""Fields of structured lines by their names, as text.

Lines may be JSON, logfmt, journald's export, or rows of columns.
"""

import json
import re
from collections.abc import Sequence
from functools import cache

import polars as pl

from logllm.config.format import FormatSection
from logllm.errors import RecipeError
from logllm.logs.structured.csv_rows import cell_pattern
from logllm.logs.structured.w3c_rows import w3c_row

WHOLE = "$"
"""The name of the field that is the whole line."""

_PAIR = r'[^\s="]+(?:=(?:"(?:[^"\\]|\\.)*"|[^\s"]*))?'
_ESCAPES = ((r"\n", "\n"), (r"\t", "\t"), (r"\"", '"'))


def read_columns(
    text: pl.Series, described: FormatSection, *, names: Sequence[str]
) -> dict[str, pl.Series]:
    r"""Fields of lines of a structured kind as text, null where a line has none.

    >>> line = pl.Series(['at=7 msg="a \\"b\\" at=8" x'])
    >>> described = FormatSection(name="x", kind="logfmt")
    >>> columns = read_columns(line, described, names=["at", "msg", "y"])
    >>> [columns[name].item() for name in ("at", "msg", "y")]
    ['7', 'a "b" at=8', None]

    Raises:
        RecipeError: a CSV file has no column of the name.
    """
    columns = {name: text for name in names if name == WHOLE}
    wanted = [name for name in dict.fromkeys(names) if name != WHOLE]
    if described.kind == "json":
        return columns | _json(text, wanted)
    if described.kind == "logfmt":
        return columns | {name: _logfmt(text, name) for name in wanted}
    if described.kind == "export":
        for name in wanted:
            value = text.str.extract(rf"(?:^|\n){re.escape(name)}=([^\n]*)")
            columns[name] = _filled(value)
        return columns
    if described.kind == "w3c":
        return columns | _w3c(text, described, names=wanted)
    return columns | _csv(text, described, names=wanted)


def _json(text: pl.Series, names: Sequence[str]) -> dict[str, pl.Series]:
    """Fields by their dotted paths, or by their whole names where these themselves hold dots."""
    # `http.request_id` is `{"http": {"request_id": ...}}`, or `{"http.request_id": ...}`.
    # `k8s.pod`: a field `pod` within `k8s`, or one field whose name has a dot.
    by_parts: dict[str, pl.Expr] = {}
    for name in names:
        steps = [part if part.isdecimal() else json.dumps(part) for part in name.split(".")]
        path = "$" + "".join(f"[{step}]" for step in steps)
        by_parts[name] = pl.col("text").str.json_path_match(path)
    found = text.alias("text").to_frame().select(**by_parts)
    columns = {column.name: column for column in found}
    for name, column in columns.items():
        if "." in name and column.null_count():
            whole = text.str.json_path_match(f"$[{json.dumps(name)}]")
            columns[name] = column.zip_with(column.is_not_null(), whole)
    return columns


def _logfmt(text: pl.Series, name: str) -> pl.Series:
    """A pair's value; what stands within another one's quotes is no pair."""
    pair = rf'^\s*(?:{_PAIR}\s+)*?{re.escape(name)}=("(?:[^"\\]|\\.)*"|[^\s"]*)(?:\s|$)'
    values = text.str.extract(pair)
    quoted = values.str.starts_with('"').fill_null(False)
    if not quoted.any():
        return _filled(values)
    # A backslash itself comes last: a written backslash before an n is no line end.
    inner = values.str.strip_prefix('"').str.strip_suffix('"')
    for written, meant in _ESCAPES:
        inner = inner.str.replace_all(written, meant, literal=True)
    inner = inner.str.replace_all("\\\\", "\\", literal=True)
    return _filled(inner.zip_with(quoted, values))


def _csv(
    text: pl.Series, described: FormatSection, *, names: Sequence[str]
) -> dict[str, pl.Series]:
    """Cells of rows that have at least as many as there are columns.

    All are null where no header has been seen.
    """
    columns = described.columns
    if not columns:
        return {name: pl.repeat(None, len(text), dtype=pl.String, eager=True) for name in names}
    if missing := [name for name in names if name not in columns]:
        raise RecipeError(
            f"format {described.name}: there is no column {missing[0]!r} (there are"
            f" {', '.join(columns) or 'none'})"
        )
    places = sorted({columns.index(name) for name in names})
    pattern = _row(described.separator, len(columns), places=tuple(places))
    cells = _unquoted(text.str.extract_groups(pattern).struct.unnest())
    values: dict[str, pl.Series] = {}
    for name in names:
        cell = cells[f"c{columns.index(name)}"]
        values[name] = _filled(cell).alias(name)
    return values


def _w3c(
    text: pl.Series, described: FormatSection, *, names: Sequence[str]
) -> dict[str, pl.Series]:
    """Cells of rows that have as many as there are columns.

    A column that the file does not name is null.
    """
    columns = described.columns
    places = sorted({columns.index(name) for name in names if name in columns})
    nothing = text.clear(len(text))
    if not places:
        return dict.fromkeys(names, nothing)
    pattern = w3c_row(described.separator, len(columns), places=tuple(places))
    cells = text.str.extract_groups(pattern).struct.unnest()
    # A dash stands where a cell holds nothing.
    written = _unquoted(pl.DataFrame([cell.set(cell == "-", None) for cell in cells]))
    values: dict[str, pl.Series] = {}
    for name in names:
        cell = written[f"c{columns.index(name)}"] if name in columns else nothing
        values[name] = _filled(cell).alias(name)
    return values


@cache
def _row(separator: str, columns: int, *, places: tuple[int, ...]) -> str:
    """Pattern of a row with a group for each cell that is wanted."""
    # A row may have more cells than the header has names; those are passed over.
    cell, between = cell_pattern(separator), re.escape(separator)
    pieces: list[str] = []
    for place in range(columns):
        group = f"(?<c{place}>{cell})" if place in places else cell
        pieces.append((between if place else "") + group)
    return f"^{''.join(pieces)}(?:{between}(?s:.*))?$"


def _unquoted(cells: pl.DataFrame) -> pl.DataFrame:
    """Cells without their quotes, a column for each."""
    quoted = cells.select(pl.all().str.starts_with('"').any())
    columns = [column.name for column in quoted if column.any()]
    if not columns:
        return cells
    cell = pl.col(columns)
    inner = cell.str.strip_prefix('"').str.strip_suffix('"')
    inner = inner.str.replace_all('""', '"', literal=True)
    return cells.with_columns(pl.when(cell.str.starts_with('"')).then(inner).otherwise(cell))


def _filled(values: pl.Series) -> pl.Series:
    """Values, null where there is nothing in them."""
    empty = values == ""
    return values.set(empty, None) if empty.any() else values
