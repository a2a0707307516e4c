"""OTLP over HTTP: what is taken, refused and bounded."""

import gzip
import json
import os
import socket
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from logllm.errors import ServeError
from logllm.logs.lines import LONGEST_LINE
from logllm.serve.sources.otlp import OtlpSource
from tests.serve.spooling import Stored, eventually, taken, texts
from tests.serve.test_otlp_lines import as_json, request

LOCAL = "127.0.0.1"
PROTOBUF = "application/x-protobuf"
JSON = "application/json"


def block(*bodies: str) -> bytes:
    return request(
        *[LogRecord(body=AnyValue(string_value=body)) for body in bodies]
    ).SerializeToString()


def post(source, body, *, path="/v1/logs", method="POST", kind=PROTOBUF, **headers):
    """Status, headers and body of the answer."""
    connection = HTTPConnection(LOCAL, source.port, timeout=20)
    try:
        connection.request(
            method,
            path,
            body,
            {"Content-Type": kind}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


class Started:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources: list[OtlpSource] = []

    def __call__(self, address="otlp://127.0.0.1:0", *, stored=None, **options) -> OtlpSource:
        source = OtlpSource(address, self.folder / "spool", **options)
        source.begin((stored or Stored()).claim)
        self.sources.append(source)
        return source


@pytest.fixture
def started(tmp_path):
    make = Started(tmp_path)
    yield make
    for source in make.sources:
        source.close()


def bodies(source, lines):
    return [json.loads(line)["body"] for line in texts(source, lines)]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_both_forms_are_taken(started, packed):
    source = started()
    pack, headers = (gzip.compress, {"Content_Encoding": "gzip"}) if packed else (bytes, {})
    status, head, body = post(source, pack(block("a", "b")), **headers)
    assert (status, head["Content-Type"], body) == (200, PROTOBUF, b"")
    status, head, body = post(
        source,
        pack(as_json([{"body": {"stringValue": "c"}}])),
        kind=f"{JSON}; charset=utf-8",
        **headers,
    )
    assert (status, head["Content-Type"], body) == (200, JSON, b"{}")
    assert bodies(source, 3) == ["a", "b", "c"]
    assert source.counts == {"connections": 2, "requests": 2, "records": 3}
    assert (source.partition, source.over) == ("otlp:0", False)


def test_what_was_acknowledged_is_there_after_a_restart(started):
    stored = Stored()
    source = started(stored=stored)
    assert post(source, block("a", "b"))[0] == 200
    assert taken(source, lines=2)["line"].to_list() == [1, 2]
    stored.keep(source, {source.partition: 2})
    source.close()
    source = started(stored=stored)
    assert taken(source, lines=1)["line"].to_list() == [2]


def test_bad_records_alone_are_said_in_the_answer(started):
    source = started()
    status, _, body = post(
        source, as_json([{"body": {"stringValue": "a"}}, 1, {"timeUnixNano": "x"}]), kind=JSON
    )
    assert (status, json.loads(body)) == (
        200,
        {
            "partialSuccess": {
                "rejectedLogRecords": "2",
                "errorMessage": "a record that is no object",
            }
        },
    )
    endless = KeyValue(key="a", value=AnyValue(string_value="x" * LONGEST_LINE))
    records = request(LogRecord(body=AnyValue(int_value=1)), LogRecord(attributes=[endless]))
    status, _, body = post(source, records.SerializeToString())
    assert (
        status,
        ExportLogsServiceResponse.FromString(body).partial_success.rejected_log_records,
    ) == (200, 1)
    assert bodies(source, 2) == ["a", 1]
    assert source.counts["rejected_records"] == 3


def test_a_request_without_records_is_taken(started):
    source = started()
    assert post(source, b"")[0] == 200
    assert post(source, b"{}", kind=JSON)[0] == 200


BOMB = gzip.compress(bytes(30 << 20))


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("body", "options", "status", "count"),
    [
        (b"x", {"path": "/"}, 404, "unknown_paths"),
        (b"x", {"path": "/v1/traces"}, 404, "unknown_paths"),
        (None, {"method": "GET"}, 405, "unknown_paths"),
        (b"x", {"kind": "text/plain"}, 415, "unknown_types"),
        (b"x", {"Content_Encoding": "zstd"}, 415, "unknown_types"),
        (b"\xff", {}, 400, "bad_requests"),
        (b"[]", {"kind": JSON}, 400, "bad_requests"),
        (b"x", {"Content_Encoding": "gzip"}, 400, "bad_requests"),
        (gzip.compress(b"x" * 999)[:-9], {"Content_Encoding": "gzip"}, 400, "bad_requests"),
        (bytes(21 << 20), {}, 413, "too_large_requests"),
        (BOMB, {"Content_Encoding": "gzip"}, 413, "too_large_requests"),
        (
            gzip.compress(bytes(11 << 20)) * 2,
            {"Content_Encoding": "gzip"},
            413,
            "too_large_requests",
        ),
    ],
    ids=[
        "/",
        "traces",
        "get",
        "type",
        "encoding",
        "protobuf",
        "json",
        "gzip",
        "cut gzip",
        "large",
        "bomb",
        "two bombs",
    ],
)
def test_what_is_refused(started, body, options, status, count):
    source = started()
    assert post(source, body, **options)[0] == status
    assert source.counts[count] == 1
    assert post(source, block("next"))[0] == 200
    assert bodies(source, 1) == ["next"]


