"""Lines on disk, in segments that are deleted when all that they hold is stored."""

import os
import struct
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import NamedTuple, Protocol

import polars as pl
import zstandard

from logllm.errors import DataError, ServeError
from logllm.serve.sources.contract import LINES
from logllm.storage import flush, locked

ENTRY_LINES = 4096
"""Most lines of an entry."""
ENTRY_BYTES = 1 << 20
"""Most characters of an entry, except where one line has more."""
_SEGMENT = 16 << 20  # bytes after which a new segment is begun
_LEVEL = 1  # of zstd: logs become a sixth, faster than disks write
_MAGIC = b"\xf1LG\n"
_HEAD = struct.Struct("<4sI")  # magic, checksum of all that follows
_BODY = struct.Struct("<IQId")  # bytes of packed text, first line, lines, seconds
_CHUNK = 1 << 16


class Batch(Protocol):
    """Lines that came together."""

    @property
    def lines(self) -> Sequence[str]:
        """Their texts, none of which holds a line break."""

    @property
    def arrived(self) -> float:
        """When they came: seconds since 1970."""


class Group(NamedTuple):
    """Lines of one entry."""

    lines: pl.DataFrame
    """`LINES`."""
    arrived: float
    """When they came: seconds since 1970."""


class _Entry(NamedTuple):
    """One entry of a segment, its checksum right."""

    start: int
    end: int
    first: int
    height: int
    arrived: float
    packed: bytes


@dataclass
class _Segment:
    """A file of entries, named after the number of its first line."""

    first: int
    path: Path
    size: int
    """Bytes that are whole and flushed; what lies behind them is not there."""


