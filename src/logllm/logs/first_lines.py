"""The first lines of a log, looked at before it is read."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm.errors import DataError
from logllm.logs.archives import Bytes, Counted
from logllm.logs.arriving import standard_input
from logllm.logs.inputs.urls import is_url
from logllm.logs.lines import STDIN, named_files, read_lines

_LINES = 5_000
_AHEAD = 1 << 20  # bytes of standard input
_PATIENCE = 1.0  # seconds that standard input is waited for after its first byte


class FirstLines(NamedTuple):
    """The beginning of a log."""

    text: pl.Series
    """Its first lines."""
    stdin: Bytes | None
    """What `-` reads from now on, these lines included; none: it was not read."""
    lines: int | None
    """How many lines the whole log has; none: more than these, or not known."""


def first_lines(sources: Sequence[str | Path], *, stdin: Bytes | None = None) -> FirstLines:
    """The first lines of the first of some inputs; standard input loses none by it.

    Args:
        sources: Files, globs or `-`.
        stdin: What `-` reads; none: the process's standard input.

    Raises:
        DataError: an input is missing, the first cannot be read, or only once, or it holds no
            lines.
    """
    names = named_files(sources)
    if names[0] != STDIN:
        if not read_again(names[0]):
            raise DataError(
                f"{names[0]} can be read only once: write it to a file first, or name its --format"
            )
        text = _first(names[0], None)
        is_whole = len(names) == 1 and len(text) < _LINES
        return FirstLines(text, stdin, len(text) if is_whole else None)
    # Looked at, not read: whoever reads standard input afterwards has these bytes again.
    ahead = Counted(stdin or standard_input())
    begun = ahead.look(_AHEAD, patience=_PATIENCE)
    text = _first(STDIN, BytesIO(begun))
    whole = ahead.ended and len(begun) < _AHEAD and len(text) < _LINES
    return FirstLines(text, ahead, len(text) if whole else None)


def read_again(name: str) -> bool:
    """Whether an input can be read a second time from its beginning.

    A pipe, such as `/dev/stdin` or what a shell gives for `<(...)`, cannot.
    """
    return is_url(name) or (name != STDIN and Path(name).is_file())


def _first(name: str, stdin: Bytes | None) -> pl.Series:
    """The first lines of one input; of an archive that is cut off here those before the cut."""
    return next(read_lines([name], batch_lines=_LINES, stdin=stdin)).frame["text"]
