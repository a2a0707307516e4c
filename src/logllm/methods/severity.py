"""What people do with a log first: look for words of trouble."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.methods.contract import Method, Needs, Workplace, anything
from logllm.methods.learnt import Learnt
from logllm.methods.trouble import grades
from logllm.metrics import Labels, Scores
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, lengths

_HALF = 2.0
"""How many words of trouble, grave ones counted twice, give a score of three quarters."""


class Grep(Method):
    """How many messages of a session hold a word of trouble, a grave one counted twice.

    A single one is an alarm. It learns nothing: it is what `grep -ciE 'error|fail|...'` says of
    each session, in a dozen languages (`logllm.methods.trouble`). Whatever is learnt should do
    better.
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
        """Learn nothing.

        Raises:
            DataError: there is no session.
        """
        anything(sessions)

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """0, or one half and more."""
        # Grades of all messages of each session added up: two graves are four.
        flat = np.concatenate([*sessions, np.zeros(0, dtype=np.int64)])
        session = np.repeat(np.arange(len(sessions)), lengths(sessions))
        trouble = grades(messages)[flat]
        words = np.bincount(session, weights=trouble, minlength=len(sessions))
        alarm = 0.5 + words / (words + _HALF) / 2
        return np.where(words > 0, alarm, 0.0)

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """1 for a message with a grave word, .5 for one with another word of trouble, else 0."""
        of_messages = grades(messages) / 2
        return [of_messages[session] for session in sessions]

    def save(self, folder: Path) -> None:
        """Write `fitted.safetensors`, which is empty, and `fitted.json`, which names the method."""
        Learnt({}, {"grep": []}).write(folder)

    def load(self, folder: Path) -> None:
        """Check that the folder holds what `save` wrote.

        Raises:
            ModelError: files that are missing or of another method.
        """
        Learnt.read(folder).fact("grep")