def test_a_body_in_chunks_is_bounded_too(started):
    source = started()
    status, _, _ = post(source, iter([bytes(1 << 20)] * 22))
    assert status == 413
    assert post(source, iter([block("a")]))[0] == 200


def test_a_token_is_asked_for(started):
    source = started(token="geheim-ü")
    for wrong in (
        {},
        {"Authorization": "Bearer geheim"},
        {"Authorization": "geheim"},
        {"Authorization": "Basic \xff\xfe"},
    ):
        status, head, _ = post(source, block("a"), **wrong)
        assert (status, head["WWW-Authenticate"]) == (401, "Bearer")
    assert (
        post(source, block("a"), Authorization="Bearer geheim-ü".encode().decode("latin-1"))[0]
        == 200
    )
    assert source.counts["wrong_tokens"] == 4
    assert bodies(source, 1) == ["a"]


@pytest.mark.parametrize(
    "address",
    ["otlp://0.0.0.0:0", "otlp://[::]:0", "otlp://192.0.2.1:4318", "otlp://example.org:4318"],
)
def test_other_machines_need_a_token(tmp_path, address):
    with pytest.raises(
        ServeError,
        match=(
            "is open to other machines: give it a token that senders must have, or listen on"
            " 127.0.0.1"
        ),
    ):
        OtlpSource(address, tmp_path)
    OtlpSource(address, tmp_path, token="t")


@pytest.mark.parametrize(
    "address", ["otlp://127.0.0.1:0", "otlp://[::1]:0", "otlp://localhost:4318"]
)
def test_this_machine_needs_none(tmp_path, address):
    OtlpSource(address, tmp_path)


def test_a_full_spool_says_to_come_again_and_nothing_is_lost(started):
    stored = Stored()
    source = started(stored=stored, limit=40_000)
    sent, refused, got = 0, 0, []
    while sent < 100:
        status, head, _ = post(source, block(f"{sent} {os.urandom(1000).hex()}"))
        if status == 200:
            sent += 1
        else:
            assert (status, head["Retry-After"]) == (503, "3")
            refused += 1
            for arrival in source.take(1).arrivals:
                got += [int(json.loads(line)["body"].split()[0]) for line in arrival.lines["text"]]
                stored.keep(source, {source.partition: int(arrival.lines["line"][-1]) + 1})
    got += [int(body.split()[0]) for body in bodies(source, sent - len(got))]
    assert got == list(range(100))
    assert source.counts["told_to_wait"] == refused > 0


def test_many_requests_share_a_flush(started):
    source = started()
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda at=at: statuses.append(post(source, block(str(at)))[0]))
        for at in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 20
    assert sorted(bodies(source, 20), key=int) == [str(at) for at in range(20)]


def raw(source, *pieces: bytes) -> bytes:
    """What is answered to some bytes."""
    with socket.create_connection((LOCAL, source.port), timeout=20) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        (
            b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Type:"
            b" application/json\r\n\r\nzz\r\n"
        ),
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000,
        b"\0" * 30_000,
    ],
    ids=[
        "tls",
        "words",
        "http2",
        "length",
        "negative",
        "two lengths",
        "chunks",
        "long head",
        "zeros",
    ],
)
def test_garbage_is_answered_and_counted(started, garbage):
    source = started()
    assert raw(source, garbage).startswith(b"HTTP/1.1 4")
    assert eventually(
        lambda: 1 in (source.counts.get("bad_requests"), source.counts.get("unknown_paths"))
    )
    assert post(source, block("next"))[0] == 200


def test_a_connection_that_ends_in_the_middle_leaves_nothing(started):
    source = started()
    head = (
        b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type:"
        b" application/x-protobuf\r\nContent-Length: 100\r\n\r\n"
    )
    raw(source, head + b"half")
    raw(source, head[:30])
    assert post(source, block("next"))[0] == 200
    assert bodies(source, 1) == ["next"]


def test_several_requests_on_one_connection_and_one_that_asks_before_it_sends(started):
    source = started()
    body = block("a")
    head = (
        b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type:"
        b" application/x-protobuf\r\nContent-Length: %d\r\n" % len(body)
    )
    answers = raw(source, (head + b"\r\n" + body) * 3, head + b"Expect: 100-continue\r\n\r\n", body)
    assert answers.count(b"HTTP/1.1 200") == 4
    assert bodies(source, 4) == ["a"] * 4
    assert source.counts["connections"] == 1


def test_a_slow_client_keeps_nobody_waiting_and_is_cut_off(started, monkeypatch):
    monkeypatch.setattr("logllm.serve.sources.wire.exchange.HEAD_TIME", 0.3)
    source = started()
    with socket.create_connection((LOCAL, source.port), timeout=20) as slow:
        slow.sendall(b"POST /v1")
        assert post(source, block("quick"))[0] == 200
        assert slow.recv(100) == b""
    assert source.counts["slow_requests"] == 1


def test_a_stop_answers_what_it_has_taken(started):
    source = started()
    with socket.create_connection((LOCAL, source.port), timeout=20) as idle:
        idle.sendall(b"")
        began = time.monotonic()
        source.close()
        assert time.monotonic() - began < 4
        assert idle.recv(1) == b""