class Spool:
    """Numbered lines in a folder.

    One thread appends, another one reads and forgets. Lines are there to read once they are flushed
    to disk, so that no number is ever given to two lines, whatever is cut off. Reading is from
    disk: a backlog takes no memory.
    """

    def __init__(self, folder: Path, *, segment: int = _SEGMENT) -> None:
        """A spool that is not open yet.

        Args:
            folder: where its segments lie; made where it is not there.
            segment: bytes after which a new segment is begun: a whole one is deleted at a time.
        """
        self.folder = folder
        self.counts: Counter[str] = Counter()
        """`torn_bytes`: cut from the end, after a kill in the middle of a write; `damaged_bytes`:
        passed over because their checksum is wrong; `missing_lines`: those that numbers say were
        there."""
        self.next = 1
        """The number that the next line gets."""
        self.size = 0
        """Bytes on disk."""
        self._segment = segment
        self._segments: list[_Segment] = []
        self._changed = Condition()
        self._hold = ExitStack()
        self._written = -1
        self._reading = -1
        self._place = (0, 0, 0)  # segment's first line, byte, line: where reading goes on

    @property
    def first(self) -> int:
        """The number of the first line that is here, or would be."""
        with self._changed:
            return self._segments[0].first

    def open(self) -> None:
        """Take the folder, cut what a kill left half written, and go on with the numbers.

        Raises:
            ServeError: another process has it, or it cannot be written.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._hold.enter_context(locked(self.folder / "lock")):
                remedy = "give each watch a store of its own"
                raise ServeError(f"another process keeps lines in {self.folder}: {remedy}")
            self._recover()
        except DataError as exc:
            raise ServeError(str(exc)) from exc
        except OSError as exc:
            raise ServeError(f"lines cannot be kept in {self.folder}: {exc.strerror}") from exc

    def skip_to(self, line: int) -> None:
        """Give new lines at least this number: lines before it were given once."""
        self.next = max(self.next, line)

    def append(self, batches: Sequence[Batch]) -> None:
        """Write lines and flush them.

        Raises:
            OSError: the disk is full or broken; none of these lines is here.
        """
        # All that waits goes out in one write and one flush, which takes as long for one line as
        # for thousands.
        number = self.next
        entries: list[bytes] = []
        for batch in batches:
            for lines in _divided(batch.lines):
                entries.append(_packed(lines, first=number, arrived=batch.arrived))
                number += len(lines)
        block = b"".join(entries)

        segment = self._writable()
        try:
            _write(self._written, block, place=segment.size)
            os.fsync(self._written)
        except OSError:
            # What fits is written again, at the same place.
            with suppress(OSError):
                os.ftruncate(self._written, segment.size)
            raise

        # Only now are the lines there to read: what is told to a sender must be on disk.
        with self._changed:
            segment.size += len(block)
            self.size += len(block)
            self.next = number
            self._changed.notify_all()
        # At once, for only what is not the last can be deleted.
        # If it fails, it is tried before the next write.
        with suppress(OSError):
            self._writable()

    def read(self, line: int) -> Group | None:
        """Lines from this one on, as many as one entry has; none: it has not come yet."""
        with self._changed:
            segments = list(self._segments)
        # The segment that the line is in, or after it: where entries are damaged, lines are
        # missing.
        firsts = [segment.first for segment in segments]
        start = max(0, bisect_right(firsts, line) - 1)
        for segment in segments[start:]:
            byte = self._byte_of(segment, line)
            for entry in self._entries(segment, byte):
                # Bytes between the last whole entry and this one are none that can be read.
                self.counts["damaged_bytes"] += entry.start - self._place[1]
                after = entry.first + entry.height
                self._place = (segment.first, entry.end, after)
                if after > line:
                    self.counts["missing_lines"] += max(0, entry.first - line)
                    return _unpacked(entry, line)
        return None

    def wait(self, line: int, seconds: float) -> None:
        """Wait until a line has come, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self.next > line, seconds)

    def forget(self, low: int) -> None:
        """Delete segments that hold nothing but lines below this one.

        The last segment stays, so that its numbers go on.
        """
        with self._changed:
            # A segment holds nothing but such lines if the next one begins at one of them.
            next_firsts = [segment.first for segment in self._segments[1:]]
            whole = bisect_right(next_firsts, low)
            old = self._segments[:whole]
            self._segments = self._segments[whole:]
            self.size -= sum(segment.size for segment in old)
        for segment in old:
            # Should one stay, its lines are passed over at the next start.
            with suppress(OSError):
                segment.path.unlink()

    def close(self) -> None:
        """Give the folder back."""
        for handle in (self._written, self._reading):
            if handle >= 0:
                os.close(handle)
        self._written = self._reading = -1
        self._hold.close()

    def _recover(self) -> None:
        """Look at what is there.

        The last segment is read through and cut after its last whole entry.
        """
        # Their names have twenty digits, so that they sort as the numbers do.
        named = self.folder.glob("*.lines")
        paths = sorted(path for path in named if path.stem.isdecimal())
        self._segments = []
        for path in paths:
            size = path.stat().st_size
            self._segments.append(_Segment(int(path.stem), path, size))
        if not self._segments:
            self._begin_segment()
            self.size = 0
            return
        # Only the last one can have been cut by a kill: all others were whole when it was begun.
        last = self._segments[-1]
        self._written = os.open(last.path, os.O_RDWR)
        end, self.next = 0, last.first
        for entry in _entries_of(self._written, start=0, end=last.size):
            end = entry.end
            self.next = max(self.next, entry.first + entry.height)
        if end < last.size:
            self.counts["torn_bytes"] += last.size - end
            os.ftruncate(self._written, end)
            last.size = end
        # What was written just before a kill may be whole and yet not flushed.
        os.fsync(self._written)
        self.size = sum(segment.size for segment in self._segments)
        self._writable()

    def _writable(self) -> _Segment:
        """The segment that is written to: a new one where the last is long enough."""
        if self._segments[-1].size >= self._segment:
            self._begin_segment()
        return self._segments[-1]

    def _begin_segment(self) -> None:
        """Make an empty segment, whose name keeps the number that comes next."""
        # The name keeps the number even while the file is empty: after a restart, with all else
        # deleted, lines go on to be numbered from it. The folder is flushed, or a crash could take
        # the name away.
        path = self.folder / f"{self.next:020d}.lines"
        path.touch(mode=0o600)
        flush(self.folder)
        if self._written >= 0:
            os.close(self._written)
        self._written = os.open(path, os.O_RDWR)
        with self._changed:
            self._segments = [*self._segments, _Segment(self.next, path, 0)]

    def _byte_of(self, segment: _Segment, line: int) -> int:
        """Where to begin to read a segment: where reading stopped, if that is the line's place."""
        # Lines are read in order: nearly always it goes on where it stopped, without a search.
        first, byte, reached = self._place
        if first != segment.first or self._reading < 0:
            if self._reading >= 0:
                os.close(self._reading)
            self._reading = os.open(segment.path, os.O_RDONLY)
            byte, reached = 0, segment.first
        if reached > line:
            byte, reached = 0, segment.first
        self._place = (segment.first, byte, reached)
        return byte

    def _entries(self, segment: _Segment, start: int) -> Iterator[_Entry]:
        """Whole entries of the segment that is being read."""
        return _entries_of(self._reading, start=start, end=segment.size)


