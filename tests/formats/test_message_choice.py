"""Which fields of JSON, CSV and logfmt are the message: lines in, messages out."""

import io
import json
from datetime import date

import polars as pl
import pytest

from logllm.config.format import FormatSection
from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.datasets.settings import choose
from logllm.formats.recognition import recognise
from logllm.logs.fields import read_fields
from logllm.logs.reader import Reader

TODAY = date(2024, 3, 1)
BROWSERS = ("Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0", "curl/8.1")


def recognised(lines):
    return recognise(pl.Series(lines, dtype=pl.String), today=TODAY)


def texts(lines):
    """Messages as they are read, unmasked."""
    described = recognised(lines).format
    section = PrepareSection(format=described, mask=MaskSection(rules="off"))
    reading = Reader(section, today=TODAY, stdin=io.BytesIO("\n".join(lines).encode()))
    return pl.concat(list(reading.read(["-"])))["message"].to_list()


def rows(of, count=40):
    """Lines of JSON, every twentieth one with a fault."""
    return [json.dumps(of(place, place % 20 == 3)) for place in range(count)]


def edge(place, bad):
    return {
        "ClientIP": f"10.0.0.{place}",
        "ClientRequestMethod": "GET",
        "ClientRequestURI": f"/p/{place}",
        "ClientRequestUserAgent": BROWSERS[place % 2],
        "EdgeResponseStatus": 522 if bad else 200,
    }


def audit(place, bad):
    status = {"metadata": {}, "code": 403 if bad else 200}
    return {
        "verb": ("get", "list")[place % 2],
        "requestURI": f"/api/{place}",
        "userAgent": "kubectl/v1 (linux/amd64) x y",
        "responseStatus": status,
    }


def caddy(place, bad):
    level = "error" if bad else "info"
    return {
        "level": level,
        "ts": 1.5 + place,
        "msg": "handled request",
        "request": {"method": "GET", "uri": f"/{place}"},
        "status": 502 if bad else 200,
    }


def pino(place, bad):
    return {
        "level": 50 if bad else 30,
        "msg": f"request {'errored' if bad else ('begun', 'ended')[place % 2]}",
        "res": {"statusCode": 500 if bad else 200},
    }


def nginx(place, bad):
    return {
        "request": f"GET /p/{place} HTTP/1.1",
        "status": "503" if bad else "200",
        "http_user_agent": BROWSERS[0],
    }


def trail(place, bad):
    return {
        "eventName": ("GetObject", "PutObject")[place % 2],
        "userAgent": "[aws-cli/2.1 Python/3.8 Linux/5]",
        **({"errorCode": "AccessDenied"} if bad else {}),
    }


def wrapped(place, bad):
    inner = {
        "error_severity": "ERROR" if bad else "LOG",
        "message": "no such relation" if bad else f"duration: {place} ms{' bind' * (place % 2)}",
    }
    return {"level": "info", "msg": "record", "record": inner}


def exception(place, bad):
    trace = (
        {
            "exc_info": (
                'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: no'
                " rows"
            )
        }
        if bad
        else {}
    )
    return {
        "levelname": "ERROR" if bad else "INFO",
        "message": "order failed" if bad else f"order {place} stored",
        **trace,
    }


def splunk(place, bad):
    return {
        "result": {
            "_time": f"2024-07-03T09:00:{place:02d}.000+00:00",
            "host": "web1",
            "_raw": f"2024-07-03 09:00:{place:02d} INFO order {place} stored",
        }
    }


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("of", "routine", "fault"),
    [
        (edge, "GET /p/0 -> 200", "GET /p/3 -> 522"),
        (audit, "get /api/0 -> 200", "list /api/3 -> 403"),
        (caddy, "info:  handled request GET /0 -> 200", "error:  handled request GET /3 -> 502"),
        (pino, "request begun -> 200", "request errored -> 500"),
        (nginx, "GET /p/0 HTTP/1.1 -> 200", "GET /p/3 HTTP/1.1 -> 503"),
        (trail, "GetObject", "PutObject AccessDenied"),
        (wrapped, "LOG:  duration: 0 ms", "ERROR:  no such relation"),
        (
            exception,
            "INFO:  order 0 stored",
            (
                'ERROR:  order failed\nTraceback (most recent call last):\nFile "a.py", line 1, in'
                " f\nValueError: no rows"
            ),
        ),
        (
            splunk,
            "2024-07-03 09:00:00 INFO order 0 stored",
            "2024-07-03 09:00:03 INFO order 3 stored",
        ),
    ],
    ids=[
        "edge server",
        "kubernetes audit",
        "constant",
        "status beside it",
        "request line",
        "event",
        "record inside",
        "stack trace",
        "search export",
    ],
)
def test_the_message_says_what_happened(of, routine, fault):
    read = texts(rows(of))
    assert (read[0], read[3]) == (routine, fault)


def test_what_was_taken_is_said():
    notes = recognised(rows(edge)).notes
    assert "message in ClientRequestMethod, ClientRequestURI, EdgeResponseStatus" in notes[0]
    assert (
        "no field holds a message, so the request and its status are taken (ClientRequestMethod,"
        " ClientRequestURI and EdgeResponseStatus)" in notes
    )
    assert any(
        note.startswith("msg is one text in nearly all lines: request.method")
        for note in recognised(rows(caddy)).notes
    )


