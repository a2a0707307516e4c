"""The server: its socket, how long it waits for clients, and its end."""

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from logllm.config.serve import ServeSection
from logllm.errors import ServeError

_HEADERS_WITHIN = 10.0
"""Seconds for the first request of a connection to come."""
_UNREAD = 30_000
"""Milliseconds after which a client who takes nothing of what he is sent is given up."""
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_BACKLOG = 128
_CONNECTIONS = 1_000
"""Connections at a time; who comes besides is told to come later."""
_LAST_ANSWERS = 3
"""Seconds in which what was begun is answered when the service ends."""


class Server(uvicorn.Server):
    """Ends the live streams when it is told to end: they would not end by themselves."""

    def __init__(
        self,
        app: ASGIApp,
        section: ServeSection,
        *,
        closing: Sequence[Callable[[], None]],
    ) -> None:
        """Of an application.

        Args:
            app: what answers.
            section: how much is answered.
            closing: end what would go on.
        """
        settings = uvicorn.Config(
            app,
            http=_Patient,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            forwarded_allow_ips=list(section.proxies),
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_LAST_ANSWERS,
        )
        super().__init__(settings)
        self._closing = closing

    def run_until_told(self, bound: socket.socket) -> None:
        """Answer on a socket until SIGTERM, SIGINT or SIGHUP comes."""
        # uvicorn raises the signal again when it has ended: here it has been heard already.
        for name in _ENDS:
            signal.signal(name, lambda number, frame: self.handle_exit(number, frame))
        self.run(sockets=[bound])

    def end(self) -> None:
        """End soon, as after SIGTERM; from any thread."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and end."""
        for close in self._closing:
            close()
        await super().shutdown(sockets)


class _Patient(H11Protocol):
    """A connection whose client is given up when he begins a request and does not end it."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a request's head, or no longer."""
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        """Wait while no request is worked on."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(_HEADERS_WITHIN, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def listening(section: ServeSection) -> socket.socket:
    """A socket on the address that is to be answered on.

    Raises:
        ServeError: it cannot be had.
    """
    where = f"{section.host}:{section.port}"
    try:
        family, *_, address = socket.getaddrinfo(
            section.host,
            section.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )[0]
        bound = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as exc:
        remedy = "name another --port, or end what has it"
        raise ServeError(f"{where} cannot be listened on: {exc.strerror}: {remedy}") from exc
    # A client who reads nothing, or whose line is dead, holds nothing for long.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD)
    return bound


def address_of(bound: socket.socket) -> str:
    """Where a browser finds what listens on a socket."""
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"
