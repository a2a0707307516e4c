"""Connections over TCP: a bounded number, a thread for each."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread

from logllm.errors import ServeError
from logllm.serve.sources.wire.counts import Counts

CONNECTIONS = 256
"""Most connections at once."""
IDLE = 300.0  # seconds without a byte after which a connection makes room for a new one
_LOOK = 0.05  # seconds after which who waits looks whether to stop
_END = 5.0  # seconds that threads get to end
_BACKLOG = 128
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 3}


class Connection:
    """One connection."""

    def __init__(self, opened: socket.socket, *, stopping: Event) -> None:
        self.socket = opened
        self.stopping = stopping
        """Set when all is to end."""
        self.heard = time.monotonic()
        """When its last bytes came."""

    def receive(self, size: int) -> bytes:
        """What has come; waits as long as the socket's timeout says.

        Raises:
            OSError: the connection broke, or nothing came in time.
        """
        chunk = self.socket.recv(size)
        self.heard = time.monotonic()
        return chunk

    def stop(self, how: int = socket.SHUT_RDWR) -> None:
        """Have its thread hear nothing more."""
        with suppress(OSError):
            self.socket.shutdown(how)


class Connections:
    """Listens on a port, and serves each connection in a thread.

    When there are as many connections as allowed, the one that has been silent longest makes room
    for a new one, if it has been silent for five minutes; otherwise the new one is refused. A peer
    that is gone is noticed by TCP itself.
    """

    def __init__(self, serve: Callable[[Connection], None], *, counts: Counts) -> None:
        """A listener that has not begun.

        Args:
            serve: what to do with a connection, in a thread of its own; an OSError ends it.
            counts: gets `connections`, `refused_connections`, `idle_connections` (those that made
                room) and `broken_connections`.
        """
        self._stopping = Event()
        self._serve = serve
        self._counts = counts
        self._listening: socket.socket | None = None
        self._open: dict[Connection, Thread] = {}
        self._lock = Lock()
        self._thread = Thread(target=self._accept, name="logllm-accept", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listening.getsockname()[1]) if self._listening else 0

    def open(self, host: str, port: int) -> None:
        """Begin to listen.

        Raises:
            ServeError: the address is taken, is not this machine's, or may not be used.
        """
        self._listening = bound(host, port, kind=socket.SOCK_STREAM)
        self._listening.listen(_BACKLOG)
        self._listening.settimeout(_LOOK)
        self._thread.start()

    def close(self) -> None:
        """Stop; what a connection has brought so far is still read in its thread."""
        # Nothing new first. Then connections hear nothing more, but can still be answered; what
        # they have brought is read to its end, as far as five seconds go for all of them.
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._listening is not None:
            self._listening.close()
        with self._lock:
            connections = dict(self._open)
        for connection in connections:
            connection.stop(socket.SHUT_RD)
        until = time.monotonic() + _END
        for connection, thread in connections.items():
            thread.join(max(0.0, until - time.monotonic()))
            connection.stop()

    def _accept(self) -> None:
        """Take connections until the end."""
        assert self._listening is not None  # noqa: S101 - opened before
        while not self._stopping.is_set():
            try:
                accepted, _ = self._listening.accept()
            except TimeoutError:
                continue
            except OSError:  # no more files may be open, or the peer has gone
                self._counts.add(refused_connections=1)
                self._stopping.wait(_LOOK)
                continue
            try:
                if self._has_room():
                    self._begin(Connection(accepted, stopping=self._stopping))
                    continue
            except (OSError, RuntimeError):  # it has gone already; there may be no more threads
                pass
            self._counts.add(refused_connections=1)
            accepted.close()

    def _has_room(self) -> bool:
        """Whether one more may be served, if necessary instead of a silent one."""
        with self._lock:
            if len(self._open) < CONNECTIONS:
                return True
            # A sender that keeps a connection open for days without a word is only in the way when
            # all places are taken.
            silent = min(self._open, key=lambda connection: connection.heard)
        if time.monotonic() - silent.heard < IDLE:
            return False
        self._counts.add(idle_connections=1)
        silent.stop()
        return True

    def _begin(self, connection: Connection) -> None:
        """Serve a connection in a thread of its own."""
        # A peer whose machine was switched off sends nothing, not even an end: TCP asks after a
        # minute.
        connection.socket.settimeout(None)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                connection.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        thread = Thread(target=self._run, args=(connection,), name="logllm-connection", daemon=True)
        with self._lock:
            self._open[connection] = thread
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                # There may be no more threads: the place is free again.
                self._open.pop(connection)
            raise
        self._counts.add(connections=1)

    def _run(self, connection: Connection) -> None:
        """Serve a connection to its end."""
        try:
            self._serve(connection)
        except OSError:
            self._counts.add(broken_connections=1)
        finally:
            with suppress(OSError):
                connection.socket.close()
            with self._lock:
                self._open.pop(connection, None)


def bound(host: str, port: int, *, kind: socket.SocketKind) -> socket.socket:
    """A socket at an address.

    Raises:
        ServeError: it is taken, is not this machine's, or may not be used.
    """
    try:
        family, _, protocol, _, address = socket.getaddrinfo(host, port, type=kind)[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise ServeError(f"cannot listen on {host}: {exc.strerror}") from exc
    try:
        if kind is socket.SOCK_STREAM and os.name == "posix":
            # Else a restart would have to wait a minute for connections of the former process. For
            # UDP it would mean something else: two processes on one port.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as exc:
        opened.close()
        remedy = ""
        if isinstance(exc, PermissionError):
            remedy = "; choose a port above 1023, or let the system's service pass it on"
        raise ServeError(f"cannot listen on port {port} of {host}: {exc.strerror}{remedy}") from exc
    return opened
