"""The messages that a method has learnt from, by their text."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import polars as pl

from logllm.sessions.message_table import Rows, occurring

UNKNOWN = 0
"""Number of every message that is not known."""


class Vocabulary:
    """Numbers from 1 for some messages."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Number some messages, in their order."""
        self.texts = list(texts)
        self._numbers = {text: number for number, text in enumerate(self.texts, 1)}

    @classmethod
    def of(cls, sessions: Sequence[Rows], messages: pl.Series) -> Self:
        """Number the messages that occur in sessions, in the order of their table."""
        rows = occurring(sessions)
        return cls(messages.gather(rows).to_list())

    def __len__(self) -> int:
        return len(self.texts)

    def numbers(self, sessions: Sequence[Rows], messages: pl.Series) -> Rows:
        """Numbers of a table's messages that occur in sessions, (len(messages),).

        `UNKNOWN` stands for those that are not known, and for those that do not occur.
        """
        # Only what occurs is looked up: a table may be much longer than the sessions that are asked
        # for.
        rows = occurring(sessions)
        texts = messages.gather(rows).to_list()
        numbers = np.full(len(messages), UNKNOWN, dtype=np.int64)
        numbers[rows] = self.of_texts(texts)
        return numbers

    def of_texts(self, texts: Sequence[str]) -> Rows:
        """Numbers of some messages, (u,)."""
        numbers = (self._numbers.get(text, UNKNOWN) for text in texts)
        return np.fromiter(numbers, dtype=np.int64, count=len(texts))
