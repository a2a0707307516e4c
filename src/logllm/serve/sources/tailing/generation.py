"""One file of a log, and how far it has been read: whole lines, never half a character."""

import time
from typing import NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from logllm.logs.archives import utf_16
from logllm.logs.lines import LONGEST_LINE
from logllm.serve.sources.tailing.file_bytes import OpenFile
from logllm.serve.sources.tailing.marks import HEAD, TAIL, Mark, head_hash
from logllm.serve.sources.tailing.rotated_names import Entry

MOST = 4 * LONGEST_LINE + 8
"""Bytes of a line that can be kept: a character has at most four."""
_BLOCK = 1 << 20
_FURTHER = 64 << 20
"""Bytes that are looked through at once for the end of a line that is too long."""
ENDLESS = 1 << 62
"""The end of a compressed file, before it has been seen."""
_A_MOMENT = 10 * 10**9
_TOLD_BY = 4096
_ROOM = bytes(4)


class ChangedBelowError(Exception):
    """Bytes before the place that was reached are others: the file was cut and written anew."""


class Piece(NamedTuple):
    """Some whole lines of a file."""

    before: bytes
    """What stands just before them in the file, at most `TAIL` bytes."""
    raw: bytes
    ends: npt.NDArray[np.int64]
    """Where each line ends in `raw`, its LF included."""
    start: int
    """Where `raw` begins in the file."""
    next: int
    """Where the line after them begins."""
    nuls: int = 0
    """NULs before them that were passed over."""


