"""Lines of files, archives, globs and standard input, as frames of bounded size."""

import re
from collections.abc import Collection, Iterable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from glob import glob, has_magic
from pathlib import Path
from typing import Literal

import polars as pl

from logllm.errors import DataError
from logllm.logs.archives import (
    FAULTS,
    Bytes,
    Counted,
    Transcoded,
    arrives,
    other_kind,
    unpack,
)
from logllm.logs.arriving import standard_input
from logllm.logs.inputs.folders import walked
from logllm.logs.inputs.refusals import called, nothing_in, refuse, unpacking
from logllm.logs.inputs.urls import is_url, open_url, url_bytes, url_files

STDIN = "-"
"""The name that stands for standard input."""
LONGEST_LINE = 1 << 20
"""Characters kept of a line; what is longer is cut and counted."""
Counts = MutableMapping[str, int]
"""What was read and what was not, by name, in plain counts."""

BLOCK = 4 << 20
"""Bytes of a file that are one frame of lines, or several where there are many lines."""
BOMS = {"utf-8": b"\xef\xbb\xbf", "latin-1": b""}
"""The byte order mark at a file's start."""
_NULS_AROUND = re.compile(rb"^\0+|\0+$", re.MULTILINE)
_INNER_BOM = re.compile("^\ufeff+", re.MULTILINE)
_CODES = (b"\x1b", b"#033[")
"""By which codes for a terminal are told; the second is what rsyslog makes of the first."""
_TERMINAL = (
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|$)"  # titles and links
    r"|\x1b[()*+][A-Za-z0-9]|\x1b[=>78cDEHMNOZ]|\x1b[PX^_][^\x1b]*(?:\x1b\\|$)|\x1b"
    r"|#033\[[0-9;]*[mK]"
)
_SCHEMA = {"line": pl.UInt64, "text": pl.String}


class CutOff(DataError):
    """An input that ends in a fault: the lines before it are as they should be."""


class NoLines(DataError):
    """Inputs that hold no line at all."""


@dataclass(frozen=True)
class Lines:
    """Some consecutive lines of one file."""

    frame: pl.DataFrame
    """`line` (u64, from 1 in each file) and `text` (str, without its line end)."""
    file: str
    """The file's name as it was given; `-` is standard input."""
    index: int
    """The file's place among the inputs, from 0."""
    read: int
    """Bytes read so far of all inputs, compressed ones counted compressed."""
    replaced: int
    """Characters of these lines that stand for invalid bytes or for NUL."""
    cut: int
    """Lines longer than `LONGEST_LINE`, of which only the beginning is here."""
    coloured: int = 0
    """Lines that held codes for a terminal, such as colours, which are here without them."""
    columns: tuple[str, ...] = ()
    """Names of the file's columns, where its first row names them."""
    paused: bool = False
    """Whether the source has given all that had come: nobody knows when there will be more."""

    def counted(self) -> "Lines":
        """These once more, with nothing left to count of what was done to them."""
        return replace(self, replaced=0, cut=0, coloured=0)


NO_LINES = Lines(pl.DataFrame(schema=_SCHEMA), "", 0, 0, 0, 0)
"""Before any of a file's lines are there."""


def named_files(sources: str | Path | Sequence[str | Path]) -> list[str]:
    """File names behind names, folders and globs, in the order given.

    A single name counts as a list of one.

    Those of a glob are sorted, those of a folder are as `walked` gives them.

    Raises:
        DataError: no source at all, or one that is missing, may not be looked at, is a folder
            without a log or a glob that matches nothing.
    """
    # A text is a sequence, too: its letters would be taken for names, and `/` for a folder.
    listed = [sources] if isinstance(sources, str | Path) else sources
    names: list[str] = []
    for source in map(str, listed):
        try:
            names += url_files(source) if is_url(source) else _named(source)
        except OSError as exc:  # a folder one may not enter, a name too long for any file
            raise DataError(f"{source} cannot be read: {exc.strerror}") from exc
    if not names:
        raise DataError("no input: name files, globs, or - for standard input")
    if names.count(STDIN) > 1:
        raise DataError("standard input (-) can be read only once")
    return names


def _named(source: str) -> list[str]:
    """File names behind one name, folder or glob of this machine."""
    if source == STDIN or (Path(source).exists() and not Path(source).is_dir()):
        return [source]
    if Path(source).is_dir():
        logs = walked(Path(source))
        if not logs.files:
            why = f": {logs.in_words}" if logs.in_words else ""
            raise DataError(f"{source} is a folder without a log{why}")
        return logs.files
    if not has_magic(source):
        raise DataError(f"there is no file {source}")
    # Absolute globs, which Path refuses
    paths = glob(source, recursive=True)  # noqa: PTH207
    matching = sorted(path for path in paths if not Path(path).is_dir())
    if not matching:
        raise DataError(f"no file matches {source}")
    return matching


