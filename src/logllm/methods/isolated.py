"""Isolation forests on features of sessions: learnt with scikit-learn, scored without it."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.methods.contract import Method, Needs, Workplace, anything
from logllm.methods.features import EventCounts, Features, WordPresence, matrices
from logllm.methods.learnt import Learnt
from logllm.methods.trees import Trees, node_depths, usual_depth
from logllm.metrics import Labels, Scores
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, distinct

_TREES = 100


class Isolated(Method):
    """An isolation forest on features of all sessions, their labels not looked at.

    After Liu, Ting, Zhou: *Isolation Forest*, ICDM 2008. The score is the paper's: near 1 where few
    random cuts separate a session from the others, below .5 where it takes many. It is not fitted
    on normal sessions alone: a forest cuts only where its sessions differ, and would not see what
    never or always occurs in normal ones (on the HDFS sample, average precision .05 on counts
    instead of .73).
    """

    needs: ClassVar[Needs] = Needs.NOTHING

    def __init__(self, features: Features) -> None:
        """Join features with a forest of 100 trees of 256 sessions each, the paper's."""
        self._features = features

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Learn without labels.

        Raises:
            DataError: the sessions hold no message, or no word where words are the features.
        """
        from sklearn.ensemble import IsolationForest

        self._features.fit(anything(sessions), messages)
        matrix = self._features.reader(sessions, messages)(sessions)
        forest = IsolationForest(n_estimators=_TREES, random_state=seed).fit(matrix.learnable())
        grown = [tree.tree_ for tree in forest.estimators_]
        # A leaf that still holds several sessions counts as if random cuts went on there.
        depths = [node_depths(tree) + usual_depth(tree.n_node_samples) for tree in grown]
        self._trees = Trees.taken(grown, depths)
        sample = np.array([forest.max_samples_])
        self._usual = float(usual_depth(sample)[0])

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """The paper's anomaly score."""
        apart, of = distinct(sessions)
        chunks = matrices(self._features, apart, messages=messages, progress=progress)
        sums = [self._trees.sums(matrix.table()) for matrix in chunks]
        depths = np.concatenate([*sums, np.zeros(0)])

        # 2 ^ (-mean depth / usual depth), the paper's formula (2). A forest learnt from one session
        # has no depth.
        total = len(self._trees.roots) * self._usual
        share = depths / total if total else np.ones(len(depths))
        scores: Scores = 2.0**-share
        return scores.clip(0, 1)[of]

    def save(self, folder: Path) -> None:
        """Write `fitted.safetensors` and `fitted.json`."""
        facts = {**self._features.fitted().facts, "usual_depth": self._usual}
        Learnt(self._trees.arrays(), facts).write(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ModelError: files that are missing or of another method.
        """
        fitted = Learnt.read(folder)
        self._features.restore(fitted)
        self._trees = Trees.of(fitted)
        self._usual = float(fitted.fact("usual_depth"))


def forest_counts(_recipe: Recipe, _workplace: Workplace) -> Method:
    """An isolation forest on event counts."""
    return Isolated(EventCounts())


def forest_words(_recipe: Recipe, _workplace: Workplace) -> Method:
    """An isolation forest on which words occur."""
    return Isolated(WordPresence())
