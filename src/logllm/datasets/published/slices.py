"""Some lines of a log too large to keep, taken as it passes."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zstandard

from logllm.counting import plural
from logllm.datasets.published.transfer import BLOCK
from logllm.errors import DataError
from logllm.logs.archives import Bytes
from logllm.storage import explained


class Slice:
    """Lines `start` to `stop` of a stream, counted from 0, `stop` not among them.

    Where `stop` is none it is all lines from `start` on.
    """

    def __init__(self, start: int = 0, stop: int | None = None) -> None:
        self.start, self.stop = start, stop
        self.lines = 0
        """Whole lines that have passed."""
        self.kept = 0
        """Lines of the slice so far, a last one without its line end included."""

    @property
    def done(self) -> bool:
        """Whether all of its lines have passed."""
        return self.stop is not None and self.lines >= self.stop

    def of(self, block: bytes) -> bytes:
        r"""What of the next block lies in the slice.

        >>> lines = Slice(1, 3)
        >>> [lines.of(block) for block in (b"a\nb", b"b\nc\nd\n")], lines.kept
        ([b'b', b'b\nc\n'], 2)
        """
        # The slice begins and ends within this block, or the block lies before it, in it, after it.
        before = self.lines
        self.lines += block.count(b"\n")
        # Nothing of it, unless the slice begins before its end.
        first, last = len(block), len(block)
        if self.lines >= self.start:
            first = _after(block, self.start - before)
        if self.stop is not None and self.done:
            last = _after(block, self.stop - before)
        inside = block[first:last]
        if inside:
            whole_lines = min(self.lines, self.stop or self.lines) - self.start
            self.kept = whole_lines + (not inside.endswith(b"\n"))
        return inside


class Kept(NamedTuple):
    """What was kept of a log."""

    lines: int
    """How many lines."""
    sha256: str
    """Of the lines as they were in the archive."""


def keep(plain: Bytes, path: Path, *, lines: Slice) -> Kept:
    """Write a slice of a stream as a zst file.

    Memory and disk do not grow with what is outside of it.

    Raises:
        DataError: the stream ends before the slice does, or the disk is full.
    """
    digest = hashlib.sha256()
    with (
        explained(path),
        path.open("wb") as file,
        zstandard.ZstdCompressor().stream_writer(file) as sink,
    ):
        while not lines.done and (block := plain.read(BLOCK)):
            inside = lines.of(block)
            digest.update(inside)
            sink.write(inside)
    # An archive that was replaced since would give other lines than the paper's.
    too_few = lines.stop is not None and lines.kept < lines.stop - lines.start
    if not lines.kept or too_few:
        wanted = (
            "" if lines.stop is None else f", wanted are lines {lines.start:,} to {lines.stop:,}"
        )
        end = lines.start + lines.kept if lines.kept else lines.lines
        raise DataError(
            f"the log ends after {plural(end, 'line')}{wanted}: it is not the one expected"
        )
    return Kept(lines.kept, digest.hexdigest())


def _after(block: bytes, lines: int) -> int:
    """Where a block goes on after so many line ends."""
    if lines <= 0:
        return 0
    # numpy looks for line ends a hundred times as fast as a loop over the bytes.
    line_ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    return int(line_ends[lines - 1]) + 1