def input_bytes(names: Sequence[str]) -> int:
    """Size of files on disk together; standard input counts as 0."""
    return sum(
        url_bytes(name) if is_url(name) else Path(name).stat().st_size
        for name in names
        if name != STDIN
    )


def read_lines(
    sources: Sequence[str | Path],
    *,
    encoding: Literal["utf-8", "latin-1"] = "utf-8",
    batch_lines: int = 100_000,
    stdin: Bytes | None = None,
) -> Iterator[Lines]:
    """Read files, globs and standard input as numbered lines.

    Archives (gz, bz2, xz, zst) are recognised by content. A line ends at LF, a CR before it goes; a
    last line without LF counts. In UTF-8 a byte order mark goes and invalid bytes become U+FFFD; so
    does NUL in any encoding.

    Args:
        sources: File names, globs, and at most once `-`.
        encoding: How bytes become text.
        batch_lines: Most lines in a frame; a frame also holds no more than about 4 MiB of text and
            one long line. A pipe's lines are given on a fifth of a second after the first of them
            has come, however few they are.
        stdin: What `-` reads; none: the process's standard input.

    Yields:
        Frames of lines, never empty ones.

    Raises:
        DataError: an input that is missing, unreadable, damaged or an archive of several files, in
            UTF-16, or inputs that hold no line at all.
    """
    names = named_files(sources)
    read, seen = 0, False
    for index, name in enumerate(names):
        with _opened(name, stdin) as file:
            stream = Counted(file)
            of_this_file = Lines(pl.DataFrame(), name, index, 0, 0, 0)
            for lines in _file_lines(stream, encoding=encoding, like=of_this_file):
                seen = True
                # Frames of bounded size; what was done to all of them is counted once.
                for place, part in enumerate(lines.frame.iter_slices(batch_lines)):
                    counting = lines if place == 0 else lines.counted()
                    yield replace(counting, frame=part, read=read + stream.given)
            read += stream.given
    if not seen:
        raise NoLines(nothing_in(names))


def lines_at(
    name: str,
    numbers: Collection[int],
    *,
    encoding: Literal["utf-8", "latin-1"] = "utf-8",
    stdin: Bytes | None = None,
) -> dict[int, str]:
    """Some lines of one file by their numbers, from 1; read no further than to the last of them.

    Args:
        name: The file's, or `-`.
        numbers: Of the lines.
        encoding: How bytes become text.
        stdin: What `-` reads; none: the process's standard input.

    Raises:
        DataError: it cannot be read.
    """
    # The file is read no further than it must be.
    there: dict[int, str] = {}
    last = max(numbers, default=0)
    for lines in read_lines([name], encoding=encoding, stdin=stdin):
        wanted = lines.frame.filter(pl.col("line").is_in(list(numbers)))
        there |= dict(wanted.iter_rows())
        if lines.frame["line"][-1] >= last:
            break
    return there


def lines_of(text: pl.Series) -> Lines:
    """Some lines of a log as if they were all of a file."""
    numbers = pl.int_range(1, len(text) + 1, dtype=pl.UInt64, eager=True)
    return Lines(pl.DataFrame({"line": numbers, "text": text}), "", 0, 0, 0, 0)


def lines_in(block: bytes, *, after: int, encoding: str, like: Lines = NO_LINES) -> Lines:
    r"""The lines of some bytes that begin with a line and end with one.

    >>> lines_in(b"up\r\n\x1b[31mdown\x1b[0m\n", after=7, encoding="utf-8").frame.rows()
    [(8, 'up'), (9, 'down')]

    Args:
        block: the bytes; a last line without LF counts.
        after: the number of the line before them.
        encoding: `utf-8` or `latin-1`.
        like: whose file's they are.
    """
    text, replaced = _decoded(block, encoding)
    frame, cut = _numbered(text, after)
    coloured = 0
    if encoding == "utf-8" and any(code in block for code in _CODES):
        frame, coloured = _uncoloured(frame)
    return replace(like, frame=frame, replaced=replaced, cut=cut, coloured=coloured)


def _opened(name: str, stdin: Bytes | None) -> AbstractContextManager[Bytes]:
    """A named file, or standard input, which stays open."""
    if name == STDIN:
        return nullcontext(stdin or standard_input())
    if is_url(name):
        remote: AbstractContextManager[Bytes] = open_url(name)
        return remote
    try:
        return Path(name).open("rb")
    except OSError as exc:
        raise DataError(f"{name} cannot be read: {exc.strerror}") from exc


