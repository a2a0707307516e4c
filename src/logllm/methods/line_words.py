"""Single lines by their words and those of the line before."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import polars as pl

from logllm.errors import DataError
from logllm.methods.boosted import Known
from logllm.methods.contract import Needs, anything, of_both_kinds
from logllm.methods.matrix import ByKind, Matrix
from logllm.methods.words import WordTrees
from logllm.metrics import Labels, Scores, sigmoid
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, lengths

_AT_ONCE = 1024
"""How many distinct lines a matrix has at most."""
_LEAST = -12.0
"""The margin of a session without lines."""


class Pairs(NamedTuple):
    """The lines of some sessions, each as its message and the one before it; equal pairs once."""

    own: list[Rows]
    """For each pair the row of its message, as a session of one."""
    before: list[Rows]
    """For each pair the row of the message before it in the session; empty where it is the
    first."""
    of: Rows
    """Which pair each line is, session after session, (lines,)."""
    ends: Rows
    """Where each session's lines end among these, (b,)."""

    @classmethod
    def of_sessions(cls, sessions: Sequence[Rows], *, messages: int) -> "Pairs":
        """The pairs that occur, in the order of their messages' rows.

        >>> Pairs.of_sessions([np.array([4, 2]), np.array([2, 4, 2])], messages=5).of.tolist()
        [2, 1, 0, 3, 1]
        """
        nothing = np.zeros(0, dtype=np.int64)
        own = np.concatenate([*sessions, nothing])
        shifted = [_shifted(session) for session in sessions]
        before = np.concatenate([*shifted, nothing])

        # Both as one number, to take equal pairs once: the line before counts from 1, so that 0
        # stands for none. Of 5 messages row 4 after row 2 is 4 * 6 + 3.
        width = messages + 1
        pairs, of = np.unique(own * width + before + 1, return_inverse=True)
        rows, earlier = pairs // width, pairs % width - 1

        # A slice of one row is a session of one message, an empty one a session of none.
        sizes = (earlier >= 0).astype(np.int64)
        places = range(len(pairs))
        lines = [rows[place : place + 1] for place in places]
        ahead = [earlier[place : place + sizes[place]] for place in places]
        return cls(lines, ahead, of, np.cumsum(lengths(sessions)))


class LineWords(WordTrees):
    """Boosted trees on the words of a line and, in columns of their own, those of the line before.

    A detail or a statement is then known by the error that it follows. A session scores as its most
    anomalous line. n equal lines weigh together as much as sqrt(n). Half of the trees learn without
    copies in other languages, as those of `words` do.
    """

    needs: ClassVar[Needs] = Needs.LINES

    @property
    def reads_lines(self) -> bool:
        """Whether lines have scores of their own: they do, it has learnt from lines."""
        return True

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Learn from distinct lines.

        Raises:
            DataError: labels are not per line, all sessions are of one kind, or they hold no word.
            RecipeError: XGBoost is not installed.
        """
        of_both_kinds(labels)
        if line_labels is None:
            raise DataError("labels are of sessions: this method learns from labels of lines")
        self._counts.fit(anything(sessions), messages)
        tables = []
        for some in self.learnt_from(len(sessions)):
            tables.append(self._known(sessions[some], messages, line_labels=line_labels[some]))
        self._trees.fit(tables, seed=seed)

    def _known(
        self, sessions: Sequence[Rows], messages: pl.Series, *, line_labels: Sequence[Labels]
    ) -> Known:
        """What is learnt from some sessions."""
        pairs = Pairs.of_sessions(sessions, messages=len(messages))
        of_lines = np.concatenate(line_labels)
        by_kind = ByKind.of(pairs.of, of_lines, distinct=len(pairs.own))

        # n equal lines weigh sqrt(n) together: a line that comes in each session would else count
        # more than all others, and once is too little for what comes a thousand times.
        equal = np.bincount(pairs.of)
        weights = by_kind.counts / np.sqrt(equal[by_kind.places])
        matrix = self._matrix(pairs, by_kind.places, messages=messages)
        return Known(matrix, by_kind.anomalous, weights)

    def margins(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """The largest logit of each session's lines, (b,)."""
        most = [lines.max(initial=_LEAST) for lines in self.line_margins(sessions, messages)]
        return np.array(most, dtype=np.float64)

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """Each line's own probability."""
        return [sigmoid(lines) for lines in self.line_margins(sessions, messages)]

    def line_margins(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """The logit of each line, one array for each session."""
        if not sessions:
            return []
        pairs = Pairs.of_sessions(sessions, messages=len(messages))
        places = np.arange(len(pairs.own))

        # Each distinct pair is judged once, some at a time: a matrix has a column a word.
        margins = []
        for start in range(0, len(places), _AT_ONCE):
            chunk = places[start : start + _AT_ONCE]
            matrix = self._matrix(pairs, chunk, messages=messages)
            margins.append(self._trees.margins(matrix))
        of_pairs = np.concatenate([*margins, np.zeros(0)])
        of_lines = of_pairs[pairs.of]
        return np.split(of_lines, pairs.ends[:-1])

    def _matrix(self, pairs: Pairs, places: Rows, *, messages: pl.Series) -> Matrix:
        """The words of some pairs' lines, and beside them those of the lines before."""
        own = [pairs.own[place] for place in places]
        before = [pairs.before[place] for place in places]
        read = self._counts.reader([*own, *before], messages)
        return read(own).beside(read(before))


def _shifted(session: Rows) -> Rows:
    """For each line of a session the row before it; -1 for the first.

    >>> _shifted(np.array([4, 2, 7])).tolist()
    [-1, 4, 2]
    """
    none = np.full(1, -1)
    shifted = np.concatenate([none, session[:-1]])
    return shifted[: len(session)]
