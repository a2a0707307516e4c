"""The message table holds every distinct masked message once.

Sessions are rows of it for everything that scores them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from logllm.logs.records import RECORDS
from logllm.metrics import Labels

Schema = dict[str, pl.DataType | type[pl.DataType]]
"""Columns of a frame by their names."""
NUMBERED: Schema = {**RECORDS, "message": pl.UInt32}
"""Columns of records whose messages are numbers of the message table."""
Rows = npt.NDArray[np.int64]
"""Row numbers of a table, one a message or a position."""
_QUOTED = r""""[^"]*"|'[^']*'|«[^»]*»|»[^«]*«|„[^“]*“"""


class MessageTable:
    """Distinct texts and their numbers, given from 0 in the order of first appearance."""

    def __init__(self) -> None:
        self._table = pl.DataFrame(schema={"message": pl.String, "id": pl.UInt32})

    @property
    def messages(self) -> pl.Series:
        """The distinct messages; a message's place is its number."""
        return self._table["message"]

    def numbered(self, records: pl.DataFrame) -> pl.DataFrame:
        """Records (`logllm.logs.records.RECORDS`) with numbers in place of their messages."""
        numbers = self.push(records["message"])
        return records.with_columns(numbers.alias("message"))

    def push(self, messages: pl.Series) -> pl.Series:
        """Numbers (u32) of some messages; new ones are entered.

        >>> table = MessageTable()
        >>> first, second = pl.Series(["b", "a", "b"]), pl.Series(["c", "a"])
        >>> table.push(first).to_list(), table.push(second).to_list()
        ([0, 1, 0], [2, 1])
        """
        rows = messages.alias("message").to_frame()
        # Each distinct text is looked up once: a frame of a log may hold a thousand times as many.
        distinct = rows.unique(maintain_order=True)
        distinct = distinct.join(self._table, on="message", how="left", maintain_order="left")
        is_new = pl.col("id").is_null()
        new = distinct.filter(is_new).select("message")
        if new.height:
            first = self._table.height
            numbers = pl.int_range(first, first + new.height, dtype=pl.UInt32)
            new = new.with_columns(id=numbers)
            self._table = pl.concat([self._table, new])
            old = distinct.filter(~is_new)
            distinct = pl.concat([old, new])
        numbered = rows.join(distinct, on="message", how="left", maintain_order="left")
        return numbered["id"]


def rows_of(messages: pl.Series) -> list[Rows]:
    """A sessions frame's `messages` column as one array a session.

    >>> [rows.tolist() for rows in rows_of(pl.Series([[0, 1], [2]]))]
    [[0, 1], [2]]
    """
    lengths = messages.list.len().to_numpy()
    if not len(lengths):
        return []
    flat = messages.explode(empty_as_null=False).to_numpy()
    borders = np.cumsum(lengths)[:-1]
    return np.split(flat.astype(np.int64), borders)


def occurring(sessions: Sequence[Rows]) -> Rows:
    """Rows of the messages that occur, rising.

    >>> occurring([np.array([4, 2]), np.array([4])]).tolist()
    [2, 4]
    """
    if not len(sessions):
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.concatenate(sessions))


def lengths(sessions: Sequence[Rows]) -> Rows:
    """How many messages each session has."""
    return np.fromiter(map(len, sessions), dtype=np.int64, count=len(sessions))


def kinds_of(messages: pl.Series) -> pl.Series:
    """The kind of each message: the message with `"…"` for what stands in quotes.

    A name in quotes is one of many that the same line of a program writes.

    >>> messages = pl.Series(['role "ann" does not exist', "role 'bob' does not exist", "done"])
    >>> kinds_of(messages).to_list()
    ['role "…" does not exist', 'role "…" does not exist', 'done']
    """
    return messages.str.replace_all(_QUOTED, '"…"')


class Distinct(NamedTuple):
    """Sessions, each sequence of messages once."""

    sessions: list[Rows]
    """The distinct sequences."""
    of: Rows
    """For each session given, which of the distinct ones it is."""


def distinct(sessions: Sequence[Rows]) -> Distinct:
    """Each sequence of messages once, in the order of first occurrence.

    Logs repeat themselves; the work on them need not be repeated.

    >>> distinct([np.array([1, 2]), np.array([3]), np.array([1, 2])]).of.tolist()
    [0, 1, 0]
    """
    places: dict[bytes, int] = {}
    # A session's bytes are its name: two arrays with the same numbers have the same ones.
    numbers = (places.setdefault(session.tobytes(), len(places)) for session in sessions)
    of = np.fromiter(numbers, dtype=np.int64, count=len(sessions))
    _, first = np.unique(of, return_index=True)
    return Distinct([sessions[row] for row in first], of)


def ever_alerts(rows: Rows, sessions: Sequence[Rows], *, alerts: Sequence[Labels]) -> Labels:
    """Which messages are an alert in at least one line.

    >>> sessions = [np.array([3, 5]), np.array([5])]
    >>> alerts = [np.array([False, False]), np.array([True])]
    >>> ever_alerts(np.array([3, 5]), sessions, alerts=alerts)
    array([False,  True])
    """
    alerted = np.concatenate(sessions)[np.concatenate(alerts)]
    return np.isin(rows, alerted)
