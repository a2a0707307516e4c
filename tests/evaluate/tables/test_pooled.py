"""Folds in one: each method's scores over the test sessions of all of them."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from logllm.errors import DataError
from logllm.evaluate.tables.cell import Cell
from logllm.evaluate.tables.cell_data import CellData
from logllm.evaluate.tables.grid import Asked, grid
from logllm.evaluate.tables.markdown import markdown
from logllm.evaluate.tables.pooled import pooled
from logllm.evaluate.tables.process import Spent
from logllm.evaluate.tables.running import opened, run

THRESHOLDS = {1: 0.5, 2: 0.3, 3: 0.8}


def cells_of(folds: int, *, seeds: int = 1) -> list[Cell]:
    return [
        Cell(
            CellData("bgl", Path(), f"fold {fold}"),
            method,
            seed,
            f"fold {fold}",
            {"fold": fold},
            scores=True,
        )
        for fold in range(1, folds + 1)
        for method in ("tree-counts", "logllm")
        for seed in range(seeds)
    ]


def scored(cells: list[Cell], folder: Path) -> dict[str, dict]:
    """Write made scores of 40 sessions a cell, LogLLM's in another order; give the reports."""
    reports = {}
    for cell in cells:
        rng = np.random.default_rng([cell.facts["fold"], cell.seed])
        label = np.random.default_rng(cell.facts["fold"]).random(40) < 0.3
        ours = cell.method == "logllm"
        score = np.clip(rng.random(40) * 0.6 + label * (0.35 if ours else 0.1), 0, 1)
        frame = pl.DataFrame(
            {"session": [f"{at}" for at in range(40)], "anomalous": label, "score": score}
        )
        home = folder / cell.slug / "scores"
        home.mkdir(parents=True)
        every = pl.concat(
            [frame.with_columns(split=pl.lit(split)) for split in ("test", "validation")]
        )
        frame = frame.reverse() if ours else every
        frame.write_parquet(home / "scores.parquet")
        reports[cell.slug] = {"figures": {"threshold": THRESHOLDS[cell.facts["fold"]]}}
    return reports


def test_scores_of_the_later_folds_are_pooled(tmp_path) -> None:
    cells = cells_of(3, seeds=2)
    reports = scored(cells, tmp_path)
    later = [cell for cell in cells if cell.facts["fold"] > 1]
    ours, tree = pooled(later, tmp_path, reports=reports, resamples=60)
    assert (ours["method"], ours["folds"], ours["seeds"], ours["sessions"]) == (
        "logllm",
        [2, 3],
        2,
        80,
    )
    by_seed, f1 = [], []
    for seed in range(2):
        frames = [
            pl.read_parquet(tmp_path / cell.slug / "scores" / "scores.parquet").with_columns(
                threshold=THRESHOLDS[cell.facts["fold"]]
            )
            for cell in cells
            if cell.method == "logllm" and cell.seed == seed and cell.facts["fold"] > 1
        ]
        every = pl.concat(frames)
        by_seed.append(average_precision_score(every["anomalous"], every["score"]))
        right = every.filter(pl.col("anomalous") & (pl.col("score") >= pl.col("threshold"))).height
        f1.append(
            2
            * right
            / (
                every.filter(pl.col("score") >= pl.col("threshold")).height
                + every["anomalous"].sum()
            )
        )
    assert ours["average_precision"]["mean"] == pytest.approx(np.mean(by_seed))
    assert ours["f1"]["mean"] == pytest.approx(np.mean(f1))
    low, high = ours["intervals"]["average_precision"]
    assert low < ours["average_precision"]["mean"] < high
    assert "difference" not in ours
    assert (
        tree["difference"]["lower"] < tree["difference"]["estimate"] < tree["difference"]["upper"]
    )
    # Sessions of both methods stand in one order: the difference is that of the two figures.
    assert tree["difference"]["estimate"] == pytest.approx(
        ours["average_precision"]["mean"] - tree["average_precision"]["mean"]
    )


def test_a_method_with_a_fold_missing_is_not_pooled(tmp_path) -> None:
    cells = cells_of(2)
    reports = scored(cells, tmp_path)
    del reports[next(cell.slug for cell in cells if cell.method == "logllm")]
    (tree,) = pooled(cells, tmp_path, reports=reports, resamples=5)
    assert (tree["method"], "difference" in tree) == ("tree-counts", False)


def test_lost_scores_are_said(tmp_path) -> None:
    cells = cells_of(1)
    reports = {cell.slug: {"figures": {"threshold": 0.5}} for cell in cells}
    with pytest.raises(DataError, match="has no scores"):
        pooled(cells, tmp_path, reports=reports)


@pytest.mark.real
def test_folds_are_made_trained_and_written_together(tiny_data, tiny_recipe, tmp_path) -> None:
    from logllm.evaluate.tables.cell_data import given_data

    commands = []

    def stand(command, log) -> Spent:
        commands.append(command[0])
        if command[0] == "folds":
            for number in (1, 2):
                (tmp_path / "data").mkdir(exist_ok=True)
                fold = Path(command[5]) / f"fold-{number}"
                fold.mkdir(parents=True)
                for file in tiny_data.iterdir():
                    (fold / file.name).write_bytes(file.read_bytes())
            return Spent(1.0, None, 0, "", "")
        made = (
            Path(command[command.index("--out") + 1])
            if "--out" in command
            else Path(command[command.index("--report") + 1])
        )
        made.mkdir(parents=True, exist_ok=True)
        (made / "manifest.json").write_text("{}")
        number = int("fold-2" in str(command)) + 1
        if command[0] != "train":
            frame = pl.DataFrame(
                {
                    "session": ["a", "b", "c"],
                    "anomalous": [True, False, False],
                    "score": [0.9, 0.1 * number, 0.6],
                }
            )
            frame.write_parquet(made / "scores.parquet")
        figures = dict.fromkeys(("precision", "recall", "f1", "average_precision"), 0.5)
        return Spent(
            1.0,
            None,
            0,
            json.dumps(
                {**figures, "intervals": {}, "unseen": None, "sessions": 3, "threshold": 0.5}
            ),
            "",
        )

    asked = Asked(
        "main", (given_data(f"made={tiny_data}"),), tiny_recipe, baselines=("tree-counts",), folds=3
    )
    found = run(
        opened(asked, tmp_path, command="logllm reproduce main --folds 3"),
        watch=lambda _: None,
        runner=stand,
    )
    assert commands.count("folds") == 1
    assert len({cell.slug for cell in grid(asked, tmp_path / "data")}) == 4
    assert [row["variant"] for row in found["rows"]] == ["fold 1", "fold 1", "fold 2", "fold 2"]
    assert [(row["method"], row["sessions"], row["f1"]["mean"]) for row in found["pooled"]] == [
        ("logllm", 6, pytest.approx(2 / 3)),
        ("tree-counts", 6, pytest.approx(2 / 3)),
    ]
    assert "| made | tree-counts | 0.667" in markdown(found)
