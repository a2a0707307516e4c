"""Records to sessions: by key, by count, by time."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

import polars as pl

from logllm.config.sessions import SessionSection
from logllm.sessions.grouping import Grouping
from logllm.sessions.keyed import KeySessions
from logllm.sessions.windows import CountWindows, TimeWindows


class Sessionizer(Protocol):
    """Numbered records in, sessions out; the columns of both are in `logllm.sessions.grouping`.

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


_KINDS: Mapping[str, Callable[[SessionSection], Sessionizer]] = {"key": KeySessions, "count": CountWindows, "time": TimeWindows}
"""A sessionizer by the name of its kind in `SessionSection.by`."""


def sessionizer(settings: SessionSection) -> Sessionizer:
    """The sessionizer that settings ask for.

    >>> from logllm.sessions.grouping import NUMBERED
    >>> records = pl.DataFrame({"record": [1, 2, 3], "file": 0, "line": [1, 2, 4], "time": None, "keys": [[], [], []], "message": [7, 7, 8],
    ...     "anomalous": [False, True, False]}, schema=NUMBERED)
    >>> windows = sessionizer(SessionSection(by="count", size=2))
    >>> windows.push(records)["session"].to_list(), windows.flush()["lines"].to_list()
    (['2@1'], [[4]])
    """
    return _KINDS[settings.by](settings)
