"""PostgreSQL's records as fields of JSON lines, whatever they are called and wherever they stand in the line."""

import re
from collections.abc import Mapping, Sequence

from logllm.config.format import FormatSection
from logllm.config.sessions import SessionSection
from logllm.logs.fields import bare_name

_SEVERITY = frozenset(("errorseverity", "errorlevel"))
_LEVELS = frozenset(
    ("LOG", "ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "INFO", "DETAIL", "STATEMENT")
)
_TIMES = ("logtime", "timestamp", "time", "ts")
_PIDS = ("processid", "pid")
_POSITIONS = ("cursorposition", "querypos", "position")
_PARTS = (
    ("DETAIL", ("detail",)),
    ("HINT", ("hint",)),
    ("QUERY", ("internalquery",)),
    ("CONTEXT", ("context",)),
    ("STATEMENT", ("statement", "query")),
)
_LINE = re.compile(r"\b(?:LOG|ERROR|FATAL|PANIC|WARNING|DETAIL|HINT|STATEMENT|CONTEXT):  ")
_FEW = 3  # rows

Row = Mapping[str, str]


def postgres_fields(rows: Sequence[Row]) -> FormatSection | None:
    """The format of JSON lines that hold a server's severity beside its message, as CloudNativePG and Azure write them.

    Lines without them, such as the operator's own, have what else is called a message.

    >>> row = {"ts": "2024-01-02T03:04:05Z", "msg": "record", "record.error_severity": "LOG", "record.message": "ready"}
    >>> described = postgres_fields([row | {"record.process_id": "7"}] * 3)
    >>> described.message, described.time, described.sessions.key_field, described.instead
    ('record.message', 'ts', 'record.process_id', (('record.message', 'msg'),))
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    for severity in names:
        if bare_name(severity) not in _SEVERITY:
            continue
        # `record.error_severity` has its message beside it: `record.message`.
        before = severity[: severity.rfind(".") + 1]
        message = f"{before}message"
        values = [row[severity] for row in rows if severity in row and message in row]
        messages = [row.get(message, "") for row in rows]
        # Whole lines of a server, with a prefix of their own, are read from that prefix.
        whole_lines = sum(1 for text in messages if _LINE.search(text))
        if 2 * whole_lines > len(rows):
            continue
        if len(values) >= min(_FEW, len(rows)) and set(values) <= _LEVELS:
            return _described(names, before=before, severity=severity)
    return None


def _described(names: Sequence[str], *, before: str, severity: str) -> FormatSection:
    """The format of a record whose fields begin with a path."""
    # Fields beside the severity come first; of the line's own, those that these lack.
    beside: dict[str, str] = {}
    outer: dict[str, str] = {}
    for name in names:
        if name.startswith(before) and "." not in name[len(before) :]:
            beside[bare_name(name)] = name
        if "." not in name:
            outer[bare_name(name)] = name
    message = f"{before}message"
    time = _first(beside, _TIMES) or _first(outer, _TIMES)
    other_outer = {name: path for name, path in outer.items() if path != time}
    outer_time = _first(other_outer, _TIMES)
    outer_message = outer.get("msg") or (outer.get("message") if before else None)
    position = _first(beside, _POSITIONS)
    pid = _first(beside, _PIDS)
    # All of a line is one record here.
    further = [(f"\n{word}:  ", _first(beside, fields)) for word, fields in _PARTS]
    tail = [(" at character ", position), *further]
    # Lines of the operator's own have no such fields, and what else is a message and a time.
    instead = [(message, outer_message), (time, outer_time)]
    sessions = SessionSection(by="key", key_field=pid) if pid else SessionSection()
    return FormatSection(
        name="postgresql-json",
        title=(
            f"PostgreSQL's records in fields of JSON: message in {message}, time in"
            f" {time or 'no field'}"
        ),
        kind="json",
        message=message,
        severity=severity,
        time=time,
        time_format=("iso", "epoch", "epoch_ms"),
        tail=tuple((words, field) for words, field in tail if field),
        instead=tuple((name, other) for name, other in instead if name and other),
        sessions=sessions,
    )


def _first(fields: Mapping[str, str], names: Sequence[str]) -> str | None:
    """The first of some names that there is."""
    return next((fields[name] for name in names if name in fields), None)
