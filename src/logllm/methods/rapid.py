"""The nearest normal message."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from logllm.data.sequences import Rows, lengths, occurring
from logllm.methods.baseline import Labelled
from logllm.methods.vectors import FrozenVectors, Vectors
from logllm.methods.vocabulary import UNKNOWN, Vocabulary
from logllm.metrics import Scores

_AT_ONCE = 1024
"""Messages that are compared with all normal ones at once."""


class Rapid:
    """How far a session's strangest message is from the nearest message of normal sessions; nothing is trained.

    After No, Lee, Kang, Kang: *RAPID: Training-free Retrieval-based Log Anomaly Detection with PLM considering
    Token-level information* (Engineering Applications of Artificial Intelligence, 2024; arXiv 2023). Ours differs: one
    pooled vector a message and the cosine, where theirs first picks the nearest by a vector and then compares token by
    token; each message on its own, the session taking the largest distance; and no core set, as each message is kept once.

    A distance d becomes the score d / (d + m), m being the median distance of a normal message to the nearest
    other one: .5 says that a message is as far from normal as normal messages are from one another.
    """

    def __init__(self, vectors: FrozenVectors) -> None:
        """Compare the vectors of an encoder."""
        self._vectors = vectors

    def fit(self, train: Labelled, *, seed: int) -> None:
        """Keep the vectors of the normal sessions' messages.

        Raises:
            DataError: there is no normal session.
        """
        normal = train.normal()
        self._known = Vocabulary(normal, train.messages)
        self._normal = _directions(self._vectors.table(normal, train.messages)[occurring(normal)])
        apart = self._distances(self._normal, rank=1)
        self._usual = float(np.median(apart[apart > 0])) if (apart > 0).any() else 0.5

    def score(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """The largest distance of a session's messages, in [0, 1)."""
        new = np.intersect1d(occurring(sessions), np.flatnonzero(self._known.numbers(messages) == UNKNOWN))
        distances = np.zeros(len(messages))  # a message that normal sessions hold is at no distance
        distances[new] = self._distances(_directions(self._vectors.table([new], messages)[new]), rank=0)
        scores = np.zeros(len(sessions))
        flat = distances[np.concatenate(sessions)] if len(sessions) else np.zeros(0)
        np.maximum.at(scores, np.repeat(np.arange(len(sessions)), lengths(sessions)), flat)
        return scores / (scores + self._usual)

    def _distances(self, directions: Vectors, *, rank: int) -> Scores:
        """Cosine distance to the nearest normal message, or with `rank` 1 to the nearest but one."""
        found = np.ones(len(directions))
        rank = min(rank, len(self._normal) - 1)
        for start in range(0, len(directions), _AT_ONCE):
            apart = 1 - directions[start : start + _AT_ONCE] @ self._normal.T  # (messages, normal messages)
            found[start : start + _AT_ONCE] = np.partition(apart, rank, axis=1)[:, rank]
        return found.clip(0, 2)


def _directions(vectors: Vectors) -> Vectors:
    """The same of length 1."""
    directions: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
    return directions