class Generation:
    """One file that a log's path names, or named, and how far it has been read."""

    def __init__(self, entry: Entry) -> None:
        """A file of which nothing has been read."""
        self.name = entry.name
        self.device, self.inode = entry.device, entry.inode
        self.size, self.changed = entry.size, entry.changed
        self.sound = (0, entry.changed)
        """Its size and its time of change when it last was the file that was read before."""
        self.offset = 0
        self.text: str | None = None
        """`utf-16-le` or `utf-16-be`, empty for everything else, none as long as nothing tells."""
        self.stop: int | None = None
        """Where reading ends, when this is known: another file's lines came next."""
        self.until: int | None = None
        """The number of its last line, as far as the store knows; none: nothing is known."""
        self.lost = False
        """Whether the file is not there any more."""
        self.whole = False
        """Whether nobody writes to it, as it is a copy or compressed."""
        self.seen = 0
        """Bytes that are known to have been there, of a file whose copy this is."""
        self.doubtful = False
        """Whether it was seen to hold something else than what was read."""
        self.searched: tuple[int, int] | None = None
        """Its size and time of change when no further whole line was in it."""
        self.quiet_since = float("-inf")
        self._head_bytes, self._head = 0, head_hash(b"")
        self._tail = b""
        self._reached: Mark | None = None
        self._known = (0, b"")
        """The furthest point at which its bytes were seen, and those before it."""
        self._searched = 0
        self._looked: tuple[int, int] | None = None

    def go_to(self, mark: Mark, reached: Mark) -> None:
        """Read on from a point that the file has, or had; it also had the later point `reached`."""
        self._head_bytes, self._head = mark.head_bytes, mark.head
        self.offset = mark.offset
        self._reached = reached

    def go_on(self, file: OpenFile) -> None:
        """Learn what stands before the point, and before the later one."""
        self._tail = _just_before(file, self.offset)
        if self._reached is not None:
            offset = self._reached.offset
            self._known = (offset, _just_before(file, offset))
            self._reached = None

    @property
    def mark(self) -> Mark:
        """The point up to which it has been read."""
        return self.mark_at(self.offset, self._tail)

    @property
    def known_mark(self) -> Mark:
        """The last point of it that is known."""
        if self._reached is not None:
            return self._reached
        if self._known[0] > self.offset:
            return self.mark_at(*self._known)
        return self.mark

    def mark_at(self, offset: int, tail: bytes) -> Mark:
        """Another point of it, and the bytes before that."""
        head = (self.device, self.inode, self._head_bytes, self._head)
        return Mark(*head, offset, len(tail), crc32(tail))

    @property
    def was_empty(self) -> bool:
        """Whether it was empty when it was last looked at."""
        return self.offset == 0 and self.sound[0] == 0

    @property
    def now(self) -> tuple[int, int]:
        """Its size, and its time of change."""
        return self.size, self.changed

    @property
    def entry(self) -> Entry:
        """What a folder would list of it."""
        return Entry(self.name, self.device, self.inode, self.size, self.changed, "")

    @property
    def number(self) -> tuple[int, int]:
        """Its device, and its number there."""
        return self.device, self.inode

    @property
    def empty(self) -> bool:
        """Whether no byte of it has been seen."""
        return self._head_bytes == 0

    @property
    def unread(self) -> int:
        """Bytes that are there and were not given; for a compressed file, a guess."""
        end = self.size if self.stop is None else self.stop
        return max(0, end - self.offset)

    def grew(self, size: int, changed: int, *, now: float) -> bool:
        """Take what the system says of it. Returns whether this is new."""
        # Files are asked about four times a second, and nearly always nothing has changed.
        if (size, changed) == self._looked:
            return False
        # At the first look a file that was written to long ago is quiet already: after a restart
        # nobody waits two seconds for each of a hundred old files.
        if self._looked is not None or self._young(changed):
            self.quiet_since = now
        self.size, self.changed = self._looked = (size, changed)
        return True

    @staticmethod
    def _young(changed: int) -> bool:
        """Whether a file was written to a moment ago, or in the future of another clock."""
        return time.time_ns() - changed < _A_MOMENT

    def as_it_was(self, file: OpenFile) -> bool:
        """Whether the file still holds what was read of it; its first bytes are learnt."""
        # No further than it was seen to go: its end tells as much of it as its beginning.
        # A packed file's size says nothing of its plain bytes.
        most = HEAD if file.packed else min(HEAD, self.size)
        start = file.read_at(0, max(most, self._head_bytes))
        if not self._begins_with(start):
            return False
        if not self._has_known(file):
            return False
        if not file.packed:
            self._know(file)
        self.sound = (self.size, self.changed)
        return True

    def _has_known(self, file: OpenFile) -> bool:
        """Whether the furthest bytes that were seen of it are there."""
        if file.packed:
            return True
        offset, tail = self._known
        before = file.read_at(offset - len(tail), len(tail))
        return before == tail

    def _know(self, file: OpenFile) -> None:
        """Learn the last bytes that are there; NULs may be written over."""
        tail = _just_before(file, self.size)
        # Only ever further: a later look at a file that shrank must not forget what was seen.
        is_whole = len(tail) == min(TAIL, self.size)
        is_written = not tail.endswith(_ROOM)
        if is_whole and is_written and self.size >= self._known[0]:
            self._known = self.size, tail

    def is_of(self, entry: Entry) -> bool:
        """Whether an entry of a folder has its number in the file system."""
        return (self.device, self.inode) == (entry.device, entry.inode)

    def _begins_with(self, start: bytes) -> bool:
        """Whether its first bytes are those known; further ones are learnt."""
        if head_hash(start[: self._head_bytes]) != self._head:
            return False
        # NULs at the end are room that was made: they may be written over.
        start = start.rstrip(b"\0") or start
        if len(start) > self._head_bytes:
            self._head_bytes, self._head = len(start), head_hash(start)
        return True

    def next_lines(self, file: OpenFile, most: int) -> Piece | None:
        """The next whole lines, at most so many; none: there is not one.

        Raises:
            ChangedBelowError: the file is no longer the one that was read.
        """
        # Nearly all lines are short: a block of 1 MiB holds thousands. One that has no end in it
        # may be as long as is kept, and more is read for it alone.
        piece = self._block(file, _BLOCK)
        if piece is not None and not len(piece.ends) and len(piece.raw) == _BLOCK:
            piece = self._block(file, MOST)
        if piece is None:
            return None
        if len(piece.ends):
            return self._given(_cut(piece, most), file)
        return self._longest(file, piece) if len(piece.raw) == MOST else None

    def rest(self, file: OpenFile) -> Piece | None:
        """What stands after the last whole line, as a line: nobody will end it."""
        piece = self._block(file, MOST)
        if piece is None or not piece.raw.strip(b"\0"):
            return None
        # Of a line that is too long the beginning is kept, and all of the rest passed over.
        raw = piece.raw
        end = piece.start + len(raw)
        if len(raw) == MOST:
            end = self._end(file)
            raw = _whole_characters(raw)
        ends = np.array([len(raw)])
        line = piece._replace(raw=raw, ends=ends, next=end)
        return self._given(line, file)

    def skip(self, file: OpenFile, until: int, *, most: int) -> tuple[int, bool]:
        """Pass over whole lines before an offset, at most so many bytes.

        Returns:
            How many lines, and whether all of them were passed over.
        """
        # Searched from where the last call stopped, which may be in the middle of a line.
        lines, over = 0, False
        self._searched = max(self._searched, self.offset)
        stop = min(until, self._searched + most)
        while self._searched < stop and not over:
            block = file.read_at(self._searched, min(MOST, stop - self._searched))
            if self.text is None and self._searched == 0:
                self._learn_text(block)
            ends = line_ends(block, self.text or "")
            lines += len(ends)
            if len(ends):
                self.offset = self._searched + int(ends[-1])
            self._searched += len(block)
            over = not block
        self._tail = _just_before(file, self.offset)
        self._begins_with(file.read_at(0, HEAD))
        return lines, over or self._searched >= until

    def _block(self, file: OpenFile, size: int) -> Piece | None:
        """The next bytes, and the lines that end in them."""
        end = self._end(file)
        if end <= self.offset:
            return None
        tail = self._tail
        # With the bytes just before it: that they are the same is how a file that was cut and
        # written anew is noticed, whatever its size and its times say.
        next_bytes = min(size, end - self.offset)
        block = file.read_at(self.offset - len(tail), len(tail) + next_bytes)
        raw = block[len(tail) :]
        if not block.startswith(tail):
            raise ChangedBelowError
        if self.offset == 0 and not self._begins_with(raw[:HEAD]):
            raise ChangedBelowError
        if not self._has_known(file):  # it was cut since it was looked at, and begins as before
            raise ChangedBelowError
        if self.text is None:
            self._learn_text(raw)
        no_ends = np.zeros(0, np.int64)
        piece = Piece(tail, raw, no_ends, self.offset, self.offset)
        # In UTF-16 every second byte of plain English is NUL.
        if raw.startswith(b"\0") and not self.text:
            piece = self._past_nuls(file, piece, size=size)
        return piece._replace(ends=line_ends(piece.raw, self.text or ""))

    def _past_nuls(self, file: OpenFile, piece: Piece, *, size: int) -> Piece:
        """The bytes after NULs: a program wrote on where it was, after the file had been cut.

        NULs with nothing after them are left: a program may still write in their place.
        """
        end = self._end(file)
        start, raw = piece.start, piece.raw
        while raw and not raw.lstrip(b"\0"):
            # A hole of gigabytes is passed over at once where the file system tells of it.
            data_from = getattr(file, "data_from", lambda offset: offset)
            start = data_from(start + len(raw))
            raw = file.read_at(start, min(size, end - start)) if start < end else b""
        if not raw:
            return piece._replace(raw=b"")
        start += len(raw) - len(raw.lstrip(b"\0"))
        raw = file.read_at(start, min(size, end - start))
        nuls = start - piece.start
        before = _just_before(file, start)
        return piece._replace(before=before, raw=raw, start=start, nuls=nuls)

    def _longest(self, file: OpenFile, piece: Piece) -> Piece | None:
        """A line of which only the beginning can be kept, once its end is there."""
        # Where the last look for its end stopped: a line of gigabytes is looked through once.
        position = max(self._searched, piece.start + len(piece.raw))
        end = self._end(file)
        most = position + _FURTHER
        while position < min(end, most):
            block = file.read_at(position, min(_BLOCK, end - position))
            if not block:
                break
            ends = line_ends(block, self.text or "")
            if len(ends):
                raw = _whole_characters(piece.raw)
                end_of_kept = np.array([len(raw)])
                next_line = position + int(ends[0])
                line = piece._replace(raw=raw, ends=end_of_kept, next=next_line)
                return self._given(line, file)
            # In UTF-16 a character has two bytes: every step ends between two characters.
            position += len(block) // 2 * 2
        self._searched = position
        return None

    def _given(self, piece: Piece, file: OpenFile) -> Piece:
        """A piece, after which reading goes on."""
        # Most pieces end where the next begins: their own last bytes are those before the point.
        whole = piece.next == piece.start + len(piece.raw)
        if whole:
            last_bytes = piece.before + piece.raw[-TAIL:]
            self._tail = last_bytes[-TAIL:]
        else:
            self._tail = _just_before(file, piece.next)
        self.offset = piece.next
        return piece

    def _end(self, file: OpenFile) -> int:
        """Where what can be read of it ends."""
        if self.stop is not None:
            return self.stop
        return ENDLESS if file.packed else self.size

    def _learn_text(self, start: bytes) -> None:
        """See from a file's first line whether it is in UTF-16."""
        name = utf_16(start[:_TOLD_BY]) if self.offset == 0 else None
        if name or b"\n" in start:
            self.text = name or ""


