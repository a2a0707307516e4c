"""Boosted trees as arrays say what XGBoost says, also of counts between nothing and a threshold."""

import json

import numpy as np
import pytest
import xgboost

from logllm.methods.boosted import Boosted, Known, taken
from logllm.methods.matrix import Dense, Sparse


def counts(*, rows: int, columns: int, seed: int) -> Sparse:
    """Counts, most of them 0."""
    rng = np.random.default_rng(seed)
    table = rng.poisson(0.6, size=(rows, columns)) * rng.integers(1, 4, size=(rows, columns))
    named, column = np.nonzero(table)
    return Sparse(named, column, table[named, column].astype(np.float64), table.shape)


@pytest.mark.parametrize("seed", range(4))
def test_trees_say_what_xgboost_says(seed) -> None:
    matrix, rng = counts(rows=400, columns=12, seed=seed), np.random.default_rng(seed)
    table = matrix.table()
    # 1, and neither 0 nor 2, is what tells.
    labels = (table[:, 0] == 1) ^ (table[:, 1] > 2) ^ (rng.random(400) < 0.1)
    data = xgboost.DMatrix(matrix.learnable(), label=labels)
    grown = xgboost.train(
        {"objective": "binary:logistic", "base_score": 0.5, "max_depth": 5, "nthread": 1}, data, 30
    )
    trees = taken(
        json.loads(grown.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
    )
    new = counts(rows=300, columns=12, seed=seed + 100)
    theirs = grown.predict(xgboost.DMatrix(new.learnable()), output_margin=True)
    assert np.allclose(trees.sums(new.table()), theirs, atol=1e-5)
    assert len(trees.left) > sum(len(tree["left_children"]) for tree in grown_trees(grown)), (
        "no node sends 0 elsewhere: nothing is tried"
    )


def grown_trees(model: xgboost.Booster) -> list[dict[str, list[float]]]:
    """The trees of a model, as JSON has them."""
    trees: list[dict[str, list[float]]] = json.loads(model.save_raw("json"))["learner"][
        "gradient_booster"
    ]["model"]["trees"]
    return trees


def test_weights_count_as_rows_do() -> None:
    matrix = counts(rows=60, columns=4, seed=0)
    labels = matrix.table()[:, 2] > 0
    once, twice = Boosted(), Boosted()
    once.fit([Known(matrix, labels, np.ones(60))], seed=1)
    twice.fit([Known(matrix, labels, np.full(60, 8.0))], seed=1)
    rows = Dense(matrix.table())
    surer = np.abs(twice.margins(rows)) > np.abs(once.margins(rows))
    assert surer.all()


@pytest.mark.real
def test_two_tables_say_the_mean_of_what_each_says() -> None:
    matrix = counts(rows=60, columns=4, seed=0)
    first, other = (matrix.table()[:, column] > 0 for column in (2, 3))
    tables = [Known(matrix, labels, np.ones(60)) for labels in (first, other)]
    rows = Dense(matrix.table())
    alone = []
    for table in tables:
        trees = Boosted()
        trees.fit([table], seed=1)
        alone.append(trees.margins(rows))
    together = Boosted()
    together.fit(tables, seed=1)
    np.testing.assert_allclose(together.margins(rows), np.mean(alone, axis=0), rtol=1e-9)
