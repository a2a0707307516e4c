"""A web server on this machine that misbehaves as it is told."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """One file at every address, and what is wrong with the answers: the next one's, then those
    after it."""

    url: str
    content: bytes = b""
    plan: list[dict] = field(default_factory=list)
    """One entry an answer, the last for all that follow: `until` (the place in the file where the
    connection ends), `announces` (a length), `status`, `ranges` (False: all of it is sent again; or
    a status to refuse with), `claims` (where a part is said to begin), `tag`, `hangs` (seconds,
    before the first byte), `lingers` (after the last), `chunked`."""
    asked: list[str | None] = field(default_factory=list)
    """The range that each request asked for."""
    over: threading.Event = field(default_factory=threading.Event)
    """Ends answers that linger."""

    def next(self) -> dict:
        if len(self.plan) > 1:
            return self.plan.pop(0)
        return self.plan[0] if self.plan else {}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        site: Site = self.server.site
        answer = site.next()
        start = self.start(answer)
        total = len(site.content)
        status = answer.get("status", 200 if not start else 206 if start < total else 416)
        if start and answer.get("ranges", True) is not True:
            status = answer["ranges"]
        body = site.content[start:] if status < 300 else b""
        self.send_response(status)
        part = f"bytes {answer.get('claims', start)}-{total - 1}/{total}"
        beyond = None if "ranges" in answer else f"bytes */{total}"
        headers = {
            "ETag": answer.get("tag"),
            "Content-Range": {206: part, 416: beyond}.get(status),
            "Transfer-Encoding": "chunked" if "chunked" in answer else None,
            "Content-Length": (
                None if "chunked" in answer else str(answer.get("announces", len(body)))
            ),
        }
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        time.sleep(answer.get("hangs", 0))
        body = body[: max(0, answer.get("until", total) - start)]
        (self.write_chunks if "chunked" in answer else self.wfile.write)(body)
        if "chunked" in answer and "until" not in answer:
            self.wfile.write(b"0\r\n\r\n")
        if "lingers" in answer:
            self.wfile.flush()
            site.over.wait(60)

    def start(self, answer: dict) -> int:
        """From where on the file is asked for, as far as the answer minds."""
        asked = self.headers.get("Range")
        self.server.site.asked.append(asked)
        other = self.headers.get("If-Range") not in (None, answer.get("tag"))
        if asked is None or answer.get("ranges") is False or other:
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def write_chunks(self, body: bytes) -> None:
        for place in range(0, len(body), 1000):
            piece = body[place : place + 1000]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    site: Site

    def handle_error(self, *_: object) -> None:
        pass  # a client that has seen enough closes the connection


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler] = Handler) -> Iterator[Site]:
    """A site for as long as it is needed."""
    Handler.protocol_version = "HTTP/1.1"
    with Server(("127.0.0.1", 0), handler) as server:
        server.site = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.site
        finally:
            server.site.over.set()
            server.shutdown()
            thread.join()
