"""Bytes that come when they come: from a pipe, or lines that somebody else makes.

They are given on after a short wait.
"""

import os
import stat
import sys
import time
from collections import deque
from collections.abc import Iterable
from threading import Condition, Thread

from logllm.errors import DataError
from logllm.logs.archives import Bytes

WAIT = 0.2
"""Seconds from the first byte that has come until what has come since is given on."""

_PIECE = 1 << 16  # bytes of standard input at once
_LISTEN = 0.5
"""Seconds after which a wait looks whether somebody wants it to end."""
_MOST = 16 << 20
"""Bytes that are held before the source has to wait."""


class Arriving:
    """Pieces of bytes, taken from their source by a thread of its own, as a stream.

    `read` gives what has come: it waits for the first byte and then a moment for more, so that a
    fast source gives full blocks and a slow one is not kept waiting. The source is asked from
    another thread than the reader's, and no longer after `close`.
    """

    arriving = True
    """What `logllm.logs.archives.arrives` asks for."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        """Begin to take pieces; an empty one is passed over."""
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._closed = False
        self._fault: BaseException | None = None
        self._changed = Condition()
        # A daemon: a source that gives nothing more must not keep the program from ending.
        Thread(target=self._take, args=(pieces,), name="logllm-arriving", daemon=True).start()

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes that have come; none at the end, or once it is closed.

        Raises:
            Exception: whatever the source raised, after all that it gave before.
        """
        wanted = _MOST if size < 0 else size
        with self._changed:
            # In short waits: a signal, such as Ctrl-C, does not end a long one.
            while not (self._held or self._ended or self._closed):
                self._changed.wait(_LISTEN)
            if self._closed:
                return b""
            patience = time.monotonic() + WAIT
            while self._held < wanted and not self._ended:
                if not self._changed.wait(patience - time.monotonic()):
                    break
            block = self._given(wanted)
            self._changed.notify_all()
        if not block and self._fault is not None:
            raise self._fault
        return block

    def comes(self, wait: float) -> bool:
        """Whether there is more to read, or the end, within some seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._held > 0 or self._ended, wait)

    def close(self) -> None:
        """Take nothing more from the source once it has given its next piece."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _given(self, size: int) -> bytes:
        """The first `size` bytes of what is held."""
        # A piece that is longer than what is asked for is divided, and its rest stays the first.
        taken: list[bytes] = []
        while self._pieces and size:
            piece = self._pieces.popleft()
            if len(piece) > size:
                self._pieces.appendleft(piece[size:])
                piece = piece[:size]
            taken.append(piece)
            size -= len(piece)
            self._held -= len(piece)
        return b"".join(taken)

    def _take(self, pieces: Iterable[bytes]) -> None:
        """Hold what the source gives, until it ends."""
        try:
            # The source waits while too much is held, so that memory is bounded whoever reads.
            for piece in pieces:
                with self._changed:
                    self._pieces.append(piece)
                    self._held += len(piece)
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._held < _MOST or self._closed)
                    if self._closed:
                        return
        except BaseException as exc:  # noqa: BLE001 - whatever it is, it is the reader's
            self._fault = exc
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()


def standard_input() -> Bytes:
    """The process's standard input.

    What comes through a pipe or from a terminal is given on as it comes.

    Raises:
        DataError: it is closed.
    """
    if sys.stdin is None:
        raise DataError("standard input (-) is closed: name files, or pipe lines into it")
    try:
        handle = sys.stdin.buffer.fileno()
    except OSError:  # something in its place that is no file of the system's
        return sys.stdin.buffer
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return sys.stdin.buffer
    # Not through Python's buffer: its lock, held by a thread that waits, would not let the program
    # end.
    return Arriving(iter(lambda: os.read(handle, _PIECE), b""))
