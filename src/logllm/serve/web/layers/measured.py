"""Counts requests, and writes a line for each where that is wanted."""

import sys
import time
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from logllm.serve.web.instruments import Instruments
from logllm.serve.web.layers.rate_limit import client_of

_METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
_OURS = ("/v1/", "/healthz", "/readyz", "/metrics", "/mcp")


class Measured:
    """Measures until an answer begins: streams go on as long as their clients do."""

    def __init__(self, app: ASGIApp, instruments: Instruments, *, log: bool) -> None:
        """A layer around an application.

        Args:
            app: the application.
            instruments: counts.
            log: write a line for each request on standard error.
        """
        self._app = app
        self._instruments = instruments
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count its answer."""
        begun = time.perf_counter()

        async def measuring(message: Message) -> None:
            # The start, not the end: a live stream's answer ends hours later.
            if message["type"] == "http.response.start":
                self._count(scope, status=message["status"], seconds=time.perf_counter() - begun)
            await send(message)

        await self._app(scope, receive, measuring)

    def _count(self, scope: Scope, *, status: int, seconds: float) -> None:
        """Count an answer."""
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._instruments.count(method, _route(scope), status=status, seconds=seconds)
        if self._log:
            sys.stderr.write(_line(scope, status=status, seconds=seconds))


def _route(scope: Scope) -> str:
    """What was asked for, of which there are few: an address itself may be anything."""
    path: str | None = getattr(scope.get("route"), "path", None)
    # A path of ours stands for all its addresses; those that people make up are counted together,
    # or each would be a series of its own in Prometheus.
    if path is not None and scope["path"].startswith(_OURS):
        return path
    return "other" if scope["path"].startswith("/v1/") else "page"


def _line(scope: Scope, *, status: int, seconds: float) -> str:
    """A request on one line, without what was looked for."""
    time_now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # What was looked for stands behind `?`: names of people, perhaps. A path may hold marks that
    # move a terminal's cursor.
    path = scope.get("raw_path", b"").partition(b"?")[0].decode("ascii", "replace")
    shown = "".join(letter if letter.isprintable() else "?" for letter in path)[:200]
    took = f"{1000 * seconds:.0f} ms"
    client, method = client_of(scope), scope["method"]
    return f"{time_now} {client} {method} {shown} {status} {took}\n"
