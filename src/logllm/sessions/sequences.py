"""Sessions as sequences of places in the message table, for everything that scores them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

Rows = npt.NDArray[np.int64]
"""Row numbers of a table, one a message or a position."""


def rows_of(messages: pl.Series) -> list[Rows]:
    """A sessions frame's `messages` column as one array a session.

    >>> [rows.tolist() for rows in rows_of(pl.Series([[0, 1], [2]]))]
    [[0, 1], [2]]
    """
    lengths = messages.list.len().to_numpy()
    flat = messages.explode(empty_as_null=False).to_numpy().astype(np.int64)
    return np.split(flat, np.cumsum(lengths)[:-1]) if len(lengths) else []


def occurring(sessions: Sequence[Rows]) -> Rows:
    """Rows of the messages that occur, rising.

    >>> occurring([np.array([4, 2]), np.array([4])]).tolist()
    [2, 4]
    """
    return np.unique(np.concatenate(sessions)) if len(sessions) else np.zeros(0, dtype=np.int64)


def lengths(sessions: Sequence[Rows]) -> Rows:
    """How many messages each session has."""
    return np.fromiter(map(len, sessions), dtype=np.int64, count=len(sessions))


class Distinct(NamedTuple):
    """Sessions, each sequence once."""

    sessions: list[Rows]
    of: Rows
    """For each session given, which of the distinct ones it is."""


def distinct(sessions: Sequence[Rows]) -> Distinct:
    """Each sequence once, in the order of first occurrence: logs repeat themselves, and work on them need not.

    >>> distinct([np.array([1, 2]), np.array([3]), np.array([1, 2])]).of.tolist()
    [0, 1, 0]
    """
    places: dict[bytes, int] = {}
    of = np.fromiter(
        (places.setdefault(session.tobytes(), len(places)) for session in sessions),
        dtype=np.int64,
        count=len(sessions),
    )
    _, first = np.unique(of, return_index=True)
    return Distinct([sessions[row] for row in first], of)
