"""The rule that what was never seen in normal operation is a sign of trouble."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.methods.contract import Method, Needs, Workplace, normal_sessions
from logllm.methods.learnt import Learnt
from logllm.methods.vocabulary import UNKNOWN, Vocabulary
from logllm.metrics import Labels, Scores
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, lengths


class Unseen(Method):
    """The share of a session's messages that no normal session to learn from holds.

    Any such message is an alarm. With labels the anomalous sessions are left out, without labels it
    learns from all. A session without such a message scores 0; every other one scores one half plus
    half the share, so that .5 separates the two.
    """

    needs: ClassVar[Needs] = Needs.NOTHING

    def __init__(self, recipe: Recipe, workplace: Workplace) -> None:
        """There is nothing to set."""

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Learn the messages of the normal sessions, or without labels of all sessions.

        Raises:
            DataError: there is none.
        """
        self._vocabulary = Vocabulary.of(normal_sessions(sessions, labels), messages)

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """0, or .5 and half the share."""
        new = self._vocabulary.numbers(sessions, messages) == UNKNOWN
        # The new messages of each session, counted all at once; a session of nothing has the share
        # 0.
        sizes = lengths(sessions)
        session = np.repeat(np.arange(len(sessions)), sizes)
        flat = new[np.concatenate([*sessions, np.zeros(0, dtype=np.int64)])]
        counts = np.bincount(session, weights=flat, minlength=len(sessions))
        shares = counts / sizes.clip(min=1)
        return np.where(shares > 0, 0.5 + shares / 2, 0.0)

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """1 for a message that was not seen, else 0."""
        new = self._vocabulary.numbers(sessions, messages) == UNKNOWN
        return [new[session].astype(np.float64) for session in sessions]

    def save(self, folder: Path) -> None:
        """Write `fitted.safetensors` and `fitted.json`."""
        Learnt({}, {"messages": self._vocabulary.texts}).write(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ModelError: files that are missing or of another method.
        """
        self._vocabulary = Vocabulary(Learnt.read(folder).fact("messages"))
