"""Counts in sentences, and figures in tables: one session, 1,200 sessions, 0.988 (0.971-0.999)."""

import re
from collections.abc import Sequence

_NOUN = re.compile(r"\b(file|character|line|alert|alarm|kind|message|session)s\b")
"""What a reader counts, of several."""
_EITHER = re.compile(r"\{([^{|}]*)\|([^{|}]*)\}")
"""Words for one, and for more or none."""


def plural(count: int, noun: str) -> str:
    """A count and its noun.

    >>> plural(1, "session"), plural(1200, "anomalous session"), plural(0, "line")
    ('1 session', '1,200 anomalous sessions', '0 lines')
    """
    ending = "" if count == 1 else "s"
    return f"{count:,} {noun}{ending}"


def agreeing(count: int, text: str) -> str:
    """A count and words that go with it: of `{one|more}` the first for one, else the second.

    >>> agreeing(1, "{line was|lines were} cut"), agreeing(2, "{line was|lines were} cut")
    ('1 line was cut', '2 lines were cut')
    """
    form = 1 if count == 1 else 2
    words = _EITHER.sub(lambda either: either[form], text)
    return f"{count:,} {words}"


def counted_as(count: int, name: str) -> str:
    """A count of a reader's by its name.

    >>> counted_as(1, "cut_lines"), counted_as(2, "files_without_records"), counted_as(1, "late")
    ('1 cut line', '2 files without records', '1 late')
    """
    words = name.replace("_", " ")
    if count == 1:
        words = _NOUN.sub(r"\1", words, count=1)
    return f"{count:,} {words}"


def figure(
    value: float | None,
    ends: Sequence[float] | None = None,
    *,
    digits: int = 3,
    deviation: float | None = None,
    to: str = "-",
) -> str:
    """A figure as a table shows it.

    It comes with its deviation over seeds and its interval, where there are any.

    Args:
        value: none: there is no such figure.
        ends: of its interval, lower and upper.
        digits: of the value.
        deviation: over seeds.
        to: what stands between the ends.

    >>> figure(0.98765, [0.971, 0.999]), figure(0.9, deviation=0.01), figure(None)
    ('0.988 (0.971-0.999)', '0.900 ± 0.010', '-')
    """
    if value is None:
        return "-"
    # `.912 ± .004 (.890–.930)`: over seeds, then over sessions.
    text = f"{value:.{digits}f}"
    if deviation is not None:
        text += f" ± {deviation:.3f}"
    if ends:
        text += f" ({ends[0]:.3f}{to}{ends[1]:.3f})"
    return text
