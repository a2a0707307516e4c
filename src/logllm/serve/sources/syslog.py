"""Syslog as a source: messages over UDP and TCP on one port, through the spool."""

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock

from logllm.errors import LogLLMError, ServeError
from logllm.serve.sources.spool.spooled import LINGER, SPOOL_BYTES, Spooled
from logllm.serve.sources.spool.writer import Writer
from logllm.serve.sources.wire.connections import Connection, Connections
from logllm.serve.sources.wire.counts import Counts
from logllm.serve.sources.wire.datagrams import Datagrams
from logllm.serve.sources.wire.listen_address import Address, parsed
from logllm.serve.sources.wire.syslog_frames import Framer
from logllm.serve.sources.wire.texts import texts_of

_EXAMPLE = "syslog://0.0.0.0:5514, with ?tcp or ?udp for one of both"
_PROTOCOLS = ("", "tcp", "udp")
_PIECE = 1 << 16  # bytes at once
_HELD = 32 << 20  # bytes of all messages that have not ended
_LOOK = 0.05
_LAST = 1.0  # seconds for what has come when it is to end
_TRIES = 20  # ports that are free for TCP, until one is for UDP
_PRIORITY = re.compile(r"<[0-9]{1,3}>")


class SyslogSource(Spooled):
    """Messages of syslog, as they came: RFC 3164, RFC 5424, and what is neither."""

    def __init__(
        self,
        address: str,
        folder: Path,
        *,
        limit: int = SPOOL_BYTES,
        name: str | None = None,
    ) -> None:
        """A source that has not begun.

        Args:
            address: `syslog://HOST:PORT`, with `?tcp` or `?udp` for one of both; port 0: any
                that is free.
            folder: where the spool is.
            limit: bytes on disk at which it stops to listen.
            name: what its partition is called instead of by its port.

        Raises:
            ServeError: that is no such address.
        """
        where = parsed(address, scheme="syslog", example=_EXAMPLE)
        if where.option not in _PROTOCOLS:
            raise ServeError(f"{address} names no protocol that syslog has: write {_EXAMPLE}")
        self._syslog = _Syslog(where)
        partition = f"syslog:{name or where.port}"
        super().__init__(address, partition, listener=self._syslog, folder=folder, limit=limit)

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before it begins."""
        return self._syslog.port


class _Syslog:
    """The threads that listen."""

    linger = LINGER
    ended = False
    fault: LogLLMError | None = None

    def __init__(self, address: Address) -> None:
        self._address = address
        self._counts = Counts()
        self._connections: Connections | None = None
        self._datagrams: Datagrams | None = None
        self._held = 0
        self._lock = Lock()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        listener = self._connections or self._datagrams
        return listener.port if listener else 0

    @property
    def counts(self) -> Mapping[str, int]:
        """Connections, datagrams, those that were dropped, and what messages lacked."""
        dropped = self._datagrams.dropped if self._datagrams else 0
        return {**self._counts.all, "dropped_datagrams": dropped}

    def start(self, writer: Writer) -> None:
        """Listen on the port, or on any where TCP and UDP are free.

        Raises:
            ServeError: the address is taken, is not this machine's, or may not be used.
        """
        # A port that is free for TCP may be taken for UDP: another one is tried, unless one was
        # named.
        tries = _TRIES if self._address.port == 0 else 1
        while True:
            tries -= 1
            try:
                self._open(writer)
                return
            except ServeError:
                self.stop()
                if not tries:
                    raise

    def stop(self) -> None:
        """Stop, with what has come given to the writer."""
        for listener in (self._connections, self._datagrams):
            if listener is not None:
                listener.close()

    def _open(self, writer: Writer) -> None:
        """Listen for both protocols, or the one that is asked for."""
        host, port, protocol = self._address
        self._connections = self._datagrams = None
        if protocol != "udp":
            connections = Connections(
                lambda connection: self._serve(connection, writer), counts=self._counts
            )
            connections.open(host, port)
            self._connections, port = connections, connections.port
        # Both on one port, as senders expect it: UDP takes the one that TCP was given.
        if protocol != "tcp":
            datagrams = Datagrams(
                lambda frames: self._give(frames, writer), room=writer.room, counts=self._counts
            )
            datagrams.open(host, port)
            self._datagrams = datagrams

    def _serve(self, connection: Connection, writer: Writer) -> None:
        """Read a connection no faster than the spool takes it; keep what came if it breaks."""
        # A connection has its own: a message may come in several pieces.
        framer = Framer()
        cut = 0
        try:
            for chunk in _chunks(connection, writer):
                held = framer.held
                self._give(framer.feed(chunk), writer)
                self._counts.add(cut_lines=framer.cut - cut)
                cut = framer.cut
                if self._holds(framer.held - held) > _HELD and framer.held > _PIECE:
                    # Very many endless messages at once: this one ends here.
                    self._counts.add(closed_connections=1)
                    return
        finally:
            # However it ended: what has come of a message that never ended is a line, too.
            self._holds(-framer.held)
            rest = framer.end()
            self._counts.add(unended_lines=len(rest))
            self._give(rest, writer)

    def _give(self, frames: list[bytes], writer: Writer) -> None:
        """Messages to the spool, as they came.

        What has no priority is counted, and a line like all others.
        """
        texts = texts_of(frames, self._counts)
        lacking = [text for text in texts if _PRIORITY.match(text) is None]
        self._counts.add(without_priority=len(lacking))
        writer.add(texts)

    def _holds(self, more: int) -> int:
        """Bytes of all messages that have not ended."""
        with self._lock:
            self._held += more
            return self._held


def _chunks(connection: Connection, writer: Writer) -> Iterator[bytes]:
    """What a connection brings while the spool has room, until the connection ends.

    When the source is stopped it is what has come by then.
    """
    last: float | None = None
    while True:
        # What senders had sent is still taken, for a second: they take it for delivered.
        if connection.stopping.is_set():
            last = last or time.monotonic() + _LAST
            if time.monotonic() > last or not writer.room(0):
                return
        elif not writer.room(_LOOK):
            continue
        chunk = connection.receive(_PIECE)
        if not chunk:
            return
        yield chunk
