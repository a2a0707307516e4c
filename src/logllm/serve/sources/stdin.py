"""Standard input as a source: read no faster than the spool takes it."""

import io
import os
import select
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Thread
from typing import Literal

from logllm.errors import DataError, LogLLMError, ServeError
from logllm.logs.archives import Bytes
from logllm.logs.lines import STDIN, read_lines
from logllm.serve.sources.spool.spooled import LINGER, SPOOL_BYTES, Spooled
from logllm.serve.sources.spool.writer import Writer

_PIECE = 1 << 16  # bytes at once
_LOOK = 0.2  # seconds after which a wait looks whether it is to end
_END = 5.0  # seconds in which a stream that has no handle must give its next piece


class StdinSource(Spooled):
    """Lines of standard input.

    A line counts once it is flushed to the spool. What the pipe still held when the process was
    killed is lost to the sender.
    """

    def __init__(
        self,
        folder: Path,
        *,
        stream: Bytes | None = None,
        limit: int = SPOOL_BYTES,
        encoding: Literal["utf-8", "latin-1"] = "utf-8",
    ) -> None:
        """A source that has not begun.

        Args:
            folder: where the spool is.
            stream: what is read; none: the process's standard input.
            limit: bytes on disk at which reading waits.
            encoding: how bytes become text.
        """
        listener = _Reading(stream, encoding=encoding)
        super().__init__(STDIN, "stdin", listener=listener, folder=folder, limit=limit)


class _Pipe:
    """A stream that is read only while the spool has room, as `read_lines` wants it."""

    arriving = True

    def __init__(self, stream: Bytes, writer: Writer, *, stopping: Event) -> None:
        self.given = 0
        self._stream = stream
        self._writer = writer
        self._stopping = stopping
        try:
            self._handle = stream.fileno() if isinstance(stream, io.IOBase) else -1
        except OSError:  # something that stands in for a file
            self._handle = -1

    def read(self, size: int = -1, /) -> bytes:
        """What has come, once the spool has room; nothing at the end, or when it is to stop."""
        # Neither wait is for ever, so that a stop is noticed within two looks. What is not read
        # stays with the sender, whom a full pipe holds up.
        while not (self._writer.room(_LOOK) and self.comes(_LOOK)):
            if self._stopping.is_set():
                return b""
        if self._stopping.is_set():
            return b""
        most = _PIECE if size < 0 else min(size, _PIECE)
        # Not through Python's buffer, which would wait until it is full.
        if self._handle >= 0:
            piece = os.read(self._handle, most)
        else:
            piece = self._stream.read(most)
        self.given += len(piece)
        return piece

    def comes(self, wait: float) -> bool:
        """Whether there is more to read, or the end, within some seconds."""
        if self._handle < 0:
            return True
        # The end is readable as well, and then read as nothing.
        ready, _, _ = select.select([self._handle], [], [], wait)
        return bool(ready)


class _Reading:
    """The thread that reads."""

    linger = LINGER

    def __init__(self, stream: Bytes | None, *, encoding: Literal["utf-8", "latin-1"]) -> None:
        self.ended = False
        self.fault: LogLLMError | None = None
        self._stream = stream
        self._encoding = encoding
        self._counts: Counter[str] = Counter()
        self._stopping = Event()
        self._thread: Thread | None = None

    @property
    def counts(self) -> Mapping[str, int]:
        """Characters replaced, lines cut, lines that had colours: as `Lines` has them."""
        return self._counts

    def start(self, writer: Writer) -> None:
        """Begin to read.

        Raises:
            ServeError: standard input is closed.
        """
        if self._stream is None and sys.stdin is None:
            raise ServeError("standard input (-) is closed: name files, or pipe lines into it")
        stream = self._stream or sys.stdin.buffer
        pipe = _Pipe(stream, writer, stopping=self._stopping)
        # A daemon: a stream that gives nothing more must not keep the program from ending.
        self._thread = Thread(
            target=self._read, args=(pipe, writer), name="logllm-stdin", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Read no further."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_END)

    def _read(self, pipe: _Pipe, writer: Writer) -> None:
        """Give lines to the spool until the input ends."""
        try:
            for lines in read_lines([STDIN], encoding=self._encoding, stdin=pipe):
                self._counts["replaced"] += lines.replaced
                self._counts["cut_lines"] += lines.cut
                self._counts["coloured_lines"] += lines.coloured
                writer.add(lines.frame["text"].to_list())
        except DataError as exc:
            # An input that was empty ended well.
            self.fault = exc if pipe.given else None
        # A stop is no end: the next start goes on with what the pipe still holds.
        self.ended = not self._stopping.is_set()
