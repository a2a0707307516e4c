"""Byte streams: looked at before they are read, archives and UTF-16 as plain text."""

import bz2
import codecs
import lzma
import time
import zlib
from collections.abc import Callable
from typing import Protocol, TypeGuard

import zstandard

FAULTS = (EOFError, OSError, lzma.LZMAError, zlib.error, zstandard.ZstdError)
"""What reading an archive that is cut off or damaged raises."""

CONTROLS = bytes(range(9)) + bytes(range(14, 27)) + bytes(range(28, 32))
"""Control characters that hardly any text holds."""

_INPUT = 8192
_JOURNAL = b"LPKSHHRH"  # the first bytes of systemd's journal
_LOOKED_AT = 16_384  # bytes
# A protocol's own separators, such as FIX's, are many but of few kinds.
_CONTROL_KINDS = 8
_LEAST_LOOKED_AT = 512  # bytes
_FEW = 0.05  # of the bytes


class Bytes(Protocol):
    """Anything bytes can be read from, an archive of bytes included."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""


class Comes(Protocol):
    """A stream whose short reads mean a pause, and not the end."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes that have come; none at the end."""

    def comes(self, wait: float) -> bool:
        """Whether there is more to read, or the end, within some seconds."""


def arrives(stream: object) -> TypeGuard[Comes]:
    """Whether a stream's bytes come when they come.

    >>> import io
    >>> arrives(io.BytesIO(b"a"))
    False
    """
    return bool(getattr(stream, "arriving", False))


