"""Methods of scikit-learn on features of sessions."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from logllm.data.sequences import Rows, distinct
from logllm.methods.baseline import Labelled
from logllm.methods.features import Features
from logllm.metrics import Scores

_ITERATIONS = 10_000


class Classified:
    """Features, and a classifier that learns from normal and anomalous sessions; its score is the probability it gives.

    Equal sessions are one row that weighs as much as they do together.
    """

    def __init__(self, features: Features, classifier: Callable[[int], Any]) -> None:
        """Join features with what makes a classifier from a seed."""
        self._features = features
        self._new = classifier

    def fit(self, train: Labelled, *, seed: int) -> None:
        """Learn.

        Raises:
            DataError: all sessions are of one kind.
        """
        train = train.of_both_kinds()
        sessions, of = distinct(train.sessions)
        weights = np.stack([np.bincount(of[train.labels == kind], minlength=len(sessions)) for kind in (False, True)])
        kinds, rows = np.nonzero(weights)
        self._features.fit(sessions, train.messages)
        self._classifier = self._new(seed)
        # A pipeline hands weights to a step by the step's name.
        names = [name for name, _ in getattr(self._classifier, "steps", ())]
        given = {f"{name}__sample_weight": weights[kinds, rows] for name in names} or {"sample_weight": weights[kinds, rows]}
        self._classifier.fit(self._features.matrix(sessions, train.messages)[rows], kinds == 1, **given)

    def score(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """P(anomalous)."""
        kept, of = distinct(sessions)
        probabilities = self._classifier.predict_proba(self._features.matrix(kept, messages))
        scores: Scores = probabilities[:, 1].astype(np.float64)
        return scores[of]


class Isolated:
    """An isolation forest on features of all sessions, their labels not looked at (Liu, Ting, Zhou: *Isolation Forest*, ICDM 2008).

    The score is the paper's: near 1 where few random cuts set a session apart, below .5 where it takes many. Not fitted on
    normal sessions alone: a forest cuts only where its sessions differ, so that what never or always occurs in normal ones
    it would not see at all (on the HDFS sample, average precision .05 on counts instead of .73).
    """

    def __init__(self, features: Features) -> None:
        """Join features with a forest of 100 trees of 256 sessions each, the paper's."""
        self._features = features

    def fit(self, train: Labelled, *, seed: int) -> None:
        """Learn, without labels.

        Raises:
            DataError: the messages hold no words, where those are the features.
        """
        self._features.fit(train.sessions, train.messages)
        matrix = self._features.matrix(train.sessions, train.messages)
        self._forest = IsolationForest(n_estimators=100, random_state=seed).fit(matrix)

    def score(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """The paper's anomaly score."""
        kept, of = distinct(sessions)
        scores: Scores = -self._forest.score_samples(self._features.matrix(kept, messages))
        return scores.clip(0, 1)[of]


def tree(seed: int) -> Any:
    """A decision tree, grown to the end."""
    return DecisionTreeClassifier(random_state=seed)


def random_forest(seed: int) -> Any:
    """A hundred decision trees (Breiman: *Random Forests*, 2001)."""
    return RandomForestClassifier(n_estimators=100, random_state=seed)


def logistic(seed: int) -> Any:
    """A logistic regression, penalised as scikit-learn does by default."""
    return LogisticRegression(max_iter=_ITERATIONS, random_state=seed)


def standardised_logistic(seed: int) -> Any:
    """The same on columns of mean 0 and deviation 1."""
    return make_pipeline(StandardScaler(), logistic(seed))
