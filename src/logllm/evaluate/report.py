"""A report in one folder: figures, what to compare them with, and why to doubt them."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from logllm.datasets.prepared import Prepared
from logllm.evaluate.doubts import doubts
from logllm.evaluate.mistakes import ScoreLines, worst
from logllm.evaluate.page import page
from logllm.evaluate.plots import draw, png, svg
from logllm.extras import require
from logllm.storage import MANIFEST, check_replaceable, new_folder, sha256, write_atomic, write_json

PAGE = "report.html"
"""File of the page."""
KIND = "report"
"""What the folder's manifest says it is."""


def check_report(folder: Path, *, force: bool) -> None:
    """Whether a report can be written here, asked before minutes of scoring.

    Raises:
        DataError: something else is here, or a report and `force` is off.
        RecipeError: the extra `report` is not installed.
    """
    check_replaceable(folder, force=force, kind=KIND)
    require("report", to="write a report")


class Judged(NamedTuple):
    """What there is to report on."""

    report: Mapping[str, Any]
    """Of `logllm.evaluate.evaluation`, for a run or for anything else that gives scores;
    `baselines` in it are reports by name to set beside it, `not_judged` the reasons for those that
    are missing."""
    scores: pl.DataFrame
    """`logllm.evaluate.evaluation.score_frame` of the same sessions."""
    score_lines: ScoreLines | None = None
    """The run's, to mark the most telling lines; none: none is marked."""


def write_report(
    folder: Path,
    judged: Judged,
    *,
    prepared: Prepared,
    force: bool,
) -> dict[str, Any]:
    """Write `report.json`, `scores.parquet`, the plots as PNG, and all of it as `report.html`.

    Args:
        folder: to make.
        judged: the figures and the scores.
        prepared: whose part they are of.
        force: replace a report that is there.

    Returns:
        What `report.json` holds: the report, with `warnings`.

    Raises:
        DataError: the folder holds something else, or cannot be written.
        RecipeError: the extra `report` is not installed.
    """
    check_report(folder, force=force)
    report = judged.report
    scores = judged.scores
    score = scores["score"].to_numpy()
    labels = scores["anomalous"].to_numpy().astype(bool)

    # All of it is made before anything is written.
    full = complete({**report, "logllm": version("logllm")})
    figures = draw(full, scores=score, labels=labels)
    mistakes = worst(
        scores.with_columns(prepared.part(full["split"])["messages"]),
        messages=prepared.messages,
        known=prepared.part("train")["messages"].explode().unique(),
        threshold=full["threshold"],
        score_lines=judged.score_lines,
    )
    drawings = {name: svg(figure) for name, figure in figures.items()}
    text = page(full, drawings=drawings, mistakes=mistakes)

    # The manifest comes last: a folder with one is whole, and says what its files must be.
    with new_folder(folder, force=force, kind=KIND) as place:
        write_json(place / "report.json", full)
        write_atomic(place / "scores.parquet", lambda path: scores.write_parquet(path))
        for name, figure in figures.items():
            write_atomic(place / f"{name}.png", png(figure))
        write_atomic(place / PAGE, text.encode())
        files = {path.name: sha256(path) for path in sorted(place.iterdir())}
        write_json(place / MANIFEST, {"kind": KIND, "version": 1, "files": files})
    return full


def complete(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report with `warnings`: all that should make a reader careful."""
    return {**report, "warnings": doubts(report)}
