"""Trees and regressions: learnt with scikit-learn, read without it."""

from typing import Any, Protocol

import numpy as np

from logllm.methods.learnt import Array, Learnt
from logllm.methods.matrix import Matrix
from logllm.methods.trees import Trees
from logllm.metrics import Labels, Scores, sigmoid
from logllm.sessions.message_table import Rows

_ITERATIONS = 10_000


class Classifier(Protocol):
    """Tells normal and anomalous rows of a matrix apart."""

    def fit(self, matrix: Matrix, labels: Labels, *, weights: Rows, seed: int) -> None:
        """Learn from rows that count as often as their weights say."""

    def probability(self, matrix: Matrix) -> Scores:
        """P(anomalous), (b,)."""

    def arrays(self) -> dict[str, Array]:
        """What it has learnt, for files."""

    def restore(self, fitted: Learnt) -> None:
        """Take from files what was learnt.

        Raises:
            ModelError: they are of another method.
        """


class Forest:
    """Decision trees, grown to the end.

    Several are a random forest (Breiman: *Random Forests*, 2001).
    """

    def __init__(self, *, trees: int) -> None:
        """Begin with nothing grown.

        Args:
            trees: how many there are to be.
        """
        self._count = trees

    def fit(self, matrix: Matrix, labels: Labels, *, weights: Rows, seed: int) -> None:
        """Grow the trees."""
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.tree import DecisionTreeClassifier

        if self._count == 1:
            model: Any = DecisionTreeClassifier(random_state=seed)
        else:
            model = RandomForestClassifier(n_estimators=self._count, random_state=seed)
        model.fit(matrix.learnable(), labels, sample_weight=weights)
        grown = [tree.tree_ for tree in getattr(model, "estimators_", [model])]
        # A node has the share of each kind, also in a tree that drew only one kind.
        shares = [tree.value[:, 0, 1] for tree in grown]
        self._trees = Trees.taken(grown, shares)

    def probability(self, matrix: Matrix) -> Scores:
        """The mean, over all trees, of the share of anomalous ones in the leaf that is reached."""
        sums = self._trees.sums(matrix.table())
        return sums / len(self._trees.roots)

    def arrays(self) -> dict[str, Array]:
        """The trees."""
        return self._trees.arrays()

    def restore(self, fitted: Learnt) -> None:
        """Take trees from files."""
        self._trees = Trees.of(fitted)


class Logistic:
    """A logistic regression, penalised as scikit-learn does by default."""

    def __init__(self, *, standardised: bool = False) -> None:
        """Begin with nothing learnt.

        Args:
            standardised: move and scale each column to mean 0 and deviation 1.
        """
        self._standardised = standardised

    def fit(self, matrix: Matrix, labels: Labels, *, weights: Rows, seed: int) -> None:
        """Learn one weight for each column, and a bias."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        cells = matrix.learnable()
        regression = LogisticRegression(max_iter=_ITERATIONS, random_state=seed)
        if not self._standardised:
            regression.fit(cells, labels, sample_weight=weights)
            self._weights = regression.coef_[0].astype(np.float64)
            self._bias = regression.intercept_.astype(np.float64)
            return
        scaler = StandardScaler().fit(cells, sample_weight=weights)
        regression.fit(scaler.transform(cells), labels, sample_weight=weights)
        # The scaling goes into the weights:
        # w (x - mean) / scale + b is (w / scale) x + (b - mean w / scale).
        self._weights = regression.coef_[0] / scaler.scale_
        self._bias = regression.intercept_ - scaler.mean_ @ self._weights

    def probability(self, matrix: Matrix) -> Scores:
        """The logistic function of a weighted sum."""
        logits = matrix.times(self._weights) + self._bias
        return sigmoid(logits)

    def arrays(self) -> dict[str, Array]:
        """Weights, (columns,), and bias, (1,)."""
        return {"weights": self._weights, "bias": self._bias}

    def restore(self, fitted: Learnt) -> None:
        """Take weights and bias from files."""
        self._weights, self._bias = fitted.array("weights"), fitted.array("bias")
