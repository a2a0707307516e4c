"""Fields of structured lines by name: JSON, CSV, logfmt and journald's export."""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl

from logllm.config.format import FormatSection
from logllm.errors import RecipeError

WHOLE = "$"
"""The name of the field that is the whole line."""

_PAIR = r'[^\s="]+(?:=(?:"(?:[^"\\]|\\.)*"|[^\s"]*))?'
_ESCAPES = ((r"\n", "\n"), (r"\t", "\t"), (r"\"", '"'))


def read_columns(text: pl.Series, described: FormatSection, *, names: Sequence[str]) -> dict[str, pl.Series]:
    r"""Fields of lines of a structured kind as text, null where a line has none.

    >>> line = pl.Series(['at=7 msg="a \\"b\\" at=8" x'])
    >>> found = read_columns(line, FormatSection(name="x", kind="logfmt"), names=["at", "msg", "y"])
    >>> [found[name].item() for name in ("at", "msg", "y")]
    ['7', 'a "b" at=8', None]

    Raises:
        RecipeError: a CSV file has no column of the name.
    """
    found = {name: text for name in names if name == WHOLE}
    wanted = [name for name in dict.fromkeys(names) if name != WHOLE]
    if described.kind == "json":
        return found | {name: _json(text, name) for name in wanted}
    if described.kind == "logfmt":
        return found | {name: _logfmt(text, name) for name in wanted}
    if described.kind == "export":
        return found | {name: _filled(text.str.extract(rf"(?:^|\n){re.escape(name)}=([^\n]*)")) for name in wanted}
    return found | _csv(text, described, names=wanted)


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


def bare_name(name: str) -> str:
    """A field's last name in small letters and digits.

    >>> bare_name("http.Request-ID")
    'requestid'
    """
    return re.sub(r"[^a-z0-9]", "", name.rpartition(".")[2].lower())


def json_fields(line: str) -> Mapping[str, str]:
    """Fields of a JSON object by their dotted paths; nothing where the line is none.

    >>> json_fields('{"a": {"b": 1, "c": null}, "d": "x"}'), json_fields("[1]")
    ({'a.b': '1', 'd': 'x'}, {})
    """
    try:
        value = json.loads(line)
        return dict(_leaves(value)) if isinstance(value, dict) else {}
    except (ValueError, RecursionError):  # the latter: nested deeper than Python follows
        return {}


def _leaves(value: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Paths and values of what is no object in an object."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(each, f"{before}.{name}" if before else name)
    elif value is not None:
        yield before, value if isinstance(value, str) else json.dumps(value)


def _json(text: pl.Series, name: str) -> pl.Series:
    """A field by its dotted path, or by its whole name where that itself holds dots."""
    paths = ["$" + "".join(f"[{json.dumps(part)}]" for part in parts) for parts in (name.split("."), [name])]
    found = text.str.json_path_match(paths[0])
    if paths[1] != paths[0] and found.null_count():
        found = found.zip_with(found.is_not_null(), text.str.json_path_match(paths[1]))
    return found


def _logfmt(text: pl.Series, name: str) -> pl.Series:
    """A pair's value; what stands within another one's quotes is no pair."""
    found = text.str.extract(rf'^\s*(?:{_PAIR}\s+)*?{re.escape(name)}=("(?:[^"\\]|\\.)*"|[^\s"]*)(?:\s|$)')
    quoted = found.str.starts_with('"').fill_null(False)
    if not quoted.any():
        return _filled(found)
    inner = found.str.strip_prefix('"').str.strip_suffix('"')
    for written, meant in _ESCAPES:
        inner = inner.str.replace_all(written, meant, literal=True)
    return _filled(inner.str.replace_all("\\\\", "\\", literal=True).zip_with(quoted, found))


def _csv(text: pl.Series, described: FormatSection, *, names: Sequence[str]) -> dict[str, pl.Series]:
    """Cells of rows that have at least as many as there are columns; none where no header has been seen."""
    columns = described.columns
    if not columns:
        return {name: pl.repeat(None, len(text), dtype=pl.String, eager=True) for name in names}
    if missing := [name for name in names if name not in columns]:
        raise RecipeError(f"format {described.name}: there is no column {missing[0]!r} (there are {', '.join(columns) or 'none'})")
    places = sorted({columns.index(name) for name in names})
    groups = text.str.extract_groups(_row(described.separator, len(columns), places=tuple(places))).struct
    cells = dict(zip(places, (groups.field(f"c{place}") for place in places), strict=True))
    return {name: _filled(_unquoted(cells[columns.index(name)])).alias(name) for name in names}


@cache
def _row(separator: str, columns: int, *, places: tuple[int, ...]) -> str:
    """Pattern of a row with a group for each cell that is wanted."""
    cell, between = cell_pattern(separator), re.escape(separator)
    pieces: list[str] = []
    for place in range(columns):
        pieces.append((between if place else "") + (f"(?<c{place}>{cell})" if place in places else cell))
    return f"^{''.join(pieces)}(?:{between}(?s:.*))?$"


def cell_pattern(separator: str) -> str:
    """Pattern of a cell, quoted or not; a quote is one where a cell begins (RFC 4180, section 2)."""
    between = re.escape(separator)
    return f'(?:"(?:[^"]|"")*"|[^"{between}\\n][^{between}\\n]*|)'


def _unquoted(cells: pl.Series) -> pl.Series:
    """Cells without their quotes."""
    quoted = cells.str.starts_with('"').fill_null(False)
    if not quoted.any():
        return cells
    return cells.str.strip_prefix('"').str.strip_suffix('"').str.replace_all('""', '"', literal=True).zip_with(quoted, cells)


def _filled(values: pl.Series) -> pl.Series:
    """Values, null where there is nothing in them."""
    return values.set(values == "", None) if (values == "").any() else values
