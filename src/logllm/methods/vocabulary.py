"""The messages that a method has learnt from, by their text."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from logllm.data.sequences import Rows, occurring

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
