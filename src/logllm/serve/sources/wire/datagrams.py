"""Datagrams over UDP: one thread that takes what has come, while there is room for it."""

import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from logllm.serve.sources.wire.connections import bound
from logllm.serve.sources.wire.counts import Counts

_BUFFER = 8 << 20  # bytes that the kernel is asked to hold
_MOST = 65_535  # bytes of a datagram
_TOGETHER = 512  # datagrams given on at once
_LOOK = 0.05
_END = 5.0
_FORCE = 33  # SO_RCVBUFFORCE of Linux: beyond the system's limit, for who may
_TABLES = (Path("/proc/net/udp"), Path("/proc/net/udp6"))
_INODE, _DROPS = 9, -1  # columns


class Datagrams:
    """Listens on a port.

    While there is no room nothing is taken, and the kernel drops what it cannot hold. The kernel
    counts what it drops.
    """

    def __init__(
        self,
        give: Callable[[list[bytes]], None],
        *,
        room: Callable[[float], bool],
        counts: Counts,
    ) -> None:
        """A listener that has not begun.

        Args:
            give: gets what has come.
            room: whether something may be given; waits for it as many seconds.
            counts: gets `datagrams`.
        """
        self._give = give
        self._room = room
        self._counts = counts
        self._stopping = Event()
        self._socket: socket.socket | None = None
        self._dropped = 0
        self._thread = Thread(target=self._listen, name="logllm-datagrams", daemon=True)

    def open(self, host: str, port: int) -> None:
        """Begin to listen.

        Raises:
            ServeError: the address is taken, is not this machine's, or may not be used.
        """
        self._socket = bound(host, port, kind=socket.SOCK_DGRAM)
        # Senders of UDP wait for nobody: what comes in a burst must have room, as much as the
        # system gives.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, _FORCE, _BUFFER)
        self._socket.setblocking(False)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._socket.getsockname()[1]) if self._socket else 0

    @property
    def dropped(self) -> int:
        """Datagrams that the kernel dropped because nobody took them, where it tells (Linux)."""
        if self._socket is not None and self._socket.fileno() >= 0:
            # The kernel's count goes with the socket: what it said last stays.
            inode = os.fstat(self._socket.fileno()).st_ino
            self._dropped = max(self._dropped, _dropped(inode))
        return self._dropped

    def close(self) -> None:
        """Take what has come, if there is room, and stop."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_END)
        if self._socket is not None:
            self._dropped = self.dropped
            self._socket.close()

    def _listen(self) -> None:
        """Take datagrams until the end."""
        assert self._socket is not None  # noqa: S101 - opened before
        while True:
            # One more round after the stop: what lies in the kernel's buffer has come.
            last = self._stopping.is_set()
            if self._room(0 if last else _LOOK):
                select.select([self._socket], [], [], 0 if last else _LOOK)
                frames = self._come(self._socket)
                self._counts.add(datagrams=len(frames))
                self._give(frames)
            if last:
                return

    def _come(self, opened: socket.socket) -> list[bytes]:
        """What has come, a bounded number."""
        frames: list[bytes] = []
        try:
            while len(frames) < _TOGETHER:
                frames.append(opened.recv(_MOST))
        except OSError:  # no more, or what the network says of a datagram that was sent
            pass
        return frames


def _dropped(inode: int) -> int:
    """Datagrams that the kernel dropped at a socket."""
    for table in _TABLES:
        with suppress(OSError):
            for row in table.read_text().splitlines()[1:]:
                columns = row.split()
                if columns[_INODE] == str(inode):
                    return int(columns[_DROPS])
    return 0