@pytest.mark.parametrize(
    "line",
    [
        "msg=x.{place}.y kind={kind} cpu=3",
        "a={place} kind={kind} host=web{place}",
    ],
    ids=["name", "none"],
)
def test_where_no_field_says_it_the_whole_line_is_the_message(line):
    lines = [line.format(place=place, kind=("yes", "no")[place % 2]) for place in range(20)]
    recognition = recognised(lines)
    assert recognition.format.message == "$"
    assert any("the whole line is the message" in note for note in recognition.notes)
    assert texts(lines) == lines


def test_a_cell_of_json_is_read_as_json_whatever_its_column_is_called():
    record = json.dumps({"level": "error", "msg": "order lost"})
    cells = [
        f'2024-03-01T00:00:{place:02d}Z,web,"{record.replace(chr(34), chr(34) * 2)}"'
        for place in range(20)
    ]
    recognition = recognised(["date,host,payload", *cells])
    assert recognition.format.name == "json inside csv"
    assert recognition.format.inside.message == "msg"


def test_another_message_has_nothing_of_what_followed_the_first():
    overrides = {"format": {"message": "record.message"}, "sessions": {}, "split": {}, "mask": {}}
    described = choose(recognised(rows(wrapped)).format, overrides=overrides).format
    assert (described.message, described.tail) == ("record.message", ())


def test_lines_between_json_are_rejects_and_said():
    lines = [
        line
        for place, line in enumerate(rows(pino))
        for line in ([line, "npm info start"] if place % 3 == 0 else [line])
    ]
    recognition = recognised(lines)
    assert recognition.format.kind == "json"
    assert "74.1 % of the first 54 lines fit" in recognition.notes[0]
    assert len(texts(lines)) == 40


def otlp(place, bad):
    """Two records a line, as OpenTelemetry's exporters write them."""
    first = {
        "timeUnixNano": f"{1709250600 + place}000000000",
        "severityText": "ERROR" if bad else "INFO",
    }
    records = [
        {**first, "body": {"stringValue": f"{verb} item {place}"}, "traceId": f"{place // 4:032x}"}
        for verb in ("add", "drop")
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]}
    return {
        "resourceLogs": [
            {
                "resource": resource,
                "scopeLogs": [{"scope": {"name": "cart"}, "logRecords": records}],
            }
        ]
    }


def watch(place, bad):
    events = [
        {
            "id": f"{place}{at}",
            "timestamp": 1709250600000 + place,
            "message": f"order {at} {'lost' if bad else 'stored'}",
        }
        for at in (1, 2)
    ]
    return {"messageType": "DATA_MESSAGE", "logGroup": "/aws/lambda/shop", "logEvents": events}


def azure(place, bad):
    record = {
        "time": f"2024-02-29T23:50:{place:02d}Z",
        "category": "Console",
        "resultDescription": f"order {place} was {'lost' if bad else 'stored'}",
    }
    return {"records": [record] * 2}


@pytest.mark.parametrize(
    ("of", "path", "routine", "fault"),
    [
        (otlp, "resourceLogs.scopeLogs.logRecords", "INFO:  add item 0", "ERROR:  add item 3"),
        (watch, "logEvents", "order 1 stored", "order 1 lost"),
        (azure, "records", "order 0 was stored", "order 3 was lost"),
    ],
    ids=["open telemetry", "cloudwatch", "azure"],
)
def test_records_in_lists_are_records(of, path, routine, fault):
    lines = [*rows(of), "{", "[1]"]
    described = recognised(lines).format
    assert described.records == path
    section = PrepareSection(format=described, mask=MaskSection(rules="off"))
    reader = Reader(section, today=TODAY, stdin=io.BytesIO("\n".join(lines).encode()))
    frame = pl.concat(list(reader.read(["-"])))
    assert (frame["message"][0], frame["message"][6]) == (routine, fault)
    assert frame["line"].to_list() == [line for line in range(1, 41) for _ in range(2)]
    assert (
        reader.tally.counts["lines"],
        reader.tally.counts["rejected"],
        frame["time"].null_count(),
    ) == (42, 2, 0)
    assert frame["time"][0].year == 2024
    assert any(
        note.startswith(f"each line holds records, in lists: {path}")
        for note in recognised(lines).notes
    )


def test_lists_beside_a_message_are_no_records():
    lines = rows(
        lambda place, _bad: {
            "time": f"2024-02-29T23:50:{place:02d}Z",
            "message": f"order {place}",
            "items": [{"name": "a long name " * 9}] * 3,
        }
    )
    assert recognised(lines).format.records is None


def test_a_field_inside_a_list_is_named_by_its_place():
    described = FormatSection(name="own", kind="json", message="errors.1.text")
    line = json.dumps({"errors": [{"text": "first"}, {"text": "second"}]})
    assert read_fields(pl.Series([line]), described).message.to_list() == ["second"]


@pytest.mark.parametrize("prefix", ["caddy  | ", "2024-02-29T23:50:00.25Z "])
def test_json_behind_a_prefix_is_read_or_said(prefix):
    recognition = recognised([prefix + line for line in rows(caddy)])
    told = any(
        "JSON behind a prefix" in note and "--no-log-prefix" in note for note in recognition.notes
    )
    assert told or "handled request" in texts([prefix + line for line in rows(caddy)])[0][:30]
    assert not any("JSON behind" in note for note in recognised(rows(caddy)).notes)
