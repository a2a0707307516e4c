"""Requests of HTTP/1.1 on a connection, each with bounds on its size and its time."""

import socket
import time
import zlib
from collections.abc import Mapping
from threading import Lock
from typing import NamedTuple

import h11

from logllm.serve.sources.wire.connections import Connection

BODY = 20 << 20
"""Most bytes of a request's body, as it is sent and as it is unpacked."""
_BODIES = 64 << 20  # bytes of all bodies at once
_HEAD = 16 << 10
_PIECE = 1 << 16
HEAD_TIME = 10.0  # seconds from a request's first byte to the end of its headers
_BODY_TIME = 60.0
_ANSWER_TIME = 10.0
_PARTING = 2.0
_PARTING_BYTES = 2 * BODY
_GZIP = 31  # zlib: with gzip's header


class Request(NamedTuple):
    """A request's head."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By their names in lower case."""


class Answer(NamedTuple):
    """What is answered."""

    status: int
    body: bytes = b""
    type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()


class Refused(Exception):
    """A request that is not taken."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        given = headers.items()
        self.headers = tuple((name.replace("_", "-"), value) for name, value in given)


class Room:
    """Memory for all bodies together."""

    def __init__(self) -> None:
        self._left = _BODIES
        self._lock = Lock()

    def take(self, size: int) -> None:
        """Reserve some bytes.

        Raises:
            Refused: there are no more.
        """
        with self._lock:
            # Refused, not waited for: the sender holds the records, and comes again.
            if self._left < size:
                raise Refused(503, "too many requests at once", Retry_After="1")
            self._left -= size

    def give_back(self, size: int) -> None:
        """Reserve them no longer."""
        with self._lock:
            self._left += size


class Exchange:
    """One connection's requests, one after the other."""

    def __init__(self, connection: Connection, room: Room) -> None:
        self._connection = connection
        self._room = room
        self._reserved = 0
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD)

    def next(self) -> Request | None:
        """The next request's head; none: the connection has ended.

        Raises:
            Refused: it is no HTTP.
            OSError: it broke, or the head took too long.
        """
        # An exporter may say nothing for hours between two requests; once its first byte has come,
        # the rest must follow within ten seconds.
        self._connection.socket.settimeout(None)
        if not self._http.trailing_data[0]:
            started = self._connection.receive(_PIECE)
            self._http.receive_data(started)
        event = self._event(time.monotonic() + HEAD_TIME)
        if not isinstance(event, h11.Request):
            return None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        path = event.target.decode("latin-1").partition("?")[0]
        return Request(event.method.decode("latin-1"), path, headers)

    def body(self, request: Request) -> bytes:
        """The request's body.

        Raises:
            Refused: it is too long.
            OSError: it broke, or took too long.
        """
        length = request.headers.get("content-length", "0")
        # By its head first: nothing of it needs to be read.
        if int(length) > BODY:
            raise Refused(413, f"a body of {length} bytes; send at most {BODY}")
        # A body in chunks tells no length: it is counted as it comes.
        until = time.monotonic() + _BODY_TIME
        pieces: list[bytes] = []
        size = 0
        while isinstance(event := self._event(until), h11.Data):
            self._reserve(len(event.data))
            size += len(event.data)
            if size > BODY:
                raise Refused(413, f"a body of more than {BODY} bytes")
            pieces.append(bytes(event.data))
        if isinstance(event, h11.ConnectionClosed):
            raise ConnectionResetError("it ended in the middle of a body")
        return b"".join(pieces)

    def unpacked(self, body: bytes) -> bytes:
        """What gzip made of a body.

        Raises:
            Refused: it is no gzip, is cut off, or too long.
        """
        plain: list[bytes] = []
        # One byte more than may be, so that too much shows; a small body may unpack to gigabytes.
        left = BODY + 1
        try:
            while body:
                member = zlib.decompressobj(_GZIP)
                plain.append(member.decompress(body, left))
                self._reserve(len(plain[-1]))
                left -= len(plain[-1])
                if left <= 0:
                    raise Refused(413, f"a body of more than {BODY} bytes, once it is unpacked")
                if not member.eof:
                    raise Refused(400, "the body is gzip that is cut off")
                # gzip may come in several members, one behind the other.
                body = member.unused_data
        except zlib.error as exc:
            raise Refused(400, f"the body is no gzip: {exc}") from exc
        return b"".join(plain)

    def answer(self, answer: Answer) -> bool:
        """Answer; whether more requests may come on the connection.

        Raises:
            OSError: it broke, or nobody takes the answer.
        """
        self._release()
        # A body that was not read is not waited for.
        whole = self._http.their_state is h11.DONE
        length = str(len(answer.body))
        own = [("Content-Type", answer.type), ("Content-Length", length)]
        headers = [*own, *answer.headers]
        if not whole:
            headers.append(("Connection", "close"))
        # Not where half of an answer was sent already: nothing that follows would be understood.
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._connection.socket.settimeout(_ANSWER_TIME)
            self._send(h11.Response(status_code=answer.status, headers=headers))
            self._send(h11.Data(data=answer.body))
            self._send(h11.EndOfMessage())
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        self._part()
        return False

    def _event(self, until: float) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """What comes next.

        Raises:
            Refused: it is no HTTP.
            OSError: it broke, or took too long.
        """
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                # curl, among others, sends a larger body only after it was told to go on.
                if self._http.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError("it took too long")
                self._connection.socket.settimeout(left)
                self._http.receive_data(self._connection.receive(_PIECE))
        except h11.RemoteProtocolError as exc:
            raise Refused(exc.error_status_hint, f"that is no HTTP/1.1: {exc}") from exc
        return event

    def _send(self, event: h11.Event) -> None:
        self._connection.socket.sendall(self._http.send(event) or b"")

    def _part(self) -> None:
        """Let the peer read the answer: to close while it still sends would take that from it."""
        self._connection.stop(socket.SHUT_WR)
        until = time.monotonic() + _PARTING
        size = 0
        # What the peer still sends is read and dropped, within two seconds and twice the largest
        # body.
        while size < _PARTING_BYTES and (left := until - time.monotonic()) > 0:
            self._connection.socket.settimeout(left)
            piece = self._connection.receive(_PIECE)
            if not piece:
                return
            size += len(piece)

    def _reserve(self, size: int) -> None:
        self._room.take(size)
        self._reserved += size

    def _release(self) -> None:
        self._room.give_back(self._reserved)
        self._reserved = 0

    def close(self) -> None:
        """Hold nothing more."""
        self._release()
