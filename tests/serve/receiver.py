"""A place that is told, on loopback: remembers what it got, and answers as it is told to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver(ThreadingHTTPServer):
    """Answers with `status`; a status of 0 closes the connection without a word."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.answer = b"ok"
        self.headers: dict[str, str] = {}
        self.refuses: dict[str, int] = {}
        """A status of its own for bodies that hold a text."""
        self.got: list[Any] = []
        """Bodies that were taken."""
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        """Path, headers and body of every request."""
        self.answering = threading.Event()
        """While it is not set, requests wait."""
        self.answering.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/told"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        self.server.answering.wait(10)
        text = json.dumps(body, ensure_ascii=False)
        special = [status for words, status in self.server.refuses.items() if words in text]
        status = special[0] if special else self.server.status
        if status == 0:
            self.close_connection = True
            return
        if 200 <= status < 300:
            self.server.got.append(body)
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *args: object) -> None:
        del args


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A place that listens."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.answering.set()
            server.shutdown()
            thread.join()
