"""Archives as plain byte streams, recognised by their first bytes and never by their name."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

import zstandard

FAULTS = (EOFError, OSError, lzma.LZMAError, zlib.error, zstandard.ZstdError)
"""What reading an archive that is cut off or damaged raises."""

_INPUT = 8192


class Bytes(Protocol):
    """Anything bytes can be read from, an archive of bytes included."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""


class Counted:
    """A stream that can be looked at before it is read, and that knows how many bytes it gave."""

    def __init__(self, stream: Bytes) -> None:
        self.given = 0
        self._stream = stream
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, or all there are; a pipe may take several reads."""
        while len(self._ahead) < size and (more := self._stream.read(size - len(self._ahead))):
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes."""
        if size < 0:
            block, self._ahead = self._ahead + self._stream.read(), b""
        elif self._ahead:
            block, self._ahead = self._ahead[:size], self._ahead[size:]
        else:
            block = self._stream.read(size)
        self.given += len(block)
        return block


class _Decompressor(Protocol):
    """What the four libraries' decompressors of one member have in common."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""

    @property
    def unused_data(self) -> bytes:
        """What came after its end."""

    def decompress(self, data: bytes, /) -> bytes:
        """The plain bytes of some more compressed ones."""


class _Archive:
    """Members (frames, streams) one after the other.

    The libraries' own readers overlook that a zst's end is missing, and lose what precedes a fault.
    """

    def __init__(self, stream: Bytes, member: Callable[[], _Decompressor]) -> None:
        self._stream = stream
        self._new_member = member
        self._member: _Decompressor | None = None
        self._compressed = b""
        self._plain = bytearray()

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; a fault is raised only when all before it has been read."""
        try:
            while (size < 0 or len(self._plain) < size) and self._more():
                pass
        except FAULTS:
            if not self._plain:
                raise
        size = len(self._plain) if size < 0 else size
        with memoryview(self._plain) as plain:
            block = bytes(plain[:size])
        del self._plain[:size]
        return block

    def _more(self) -> bool:
        """Decompress a little more; small inputs, since each may grow a thousandfold."""
        compressed = self._compressed or self._stream.read(_INPUT)
        if self._member is None and not compressed.strip(b"\0"):  # the end, or its padding
            self._compressed = b""
            return bool(compressed)
        if not compressed:
            raise EOFError("its end is missing")
        if self._member is None:
            self._member = self._new_member()
        self._compressed = compressed  # so that a fault is met again after what precedes it has been read
        plain = self._member.decompress(compressed)
        self._plain += plain
        self._compressed = b""
        if self._member.eof:
            self._compressed, self._member = self._member.unused_data, None
        return True


_KINDS: tuple[tuple[str, bytes, Callable[[], _Decompressor]], ...] = (
    ("zcat", b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    ("bzcat", b"BZh", bz2.BZ2Decompressor),
    ("xzcat", b"\xfd7zXZ\x00", lzma.LZMADecompressor),
    ("zstdcat", b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()),
)
"""The command that unpacks a kind of archive, its first bytes, and what decompresses one member."""


def unpack(stream: Counted) -> tuple[Bytes, str | None]:
    """The plain bytes of a stream, and the command that unpacks its kind of archive (none: it is not an archive).

    Archives of several members are read to their last one.

    >>> import gzip, io
    >>> plain, tool = unpack(Counted(io.BytesIO(gzip.compress(b"one ") + gzip.compress(b"two"))))
    >>> plain.read(), tool
    (b'one two', 'zcat')
    """
    for tool, magic, member in _KINDS:
        if stream.peek(len(magic)) == magic:
            return _Archive(stream, member), tool
    return stream, None
