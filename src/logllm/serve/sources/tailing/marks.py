"""Points in files, by which a file and how far it was read are known again under any name."""

from hashlib import blake2b
from typing import NamedTuple, Protocol
from zlib import crc32

HEAD = 1024
"""The most bytes at a file's beginning by which it is known."""
TAIL = 256
"""The most bytes before a point by which the point is known."""


class ReadAt(Protocol):
    """A file whose plain bytes can be read anywhere."""

    def read_at(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from an offset on; fewer only at the end."""


class Mark(NamedTuple):
    """A point in a file, and what the file was like up to there."""

    device: int
    inode: int
    head_bytes: int
    """How many of its first bytes were hashed: a file that is young has few."""
    head: str
    offset: int
    """The point: plain bytes from the file's beginning."""
    tail_bytes: int
    tail: int
    """A checksum of the bytes just before the point."""

    def fits(self, file: ReadAt) -> bool:
        """Whether a file holds what was read up to this point.

        Where files begin alike their bytes before the point tell them apart; of files that are
        equal up to the point any is right.
        """
        # A point inside a file of which nothing before it is known fits everywhere, and so nowhere.
        if self.offset and not self.tail_bytes:
            return False
        # The head first: it tells nearly all other files apart, and is read by one call.
        start = file.read_at(0, self.head_bytes)
        if head_hash(start) != self.head:
            return False
        before = file.read_at(self.offset - self.tail_bytes, self.tail_bytes)
        return len(before) == self.tail_bytes and crc32(before) == self.tail


def head_hash(start: bytes) -> str:
    """A hash of a file's first bytes, and of how many they are.

    >>> head_hash(b"") == head_hash(b"2026-11-27")
    False
    """
    return blake2b(start, digest_size=12, salt=len(start).to_bytes(4, "big")).hexdigest()
