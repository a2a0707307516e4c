"""The first lines of a log, looked at before it is read."""

import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm.data.archives import Bytes, Counted
from logllm.data.lines import STDIN, named_files, read_lines

_LINES = 5_000
_AHEAD = 1 << 20  # bytes of standard input


class Sample(NamedTuple):
    """The beginning of a log."""

    text: pl.Series
    """Its first lines."""
    stdin: Bytes | None
    """What `-` reads from now on, these lines included; none: it was not read."""


def sample(sources: Sequence[str | Path], *, stdin: Bytes | None = None) -> Sample:
    """The first lines of the first of some inputs; standard input loses none by it.

    Args:
        sources: Files, globs or `-`.
        stdin: What `-` reads; none: the process's standard input.

    Raises:
        DataError: an input is missing, the first cannot be read, or it holds no lines.
    """
    names = named_files(sources)
    if names[0] != STDIN:
        return Sample(_first(names[0], None), stdin)
    ahead = Counted(stdin or sys.stdin.buffer)
    return Sample(_first(STDIN, BytesIO(ahead.peek(_AHEAD))), ahead)


def _first(name: str, stdin: Bytes | None) -> pl.Series:
    """The first lines of one input; of an archive that is cut off here those before the cut."""
    return next(read_lines([name], batch_lines=_LINES, stdin=stdin)).frame["text"]
