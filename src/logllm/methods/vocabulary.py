"""The messages that a method has learnt from, by their text."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from logllm.model.batch import Rows

UNKNOWN = 0
"""Number of every message that is not known."""


class Vocabulary:
    """Numbers from 1 for the messages of some sessions."""

    def __init__(self, sessions: Sequence[Rows], messages: pl.Series) -> None:
        """Know the messages that occur in sessions, in the order of their table."""
        texts = messages.gather(occurring(sessions)).to_list()
        self._numbers = {text: number for number, text in enumerate(texts, 1)}

    def __len__(self) -> int:
        return len(self._numbers)

    def numbers(self, messages: pl.Series) -> Rows:
        """For each message of a table its number, or `UNKNOWN`, (len(messages),)."""
        found = (self._numbers.get(text, UNKNOWN) for text in messages.to_list())
        return np.fromiter(found, dtype=np.int64, count=len(messages))


def occurring(sessions: Sequence[Rows]) -> Rows:
    """Rows of the messages that occur, rising.

    >>> occurring([np.array([4, 2]), np.array([4])]).tolist()
    [2, 4]
    """
    return np.unique(np.concatenate(sessions)) if len(sessions) else np.zeros(0, dtype=np.int64)


def lengths(sessions: Sequence[Rows]) -> Rows:
    """How many messages each session has."""
    return np.fromiter(map(len, sessions), dtype=np.int64, count=len(sessions))