def line_ends(raw: bytes, text: str) -> npt.NDArray[np.int64]:
    r"""Where lines end in some bytes, their LF included.

    >>> line_ends(b"up\ndown\nu", "").tolist()
    [3, 8]
    >>> line_ends("\u0a0au\n".encode("utf-16-be"), "utf-16-be").tolist()
    [6]
    """
    line_feed = ord("\n")
    if not text:
        each_byte = np.frombuffer(raw, np.uint8)
        return np.flatnonzero(each_byte == line_feed) + 1
    kind = "<u2" if text == "utf-16-le" else ">u2"
    # By characters, not bytes: U+0A0A holds the byte of a line end twice, and is none.
    characters = np.frombuffer(raw, kind, count=len(raw) // 2)
    return 2 * (np.flatnonzero(characters == line_feed) + 1)


def _cut(piece: Piece, most: int) -> Piece:
    """The first lines of a piece, and nothing after them."""
    ends = piece.ends[:most]
    last = int(ends[-1])
    raw = piece.raw[:last]
    return piece._replace(raw=raw, ends=ends, next=piece.start + last)


def _just_before(file: OpenFile, offset: int) -> bytes:
    """What stands just before a point of a file."""
    start = max(0, offset - TAIL)
    return file.read_at(start, offset - start)


def _whole_characters(raw: bytes) -> bytes:
    """The beginning of a line that is too long, without a piece of a character at its end."""
    last = len(raw) // 2 * 2
    # The last four bytes at most belong to a character that was cut; its first byte is none of the
    # form 10xxxxxx.
    last_bytes = range(last - 1, last - 5, -1)
    begins = (at for at in last_bytes if raw[at] & 0xC0 != 0x80)
    begin = next(begins, last)
    return raw[: begin // 2 * 2]
