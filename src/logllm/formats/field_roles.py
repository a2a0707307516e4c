"""Which fields of structured lines hold the message and the time.

They are told by their names and by what is in them.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Literal, NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.formats.message_choice import chosen_message
from logllm.formats.postgres_fields import postgres_fields
from logllm.logs.fields import bare_name
from logllm.logs.joining import whole_rows
from logllm.logs.structured.columns import read_columns
from logllm.logs.structured.json_lines import json_fields, json_records
from logllm.logs.structured.w3c_rows import w3c_names
from logllm.logs.times import parse_times

_LOOKED_AT = 200  # rows
_MOST = 0.8  # of the rows have what a kind has in all
_TO_UNPACK = 20  # lines
_HALF = 0.5  # of the lines are JSON objects
_SEPARATORS = ",;\t|"
_COLUMN = re.compile(r"[A-Za-z_@][\w .@/()-]*")
_PAIR = re.compile(r'(?<!\S)([A-Za-z_@][\w.@/-]*)=("(?:[^"\\]|\\.)*"|[^\s"]*)')
_TIMES = re.compile(
    r"(?:log|event|local|start|realtime|create)?"
    r"(?:time(?:stamp)?|date(?:time)?|ts)(?:utc|ms|local|iso|unixnano)?"
    r"|dateandtime|time(?:created|generated|written|logged)"  # Windows events
    r"|at|t|when|asctime|created(?:at)?|[a-z]+timestamp"
)
_LATER = re.compile("end|receive|ingest|observed")  # times that come after the one that is meant
_FORMS = (
    *("iso", "epoch", "epoch_ms", "epoch_us", "epoch_ns"),
    *("%d/%b/%Y:%H:%M:%S %z", "%Y/%m/%d %H:%M:%S", "%d/%b/%Y %H:%M:%S", "%b %d %H:%M:%S"),
    *("%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S"),
    *("%b %d, %Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p"),
    *("%a, %d %b %Y %H:%M:%S %Z", "%d %b %Y %H:%M:%S.%f"),
)
_FORMS_OF_PEOPLE = tuple(form for form in _FORMS if form.startswith("%") and "%Y" in form)
_SINCE, _UNTIL = date(1990, 1, 1), date(2100, 1, 1)

_DAYS = re.compile(r"(?:log|event|local|start)?(?:date|day)")
_CLOCKS = re.compile(r"(?:log|event|local|start)?(?:time|timestamp)(?:utc|local)?")
_DAY_FORMS = (
    *("%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d.%m.%Y", "%Y%m%d"),
    *("%d-%b-%Y", "%d/%b/%Y", "%d-%m-%Y", "%m/%d/%y"),
)
_CLOCK_FORMS = ("%H:%M:%S.%f", "%I:%M:%S %p")
_APART = ("iso", *(f"{day} {clock}" for day in _DAY_FORMS for clock in _CLOCK_FORMS))

Row = Mapping[str, str]


class _Written(NamedTuple):
    """Fields that hold a time, and how it is written."""

    time: str | None = None
    day: str | None = None
    form: str = "iso"


def structured_formats(text: pl.Series, *, today: date) -> Iterator[FormatSection]:
    """JSON, CSV, logfmt and W3C, with the fields found in the lines, where most lines are such.

    >>> lines = pl.Series(['{"ts": 1700000000, "msg": "up"}'] * 2)
    >>> described = next(structured_formats(lines, today=date(2024, 1, 1)))
    >>> described.kind, described.message, described.time, described.time_format
    ('json', 'msg', 'ts', ('epoch',))
    """
    written = text.filter(text.str.contains(r"\S"))
    lines = written.head(_LOOKED_AT).to_list()
    if not lines:
        return
    # Half of them do: what npm and the like write before and between is counted as rejected.
    rows = [row for row in map(json_fields, lines) if row]
    if len(rows) > _HALF * len(lines):
        postgres = postgres_fields(rows)
        if postgres is not None:
            yield postgres
        yield _json_described(lines, rows, today=today)
    rows = [row for row in map(_logfmt_row, lines) if len(row) > 1]
    if len(rows) >= _MOST * len(lines):
        yield _described("logfmt", rows, today=today)
    for separator in _SEPARATORS:
        rows = _csv_rows(lines, separator)
        if rows:
            described = _described("csv", rows, today=today)
            yield described.model_copy(update={"separator": separator})
    yield from _w3c_formats(lines, today=today)


def _w3c_formats(lines: Sequence[str], *, today: date) -> Iterator[FormatSection]:
    """The format of rows whose columns a line before them names.

    The separator is the one that gives as many cells as there are columns.
    """
    names = next(filter(None, map(w3c_names, lines)), ())
    if not names:
        return
    for separator in ("\t", ",", " "):
        described = FormatSection(name="w3c", kind="w3c", separator=separator, columns=names)
        text, read = whole_rows(pl.Series("text", lines), described)
        cells = pl.DataFrame(read_columns(text, read, names=read.columns))
        has_cells = pl.any_horizontal(pl.all().is_not_null())
        rows = cells.filter(has_cells).fill_null("").rows(named=True)
        if len(rows) >= _MOST * len(text) > 0:
            own = _described("w3c", rows, today=today)
            yield own.model_copy(update={"separator": separator, "columns": names})
            return


def _json_described(lines: Sequence[str], rows: Sequence[Row], *, today: date) -> FormatSection:
    """The format of lines of JSON, each a record or a list of them."""
    path = _records(lines)
    if path is None:
        return _described("json", rows, today=today)
    # As OpenTelemetry's collector writes them: `{"resourceLogs": [{"scopeLogs": [{...}, {...}]}]}`.
    records = [record for line in lines for record in json_records(line, path) or ()]
    inner_rows = [row for row in map(json_fields, records[:_LOOKED_AT]) if row]
    described = _described("json", inner_rows, today=today)
    dotted = ".".join(path)
    reasons = (f"each line holds records, in lists: {dotted}", described.title)
    title = "; ".join(filter(None, reasons))
    return described.model_copy(update={"records": dotted, "title": title})


def _records(lines: Sequence[str]) -> list[str] | None:
    """The path to the lists of records in most lines of JSON.

    None where each line is a record.
    """
    paths: Counter[tuple[str, ...]] = Counter()
    for line in lines[:_TO_UNPACK]:
        try:
            value = json.loads(line)
            path = tuple(_path_to_records(value))
        except (ValueError, RecursionError):  # the latter: nested deeper than Python follows
            continue
        paths[path] += 1
    if not paths:
        return None
    path, often = paths.most_common(1)[0]
    looked_at = min(len(lines), _TO_UNPACK)
    enough = often > _HALF * looked_at
    return list(path) if path and enough else None


def _path_to_records(value: Any) -> list[str]:
    """Names that lead to a list of objects, where these are most of the object around them.

    Empty where that object is a record itself: it has a message or a time of its own.
    """
    if not isinstance(value, dict) or any(map(_is_of_a_record, value)):
        return []
    whole = len(json.dumps(value))
    for name, inner in value.items():
        is_list = isinstance(inner, list) and bool(inner)
        if not is_list or not all(isinstance(entry, dict) for entry in inner):
            continue
        # `[{"key": "a", "value": 1}]` is how OpenTelemetry writes one object.
        is_object = all(set(entry) == {"key", "value"} for entry in inner)
        if len(json.dumps(inner)) > _HALF * whole and not is_object:
            return [name, *_path_to_records(inner[0])]
    return []


def _is_of_a_record(name: str) -> bool:
    """Whether a field is one that records have and what is around them has not."""
    bare = bare_name(name)
    if _TIMES.fullmatch(bare):
        return True
    return bare in ("message", "msg", "body", "eventtime", "timeunixnano")


def _described(
    kind: Literal["json", "logfmt", "csv", "w3c"], rows: Sequence[Row], *, today: date
) -> FormatSection:
    """The format of rows of a kind."""
    choice = chosen_message(_columns(rows))
    written = _time(rows, today=today, besides=choice.message)
    return FormatSection(
        name=kind,
        kind=kind,
        title=choice.note,
        message=choice.message,
        tail=choice.tail,
        severity=choice.severity,
        time=written.time,
        day=written.day,
        time_format=(written.form,),
    )


def _time(rows: Sequence[Row], *, today: date, besides: str) -> _Written:
    """The field that is called a time and is one.

    Where there is none it is a day and a time of day, and where these are not there, the first
    field that is a time as ISO 8601 writes it.
    """
    all_columns = _columns(rows)
    columns = {name: pl.Series(values) for name, values in all_columns.items() if name != besides}
    bare_names = {name: bare_name(name) for name in columns}
    named = [name for name, bare in bare_names.items() if _TIMES.fullmatch(bare)]
    named.sort(key=lambda name: bool(_LATER.search(bare_names[name])))
    days = [name for name, bare in bare_names.items() if _DAYS.fullmatch(bare)]
    clocks = [name for name, bare in bare_names.items() if _CLOCKS.fullmatch(bare)]
    apart = [_Written(clock, day) for day in days for clock in clocks]

    # What is called a time first, whatever its form; then any field, by forms that are no accident.
    tried: list[tuple[_Written, tuple[str, ...]]] = [(_Written(name), _FORMS) for name in named]
    tried += [(pair, _APART) for pair in apart]
    tried += [(_Written(name), ("iso",)) for name in columns]
    tried += [(_Written(name), _FORMS_OF_PEOPLE) for name in columns]
    for written, forms in tried:
        values = columns[written.time or ""]
        if written.day is not None:
            values = columns[written.day] + " " + values
        for form in forms:
            times = parse_times(values, [form], today=today)
            # A number of ten digits is seconds since 1970 only if that gives a likely year.
            days_of_times = times.dt.date()
            sound = int(days_of_times.is_between(_SINCE, _UNTIL).sum() or 0)
            if sound >= _MOST * len(times):
                return written._replace(form=form)
    return _Written()


def _columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Values by field, in the fields' order; nothing where a row has none."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, "") for row in rows] for name in names}


def _logfmt_row(line: str) -> Row:
    """Pairs of a line that holds little else."""
    pairs = _PAIR.findall(line)
    in_pairs = sum(len(name) + len(value) + 2 for name, value in pairs)
    if in_pairs < _MOST * len(line):
        return {}
    return {name: value.strip('"') for name, value in pairs}


def _csv_rows(lines: Sequence[str], separator: str) -> list[Row]:
    """Rows of CSV, their cells by the names in the first row.

    Empty where the first row names no columns, or most rows have other numbers of cells.
    """
    whole_lines = [line + "\n" for line in lines]
    try:
        table = list(csv.reader(whole_lines, delimiter=separator))
    except csv.Error:
        return []
    names = [name.strip().removeprefix("\ufeff") for name in table[0]]
    distinct = len(names) > 1 and len(set(names)) == len(names)
    sound = distinct and all(map(_COLUMN.fullmatch, names))
    rows = [row for row in table[1:] if len(row) == len(names)]
    # The header is no row, and the last line that was looked at may be half of one.
    few = len(rows) < _MOST * (len(table) - 2)
    if not sound or not rows or few:
        return []
    return [dict(zip(names, row, strict=True)) for row in rows]