def _divided(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """Lines in pieces that are read at once: neither many nor long, unless it is one line."""
    short = sum(map(len, lines)) <= ENTRY_BYTES
    if len(lines) <= 1 or (short and len(lines) <= ENTRY_LINES):
        yield lines
        return
    middle = len(lines) // 2
    yield from _divided(lines[:middle])
    yield from _divided(lines[middle:])


def _packed(lines: Sequence[str], *, first: int, arrived: float) -> bytes:
    """An entry as it is written."""
    # Half of a character, as a sender may give it, is no UTF-8: it becomes a question mark.
    text = "\n".join(lines).encode("utf-8", errors="replace")
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(text)
    figures = _BODY.pack(len(packed), first, len(lines), arrived)
    body = figures + packed
    head = _HEAD.pack(_MAGIC, zlib.crc32(body))
    return head + body


def _unpacked(entry: _Entry, line: int) -> Group:
    """The lines of an entry from one of them on."""
    text = zstandard.ZstdDecompressor().decompress(entry.packed).decode()
    whole = pl.Series("text", [text], dtype=pl.String)
    # A sender's empty text is a line as well: splitting gives as many as were joined.
    texts = whole.str.split("\n").explode()
    after = entry.first + entry.height
    numbers = pl.int_range(entry.first, after, dtype=pl.UInt64, eager=True)
    frame = pl.DataFrame({"line": numbers, "text": texts}, schema=LINES)
    wanted = frame.slice(max(0, line - entry.first))
    return Group(wanted, entry.arrived)


def _entries_of(handle: int, *, start: int, end: int) -> Iterator[_Entry]:
    """Whole entries between two bytes of a file, in order.

    What is damaged between them is passed over.
    """
    while start < end:
        entry = _entry_at(handle, start=start, end=end)
        if entry is None:
            start = _next_magic(handle, start=start + 1, end=end)
        else:
            yield entry
            start = entry.end


def _entry_at(handle: int, *, start: int, end: int) -> _Entry | None:
    """The entry that begins at a byte; none: it is no whole one."""
    # Head and body have a fixed size: one read tells how many bytes of text follow.
    head = os.pread(handle, _HEAD.size + _BODY.size, start)
    if len(head) < _HEAD.size + _BODY.size or not head.startswith(_MAGIC):
        return None
    _, checksum = _HEAD.unpack_from(head)
    length, first, height, arrived = _BODY.unpack_from(head, _HEAD.size)
    begin = start + len(head)
    # Half written, or the length itself is damaged.
    if begin + length > end:
        return None
    packed = os.pread(handle, length, begin)
    # Over the figures and the text, as if they were one.
    of_figures = zlib.crc32(head[_HEAD.size :])
    if zlib.crc32(packed, of_figures) != checksum:
        return None
    return _Entry(start, begin + length, first, height, arrived, packed)


def _next_magic(handle: int, *, start: int, end: int) -> int:
    """Where an entry may begin next; the end: nowhere."""
    while start < end:
        chunk = os.pread(handle, _CHUNK, start)
        place = chunk.find(_MAGIC)
        if place >= 0:
            return min(start + place, end)
        if len(chunk) < len(_MAGIC):
            break
        # The last three bytes once more: the mark may lie across two chunks.
        start += len(chunk) - len(_MAGIC) + 1
    return end


def _write(handle: int, block: bytes, *, place: int) -> None:
    """Write all of a block at a place."""
    left = memoryview(block)
    while left:
        count = os.pwrite(handle, left, place)
        place += count
        left = left[count:]
