"""Decision trees as arrays: taken from scikit-learn once they are grown, and read without it."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from logllm.methods.learnt import Array, Learnt
from logllm.methods.matrix import Table
from logllm.metrics import Scores
from logllm.sessions.message_table import Rows


class Trees(NamedTuple):
    """One tree or several, their nodes one after the other."""

    feature: Rows
    """The column that a node looks at; 0 for a leaf, which looks at none."""
    threshold: Scores
    """The largest number that goes left."""
    left: Rows
    """The node on the left; a leaf is its own."""
    right: Rows
    """The node on the right; a leaf is its own."""
    value: Scores
    """What a leaf says."""
    roots: Rows
    """Each tree's first node."""

    @classmethod
    def taken(cls, trees: Sequence[Any], values: Sequence[Scores]) -> Self:
        """Trees of scikit-learn's.

        Args:
            trees: `tree_` of each.
            values: what each tree's nodes say.
        """
        # All trees' nodes below one another; scikit-learn numbers children within each tree, from
        # its root on.
        sizes = np.array([tree.node_count for tree in trees], dtype=np.int64)
        roots = np.cumsum(sizes) - sizes
        first = np.repeat(roots, sizes)  # the root of each node's tree
        left = np.concatenate([tree.children_left for tree in trees])
        right = np.concatenate([tree.children_right for tree in trees])
        feature = np.concatenate([tree.feature for tree in trees])
        threshold = np.concatenate([tree.threshold for tree in trees])

        # A leaf has the child -1; here it is its own, so that whoever has come there stays.
        leaf = left < 0
        own = np.arange(len(leaf))
        to_left = np.where(leaf, own, first + left)
        to_right = np.where(leaf, own, first + right)
        column = np.where(leaf, 0, feature).astype(np.int64)
        value = np.concatenate(values).astype(np.float64)
        threshold = threshold.astype(np.float64)
        return cls(column, threshold, to_left, to_right, value, roots)

    def sums(self, table: Table) -> Scores:
        """The sum of what all trees say of each row, (b,)."""
        leaf = self.left == np.arange(len(self.left))
        node = np.repeat(self.roots, len(table))  # of each tree and row, (trees * b,)
        row = np.tile(np.arange(len(table)), len(self.roots))
        # All rows go down all trees at once, a step at a time, until each has come to a leaf.
        going = np.flatnonzero(~leaf[node])
        while len(going):
            here = node[going]
            to_the_left = table[row[going], self.feature[here]] <= self.threshold[here]
            node[going] = np.where(to_the_left, self.left[here], self.right[here])
            going = going[~leaf[node[going]]]
        values = self.value[node].reshape(len(self.roots), len(table))
        # Tree by tree, as scikit-learn adds: a sum in another order differs in its last digit.
        total: Scores = values.cumsum(axis=0)[-1]
        return total

    def arrays(self) -> dict[str, Array]:
        """The arrays, for files."""
        return self._asdict()

    @classmethod
    def of(cls, fitted: Learnt) -> Self:
        """Take trees from files, whose numbers may have fewer bits.

        Raises:
            ModelError: they are of another method.
        """
        wide = {"threshold": np.float64, "value": np.float64}
        arrays: dict[str, Any] = {}
        for name in cls._fields:
            kind = wide.get(name, np.int64)
            arrays[name] = fitted.array(name).astype(kind)
        return cls(**arrays)


def node_depths(tree: Any) -> Rows:
    """How many steps each node of a scikit-learn tree is below the root."""
    depth = np.zeros(tree.node_count, dtype=np.int64)
    for node, children in enumerate(zip(tree.children_left, tree.children_right, strict=True)):
        for child in children:  # a node's children come after it
            if child >= 0:
                depth[child] = depth[node] + 1
    return depth


def usual_depth(sessions: Rows) -> Scores:
    """The mean depth of a tree of random cuts that separates so many sessions from one another.

    After Liu et al. 2008.

    >>> usual_depth(np.array([1, 2, 3])).round(4).tolist()
    [0.0, 1.0, 1.2074]
    """
    # c(n) = 2 H(n - 1) - 2 (n - 1) / n, with H(i) about ln i + Euler's constant; two sessions take
    # one cut, one takes none.
    more = np.maximum(sessions, 3).astype(np.float64)
    harmonic = np.log(more - 1.0) + np.euler_gamma
    many = 2.0 * harmonic - 2.0 * (more - 1.0) / more
    few = np.where(sessions == 2, 1.0, 0.0)
    return np.where(sessions > 2, many, few)
