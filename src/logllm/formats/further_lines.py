"""Whether lines that begin no record may all go on with one.

Stack traces, plans and dumps do, other text does not.
"""

from datetime import timedelta

import polars as pl

_MANY = 0.1  # of the lines begin a record: nobody need ask more of the others
_RECORDS = 5  # are no accident, where they are in order and spread over the lines
_IN_ORDER = 0.9  # of the steps from one time to the next
_AT_ONCE = timedelta(hours=1)  # what several processes write is not quite in order
_GAP = 0.4  # of the lines may go on with one of many records
_LIKE_FURTHER = 0.8  # of the lines that go on look as further lines do, where records are few
_START = 0.1  # of the lines, within which the first of few records begins
_HEADS = 0.02  # of the lines that go on may look as if they began a record of another kind

_FURTHER = (
    r'^(?:\s|$|[)\]}>]|-+>|at |\.\.\.|#[0-9]+ |Caused by: |Suppressed: |Traceback |File "'
    r"|During handling |The above exception "
    r"|\[(?:stacktrace|previous exception)\]|goroutine [0-9]+ |(?:[\w$]+[.\\])*\w*(?:Exception"
    r"|Error|Throwable)\b)"
)
"""How further lines of a record begin: indented, empty, or with the words of a stack trace."""

_HEAD = (
    r"^[^\w\s]{0,4}\[?(?:[0-9]{2,4}[-/.][0-9]{2}[-/.][0-9]{2,4}"
    r"|[A-Z][a-z]{2} [ 0-9]?[0-9],?)[ T]+(?:[0-9]{4} )?[0-9]{1,2}:[0-9]{2}"
)
"""How a line begins that holds a time of its own."""


def begin_enough(
    text: pl.Series,
    begins: pl.Series,
    *,
    goes_on: pl.Series,
    times: pl.Series | None,
) -> bool:
    r"""Whether enough lines begin a record to take the others for further lines of records.

    A tenth of the lines is enough. Fewer are enough where the times of the records are in order and
    the other lines hold no times of their own: five that are spread over the lines, or a single one
    before lines that look like a stack trace's.

    >>> calls = ["\tat com.example.Shop.run(Shop.java:7)"] * 300
    >>> trace = ["2024-01-02 03:04:05 ERROR failed", *calls]
    >>> text, first = pl.Series(trace), pl.Series([True] + [False] * 300)
    >>> begin_enough(text, first, goes_on=~first, times=None)
    True
    >>> begin_enough(pl.Series(["just some words"] * 301), first, goes_on=~first, times=None)
    False

    Args:
        text: successive lines.
        begins: which of them begin a record.
        goes_on: which of them a format lets go on with the record before.
        times: their times; none: the format has none.
    """
    records = int(begins.sum())
    if records > _MANY * len(text):
        return True
    further = text.filter(goes_on)
    in_order = times is None or ordered(times.filter(begins))
    if not records or not len(further) or not in_order:
        return False
    # What holds a time of its own begins a record of another kind.
    if _share(further.str.contains(_HEAD)) > _HEADS:
        return False
    places = begins.arg_true().cast(pl.Int64)
    first = int(places[0])
    # Records of a log are everywhere in it; a few lines that somebody quotes are not.
    end = pl.Series([len(text)], dtype=pl.Int64)
    lengths = pl.concat([places, end]).diff()
    longest = int(lengths.max() or 0)  # type: ignore[arg-type]
    spread = max(longest, first) <= _GAP * len(text)
    if times is not None and records >= _RECORDS and spread:
        return True
    starts = first <= _START * len(text)
    return starts and _share(further.str.contains(_FURTHER)) >= _LIKE_FURTHER


def ordered(times: pl.Series) -> bool:
    """Whether nearly all times go on, or nearly all go back.

    >>> from datetime import datetime
    >>> days = pl.Series([datetime(2024, 1, day) for day in (1, 2, 3, 9)])
    >>> ordered(days), ordered(days.reverse()), ordered(pl.concat([days, days.head(1), days]))
    (True, True, False)
    """
    steps = times.drop_nulls().diff().drop_nulls()
    if not len(steps):
        return True
    forward, backward = _share(steps > -_AT_ONCE), _share(steps < _AT_ONCE)
    return max(forward, backward) >= _IN_ORDER


def _share(values: pl.Series) -> float:
    """Share of the values that are true; 0 where there are none."""
    return float(values.mean() or 0.0)  # type: ignore[arg-type]
