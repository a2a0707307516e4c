"""The service on a real port: bodies without end, clients that are slow or never read, and its
end."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from logllm.config.serve import ServeSection
from logllm.serve.web.application import application
from logllm.serve.web.running import Server, listening
from tests.serve.shown_store import TOKEN, Shown, anomalous
from tests.serve.store_contract import verdict

SOON = 30
"""Seconds in which anything happens, on a busy machine, too."""


class Running:
    """A service that answers on a port, in a thread."""

    def __init__(self, shown: Shown, section: ServeSection, *, token: str | None = None) -> None:
        self.shown = shown
        self.socket = listening(section)
        self.port = self.socket.getsockname()[1]
        self.server = Server(
            application(shown.service, token=token), section, closing=[shown.feed.close]
        )
        self._thread = threading.Thread(target=self.server.run, args=([self.socket],))
        self._thread.start()

    def connected(self, *, buffer: int | None = None) -> socket.socket:
        """A client's connection; `buffer` is how much it takes in without reading."""
        client = socket.socket()
        if buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(SOON)
        client.connect(("127.0.0.1", self.port))
        return client

    def asked(self, head: str, body: bytes = b"") -> bytes:
        """All that is answered to a request until the connection is closed."""
        with self.connected() as client:
            client.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
            return everything(client)

    def end(self) -> float:
        """Seconds until it has ended."""
        begun = time.monotonic()
        self.server.end()
        self._thread.join(SOON)
        assert not self._thread.is_alive()
        return time.monotonic() - begun


@contextmanager
def running(folder: Path, *, token: str | None = None, **settings) -> Iterator[Running]:
    """A service on an empty store, until the test is over."""
    shown = Shown(folder / "app.db", token=token, **settings)
    service = Running(shown, ServeSection(port=0, **settings), token=token)
    try:
        yield service
    finally:
        service.end()
        shown.close()


def everything(client: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    answer = b""
    try:
        while part := client.recv(65_536):
            answer += part
    except (ConnectionResetError, TimeoutError):
        pass  # what came before counts
    return answer


def until(holds, within: float = SOON) -> bool:
    """Whether something holds soon."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("told", [True, False], ids=["told", "chunked"])
def test_a_body_of_a_gigabyte_is_refused_and_never_taken_in(tmp_path, told):
    with running(tmp_path) as service, service.connected() as client:
        length = "Content-Length: 1000000000" if told else "Transfer-Encoding: chunked"
        head = (
            "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type:"
            f" application/json\r\n{length}\r\n\r\n"
        )
        client.sendall(head.encode())
        part = b"x" * 65_536
        chunk = part if told else f"{len(part):x}\r\n".encode() + part + b"\r\n"
        sent = 0
        client.settimeout(1)
        try:
            while sent < 1_000_000_000:
                client.sendall(chunk)
                sent += len(part)
        except OSError:
            pass  # it was closed, or no more is taken
        answer = everything(client)
        assert sent < 64_000_000
        assert not answer or answer.startswith(b"HTTP/1.1 413")
        assert service.asked(
            "GET /healthz HTTP/1.1\nHost: localhost\nConnection: close"
        ).startswith(b"HTTP/1.1 200")


def test_the_refusal_of_a_large_body_is_told_before_it_is_sent(tmp_path):
    with running(tmp_path) as service:
        head = (
            "POST /v1/lines HTTP/1.1\nHost: localhost\nContent-Type: text/plain\nContent-Length:"
            " 1000000000"
        )
        answer = service.asked(head)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"the body is too large" in answer
    assert b"x-content-type-options: nosniff" in answer.lower()


@pytest.mark.real
def test_a_body_that_does_not_come_to_its_end_is_refused(tmp_path):
    with running(tmp_path, body_seconds=1) as service:
        head = (
            "POST /v1/sessions HTTP/1.1\nHost: localhost\nContent-Type:"
            " application/json\nContent-Length: 100"
        )
        answer = service.asked(head, b'{"sessions"')
    assert answer.startswith(b"HTTP/1.1 408")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_slow"


@pytest.mark.real
@pytest.mark.parametrize(
    "begun", [b"", b"GET /healthz HTTP/1.1\r\nHost: local"], ids=["nothing", "half"]
)
def test_who_does_not_ask_is_not_waited_for(tmp_path, begun):
    with running(tmp_path, head_seconds=1) as service, service.connected() as client:
        client.sendall(begun)
        assert everything(client) == b""


@pytest.mark.real
def test_the_second_request_of_a_connection_has_its_time_too(tmp_path):
    with running(tmp_path, head_seconds=1) as service, service.connected() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /hea")
        assert everything(client) in (b"", b'{"status":"alive"}')


@pytest.mark.real
def test_who_never_reads_is_given_up(tmp_path):
    with running(tmp_path, unread_seconds=1) as service:
        rows = [anomalous(f"s{number}", number, texts="[]") for number in range(1, 30_001)]
        service.shown.write(*rows)
        feed = service.shown.feed
        with service.connected(buffer=4_096) as client:
            client.sendall(b"GET /v1/stream?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert until(lambda: feed.followers == 1)
            assert until(lambda: feed.followers == 0)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "target",
    [
        "/../../../etc/passwd",
        "/..%2f..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/%2e%2e/%2e%2e/application.py",
        "http://evil.example/v1/verdicts",
        "/%00",
    ],
    ids=["dots", "encoded", "slashes", "dots-encoded", "absolute", "nul"],
)
def test_paths_as_no_browser_sends_them(tmp_path, target):
    with running(tmp_path, token=TOKEN) as service:
        answer = service.asked(f"GET {target} HTTP/1.1\nHost: localhost\nConnection: close")
    assert answer.split(b" ")[1] in (b"404", b"401")
    assert b"root:" not in answer
    assert b"import" not in answer


@pytest.mark.real
@pytest.mark.parametrize("clients", [1, 20])
def test_open_pages_hold_up_nobodys_end(tmp_path, clients):
    with running(tmp_path) as service:
        pages = [service.connected() for _ in range(clients)]
        for page in pages:
            page.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert until(lambda: service.shown.feed.followers == clients)
        service.shown.write(verdict("last", 1))
        assert service.end() < 5
        for page in pages:
            answer = everything(page)
            assert answer.startswith(b"HTTP/1.1 200")
            assert answer.rstrip().endswith((b"0", b"id: 1"))  # whole, to the end of the last chunk
            page.close()


def test_the_client_of_the_docs_prints_what_is_anomalous(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()
    program = page.partition("```python\n")[2].partition("```")[0]
    with running(tmp_path) as service:
        program = program.replace("127.0.0.1:8431", f"127.0.0.1:{service.port}")
        client = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        )
        assert until(lambda: service.shown.feed.followers == 1)
        service.shown.write(
            verdict("good", 1), anomalous("bad", 2), anomalous("going on", 3, state="open")
        )
        assert client.stdout.readline() == "bad 0.9 ERROR job 7 failed\n"
        client.kill()
        client.communicate()
