"""Folds in one: figures over the test sessions of all of them, and how far LogLLM is ahead of each baseline there."""

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


def pooled(cells: Sequence[Cell], folder: Path, *, reports: Reports, resamples: int = 1000) -> list[dict[str, Any]]:
    """Figures of the methods whose folds are all done, for each data set; LogLLM first.

    Scores of different folds come from different models and are compared as they are, as a person would who reads one list of them.

    Args:
        cells: of a table with folds, those that count.
        folder: where their folders are.
        reports: of the finished ones.
        resamples: of the bootstrap for the intervals.
    """
    rows = []
    for data in dict.fromkeys(cell.data.name for cell in cells):
        here = [cell for cell in cells if cell.data.name == data]
        seeds: dict[str, list[Pooled]] = {}
        for method in sorted({cell.method for cell in here}, key=lambda name: (name != LOGLLM, name)):
            of = [cell for cell in here if cell.method == method]
            if of and all(cell.slug in reports for cell in of):
                numbers = sorted({cell.seed for cell in of})
                seeds[method] = [_pool([cell for cell in of if cell.seed == number], folder, reports=reports) for number in numbers]
        folds = sorted({cell.facts["fold"] for cell in here})
        rows += [
            {"data": data, "variant": "pooled", "method": method, "folds": folds, **_figures(each, resamples=resamples)}
            for method, each in seeds.items()
        ]
        for row in rows:
            if row["data"] == data and row["method"] != LOGLLM and LOGLLM in seeds:
                ours, theirs = ([each.scores for each in seeds[name]] for name in (LOGLLM, row["method"]))
                found = paired_difference(ours, theirs, labels=seeds[LOGLLM][0].labels, groups=seeds[LOGLLM][0].folds)
                row["difference"] = found._asdict()
    return rows


def _pool(cells: Sequence[Cell], folder: Path, *, reports: Reports) -> Pooled:
    """The sessions of one method's folds with one seed."""
    frames = []
    for cell in sorted(cells, key=lambda cell: int(cell.facts["fold"])):
        frame = _scores(cell, folder)
        called = pl.col("score") >= reports[cell.slug]["figures"]["threshold"]
        frames.append(
            frame.select("session", "score", "anomalous", called=called, fold=pl.lit(int(cell.facts["fold"]), pl.Int64)).sort("session")
        )
    every = pl.concat(frames)
    return Pooled(*(every[name].to_numpy() for name in ("score", "anomalous", "called", "fold")))


def _scores(cell: Cell, folder: Path) -> pl.DataFrame:
    """A cell's test sessions with their scores."""
    home = folder / cell.slug
    path = home / "scores" / "scores.parquet"
    if not path.is_file():
        raise DataError(f"{home} is done but has no scores: remove that folder, and the same command does the cell again")
    frame = pl.read_parquet(path)
    return frame.filter(pl.col("split") == "test") if "split" in frame.columns else frame


def _figures(seeds: Sequence[Pooled], *, resamples: int) -> dict[str, Any]:
    """Figures over all folds, spread over seeds."""
    found = [_measured(each, resamples=resamples) for each in seeds]
    return {
        "seeds": len(seeds),
        "sessions": len(seeds[0].labels),
        "anomalous": int(seeds[0].labels.sum()),
        **{name: spread(figures[name] for figures, _ in found) for name in FIGURES},
        "intervals": {name: widest([ends.get(name) for _, ends in found]) for name in FIGURES},
    }


def _measured(each: Pooled, *, resamples: int) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Figures and intervals: verdicts by each fold's own threshold, average precision by the scores."""
    verdicts = each.called.astype(np.float64)
    figures = asdict(measure(verdicts, each.labels, threshold=0.5))
    by_scores = measure(each.scores, each.labels, threshold=0.5)
    figures["average_precision"] = by_scores.average_precision
    by_verdict = intervals(verdicts, each.labels, threshold=0.5, resamples=resamples)
    by_score = intervals(each.scores, each.labels, threshold=0.5, resamples=resamples)
    return figures, {name: (by_score if name == "average_precision" else by_verdict)[name] for name in by_verdict}