def _file_lines(stream: Counted, *, encoding: str, like: Lines) -> Iterator[Lines]:
    """Lines of one open file."""
    last = 0
    tool: str | None = None
    try:
        plain, tool = unpack(stream)
        plain = Transcoded(plain, encoding)
        for block in whole_lines(_blocks(plain), BOMS[encoding]):
            if not last and (kind := other_kind(block)):
                refuse(kind, name=like.file, tool=tool or "cat")
            lines = lines_in(block, after=last, encoding=encoding, like=like)
            last += lines.frame.height
            yield replace(lines, paused=arrives(plain) and not plain.comes(0))
    except FAULTS as exc:
        # The lines before the fault are good: they were given, and can be given again.
        remedy = ""
        if tool and last:
            # Into a file, as not everything can be done with standard input.
            unpacked = unpacking(like.file, tool)
            remedy = f"; to use those: {unpacked} > part.log 2>/dev/null, then name part.log"
        what = "is damaged or cut off" if tool else "cannot be read on"
        read = f"{called(like.file)} {what} after {last:,} whole lines"
        raise CutOff(f"{read} ({exc}){remedy}") from exc


def whole_lines(blocks: Iterable[bytes], bom: bytes) -> Iterator[bytes]:
    """Blocks of whole lines; of a line that does not end only so much is held as can be kept.

    Args:
        blocks: the bytes, in blocks that end anywhere.
        bom: a byte order mark that goes if they begin with it.
    """
    most = 4 * LONGEST_LINE + 8  # a character has at most four bytes
    start = True
    held = bytearray()
    for block in blocks:
        if start:
            block, start = block.removeprefix(bom), False
        end = block.rfind(b"\n") + 1
        if end:
            yield bytes(held) + block[:end] if held else block[:end]
            held = bytearray(block[end:])
        elif len(held) < most:
            held += block[: most - len(held)]
            if len(held) < most:
                continue
            # No piece of a character at the end, which will be cut but would count as invalid.
            beginnings = [place for place in range(most - 4, most) if held[place] & 0xC0 != 0x80]
            whole = max(beginnings, default=most)
            held[whole:] = b" " * (most - whole)
    if held:
        yield bytes(held)


def _blocks(plain: Bytes) -> Iterator[bytes]:
    """Blocks of equal size, but what arrives as it does.

    What came before a fault comes before it here too.
    """
    pieces: list[bytes] = []
    size = 0
    fault: Exception | None = None
    while fault is None:
        try:
            piece = plain.read(BLOCK - size)
        except FAULTS as exc:
            piece, fault = b"", exc
        pieces.append(piece)
        size += len(piece)
        # What arrives is given on as it comes: nobody knows when there will be more.
        if size == BLOCK or not piece or arrives(plain):
            yield b"".join(pieces)
            pieces, size = [], 0
        if not piece and fault is None:
            return
    raise fault


def _decoded(block: bytes, encoding: str) -> tuple[str, int]:
    """Text of a block, and how many of its characters replace something that is none."""
    if b"\r" in block:  # one byte is found far faster than two
        block = block.replace(b"\r\n", b"\n")
    nuls = block.count(b"\0") if b"\0" in block else 0
    # A file that was cut off while a program wrote on holds NULs before its next line.
    if nuls and encoding == "utf-8":
        block = _NULS_AROUND.sub(b"", block)
    text = block.decode(encoding, errors="replace")
    # Files one after the other, each with its mark.
    if not text.isascii() and "\ufeff" in text and encoding == "utf-8":
        text = _INNER_BOM.sub("", text)
    replaced = nuls
    if encoding == "utf-8" and "\ufffd" in text:
        replaced += text.count("\ufffd") - block.count(b"\xef\xbf\xbd")
    if nuls:
        text = text.replace("\0", "\ufffd")
    return text, replaced


def without_codes(text: pl.Series) -> pl.Series:
    r"""Texts without what tells a terminal of colours, links, titles and where to write.

    >>> coloured, linked = "\x1b[1;31mERROR\x1b[0m down", "\x1b]8;;http://a\x07link\x1b]8;;\x07"
    >>> without_codes(pl.Series([coloured, linked])).to_list()
    ['ERROR down', 'link']
    """
    return text.str.replace_all(_TERMINAL, "")


def _uncoloured(frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Lines without codes for a terminal, and how many had some."""
    text = without_codes(frame["text"])
    return frame.with_columns(text=text), int((text != frame["text"]).sum())


def _numbered(text: str, last: int) -> tuple[pl.DataFrame, int]:
    """Lines of a text as a frame that counts on from `last`, and how many were too long."""
    lines = pl.Series("text", [text.removesuffix("\n")], dtype=pl.String).str.split("\n").explode()
    cut = 0
    if int(lines.str.len_bytes().max() or 0) > LONGEST_LINE:  # type: ignore[arg-type]
        cut = int((lines.str.len_chars() > LONGEST_LINE).sum())
        lines = lines.str.head(LONGEST_LINE)
    numbers = pl.int_range(last + 1, last + 1 + len(lines), dtype=pl.UInt64, eager=True)
    return pl.DataFrame({"line": numbers, "text": lines}, schema=_SCHEMA), cut
