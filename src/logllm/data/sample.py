"""The first lines of a log, looked at before it is read, and the format they are in."""

import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.data.archives import Bytes, Counted
from logllm.data.formats import load_format, read_fields, suggestions
from logllm.data.lines import STDIN, named_files, read_lines

_LINES = 5_000
_AHEAD = 1 << 20  # bytes of standard input
_POSTGRES = "postgresql"
_ENOUGH = 0.5


class Sample(NamedTuple):
    """The beginning of a log."""

    text: pl.Series
    """Its first lines."""
    stdin: Bytes | None
    """What `-` reads from now on, these lines included; none: it was not read."""


class Found(NamedTuple):
    """The format that lines are in."""

    described: FormatSection
    """It."""
    share: float
    """Share of the lines that are in it."""


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


def log_format(text: pl.Series) -> Found:
    """The built-in format that fits some lines best; `plain`, which fits all, where no other fits more than half."""
    for name in (_POSTGRES, *suggestions(text, instead_of=_POSTGRES)):
        described = load_format(name)
        share = float(read_fields(text, described).message.is_not_null().mean() or 0.0)  # type: ignore[arg-type]
        if share > _ENOUGH:
            return Found(described, share)
    return Found(load_format("plain"), 1.0)


def _first(name: str, stdin: Bytes | None) -> pl.Series:
    """The first lines of one input; of an archive that is cut off here those before the cut."""
    return next(read_lines([name], batch_lines=_LINES, stdin=stdin)).frame["text"]
