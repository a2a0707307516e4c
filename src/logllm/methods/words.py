"""Sessions by the words of their messages."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.methods.boosted import Boosted, Known
from logllm.methods.contract import Method, Needs, Workplace, anything, of_both_kinds
from logllm.methods.features import WordCounts, matrices
from logllm.methods.learnt import Learnt
from logllm.methods.matrix import ByKind
from logllm.metrics import Labels, Scores, sigmoid
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, distinct, ever_alerts, occurring

_LINE_WEIGHT = 0.5
"""How much a message counts as a row of its own, where a session counts 1."""


class WordTrees(Method):
    """Boosted trees on the words of masked messages: what `words` and `lines` have in common."""

    scale: ClassVar[Literal["logits", "scores"]] = "logits"

    def __init__(self, _recipe: Recipe, _workplace: Workplace) -> None:
        """Make one that has learnt nothing yet."""
        self._counts = WordCounts()
        self._trees = Boosted()

    def learnt_from(self, count: int) -> list[slice]:
        """Which of so many sessions trees are grown on: on all, and on all that are no copies."""
        every = slice(0, count)
        if not self.copies:
            return [every]
        # Copies stand behind what they are copies of.
        own = slice(0, count - self.copies)
        return [every, own]

    def margins(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """The logits of `score`, (b,)."""
        raise NotImplementedError

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """P(anomalous)."""
        return sigmoid(self.margins(sessions, messages, progress=progress))

    def save(self, folder: Path) -> None:
        """Write `fitted.safetensors` and `fitted.json`."""
        Learnt(self._trees.arrays(), self._counts.fitted().facts).write(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ModelError: files that are missing or of another method.
        """
        fitted = Learnt.read(folder)
        self._counts.restore(fitted)
        self._trees.restore(fitted)


class Words(WordTrees):
    """Boosted trees on how often each word occurs in a session.

    Its score is the probability that they give. Where labels are per line, each distinct message is
    a row, too, anomalous if one of its lines is: what a message says by itself is then not lost in
    long sessions. A message never seen is known by the words it shares with others, and a word
    never seen says nothing. Equal sessions are one row that weighs as much as they do together.
    Where some sessions are copies in other languages, half of the trees learn without these: the
    log's own language is known best by trees that know no other one.
    """

    needs: ClassVar[Needs] = Needs.SESSIONS

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Learn.

        Raises:
            DataError: there are no labels, all sessions are of one kind, or they hold no word.
            RecipeError: XGBoost is not installed.
        """
        labels = of_both_kinds(labels)
        self._counts.fit(anything(sessions), messages)
        # The same columns for all trees, whatever they learn from.
        tables = []
        for some in self.learnt_from(len(sessions)):
            marks = None
            if line_labels is not None:
                marks = line_labels[some]
            learnt = sessions[some]
            known = self._known(learnt, messages, labels=labels[some], line_labels=marks)
            tables.append(known)
        self._trees.fit(tables, seed=seed)

    def _known(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels,
        line_labels: Sequence[Labels] | None,
    ) -> Known:
        """What is learnt from some sessions."""
        # A row for each distinct session of each kind.
        apart, of = distinct(sessions)
        by_kind = ByKind.of(of, labels, distinct=len(apart))
        rows = [apart[place] for place in by_kind.places]
        anomalous, weights = by_kind.anomalous, by_kind.counts.astype(np.float64)

        # And a row for each distinct message.
        if line_labels is not None:
            alone = occurring(sessions)
            bad = ever_alerts(alone, sessions, alerts=line_labels)
            rows += [alone[place : place + 1] for place in range(len(alone))]
            anomalous = np.concatenate([anomalous, bad])
            of_lines = np.full(len(alone), _LINE_WEIGHT)
            weights = np.concatenate([weights, of_lines])
        matrix = self._counts.reader(apart, messages)(rows)
        return Known(matrix, anomalous, weights)

    def margins(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """The logits of `score`, (b,)."""
        apart, of = distinct(sessions)
        # Equal sessions are judged once; a log of a hundred thousand may have a thousand distinct
        # ones.
        chunks = matrices(self._counts, apart, messages=messages, progress=progress)
        margins = [self._trees.margins(matrix) for matrix in chunks]
        return np.concatenate([*margins, np.zeros(0)])[of]

    def new_words(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """The share of each session's words that it has never seen, (b,)."""
        return self._counts.new_words(sessions, messages)
