"""Records of OTLP as lines: one JSON object each, whose most-read fields are not nested."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from logllm.logs.lines import LONGEST_LINE

_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_OF_A_LEVEL = 4  # severity numbers
_SECOND = 1_000_000_000
_LATEST = 253_402_300_800  # seconds: the year 10000, which no date has
_SURROGATES = re.compile("[\ud800-\udfff]")
_HALF_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-f]{0,3})?$")
"""A part of an escape sequence at the end of a text.

Backslashes before it come in pairs, each of which is one escaped backslash.
"""
_MOST = 64 << 20  # characters of a request's lines


class Malformed(Exception):
    """A request, or one of its records, that is not what OTLP says."""


class TooMuch(Exception):
    """A request whose records take far more room than the request."""


class Record(NamedTuple):
    """One record, in plain values."""

    time: int
    """Nanoseconds since 1970, when it happened or else when it was seen; 0: not known."""
    number: int
    """Its severity as a number; 0: not known."""
    severity: str
    body: Any
    attributes: Mapping[str, Any]
    trace: str
    span: str
    event: str


class Group(NamedTuple):
    """Records of one resource and scope."""

    resource: Mapping[str, Any]
    scope: str
    records: Iterator[Record]
    """To be taken one by one: each may be malformed."""


class Written(NamedTuple):
    """Records as lines."""

    lines: list[str]
    replaced: int
    """Characters that stand for what was none."""
    cut: int
    """Records whose body was cut."""
    rejected: int
    """Records that are none."""
    reason: str
    """Why the first one was rejected."""


def written(groups: Iterable[Group]) -> Written:
    """A request's records as lines; those that are none are counted.

    Raises:
        Malformed: the request is none.
        TooMuch: lines would take more than 64 MiB, as those of many records with one long resource.
    """
    lines: list[str] = []
    size = cut = rejected = 0
    reason = ""
    for group in groups:
        # Resource and scope are the same for all records of a group: written once, added to each.
        tail = _tail(group)
        records = group.records
        while True:
            try:
                record = next(records, None)
                if record is None:
                    break
                line, was_cut = _line(record, tail)
            except Malformed as exc:
                # One record that is wrong does not cost the others: OTLP has an answer for "some
                # were not taken".
                rejected, reason = rejected + 1, reason or str(exc)
                continue
            lines.append(line)
            cut += was_cut
            size += len(line)
            if size > _MOST:
                what = f"its records take more than {_MOST >> 20} MiB"
                raise TooMuch(f"{what}: send fewer of them at once")
    replaced = sum(line.count("\ufffd") for line in lines)
    return Written(lines, replaced, cut, rejected, reason)


def iso_time(nanoseconds: int) -> str:
    """A time to the nanosecond.

    >>> iso_time(1709250600000000007)
    '2024-02-29T23:50:00.000000007Z'
    """
    seconds, rest = divmod(nanoseconds, _SECOND)
    if not 0 <= seconds < _LATEST:
        raise Malformed(f"{nanoseconds} is no time")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def level(number: int) -> str:
    """What a severity's number is called.

    >>> level(9), level(17), level(0)
    ('INFO', 'ERROR', '')
    """
    # 1 to 4 are TRACE to TRACE4, 5 to 8 DEBUG to DEBUG4, and so on to 24.
    place = (number - 1) // _OF_A_LEVEL
    return _LEVELS[place] if 0 <= place < len(_LEVELS) else ""


def _line(record: Record, tail: str) -> tuple[str, bool]:
    """A record as a line, and whether its body had to be cut.

    Raises:
        Malformed: its time is none, or it is too long and not by its body's text.
    """
    fields: dict[str, Any] = {}
    if record.time:
        fields["time"] = iso_time(record.time)
    severity = record.severity or level(record.number)
    if severity:
        fields["severity"] = severity
    if record.number:
        fields["severityNumber"] = record.number
    # An event that says nothing else says its name.
    fields["body"] = record.event if record.body is None else record.body
    for name, text in (
        ("eventName", record.event),
        ("traceId", record.trace),
        ("spanId", record.span),
    ):
        # A trace that is not known is sent as zeros.
        if text.strip("0"):
            fields[name] = text
    if record.attributes:
        fields["attributes"] = record.attributes

    line = _dumped(fields)[:-1] + tail
    # Cut in the body's text, where most of it stands, and not in the middle of the JSON.
    over = len(line) - LONGEST_LINE
    if over <= 0:
        return line, False
    body = fields["body"]
    written_body = _dumped(body)[1:-1] if isinstance(body, str) else ""
    if len(written_body) <= over:
        reason = f"more than {LONGEST_LINE}, not by its body's text"
        raise Malformed(f"a record of {len(line)} characters, {reason}")
    # What is cut is text as JSON writes it: a cut within `\u00e9` leaves half of a character.
    shorter = _HALF_ESCAPE.sub(r"\1", written_body[:-over])
    fields["body"] = json.loads(f'"{shorter}"')
    return _dumped(fields)[:-1] + tail, True


def _tail(group: Group) -> str:
    """What all records of a group end with."""
    fields: dict[str, Any] = {}
    if group.resource:
        fields["resource"] = group.resource
    if group.scope:
        fields["scope"] = group.scope
    return f", {_dumped(fields)[1:]}" if fields else "}"


def _dumped(fields: Any) -> str:
    """A value as JSON in one line, without numbers and characters that are none."""
    try:
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(fields), ensure_ascii=False)
    return _SURROGATES.sub("\ufffd", text)


def _finite(value: Any) -> Any:
    """A value in which numbers that JSON has not are texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return value
