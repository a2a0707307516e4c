"""The server: its socket, how long it waits for clients, and its end."""

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from logllm.config.serve import ServeSection
from logllm.errors import ServeError

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
        """A server of an application.

        Args:
            app: what answers.
            section: how much is answered.
            closing: end what would go on.
        """
        patient = partial(
            _Patient,
            head_within=section.head_seconds,
            read_within=section.unread_seconds,
        )
        settings = uvicorn.Config(
            app,
            http=patient,  # type: ignore[arg-type]
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
        # First: uvicorn waits for answers that have begun, and a live stream never ends by itself.
        for close in self._closing:
            close()
        await super().shutdown(sockets)


class _Patient(H11Protocol):
    """A connection that is closed when its client hangs.

    Such a client does not finish its request, or does not take what it is sent.
    """

    def __init__(self, *, head_within: float, read_within: float, **settings: Any) -> None:
        """Not connected yet.

        Args:
            head_within: seconds in which a request comes, up to its body.
            read_within: seconds in which a client takes something of what waits for him.
            settings: what uvicorn gives.
        """
        super().__init__(**settings)
        self._head = _Deadline(head_within)
        self._read = _Deadline(read_within)

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a request's head, or no longer."""
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._head.stop()
        self._read.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait until the client takes something: much is there for him."""
        # Called when more than some 64 KiB wait for a client.
        super().pause_writing()
        self._wait_for_reading(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Wait no longer."""
        super().resume_writing()
        self._read.stop()

    def _wait_for_head(self) -> None:
        """Wait while no request is worked on."""
        # Between two requests, and until a head has come, it is waited for the client.
        if self.cycle is not None and not self.cycle.response_complete:
            self._head.stop()
        else:
            self._head.begin(self.loop, self.transport.abort)

    def _wait_for_reading(self, waiting: int) -> None:
        """Wait until fewer bytes wait for the client."""

        def look() -> None:
            left = self.transport.get_write_buffer_size()
            self._read.stop()
            # He took something: slow is allowed, not at all is not.
            if left < waiting:
                self._wait_for_reading(left)
            else:
                self.transport.abort()

        self._read.begin(self.loop, look)


class _Deadline:
    """Some seconds, after which something is done."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
        """Begin, unless it has begun."""
        # A client that sends a byte every second must not begin the time anew.
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, act)

    def stop(self) -> None:
        """Do nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def listening(section: ServeSection) -> socket.socket:
    """A socket on the address that is to be answered on.

    Raises:
        ServeError: it cannot be had.
    """
    where = f"{section.host}:{section.port}"
    try:
        # The first address of a name: IPv6 where the system prefers it.
        family, *_, address = socket.getaddrinfo(
            section.host,
            section.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )[0]
        bound = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as exc:
        remedy = "name another --port, or end what has it"
        raise ServeError(
            f"{where} cannot be opened for listening: {exc.strerror}: {remedy}"
        ) from exc
    # A client whose line is dead holds nothing for long.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = 1_000 * section.unread_seconds
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return bound


def address_of(bound: socket.socket) -> str:
    """Where a browser finds what listens on a socket."""
    host, port = bound.getsockname()[:2]
    # An address of IPv6 stands in brackets, or its colons would look like the port's.
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"
