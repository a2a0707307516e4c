"""Gradient-boosted trees on counts: grown with XGBoost, read without it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from logllm.extras import require
from logllm.methods.learnt import Array, Learnt
from logllm.methods.matrix import Matrix
from logllm.methods.trees import Trees
from logllm.metrics import Labels, Scores

_ROUNDS = 300
_DRAWS = 3
"""How often all trees are grown, each time by other draws; the mean moves less from seed to
seed."""
_SETTINGS = {
    "objective": "binary:logistic",
    "base_score": 0.5,  # margins begin at 0
    "max_depth": 8,
    "eta": 0.1,
    # A kind of fault may be a handful of rows: leaves that few rows reach, and that say much, rank
    # faults of other kinds and of other applications better (docs/figures.md).
    "min_child_weight": 0.03,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "tree_method": "hist",
    # More do not gain on tables of this size, and wait for one another on a busy machine.
    "nthread": 1,
}


class Known(NamedTuple):
    """What trees learn from."""

    matrix: Matrix
    """Counts: whole numbers from 0 on, (b, columns)."""
    labels: Labels
    weights: Scores
    """How much each row counts, (b,)."""


class Boosted:
    """Trees that each correct the sum of those before (Chen and Guestrin: *XGBoost*, 2016)."""

    def fit(self, tables: Sequence[Known], *, seed: int) -> None:
        """Grow trees on each table, all of the same columns; they say the mean of what each says.

        The same seed gives the same trees.

        Raises:
            RecipeError: XGBoost is not installed.
        """
        require("train", to="train")
        import xgboost

        grown: list[Mapping[str, Any]] = []
        for matrix, labels, weights in tables:
            rows = xgboost.DMatrix(matrix.learnable(), label=labels, weight=weights)
            for draw in range(_DRAWS):
                settings = {**_SETTINGS, "seed": (_DRAWS * seed + draw) % 2**31}
                booster = xgboost.train(settings, rows, _ROUNDS)
                # As JSON, which is its open format: its own would be read by no other program.
                model = json.loads(booster.save_raw("json"))
                grown += model["learner"]["gradient_booster"]["model"]["trees"]
        self._trees = taken(grown)

    def margins(self, matrix: Matrix) -> Scores:
        """Logits of P(anomalous), (b,)."""
        times_grown = len(self._trees.roots) / _ROUNDS
        return self._trees.sums(matrix.table()) / times_grown

    def arrays(self) -> dict[str, Array]:
        """The trees, for files, in 32 bits a number: XGBoost has no more."""
        narrow = {"i": np.int32, "f": np.float32}
        arrays = self._trees.arrays().items()
        return {name: array.astype(narrow[array.dtype.kind]) for name, array in arrays}

    def restore(self, fitted: Learnt) -> None:
        """Take trees from files.

        Raises:
            ModelError: they are of another method.
        """
        self._trees = Trees.of(fitted)


class _Node(NamedTuple):
    """A node of a tree, as `Trees` has it: up to the threshold a row goes left.

    Its children are numbered within the tree.
    """

    feature: int
    threshold: float
    left: int
    right: int
    value: float = 0.0


_WIDE = {int: np.int64, float: np.float64}
_COLUMNS = np.dtype([(name, _WIDE[kind]) for name, kind in _Node.__annotations__.items()])


def taken(trees: Iterable[Mapping[str, Any]]) -> Trees:
    """Trees of XGBoost's, as its models of JSON hold them.

    Args:
        trees: grown on counts; a count of 0 was not there for XGBoost, which takes it for missing.
    """
    nodes: list[_Node] = []
    firsts: list[int] = []
    roots: list[int] = []
    for tree in trees:
        # Children are numbered within each tree: of the second one all numbers move behind the
        # first.
        own = _nodes(tree)
        roots.append(len(nodes))
        firsts += [len(nodes)] * len(own)
        nodes += own
    table = np.array(nodes, dtype=_COLUMNS)
    first = np.array(firsts, dtype=np.int64)
    # As XGBoost has it, in 32 bits: JSON writes it with fewer digits.
    value = table["value"].astype(np.float32).astype(np.float64)
    return Trees(
        feature=table["feature"],
        threshold=table["threshold"],
        left=first + table["left"],
        right=first + table["right"],
        value=value,
        roots=np.array(roots, dtype=np.int64),
    )


def _nodes(tree: Mapping[str, Any]) -> list[_Node]:
    """The nodes of a tree, in its own order, and behind them those that `_split` needs more."""
    lefts = tree["left_children"]
    nodes: list[_Node] = []
    further: list[_Node] = []
    for place, left in enumerate(lefts):
        # A leaf has no child, its value stands where others have their condition, and it is its own
        # child: whoever has come there stays.
        if left < 0:
            value = tree["split_conditions"][place]
            nodes.append(_Node(0, 0.0, place, place, value=value))
            continue
        node, more = _split(tree, place, free=len(lefts) + len(further))
        nodes.append(node)
        further += more
    return nodes + further


def _split(tree: Mapping[str, Any], place: int, *, free: int) -> tuple[_Node, list[_Node]]:
    """A node that is no leaf, and another one where one comparison does not say as much.

    XGBoost goes left below a number, and sends a count of 0 to the side that the node names. Where
    that is the right one, some counts may lie between the two on the left: then 0 is sent away
    first.
    """
    feature = tree["split_indices"][place]
    left, right = tree["left_children"][place], tree["right_children"][place]

    # Counts are whole numbers: below 2.5 are 0, 1 and 2, and below 2 are 0 and 1.
    most_left = float(np.ceil(tree["split_conditions"][place])) - 1.0
    if tree["default_left"][place]:
        return _Node(feature, max(most_left, 0.0), left, right), []
    if most_left < 1.0:
        return _Node(feature, -1.0, left, right), []
    return _Node(feature, 0.0, right, free), [_Node(feature, most_left, left, right)]
