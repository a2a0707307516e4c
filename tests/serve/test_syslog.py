"""Syslog over UDP and TCP."""

import io
import os
import socket
import time
from contextlib import ExitStack, suppress
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.errors import ServeError
from logllm.formats.recognition import recognise
from logllm.logs.reader import Reader
from logllm.serve.sources.syslog import SyslogSource
from logllm.serve.sources.wire import connections as limits
from tests.serve.spooling import Stored, eventually, taken, texts

LOCAL = "127.0.0.1"


class Started:
    """Sources that are closed when the test ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources: list[SyslogSource] = []

    def __call__(
        self, address: str = "syslog://127.0.0.1:0", *, stored: Stored | None = None, **options
    ) -> SyslogSource:
        source = SyslogSource(address, self.folder / "spool", **options)
        source.begin((stored or Stored()).claim)
        self.sources.append(source)
        return source


@pytest.fixture
def started(tmp_path):
    make = Started(tmp_path)
    yield make
    for source in make.sources:
        source.close()


def connected(source: SyslogSource) -> socket.socket:
    return socket.create_connection((LOCAL, source.port), timeout=10)


def test_both_protocols_on_one_port(started):
    source = started()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(b"<34>Oct 11 22:14:15 host app[1]: by udp\n", (LOCAL, source.port))
    assert texts(source, 1) == ["<34>Oct 11 22:14:15 host app[1]: by udp"]
    with connected(source) as tcp:
        tcp.sendall(b"<165>1 2003-10-11T22:14:15.003Z host app - ID1 - by tcp\n11 <34>counted")
        assert texts(source, 2) == [
            "<165>1 2003-10-11T22:14:15.003Z host app - ID1 - by tcp",
            "<34>counted",
        ]
    assert {"datagrams": 1, "connections": 1}.items() <= source.counts.items()
    assert (source.partition, source.over) == ("syslog:0", False)


@pytest.mark.parametrize(
    ("protocol", "kind"), [("udp", socket.SOCK_STREAM), ("tcp", socket.SOCK_DGRAM)]
)
def test_one_protocol_alone(started, protocol, kind):
    def other_is_free() -> bool:
        """The source's port can be bound by the other protocol."""
        source = started(f"syslog://127.0.0.1:0?{protocol}")
        with socket.socket(socket.AF_INET, kind) as other:
            free = _bound(other, source.port)
        source.close()
        return free

    # A stranger may have that port, such as a test in another process, but not five times.
    assert any(other_is_free() for _ in range(5))


def _bound(other: socket.socket, port: int) -> bool:
    try:
        other.bind((LOCAL, port))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "address",
    [
        "syslog://host",
        "syslog://:5514",
        "syslog://a:port",
        "udp://a:1",
        "syslog://a:1/b",
        "syslog://a:99999",
    ],
)
def test_an_address_that_is_none_is_refused(tmp_path, address):
    with pytest.raises(ServeError, match="is no address to listen on: write syslog://"):
        SyslogSource(address, tmp_path)


def test_another_protocol_is_refused(tmp_path):
    with pytest.raises(
        ServeError, match=r"names no protocol that syslog has: write .*\?tcp or \?udp"
    ):
        SyslogSource("syslog://localhost:5514?tls", tmp_path)


def test_a_port_that_is_taken_is_said(started, tmp_path):
    port = started().port
    other = SyslogSource(f"syslog://127.0.0.1:{port}", tmp_path / "other")
    with pytest.raises(
        ServeError, match=f"cannot listen on port {port} of 127.0.0.1: Address already in use"
    ):
        other.begin(Stored().claim)
    other.close()


def test_a_partition_keeps_its_name_on_any_port(tmp_path):
    assert SyslogSource("syslog://127.0.0.1:5514", tmp_path).partition == "syslog:5514"
    assert SyslogSource("syslog://127.0.0.1:0", tmp_path, name="edge").partition == "syslog:edge"


def test_what_a_broken_connection_brought_is_kept_and_counted(started):
    source = started()
    tcp = connected(source)
    tcp.sendall(b"<1>whole\n<1>half a mess")
    assert texts(source, 1) == ["<1>whole"]
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # it ends with a reset
    tcp.close()
    assert texts(source, 1) == ["<1>half a mess"]
    assert {"unended_lines": 1, "broken_connections": 1}.items() <= source.counts.items()


def test_garbage_is_kept_counted_and_harms_nobody(started):
    source = started()
    with connected(source) as garbage, connected(source) as tcp:
        garbage.sendall(
            b"\x16\x03\x01\x02\x00\xfc\xff\n\n\n99999 <5>"
            + os.urandom(3000).replace(b"\n", b"")
            + b"\n"
        )
        garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
        tcp.sendall(b"<1>a\n")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for datagram in (b"", b"\0\0", b"\xff\xfe"):
                udp.sendto(datagram, (LOCAL, source.port))
        got = texts(source, 3)
        assert {"<1>a", "\x16\x03\x01\x02", "\ufffd\ufffd"} <= set(got)
    assert eventually(lambda: source.counts.get("unended_lines") == 1)
    assert source.counts["without_priority"] >= 2
    assert source.counts["replaced"] > 2


def test_long_and_endless_messages_are_cut_and_counted(started):
    source = started()
    with connected(source) as tcp:
        tcp.sendall(
            b"<1>"
            + b"x" * 1_000_000
            + b"\n<1>"
            + b"y" * 2_000_000
            + b"\n<1>next\n<1>"
            + b"z" * 1_500_000
        )
        got = texts(source, 4)
    assert [(text[:4], len(text)) for text in got] == [
        ("<1>x", 1_000_003),
        ("<1>y", 1 << 20),
        ("<1>n", 7),
        ("<1>z", 1 << 20),
    ]
    assert eventually(lambda: source.counts["cut_lines"] == 2)


