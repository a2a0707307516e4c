"""PostgreSQL's records as fields of JSON lines, whatever these are called."""

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
    """The format of JSON lines that hold a server's severity beside its message.

    CloudNativePG and Azure write such lines. In those without a severity, such as the operator's
    own, another field that is called a message is read. None where no field holds severities.

    >>> row = {"ts": "2024-01-02T03:04:05Z", "msg": "record", "record.error_severity": "LOG"}
    >>> row |= {"record.message": "ready", "record.process_id": "7"}
    >>> described = postgres_fields([row] * 3)
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
        having = [row for row in rows if message in row]
        # Whole lines of a server, with a prefix of their own, are read from that prefix.
        whole_lines = [row for row in having if _LINE.search(row[message])]
        if 2 * len(whole_lines) > len(rows):
            continue
        levels = [row[severity] for row in having if severity in row]
        enough = len(levels) >= min(_FEW, len(rows))
        if enough and _LEVELS.issuperset(levels):
            return _described(names, before=before, severity=severity)
    return None


def _described(names: Sequence[str], *, before: str, severity: str) -> FormatSection:
    """The format of a record whose fields begin with a path."""
    # Fields beside the severity come first; of the line's own, those that these lack.
    beside: dict[str, str] = {}
    outer: dict[str, str] = {}
    for name in names:
        is_beside = name.startswith(before) and "." not in name[len(before) :]
        if is_beside:
            beside[bare_name(name)] = name
        if "." not in name:
            outer[bare_name(name)] = name
    message = f"{before}message"
    time = _first(beside, _TIMES) or _first(outer, _TIMES)
    other_outer = {name: path for name, path in outer.items() if path != time}
    outer_time = _first(other_outer, _TIMES)
    outer_message = outer.get("msg")
    if before and not outer_message:
        outer_message = outer.get("message")
    # All of a line is one record here: DETAIL, HINT and the like follow its message.
    tail: list[tuple[str, str]] = []
    position = _first(beside, _POSITIONS)
    if position is not None:
        tail.append((" at character ", position))
    for word, fields in _PARTS:
        field = _first(beside, fields)
        if field is not None:
            tail.append((f"\n{word}:  ", field))
    # Lines of the operator's own have no such fields: their own message and time stand in.
    stand_ins = ((message, outer_message), (time, outer_time))
    instead = tuple((name, other) for name, other in stand_ins if name and other)
    pid = _first(beside, _PIDS)
    sessions = SessionSection(by="key", key_field=pid) if pid else SessionSection()
    title = "PostgreSQL's records in fields of JSON:"
    return FormatSection(
        name="postgresql-json",
        title=f"{title} message in {message}, time in {time or 'no field'}",
        kind="json",
        message=message,
        severity=severity,
        time=time,
        time_format=("iso", "epoch", "epoch_ms"),
        tail=tuple(tail),
        instead=instead,
        sessions=sessions,
    )


def _first(fields: Mapping[str, str], names: Sequence[str]) -> str | None:
    """The first of some names that there is."""
    return next((fields[name] for name in names if name in fields), None)
