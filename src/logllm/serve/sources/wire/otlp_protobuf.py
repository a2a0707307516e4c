"""Records of OTLP's protobuf form, as plain values."""

import base64
from collections.abc import Iterable, Iterator
from typing import Any

from logllm.serve.sources.wire.otlp_lines import Group, Malformed, Record
from logllm.serve.sources.wire.otlp_schema import request_class


def groups_of_protobuf(body: bytes) -> Iterator[Group]:
    """What a request holds.

    Raises:
        Malformed: it is no request.
    """
    # Here, not above: who sends JSON alone need not have the package.
    from google.protobuf.message import DecodeError

    try:
        request = request_class().FromString(body)
    except DecodeError as exc:
        raise Malformed(f"the body is no request of OTLP in protobuf: {exc}") from exc
    for of_resource in request.resource_logs:
        resource = _pairs(of_resource.resource.attributes)
        for of_scope in of_resource.scope_logs:
            yield Group(resource, _text(of_scope.scope.name), map(_record, of_scope.log_records))


def _record(record: Any) -> Record:
    """One record."""
    # When it happened, or where nobody says that, when it was seen.
    time = record.time_unix_nano or record.observed_time_unix_nano
    severity = _text(record.severity_text)
    body = _value(record.body)
    attributes = _pairs(record.attributes)
    trace, span = record.trace_id.hex(), record.span_id.hex()
    event = _text(record.event_name)
    return Record(
        time=time,
        number=record.severity_number,
        severity=severity,
        body=body,
        attributes=attributes,
        trace=trace,
        span=span,
        event=event,
    )


def _value(value: Any) -> Any:
    """A value of any kind, as JSON has it."""
    # None: a value that holds nothing, which is null.
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return _text(value.string_value)
    if kind == "bytes_value":
        # As OTLP's JSON form writes bytes: both forms of a record give the same line.
        return base64.b64encode(value.bytes_value).decode()
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _pairs(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def _pairs(pairs: Iterable[Any]) -> dict[str, Any]:
    """A map, from keys and values."""
    return {_text(pair.key): _value(pair.value) for pair in pairs}


def _text(text: bytes) -> str:
    return text.decode("utf-8", errors="replace")