def test_a_slow_client_keeps_nobody_waiting(started):
    source = started()
    with connected(source) as slow, connected(source) as quick:
        for byte in b"<1>slow":
            slow.sendall(bytes([byte]))
            time.sleep(0.01)
        quick.sendall(b"<1>quick\n")
        assert texts(source, 1) == ["<1>quick"]
        slow.sendall(b"\n")
        assert texts(source, 1) == ["<1>slow"]


@pytest.mark.real
def test_a_full_spool_stops_reading_and_loses_nothing_over_tcp(started):
    stored = Stored()
    source = started(stored=stored, limit=2_000_000)
    lines = [f"<1>{place} {os.urandom(500).hex()}" for place in range(12_000)]
    left = memoryview("".join(f"{line}\n" for line in lines).encode())
    got: list[str] = []
    with connected(source) as tcp:
        tcp.setblocking(False)
        silent = 0
        while silent < 40:  # until it takes no more
            try:
                left = left[tcp.send(left) :]
                silent = 0
            except BlockingIOError:
                silent += 1
                time.sleep(0.02)
        assert left
        assert source.trouble is not None
        while len(got) < len(lines):
            if left:
                with suppress(BlockingIOError):
                    left = left[tcp.send(left) :]
            for arrival in source.take(0.02).arrivals:
                got += arrival.lines["text"].to_list()
                stored.keep(source, {source.partition: int(arrival.lines["line"][-1]) + 1})
    assert got == lines


@pytest.mark.skipif(not Path("/proc/net/udp").exists(), reason="only Linux counts what it drops")
def test_datagrams_that_the_kernel_dropped_are_counted(started):
    source = started("syslog://127.0.0.1:0?udp", limit=50_000)
    sent = 0
    block = b"<1>" + os.urandom(15_000).hex().encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        while not source.counts.get("dropped_datagrams") and sent < 20_000:
            for _ in range(100):
                udp.sendto(block, (LOCAL, source.port))
            sent += 100
    dropped = source.counts["dropped_datagrams"]
    assert dropped > 0
    got = 0
    while got + source.counts["dropped_datagrams"] < sent:
        for arrival in source.take(0.1).arrivals:
            got += arrival.lines.height
            source.stored({source.partition: int(arrival.lines["line"][-1]) + 1})
    assert got + source.counts["dropped_datagrams"] == sent


def test_more_connections_than_may_be_are_refused_and_counted(started, monkeypatch):
    monkeypatch.setattr(limits, "CONNECTIONS", 8)
    source = started()
    with ExitStack() as open_ones:
        opened = [open_ones.enter_context(connected(source)) for _ in range(8)]
        assert eventually(lambda: source.counts.get("connections") == 8)
        with connected(source) as refused:
            assert refused.recv(1) == b""
        assert source.counts["refused_connections"] == 1
        opened[0].close()
        assert eventually(lambda: _answers(source)), source.counts


def test_a_silent_connection_makes_room_for_a_new_one(started, monkeypatch):
    monkeypatch.setattr(limits, "CONNECTIONS", 2)
    monkeypatch.setattr(limits, "IDLE", 0.0)
    source = started()
    with connected(source) as silent, connected(source) as other:
        other.sendall(b"<1>a\n")
        assert texts(source, 1) == ["<1>a"]
        with connected(source) as third:
            third.sendall(b"<1>b\n")
            assert texts(source, 1) == ["<1>b"]
            assert silent.recv(1) == b""
    assert source.counts["idle_connections"] == 1


def _answers(source: SyslogSource) -> bool:
    """Whether a new connection is served; one that is refused breaks at once, or a little later."""
    with connected(source) as tcp, suppress(OSError):
        tcp.sendall(b"<1>a\n")
        return bool(source.take(0.3).arrivals)
    return False


def test_lines_are_given_once_more_until_they_are_stored(started):
    stored = Stored()
    source = started(stored=stored)
    with connected(source) as tcp:
        tcp.sendall(b"<1>a\n<1>b\n<1>c\n")
        assert taken(source, lines=3).height == 3
    stored.keep(source, {source.partition: 3})
    source.close()
    source = started(stored=stored)
    assert taken(source, lines=1).rows() == [(3, "<1>c")]


def test_what_has_come_is_kept_when_it_is_closed(started):
    stored = Stored()
    source = started(stored=stored)
    with connected(source) as tcp:
        tcp.sendall(b"<1>a\n" * 1000)
        assert eventually(lambda: source.counts.get("connections") == 1)
        source.close()
    source = started(stored=stored)
    assert taken(source, lines=1000).height == 1000


@pytest.mark.parametrize(
    ("line", "program", "message"),
    [
        ("<34>Oct 11 22:14:15 host app[1]: text", "app", "text"),
        ('<165>1 2003-10-11T22:14:15.003Z host app 1 ID [a@1 b="c"] \ufefftext', "app", "text"),
        ("<165>1 2003-10-11T22:14:15.003Z host app - - - two#012lines", "app", "two\nlines"),
        ("<13>Oct 11 22:14:15 host app: two#012lines", "app", "two\nlines"),
    ],
    ids=["3164", "5424", "5424 in two lines", "3164 in two lines"],
)
def test_messages_are_read_by_the_formats_of_syslog(line, program, message):
    lines = [line] * 20
    today = date(2024, 3, 1)
    described = recognise(pl.Series(lines), today=today).format
    section = PrepareSection(format=described, mask=MaskSection(rules="off"))
    frame = pl.concat(
        list(Reader(section, today=today, stdin=io.BytesIO("\n".join(lines).encode())).read(["-"]))
    )
    assert frame["message"].to_list() == [message] * 20
    assert frame["time"].null_count() == 0
