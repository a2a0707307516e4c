"""Which fields of structured lines hold the message and the time.

Told by their names and by what is in them.
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
from logllm.logs.fields import bare_name, json_fields, json_records
from logllm.logs.joining import whole_rows
from logllm.logs.structured.columns import read_columns
from logllm.logs.structured.w3c_rows import w3c_names
from logllm.logs.times import parse_times

_LOOKED_AT = 200  # rows
_MOST = 0.8  # of the rows have what a kind has in all
_TO_UNPACK = 20  # lines
_HALF = 0.5  # of the lines are JSON objects
_SEPARATORS = ",;\t|"
_PAIR = re.compile(r'(?<!\S)([A-Za-z_@][\w.@/-]*)=("(?:[^"\\]|\\.)*"|[^\s"]*)')
_TIMES = re.compile(
    r"(?:log|event|local|start|realtime|create)?(?:time(?:stamp)?|date(?:time)?|ts)(?:utc|ms|local|iso|unixnano)?"
    r"|dateandtime|time(?:created|generated|written|logged)"  # Windows events
    r"|at|t|when|asctime|created(?:at)?|[a-z]+timestamp"
)
_LATER = re.compile("end|receive|ingest|observed")  # times that come after the one that is meant
_FORMS = (
    *(
        "iso",
        "epoch",
        "epoch_ms",
        "epoch_us",
        "epoch_ns",
        "%d/%b/%Y:%H:%M:%S %z",
        "%Y/%m/%d %H:%M:%S",
        "%d/%b/%Y %H:%M:%S",
        "%b %d %H:%M:%S",
    ),
    *(
        "%d.%m.%Y %H:%M:%S",
        "%m/%d/%Y %H:%M:%S",
        "%d/%m/%Y %H:%M:%S",
        "%b %d, %Y %I:%M:%S %p",
        "%m/%d/%Y %I:%M:%S %p",
    ),
    *("%a, %d %b %Y %H:%M:%S %Z", "%d %b %Y %H:%M:%S.%f"),
)
_FORMS_OF_PEOPLE = tuple(form for form in _FORMS if form.startswith("%") and "%Y" in form)
_SINCE, _UNTIL = date(1990, 1, 1), date(2100, 1, 1)

_DAYS = re.compile(r"(?:log|event|local|start)?(?:date|day)")
_CLOCKS = re.compile(r"(?:log|event|local|start)?(?:time|timestamp)(?:utc|local)?")
_DAY_FORMS = (
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%Y%m%d",
    "%d-%b-%Y",
    "%d/%b/%Y",
    "%d-%m-%Y",
    "%m/%d/%y",
)
_APART = (
    "iso",
    *(f"{day} {clock}" for day in _DAY_FORMS for clock in ("%H:%M:%S.%f", "%I:%M:%S %p")),
)

Row = Mapping[str, str]


class _Written(NamedTuple):
    """Fields that hold a time, and how it is written."""

    time: str | None = None
    day: str | None = None
    form: str = "iso"


def structured_formats(text: pl.Series, *, today: date) -> Iterator[FormatSection]:
    """JSON, CSV, logfmt and W3C, where most lines are, with the fields found in them.

    >>> described = next(structured_formats(pl.Series(['{"ts": 1700000000, "msg": "up"}'] * 2), today=date(2024, 1, 1)))
    >>> described.kind, described.message, described.time, described.time_format
    ('json', 'msg', 'ts', ('epoch',))
    """
    lines = text.filter(text.str.contains(r"\S")).head(_LOOKED_AT).to_list()
    if not lines:
        return
    # Half of them do: what npm and the like write before and between is counted as rejected.
    rows = [row for row in map(json_fields, lines) if row]
    if len(rows) > _HALF * len(lines):
        if (postgres := postgres_fields(rows)) is not None:
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
    """The format of rows whose columns a line before them names, by the separator that gives as many cells."""
    names = next(filter(None, map(w3c_names, lines)), ())
    for separator in ("\t", ",", " ") if names else ():
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

    Nothing where each line is a record.
    """
    paths: Counter[tuple[str, ...]] = Counter()
    for line in lines[:_TO_UNPACK]:
        try:
            paths[tuple(_path_to_records(json.loads(line)))] += 1
        except (ValueError, RecursionError):  # the latter: nested deeper than Python follows
            continue
    if not paths:
        return None
    path, often = paths.most_common(1)[0]
    looked_at = min(len(lines), _TO_UNPACK)
    return list(path) if path and often > _HALF * looked_at else None


def _path_to_records(value: Any) -> list[str]:
    """Names that lead to a list of objects that are most of an object which by itself has neither message nor time."""
    if not isinstance(value, dict) or any(_is_of_a_record(name) for name in value):
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
    """The field that is called a time and is one, else a day and a time of day, else the first that is a time as ISO 8601 writes it."""
    all_columns = _columns(rows)
    columns = {name: pl.Series(values) for name, values in all_columns.items() if name != besides}
    named = [name for name in columns if _TIMES.fullmatch(bare_name(name))]
    named.sort(key=lambda name: bool(_LATER.search(bare_name(name))))
    days = [name for name in columns if _DAYS.fullmatch(bare_name(name))]
    clocks = [name for name in columns if _CLOCKS.fullmatch(bare_name(name))]
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
            sound = times.dt.date().is_between(_SINCE, _UNTIL)
            if (sound.sum() or 0) >= _MOST * len(times):
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
    """Rows by the names in the first.

    Nothing where that names no columns or most rows have other numbers of cells.
    """
    try:
        table = list(csv.reader((line + "\n" for line in lines), delimiter=separator))
    except csv.Error:
        return []
    names = [name.strip().removeprefix("\ufeff") for name in table[0]]
    distinct = len(names) > 1 and len(set(names)) == len(names)
    sound = distinct and all(re.fullmatch(r"[A-Za-z_@][\w .@/()-]*", name) for name in names)
    rows = [row for row in table[1:] if len(row) == len(names)]
    # The header is no row, and the last line that was looked at may be half of one.
    few = len(rows) < _MOST * (len(table) - 2)
    if not sound or not rows or few:
        return []
    return [dict(zip(names, row, strict=True)) for row in rows]
