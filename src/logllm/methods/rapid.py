"""The nearest normal message."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.methods.contract import Method, Needs, Workplace, anything, normal_sessions
from logllm.methods.learnt import Learnt
from logllm.methods.vectors import FrozenVectors, Vectors
from logllm.methods.vocabulary import UNKNOWN, Vocabulary
from logllm.metrics import Labels, Scores
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, lengths, occurring

_AT_ONCE = 1024
"""How many messages are compared with all normal ones at once."""


class Rapid(Method):
    """How far a session's strangest message is from the nearest message of normal sessions.

    Nothing is trained.

    After No, Lee, Kang, Kang: *RAPID: Training-free Retrieval-based Log Anomaly Detection with PLM
    considering Token-level information* (Engineering Applications of Artificial Intelligence, 2024;
    arXiv 2023). Ours differs: one pooled vector a message and the cosine, where theirs first picks
    the nearest by a vector and then compares token by token; each message on its own, the session
    taking the largest distance; and no core set, as each message is kept once.

    A distance d becomes the score d / (d + m), m being the median distance of a normal message to
    the nearest other one: .5 says that a message is as far from normal as normal messages are from
    one another.

    With labels the anomalous sessions are left out, without labels it learns from all.
    """

    needs: ClassVar[Needs] = Needs.NOTHING

    def __init__(self, recipe: Recipe, workplace: Workplace) -> None:
        """Compare the vectors of the recipe's encoder."""
        self._vectors = FrozenVectors.of(recipe, workplace)

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Keep the vectors of the normal sessions' messages, or without labels of all sessions'.

        Nothing is drawn.

        Raises:
            DataError: there is no normal session, or none with a message.
        """
        normal = anything(normal_sessions(sessions, labels))
        self._vocabulary = Vocabulary.of(normal, messages)
        vectors = self._vectors.table(normal, messages)[occurring(normal)]
        self._normal = _directions(vectors)

        # Of each normal message the nearest is itself: the nearest but one says how far they are
        # apart. Equal ones at no distance would make everything else look far.
        apart = self._distances(self._normal, rank=1)
        far = apart > 0
        self._usual = float(np.median(apart[far])) if far.any() else 0.5

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """The largest distance of a session's messages, in [0, 1)."""
        strange = self._strange(sessions, messages)
        scores = np.zeros(len(sessions))
        flat = strange[np.concatenate([*sessions, np.zeros(0, dtype=np.int64)])]
        session = np.repeat(np.arange(len(sessions)), lengths(sessions))
        np.maximum.at(scores, session, flat)
        return scores

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """Each message's own distance."""
        strange = self._strange(sessions, messages)
        return [strange[session] for session in sessions]

    def about(self) -> dict[str, Any]:
        """The encoder."""
        return self._vectors.about()

    def save(self, folder: Path) -> None:
        """Write `fitted.safetensors` and `fitted.json`."""
        facts = {"messages": self._vocabulary.texts, "usual_distance": self._usual}
        Learnt({"normal": self._normal}, facts).write(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ModelError: files that are missing or of another method.
        """
        fitted = Learnt.read(folder)
        self._vocabulary = Vocabulary(fitted.fact("messages"))
        self._normal = fitted.array("normal")
        self._usual = float(fitted.fact("usual_distance"))

    def _strange(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """Scores of a table's messages that occur, (len(messages),).

        Those that normal sessions hold have the distance 0.
        """
        # Only what is new is encoded: of most logs that is little.
        unknown = self._vocabulary.numbers(sessions, messages) == UNKNOWN
        rows = occurring(sessions)
        new = rows[unknown[rows]]
        distances = np.zeros(len(messages))
        if len(new):
            directions = _directions(self._vectors.table([new], messages)[new])
            distances[new] = self._distances(directions, rank=0)
        return distances / (distances + self._usual)

    def _distances(self, directions: Vectors, *, rank: int) -> Scores:
        """Cosine distance to the nearest normal message, with `rank` 1 to the nearest but one."""
        distances = np.ones(len(directions))
        # A single normal message has no other: it is its own nearest but one.
        rank = min(rank, len(self._normal) - 1)
        for start in range(0, len(directions), _AT_ONCE):
            chunk = directions[start : start + _AT_ONCE]
            apart = 1 - chunk @ self._normal.T  # (messages, normal messages)
            nearest = np.partition(apart, rank, axis=1)[:, rank]
            distances[start : start + _AT_ONCE] = nearest
        return distances.clip(0, 2)


def _directions(vectors: Vectors) -> Vectors:
    """The same vectors with length 1."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions: Vectors = vectors / norms.clip(min=1e-12)
    return directions
