"""What a record of several lines is called in one line.

The first line of a Python trace says only that one follows: its exception says what happened.
"""

import re
from collections.abc import Sequence

import polars as pl

_OPENING = r"Traceback \(most recent call last\):\s*$"
"""The end of a line after which a trace of Python's follows."""
_OPENS = re.compile(_OPENING)
_PANICS = re.compile(r"panicked at \S+:\s*$")
"""The end of a line of Rust's, after which the next one says what happened."""
_EXCEPTION = re.compile(
    r"(?:[^\W\d]\w*\.)*\w*(?:Error|Exception|Warning|Exit|Interrupt|Timeout|Failure|Fault)(?::|$)"
)
"""How the line of an exception begins that is named as most are."""
_NAMED = re.compile(r"(?:[^\W\d]\w*\.)*[^\W\d]\w*(?::\s|$)")
"""How the line of any exception begins: by a name, alone or with a message behind it."""


def called(texts: pl.Series, messages: pl.Series) -> pl.Series:
    r"""What records are called in one line: their first one, or the exception that a trace ends in.

    >>> trace = 'ERROR Traceback (most recent call last):\n  File "a.py", line 1\nKeyError: 7'
    >>> called(pl.Series([trace, "down\n  at noon"]), pl.Series(["", ""])).to_list()
    ['KeyError: 7', 'down']

    Args:
        texts: the records as they are written, the lines of each divided by line breaks.
        messages: their messages, which tell the exception where a text has only its first line.
    """
    several = texts.str.contains("\n", literal=True) | texts.str.contains(_OPENING)
    if not several.any():
        return texts
    places = several.arg_true()
    pairs = zip(texts.gather(places), messages.gather(places), strict=True)
    titles = [title(text, message or "") for text, message in pairs]
    return texts.clone().scatter(places, pl.Series(titles, dtype=pl.String))


def title(text: str, message: str = "") -> str:
    """What one record is called.

    Args:
        text: the record, its lines divided by line breaks.
        message: its message, where `text` may lack its further lines.
    """
    first, *further = text.split("\n")
    if _OPENS.search(first):
        in_message = message.split("\n")[1:]
        return _exception(further) or _exception(in_message) or first
    if _PANICS.search(first) and further:
        return further[0].strip() or first
    return first


def _exception(lines: Sequence[str]) -> str | None:
    """The line of the exception that a trace ends in; None where there is none.

    Args:
        lines: of the trace, without the one that opens it.
    """
    # Of a chain of exceptions the last one is what the program ended with.
    openings = [place for place, line in enumerate(lines) if _OPENS.search(line)]
    last = openings[-1] + 1 if openings else 0
    # Calls and their source are indented. Messages have lost that: names tell there.
    outer = [line for line in lines[last:] if line == line.lstrip()]
    usual = (line for line in outer if _EXCEPTION.match(line))
    named = (line for line in outer if _NAMED.match(line))
    return next(usual, None) or next(named, None)
