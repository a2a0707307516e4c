"""Classifiers on features of sessions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.methods.classifiers import Classifier, Forest, Logistic
from logllm.methods.contract import Method, Needs, Workplace, anything, of_both_kinds
from logllm.methods.features import EventCounts, Features, VectorSummary, WordPresence, matrices
from logllm.methods.learnt import Learnt
from logllm.methods.matrix import ByKind
from logllm.methods.vectors import FrozenVectors
from logllm.metrics import Labels, Scores
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, distinct

_TREES = 100


class Classified(Method):
    """Features, and a classifier that learns from normal and anomalous sessions.

    Its score is the probability that the classifier gives. Equal sessions are one row that weighs
    as much as they do together. What a message never seen means depends on the features.
    """

    needs: ClassVar[Needs] = Needs.SESSIONS

    def __init__(self, features: Features, classifier: Classifier) -> None:
        """Join features and a classifier."""
        self._features = features
        self._classifier = classifier

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Learn from distinct sessions.

        Raises:
            DataError: there are no labels, all sessions are of one kind, or they hold no message.
        """
        labels = of_both_kinds(labels)
        apart, of = distinct(anything(sessions))

        # A session that is now normal, now anomalous, is two rows: the classifier has to weigh
        # them.
        rows = ByKind.of(of, labels, distinct=len(apart))
        self._features.fit(apart, messages)
        read = self._features.reader(apart, messages)
        matrix = read([apart[place] for place in rows.places])
        self._classifier.fit(matrix, rows.anomalous, weights=rows.counts, seed=seed)

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """P(anomalous)."""
        apart, of = distinct(sessions)
        # Equal sessions are judged once, and some at a time: a matrix of all would not fit into
        # memory.
        chunks = matrices(self._features, apart, messages=messages, progress=progress)
        scores = [self._classifier.probability(matrix) for matrix in chunks]
        return np.concatenate([*scores, np.zeros(0)])[of]

    def about(self) -> dict[str, Any]:
        """The encoder, where the features are of vectors."""
        return self._features.about()

    def save(self, folder: Path) -> None:
        """Write `fitted.safetensors` and `fitted.json`."""
        features = self._features.fitted()
        learnt = {**features.arrays, **self._classifier.arrays()}
        Learnt(learnt, features.facts).write(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ModelError: files that are missing or of another method.
        """
        fitted = Learnt.read(folder)
        self._features.restore(fitted)
        self._classifier.restore(fitted)


def tree_counts(_recipe: Recipe, _workplace: Workplace) -> Method:
    """A decision tree on event counts."""
    return Classified(EventCounts(), Forest(trees=1))


def logistic_counts(_recipe: Recipe, _workplace: Workplace) -> Method:
    """A logistic regression on event counts."""
    return Classified(EventCounts(), Logistic())


def random_forest_counts(_recipe: Recipe, _workplace: Workplace) -> Method:
    """A random forest on event counts."""
    return Classified(EventCounts(), Forest(trees=_TREES))


def tree_words(_recipe: Recipe, _workplace: Workplace) -> Method:
    """A decision tree on which words occur."""
    return Classified(WordPresence(), Forest(trees=1))


def logistic_words(_recipe: Recipe, _workplace: Workplace) -> Method:
    """A logistic regression on which words occur."""
    return Classified(WordPresence(), Logistic())


def logistic_vectors(recipe: Recipe, workplace: Workplace) -> Method:
    """A logistic regression on mean, maximum and minimum of frozen vectors."""
    vectors = FrozenVectors.of(recipe, workplace)
    return Classified(VectorSummary(vectors), Logistic(standardised=True))


def logistic_extremes(recipe: Recipe, workplace: Workplace) -> Method:
    """A logistic regression on maximum and minimum of frozen vectors."""
    vectors = FrozenVectors.of(recipe, workplace)
    return Classified(VectorSummary(vectors, kinds=("max", "min")), Logistic(standardised=True))
