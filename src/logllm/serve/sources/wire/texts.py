"""What came as bytes, as texts of lines."""

from collections.abc import Sequence

import polars as pl

from logllm.logs.lines import LONGEST_LINE, without_codes
from logllm.serve.sources.wire.counts import Counts

_ENDS = b"\r\n\0"
_BREAK = "#012"
_INVALID = "\ufffd"
_INVALID_BYTES = _INVALID.encode()


def texts_of(frames: Sequence[bytes], counts: Counts) -> list[str]:
    r"""Frames as lines; empty frames are left out.

    A line break inside a frame becomes `#012`; NUL, and what is not UTF-8, becomes U+FFFD.

    >>> counts = Counts()
    >>> texts_of([b"<34>a\r\n", b"", b"b\nc \xff"], counts), counts.all["replaced"]
    (['<34>a', 'b#012c \ufffd'], 1)

    Args:
        frames: what came.
        counts: gets `replaced`, `cut_lines` and `coloured_lines`.
    """
    whole = [stripped for frame in frames if (stripped := frame.rstrip(_ENDS))]
    if not whole:
        return []
    block = b"\n".join(whole)
    # A message of several lines, such as a stack trace in one datagram, is one line.
    if block.count(b"\n") >= len(whole):
        whole = [frame.replace(b"\r\n", b"\n").replace(b"\n", _BREAK.encode()) for frame in whole]
        block = b"\n".join(whole)
    text = block.decode("utf-8", errors="replace")
    if _INVALID in text:
        # What a sender itself wrote as U+FFFD was not replaced here.
        counts.add(replaced=text.count(_INVALID) - block.count(_INVALID_BYTES))
    return _shown(text, counts)


def _shown(text: str, counts: Counts) -> list[str]:
    """Lines of a text without what no line shows, and no longer than lines may be."""
    if "\0" in text:
        counts.add(replaced=text.count("\0"))
        text = text.replace("\0", _INVALID)
    lines = text.split("\n")
    if "\x1b" in text:
        plain = without_codes(pl.Series(lines)).to_list()
        counts.add(coloured_lines=sum(map(str.__ne__, lines, plain)))
        lines = plain
    if len(text) > LONGEST_LINE:
        counts.add(cut_lines=sum(len(line) > LONGEST_LINE for line in lines))
        lines = [line[:LONGEST_LINE] for line in lines]
    return lines
