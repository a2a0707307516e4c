"""Records of OTLP's JSON form, as plain values."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from logllm.serve.sources.wire.otlp_lines import Group, Malformed, Record

_DEEPEST = 64  # maps within maps
_NAMES = {
    "stringValue": str,
    "boolValue": bool,
    "doubleValue": (int, float, str),
    "bytesValue": str,
}


def groups_of_json(body: bytes) -> Iterator[Group]:
    """What a request holds.

    Raises:
        Malformed: it is no JSON, or not a request; not because of single records.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise Malformed(f"the body is no JSON: {exc}") from exc
    for of_resource in _items(request, "resourceLogs"):
        resource = _pairs(_inner(of_resource, "resource").get("attributes"))
        for of_scope in _items(of_resource, "scopeLogs"):
            scope = _inner(of_scope, "scope").get("name")
            # Records are looked at one by one: a wrong one costs itself alone.
            records = _items(of_scope, "logRecords", records=True)
            yield Group(resource, str(scope or ""), map(_record, records))


def _record(record: Any) -> Record:
    """One record.

    Raises:
        Malformed: it is none.
    """
    if not isinstance(record, dict):
        raise Malformed("a record that is no object")
    # When it happened, or where nobody says that, when it was seen.
    happened = _whole(record.get("timeUnixNano"))
    time = happened or _whole(record.get("observedTimeUnixNano"))
    number = _whole(record.get("severityNumber"))
    severity = _text(record.get("severityText"))
    body = _value(record.get("body"))
    attributes = _pairs(record.get("attributes"))
    trace = _text(record.get("traceId"))
    span = _text(record.get("spanId"))
    event = _text(record.get("eventName"))
    return Record(
        time=time,
        number=number,
        severity=severity,
        body=body,
        attributes=attributes,
        trace=trace,
        span=span,
        event=event,
    )


def _value(value: Any, depth: int = 0) -> Any:
    """A value of any kind, as JSON has it.

    Raises:
        Malformed: it is none, or a map within a map within a map and so on.
    """
    if value is None or value == {}:
        return None
    if depth > _DEEPEST:
        raise Malformed("values within values, too deep")
    if not isinstance(value, dict):
        raise Malformed("a value that is no value of OTLP")

    # A value is an object of one key, which says of what kind it is: {"stringValue": "up"}.
    [(name, inner), *_] = value.items()
    if name == "intValue":
        return _whole(inner)
    if name == "arrayValue":
        return [_value(item, depth + 1) for item in _items(inner, "values")]
    if name == "kvlistValue":
        return _pairs(_inner(value, name).get("values"), depth + 1)
    if name not in _NAMES or not isinstance(inner, _NAMES[name]):  # type: ignore[arg-type]
        raise Malformed(f"a value of the kind {name}, which OTLP has not, or not so")
    return inner


def _pairs(pairs: Any, depth: int = 0) -> dict[str, Any]:
    """A map, from a list of keys and values."""
    if pairs is None:
        return {}
    if not isinstance(pairs, list) or not all(isinstance(pair, dict) for pair in pairs):
        raise Malformed("attributes that are no list of keys and values")
    entries = {}
    for pair in pairs:
        key = str(pair.get("key", ""))
        entries[key] = _value(pair.get("value"), depth)
    return entries


def _items(holder: Any, name: str, *, records: bool = False) -> Sequence[Any]:
    """A list in an object, which may lack it.

    Its items are objects, unless they are records, which are looked at one by one.
    """
    if not isinstance(holder, dict):
        raise Malformed(f"{name} is looked for in what is no object")
    items = holder.get(name)
    if items is None:
        return []
    if not isinstance(items, list):
        raise Malformed(f"{name} is no list of objects")
    if not records and not all(isinstance(item, dict) for item in items):
        raise Malformed(f"{name} is no list of objects")
    return items


def _inner(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object in an object, which may lack it."""
    inner = holder.get(name)
    if inner is None:
        return {}
    if not isinstance(inner, dict):
        raise Malformed(f"{name} is no object")
    return inner


def _whole(value: Any) -> int:
    """A whole number, which JSON may hold as text."""
    if value is None or value == "":
        return 0
    # JavaScript's numbers end at 2^53, so that nanoseconds are sent as text. A bool is an int in
    # Python, and no number of OTLP.
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Malformed(f"{value!r:.40} is no whole number")
    try:
        return int(value)
    except ValueError as exc:
        raise Malformed(f"{value!r:.40} is no whole number") from exc


def _text(value: Any) -> str:
    """A text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{value!r:.40} is no text")
    return value
