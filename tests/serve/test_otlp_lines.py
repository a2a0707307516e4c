"""Records of OTLP, in both its forms, as lines that the reader knows."""

import base64
import io
import json
import math
from datetime import UTC, date, datetime

import polars as pl
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.formats.recognition import recognise
from logllm.logs.lines import LONGEST_LINE
from logllm.logs.reader import Reader
from logllm.serve.sources.wire.otlp_json import groups_of_json
from logllm.serve.sources.wire.otlp_lines import Malformed, TooMuch, level, written
from logllm.serve.sources.wire.otlp_protobuf import groups_of_protobuf

TIME = 1709250600000000007


def text(value: str) -> AnyValue:
    return AnyValue(string_value=value)


def request(*records: LogRecord, resource=None) -> ExportLogsServiceRequest:
    resource = resource or Resource(attributes=[KeyValue(key="service.name", value=text("cart"))])
    scope = ScopeLogs(scope=InstrumentationScope(name="items"), log_records=records)
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=resource, scope_logs=[scope])]
    )


def as_json(records, *, resource=None):
    scopes = [{"scope": {"name": "items"}, "logRecords": records}]
    attributes = [{"key": "service.name", "value": {"stringValue": "cart"}}]
    return json.dumps(
        {
            "resourceLogs": [
                {"resource": resource or {"attributes": attributes}, "scopeLogs": scopes}
            ]
        }
    ).encode()


def of_protobuf(*records: LogRecord):
    return written(groups_of_protobuf(request(*records).SerializeToString()))


def of_json(*records):
    return written(groups_of_json(as_json(list(records))))


EVERY_KIND = {
    "text": ({"stringValue": "ü\nx"}, text("ü\nx"), "ü\nx"),
    "whole number": ({"intValue": "-7"}, AnyValue(int_value=-7), -7),
    "truth": ({"boolValue": False}, AnyValue(bool_value=False), False),
    "number": ({"doubleValue": 0.5}, AnyValue(double_value=0.5), 0.5),
    "no number": ({"doubleValue": "NaN"}, AnyValue(double_value=math.inf), None),
    "bytes": (
        {"bytesValue": base64.b64encode(b"\xff").decode()},
        AnyValue(bytes_value=b"\xff"),
        "/w==",
    ),
    "list": (
        {"arrayValue": {"values": [{"intValue": 1}, {}]}},
        AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue()])),
        [1, None],
    ),
    "map": (
        {"kvlistValue": {"values": [{"key": "a", "value": {"kvlistValue": {}}}]}},
        AnyValue(
            kvlist_value=KeyValueList(
                values=[KeyValue(key="a", value=AnyValue(kvlist_value=KeyValueList()))]
            )
        ),
        {"a": {}},
    ),
    "nothing": (None, None, ""),
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_body_of_any_kind(kind):
    in_json, in_protobuf, expected = EVERY_KIND[kind]
    [line] = of_protobuf(LogRecord(time_unix_nano=TIME, body=in_protobuf)).lines
    [other] = of_json({"timeUnixNano": str(TIME), "body": in_json}).lines
    if expected is None:
        assert (json.loads(line)["body"], json.loads(other)["body"]) == ("inf", "NaN")
    else:
        assert json.loads(line)["body"] == json.loads(other)["body"] == expected
    assert "\n" not in line + other


def test_all_fields_of_a_record_in_both_forms():
    attribute = {"key": "http.status", "value": {"intValue": "503"}}
    in_json = {
        "timeUnixNano": str(TIME),
        "severityNumber": 17,
        "severityText": "Err",
        "body": {"stringValue": "lost"},
        "attributes": [attribute],
        "traceId": "0a" * 16,
        "spanId": "0b" * 8,
        "eventName": "loss",
    }
    in_protobuf = LogRecord(
        time_unix_nano=TIME,
        severity_number=17,
        severity_text="Err",
        body=text("lost"),
        attributes=[KeyValue(key="http.status", value=AnyValue(int_value=503))],
        trace_id=b"\x0a" * 16,
        span_id=b"\x0b" * 8,
        event_name="loss",
    )
    [line] = of_json(in_json).lines
    assert of_protobuf(in_protobuf).lines == [line]
    assert json.loads(line) == {
        "time": "2024-02-29T23:50:00.000000007Z",
        "severity": "Err",
        "severityNumber": 17,
        "body": "lost",
        "eventName": "loss",
        "traceId": "0a" * 16,
        "spanId": "0b" * 8,
        "attributes": {"http.status": 503},
        "resource": {"service.name": "cart"},
        "scope": "items",
    }


def test_what_a_record_lacks():
    lines = of_protobuf(
        LogRecord(observed_time_unix_nano=TIME, severity_number=13, event_name="boot"),
        LogRecord(body=text("a"), trace_id=bytes(16)),
    ).lines
    first, second = map(json.loads, lines)
    assert (first["time"], first["severity"], first["body"]) == (
        "2024-02-29T23:50:00.000000007Z",
        "WARN",
        "boot",
    )
    assert second == {"body": "a", "resource": {"service.name": "cart"}, "scope": "items"}


