"""All folds in one: figures over their test sessions, and how far LogLLM is ahead of baselines."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from logllm.errors import DataError
from logllm.evaluate.intervals import intervals
from logllm.evaluate.paired import paired_difference
from logllm.evaluate.tables.cell import LOGLLM, Cell
from logllm.evaluate.tables.results import FIGURES, Reports, spread, widest
from logllm.metrics import Labels, Scores, measure

Folds = npt.NDArray[np.int64]
"""The number of each session's fold."""


class Pooled(NamedTuple):
    """All folds' test sessions, in one order for every method."""

    scores: Scores
    labels: Labels
    called: Labels
    """Whether the score reaches its own fold's threshold."""
    folds: Folds
    """The fold that each is of."""


def pooled(
    cells: Sequence[Cell], folder: Path, *, reports: Reports, resamples: int = 1000
) -> list[dict[str, Any]]:
    """Figures of the methods whose folds are all done, for each data set; LogLLM first.

    Scores of different folds come from different models and are compared as they are, as a person
    would who reads one list of them.

    Args:
        cells: of a table with folds, those that count.
        folder: where their folders are.
        reports: of the finished ones.
        resamples: of the bootstrap for the intervals.
    """
    rows: list[dict[str, Any]] = []
    for data in dict.fromkeys(cell.data.name for cell in cells):
        # A method with a fold missing is not there: it would be measured on fewer sessions.
        here = [cell for cell in cells if cell.data.name == data]
        by_method = _by_method(here, folder, reports=reports)
        folds = sorted({cell.facts["fold"] for cell in here})
        for method, seeds in by_method.items():
            row: dict[str, Any] = {
                "data": data,
                "variant": "pooled",
                "method": method,
                "folds": folds,
            }
            row |= _figures(seeds, resamples=resamples)
            if method != LOGLLM and LOGLLM in by_method:
                row["difference"] = _ahead(by_method[LOGLLM], seeds)
            rows.append(row)
    return rows


def _by_method(cells: Sequence[Cell], folder: Path, *, reports: Reports) -> dict[str, list[Pooled]]:
    """For each method whose folds are all done the sessions of each seed; LogLLM first."""
    methods = sorted({cell.method for cell in cells}, key=lambda name: (name != LOGLLM, name))
    by_method: dict[str, list[Pooled]] = {}
    for method in methods:
        own = [cell for cell in cells if cell.method == method]
        # A fold that is missing would make the pool another one than the other methods'.
        if not all(cell.slug in reports for cell in own):
            continue
        pools: list[Pooled] = []
        for seed in sorted({cell.seed for cell in own}):
            of_seed = [cell for cell in own if cell.seed == seed]
            pools.append(_pool(of_seed, folder, reports=reports))
        by_method[method] = pools
    return by_method


def _ahead(ours: Sequence[Pooled], theirs: Sequence[Pooled]) -> dict[str, float]:
    """How far LogLLM is ahead of another method on the same sessions, drawn fold by fold."""
    difference = paired_difference(
        [seed.scores for seed in ours],
        [seed.scores for seed in theirs],
        labels=ours[0].labels,
        groups=ours[0].folds,
    )
    return difference._asdict()


def _pool(cells: Sequence[Cell], folder: Path, *, reports: Reports) -> Pooled:
    """The sessions of one method's folds with one seed."""
    frames: list[pl.DataFrame] = []
    for cell in sorted(cells, key=lambda cell: int(cell.facts["fold"])):
        number = int(cell.facts["fold"])
        called = pl.col("score") >= reports[cell.slug]["figures"]["threshold"]
        fold = pl.lit(number, pl.Int64)
        frame = _scores(cell, folder)
        frame = frame.select("session", "score", "anomalous", called=called, fold=fold)
        # By name, so that every method has its sessions in the same order.
        frames.append(frame.sort("session"))
    whole = pl.concat(frames)
    columns = ("score", "anomalous", "called", "fold")
    return Pooled(*(whole[name].to_numpy() for name in columns))


def _scores(cell: Cell, folder: Path) -> pl.DataFrame:
    """A cell's test sessions with their scores."""
    # Predicting writes all splits it was asked for; the fold's test part alone is pooled.
    home = folder / cell.slug
    path = home / "scores" / "scores.parquet"
    if not path.is_file():
        raise DataError(
            f"{home} is done but has no scores: remove that folder, and the same command does the"
            " cell again"
        )
    frame = pl.read_parquet(path)
    if "split" not in frame.columns:
        return frame
    return frame.filter(pl.col("split") == "test")


def _figures(seeds: Sequence[Pooled], *, resamples: int) -> dict[str, Any]:
    """Figures over all folds, spread over seeds."""
    measured = [_measured(seed, resamples=resamples) for seed in seeds]
    over_seeds = {}
    ends_over_seeds = {}
    for name in FIGURES:
        over_seeds[name] = spread(figures[name] for figures, _ in measured)
        ends_over_seeds[name] = widest([ends.get(name) for _, ends in measured])

    # The sessions are the same for every seed.
    labels = seeds[0].labels
    return {
        "seeds": len(seeds),
        "sessions": len(labels),
        "anomalous": int(labels.sum()),
        **over_seeds,
        "intervals": ends_over_seeds,
    }


def _measured(pool: Pooled, *, resamples: int) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Figures and intervals of all folds' sessions.

    Verdicts are by each fold's own threshold, average precision is by the scores.
    """
    # Each fold has its own threshold, so verdicts are pooled, as scores 0 and 1 with .5 between.
    verdicts = pool.called.astype(np.float64)
    figures = asdict(measure(verdicts, pool.labels, threshold=0.5))
    by_scores = measure(pool.scores, pool.labels, threshold=0.5)
    figures["average_precision"] = by_scores.average_precision
    by_verdict = intervals(verdicts, pool.labels, threshold=0.5, resamples=resamples)
    by_score = intervals(pool.scores, pool.labels, threshold=0.5, resamples=resamples)
    if "average_precision" in by_verdict:
        by_verdict["average_precision"] = by_score["average_precision"]
    return figures, by_verdict
