"""Sessions as rows of a matrix: how often each message occurs, which words do, or what its vectors amount to."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import polars as pl
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer

from logllm.data.sequences import Rows, lengths, occurring
from logllm.errors import DataError
from logllm.methods.vectors import FrozenVectors, Vectors
from logllm.methods.vocabulary import UNKNOWN, Vocabulary

Summary = Literal["mean", "max", "min"]
_REDUCED: dict[Summary, np.ufunc] = {"mean": np.add, "max": np.maximum, "min": np.minimum}
_AT_ONCE = 2048
"""Sessions whose messages' vectors are held at once."""


class Features(Protocol):
    """What a classical method sees of a session."""

    def fit(self, sessions: Sequence[Rows], messages: pl.Series) -> None:
        """Settle the columns."""

    def matrix(self, sessions: Sequence[Rows], messages: pl.Series) -> Any:
        """One row a session, dense or sparse."""


class EventCounts:
    """How often each message occurs; a message that was not there to learn from has no column and is left out."""

    def fit(self, sessions: Sequence[Rows], messages: pl.Series) -> None:
        """Settle the columns: the messages of these sessions."""
        self._vocabulary = Vocabulary(sessions, messages)

    def matrix(self, sessions: Sequence[Rows], messages: pl.Series) -> Any:
        """Counts, sparse, (sessions, messages known)."""
        numbers = self._vocabulary.numbers(messages)
        counts = _occurrences(sessions, numbers, columns=len(self._vocabulary) + 1)
        return counts[:, UNKNOWN + 1 :]


class WordPresence:
    """Which words of the masked messages occur, so that a new message is known by the words it shares with others."""

    def fit(self, sessions: Sequence[Rows], messages: pl.Series) -> None:
        """Settle the columns: the words of these sessions' messages.

        Raises:
            DataError: they hold no words.
        """
        self._words = CountVectorizer(binary=True)
        try:
            self._words.fit(messages.gather(occurring(sessions)).to_list())
        except ValueError as exc:
            raise DataError("the messages to learn from hold no word of two letters or more: take a baseline on counts") from exc

    def matrix(self, sessions: Sequence[Rows], messages: pl.Series) -> Any:
        """Zeros and ones, sparse, (sessions, words known)."""
        rows = np.arange(len(messages))
        held = _occurrences(sessions, rows, columns=len(messages)) @ csr_array(self._words.transform(messages.to_list()))
        # Trees read no matrix whose indexes have 64 bits.
        return csr_array((np.ones(held.nnz), held.indices.astype(np.int32), held.indptr.astype(np.int32)), shape=held.shape)


class VectorSummary:
    """Elementwise mean, maximum and minimum of the vectors of a session's messages; any message has a vector."""

    def __init__(self, vectors: FrozenVectors, *, parts: Sequence[Summary] = ("mean", "max", "min")) -> None:
        """Summarise a session by some of the three, beside one another."""
        self._vectors = vectors
        self._parts = tuple(parts)

    def fit(self, sessions: Sequence[Rows], messages: pl.Series) -> None:
        """Nothing to settle: the columns are the encoder's."""

    def matrix(self, sessions: Sequence[Rows], messages: pl.Series) -> Any:
        """Dense, (sessions, parts * d_enc)."""
        table = self._vectors.table(sessions, messages)
        found = np.zeros((len(sessions), len(self._parts) * table.shape[1]), dtype=np.float32)
        some = [row for row, session in enumerate(sessions) if len(session)]
        for start in range(0, len(some), _AT_ONCE):
            rows = some[start : start + _AT_ONCE]
            found[rows] = self._summarised([sessions[row] for row in rows], table)
        return found

    def _summarised(self, sessions: Sequence[Rows], table: Vectors) -> Vectors:
        """Rows of sessions that are not empty."""
        each = table[np.concatenate(sessions)]
        sizes = lengths(sessions)
        starts = np.cumsum(sizes) - sizes
        found = [_REDUCED[part].reduceat(each, starts) / (sizes[:, None] if part == "mean" else 1) for part in self._parts]
        return np.concatenate(found, axis=1, dtype=np.float32)


def _occurrences(sessions: Sequence[Rows], numbers: Rows, *, columns: int) -> Any:
    """How often each number occurs in each session, sparse, (sessions, columns)."""
    flat = numbers[np.concatenate(sessions)] if len(sessions) else np.zeros(0, dtype=np.int64)
    ends = np.concatenate([[0], np.cumsum(lengths(sessions))])
    counts = csr_array((np.ones(len(flat)), flat.astype(np.int32), ends.astype(np.int32)), shape=(len(sessions), columns))
    counts.sum_duplicates()
    return counts