class Counted:
    """A stream that can be looked at before it is read, and that knows how many bytes it gave."""

    def __init__(self, stream: Bytes) -> None:
        self.given = 0
        self.ended = False
        """Whether the stream's end has been seen."""
        self.arriving = arrives(stream)
        """Whether a short read means a pause (`arrives`)."""
        self._stream = stream
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, or all there are; a pipe may take several reads."""
        while len(self._ahead) < size and self._further(size):
            pass
        return self._ahead[:size]

    def look(self, size: int, *, patience: float) -> bytes:
        """As `peek`; of what arrives only what comes within some seconds of its first byte."""
        self.peek(1 if self.arriving else size)
        end = time.monotonic() + patience
        # What arrives is waited for, but not for ever: a pipe may say one line and then nothing.
        while self.arriving and len(self._ahead) < size:
            patience_left = max(0.0, end - time.monotonic())
            if not self._later(patience_left):
                break
            if not self._further(size):
                break
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

    def comes(self, wait: float) -> bool:
        """Whether there is more to read, or the end, within some seconds.

        Of a stream that does not arrive there always is.
        """
        return bool(self._ahead) or self._later(wait)

    def starts_with(self, start: bytes) -> bool:
        """Whether these bytes come next; no more is waited for than it takes to know."""
        return all(self.peek(end) == start[:end] for end in range(1, len(start) + 1))

    def _later(self, wait: float) -> bool:
        """Whether the stream itself has more, or ends, within some seconds."""
        return self._stream.comes(wait) if arrives(self._stream) else True

    def _further(self, size: int) -> bool:
        """Look further ahead, by one read; false at the end."""
        more = self._stream.read(size - len(self._ahead))
        self._ahead += more
        self.ended = not more
        return bool(more)


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
        # What precedes a fault is given first: it was read well, and may be all that somebody
        # needs.
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
        self._compressed = (
            compressed  # so that a fault is met again after what precedes it has been read
        )
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
    (
        "zstdcat",
        b"\x28\xb5\x2f\xfd",
        lambda: zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj(),
    ),
)
"""The command that unpacks a kind of archive, its first bytes, and what decompresses one member."""


def unpack(stream: Counted) -> tuple[Bytes, str | None]:
    """The plain bytes of a stream, and the command that unpacks its kind of archive.

    The command is none where the stream is no archive.

    Archives of several members are read to their last one.

    >>> import gzip, io
    >>> plain, tool = unpack(Counted(io.BytesIO(gzip.compress(b"one ") + gzip.compress(b"two"))))
    >>> plain.read(), tool
    (b'one two', 'zcat')
    """
    for tool, magic, member in _KINDS:
        if stream.starts_with(magic):
            return _Archive(stream, member), tool
    return stream, None


_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_TOLD_BY = 4096  # bytes
# The share of NUL among the first or the second bytes of characters, in what people of the West
# write.
_HALF = 0.7
_HARDLY = 0.1
_LEAST = 4  # characters, or a NUL that strayed would make it UTF-16


class Transcoded:
    """A stream of text, which in UTF-16 becomes another encoding and is else as it is."""

    def __init__(self, stream: Bytes, encoding: str) -> None:
        """Nothing read yet.

        Args:
            stream: the text's bytes.
            encoding: what UTF-16 becomes.
        """
        self.arriving = arrives(stream)
        """Whether a short read means a pause (`arrives`)."""
        self._stream = stream
        self._encoding = encoding
        self._begun = False
        self._decoder: codecs.IncrementalDecoder | None = None
        self._ready = b""

    def read(self, size: int = _TOLD_BY, /) -> bytes:
        """At most `size` bytes; none at the end."""
        if not self._begun:
            self._begin(size)
        # UTF-8 passes as it is; only UTF-16 and its like are written anew.
        if self._decoder is None:
            block, self._ready = self._ready or self._stream.read(size), b""
            return block
        ended = False
        while not self._ready and not ended:
            piece = self._stream.read(size)
            ended = not piece
            self._ready = self._encoded(self._decoder, piece)
        block, self._ready = self._ready[:size], self._ready[size:]
        return block

    def _begin(self, size: int) -> None:
        """See from the first bytes what the text is in."""
        start = self._stream.read(size)
        # Of a pipe the second byte may come later, and is not waited for behind a line's end.
        while start and len(start) < min(_TOLD_BY, size) and start != b"\n":
            if len(start) > 1 and arrives(self._stream) and not self._stream.comes(0):
                break
            try:
                piece = self._stream.read(size - len(start))
            except FAULTS:  # raised again when what came before it has been read
                break
            start += piece
            if not piece:
                break
        self._begun = True
        self._ready = start
        name = utf_16(start)
        if name is not None:
            self._decoder = codecs.getincrementaldecoder(name)("replace")
            self._ready = self._encoded(self._decoder, start)

    def _encoded(self, decoder: codecs.IncrementalDecoder, piece: bytes) -> bytes:
        """Some more bytes in the other encoding; none: all have come."""
        return decoder.decode(piece, final=not piece).encode(self._encoding, errors="replace")

    def comes(self, wait: float) -> bool:
        """Whether there is more to read, or the end, within some seconds.

        Of a stream that does not arrive there always is.
        """
        if self._ready or not arrives(self._stream):
            return True
        return self._stream.comes(wait)


def utf_16(start: bytes) -> str | None:
    """The kind of UTF-16 that a text is in, told by its mark or by which of its bytes are NUL.

    None where it is in another encoding.

    >>> utf_16("\ufeffup".encode("utf-16-le")), utf_16("service up".encode("utf-16-be"))
    ('utf-16-le', 'utf-16-be')
    >>> utf_16(b"up") is None
    True
    """
    for mark, name in _UTF_16.items():
        if start.startswith(mark):
            return name
    start = start[: min(_TOLD_BY, len(start) // 2 * 2)]
    first, second = start[::2], start[1::2]
    # Western text in UTF-16: nearly every second byte is NUL, and which of them tells the order.
    for name, full, empty in (("utf-16-le", first, second), ("utf-16-be", second, first)):
        mostly_nul = empty.count(0) >= _HALF * len(empty)
        hardly_nul = full.count(0) <= _HARDLY * len(full)
        if len(empty) >= _LEAST and mostly_nul and hardly_nul:
            return name
    return None


def other_kind(start: bytes) -> str:
    r"""What a file is that is not lines as it is: `zip`, `tar`, `journal`, `binary`, or nothing.

    >>> other_kind(b"8=FIX.4.4\x019=65\x0135=A\x01"), other_kind(bytes(range(256)))
    ('', '')
    >>> other_kind(bytes(range(256)) * 2), other_kind(b"PK\x03\x04")
    ('binary', 'zip')

    Args:
        start: its first bytes, out of its archive.
    """
    if start.startswith(b"PK\x03\x04"):
        return "zip"
    if start[257:262] == b"ustar":
        return "tar"
    if start.startswith(_JOURNAL):
        return "journal"
    if len(start) < _LEAST_LOOKED_AT:
        return ""
    # A file that was cut off while a program wrote on holds NULs, and is a log.
    written = start[:_LOOKED_AT].translate(None, b"\0")
    letters = written.translate(None, CONTROLS)
    controls = len(written) - len(letters)
    kinds = sum(control in written for control in CONTROLS[1:])
    is_binary = kinds >= _CONTROL_KINDS and controls > _FEW * len(written)
    return "binary" if is_binary else ""