@pytest.mark.parametrize("number", range(-1, 27))
def test_a_level_is_named_by_its_number(number):
    names = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
    assert level(number) == (names[(number - 1) // 4] if 1 <= number <= 24 else "")


BAD = [
    "text",
    None,
    [],
    {"timeUnixNano": "soon"},
    {"timeUnixNano": "9" * 30},
    {"timeUnixNano": -1},
    {"timeUnixNano": True},
    {"body": "text"},
    {"body": {"otherValue": 1}},
    {"body": {"stringValue": 1}},
    {"body": {"kvlistValue": []}},
    {"body": {"arrayValue": {"values": 1}}},
    {"attributes": {"a": 1}},
    {"attributes": [1]},
    {"severityText": 3},
    {"severityNumber": "high"},
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_bad_records_alone_are_rejected_and_counted(bad):
    good = {"body": {"stringValue": "good"}}
    records = of_json(good, bad, good, bad)
    assert [json.loads(line)["body"] for line in records.lines] == ["good", "good"]
    assert records.rejected == 2
    assert records.reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[]",
        b"3",
        b"\xff",
        b'{"resourceLogs": 1}',
        b'{"resourceLogs": [1]}',
        b"[" * 100_000,
        b'{"a": ' * 100_000,
        b"9" * 5000,
    ],
    ids=range(10),
)
def test_what_is_no_request_in_json(body):
    with pytest.raises(Malformed):
        written(groups_of_json(body))


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05a", b"{}", b"\x0a" * 100], ids=range(4))
def test_what_is_no_request_in_protobuf(body):
    with pytest.raises(Malformed):
        written(groups_of_protobuf(body))


def test_values_within_values_are_bounded_in_both_forms():
    in_json: object = {"stringValue": "x"}
    in_protobuf = b""
    for _ in range(80):
        in_json = {"arrayValue": {"values": [in_json]}}
        in_protobuf = field(5, field(1, in_protobuf))
    assert of_json({"body": in_json}).rejected == 1
    with pytest.raises(Malformed):
        written(groups_of_protobuf(field(1, field(2, field(2, field(5, in_protobuf))))))


def field(number: int, content: bytes) -> bytes:
    """A message within a message, as protobuf writes it."""
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return bytes([number << 3 | 2]) + length + content


def test_a_text_that_is_no_utf_8_makes_no_request_unreadable():
    block = request(LogRecord(body=text("caf_")), LogRecord(body=text("good"))).SerializeToString()
    records = written(groups_of_protobuf(block.replace(b"caf_", b"caf\xe9")))
    assert [json.loads(line)["body"] for line in records.lines] == ["caf\ufffd", "good"]
    assert records.replaced == 1


def test_half_a_character_is_replaced():
    [line] = written(
        groups_of_json(as_json([{"body": {"stringValue": "x"}}]).replace(b'"x"', b'"\\ud800x"'))
    ).lines
    assert json.loads(line)["body"] == "\ufffdx"


@pytest.mark.parametrize(
    "character",
    ["x", "\n", "ü", "\x01", "\\", "\\u00"],
    ids=["x", "break", "umlaut", "control", "backslash", "escape"],
)
def test_a_long_body_is_cut_to_a_line_that_is_whole_json(character):
    records = of_protobuf(
        LogRecord(time_unix_nano=TIME, body=text(character * (LONGEST_LINE + 10)))
    )
    assert (records.cut, records.rejected) == (1, 0)
    [line] = records.lines
    assert LONGEST_LINE - 6 <= len(line) <= LONGEST_LINE
    assert set(json.loads(line)["body"]) == set(character)
    assert json.loads(line)["scope"] == "items"


def test_long_attributes_are_rejected():
    record = LogRecord(
        body=text("a"), attributes=[KeyValue(key="a", value=text("x" * LONGEST_LINE))]
    )
    records = of_protobuf(record, LogRecord(body=text("b")))
    assert (len(records.lines), records.rejected) == (1, 1)
    assert "more than 1048576, not by its body's text" in records.reason


def test_a_long_resource_of_many_records_is_refused():
    resource = Resource(attributes=[KeyValue(key="a", value=text("x" * 500_000))])
    block = request(*[LogRecord(body=text("a"))] * 500, resource=resource).SerializeToString()
    assert len(block) < 600_000
    with pytest.raises(TooMuch, match="more than 64 MiB"):
        written(groups_of_protobuf(block))


def records_of(lines):
    today = date(2024, 3, 1)
    described = recognise(pl.Series(lines), today=today).format
    section = PrepareSection(format=described, mask=MaskSection(rules="off"))
    reader = Reader(section, today=today, stdin=io.BytesIO("\n".join(lines).encode()))
    return pl.concat(list(reader.read(["-"]))), described


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda place: text(f"add item {place}"), "add item {}"),
        (
            lambda place: AnyValue(
                kvlist_value=KeyValueList(
                    values=[KeyValue(key="msg", value=text(f"add item {place}"))]
                )
            ),
            "add item {}",
        ),
        (
            lambda place: text(f"2024-02-29 23:50:{place:02d} UTC [77] LOG:  checkpoint {place}"),
            "LOG:  checkpoint {}",
        ),
    ],
    ids=["text", "map", "a server's line"],
)
def test_lines_are_read_by_the_formats_there_are(body, message):
    records = [
        LogRecord(
            time_unix_nano=TIME + place * 10**9,
            severity_number=17 if place % 20 == 3 else 9,
            body=body(place),
            attributes=[KeyValue(key="user", value=text(f"u{place}"))],
        )
        for place in range(40)
    ]
    frame, described = records_of(of_protobuf(*records).lines)
    assert frame["time"][2] == datetime(2024, 2, 29, 23, 50, 2, tzinfo=UTC)
    assert frame["time"].null_count() == 0
    assert frame["message"][2].endswith(message.format(2))
    if not described.inside:
        assert [frame["message"][place].split(":")[0] for place in (2, 3)] == ["INFO", "ERROR"]
