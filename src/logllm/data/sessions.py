"""Records to sessions: by key, by count, by time."""

from datetime import datetime
from typing import Protocol

import polars as pl

from logllm.config.sessions import SessionSection
from logllm.data.grouping import Grouping
from logllm.data.keyed import KeySessions
from logllm.data.windows import CountWindows, TimeWindows


class Sessionizer(Protocol):
    """Compact records in, sessions out; the columns of both are in `logllm.data.grouping`.

    Any division of the records into frames gives the same sessions.
    """

    grouping: Grouping
    """Counts long sessions."""
    counts: dict[str, int]
    """Records that are in no session, by what they lack: `keyless`, `late`; and sessions `closed_early`."""

    def push(self, records: pl.DataFrame) -> pl.DataFrame:
        """Sessions that close with these records."""

    def flush(self, before: datetime | None = None) -> pl.DataFrame:
        """Sessions still open, all of them or those idle since `before`."""


def sessionizer(settings: SessionSection, *, first: int = 1) -> Sessionizer:
    """The sessionizer that settings ask for.

    Args:
        settings: The grouping.
        first: The number of the first record that will be pushed, by which windows of records are named; others go by the records' own.

    >>> from logllm.data.grouping import RECORDS
    >>> records = pl.DataFrame({"record": [1, 2, 3], "file": 0, "line": [1, 2, 4], "time": None, "keys": [[], [], []], "message": [7, 7, 8],
    ...     "anomalous": [False, True, False]}, schema=RECORDS)
    >>> windows = sessionizer(SessionSection(by="count", size=2))
    >>> windows.push(records)["session"].to_list(), windows.flush()["lines"].to_list()
    (['2@1'], [[4]])
    """
    if settings.by == "key":
        return KeySessions(settings)
    return CountWindows(settings, first=first) if settings.by == "count" else TimeWindows(settings)
