"""Counts in sentences: one session, 1,200 sessions."""

import re

_EITHER = re.compile(r"\{([^{|}]*)\|([^{|}]*)\}")
"""Words for one, and for more or none."""


def plural(count: int, noun: str) -> str:
    """A count and its noun.

    >>> plural(1, "session"), plural(1200, "anomalous session"), plural(0, "line")
    ('1 session', '1,200 anomalous sessions', '0 lines')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def agreeing(count: int, text: str) -> str:
    """A count and words that go with it: of `{one|more}` the first for one, else the second.

    >>> agreeing(1, "{line was|lines were} cut"), agreeing(2, "{line was|lines were} cut")
    ('1 line was cut', '2 lines were cut')
    """
    return f"{count:,} " + _EITHER.sub(lambda either: either[1 if count == 1 else 2], text)
