"""What is wanted of a threshold, for the verbs that choose one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from logllm.config.recipe import Recipe

TargetPrecision = Annotated[
    float | None,
    typer.Option(
        "--target-precision",
        min=0,
        max=1,
        metavar="P",
        help=(
            "Choose the threshold so that at least this share of the alarms is true, missing as few"
            " anomalies as possible."
        ),
    ),
]
TargetRecall = Annotated[
    float | None,
    typer.Option(
        "--target-recall",
        min=0,
        max=1,
        metavar="R",
        help=(
            "Choose the threshold so that at least this share of the anomalies is found, with as"
            " few false alarms as possible."
        ),
    ),
]
AlertsPerDay = Annotated[
    float | None,
    typer.Option(
        "--alerts-per-day",
        min=0,
        metavar="N",
        help=(
            "Choose the threshold so that at most this many sessions a day are called anomalous."
            " Needs times, but no labels."
        ),
    ),
]
TopShare = Annotated[
    float | None,
    typer.Option(
        "--top-share",
        min=0,
        max=1,
        metavar="S",
        help=(
            "Choose the threshold so that at most this share of the sessions is called anomalous."
            " Needs no labels."
        ),
    ),
]


def targets(
    precision: float | None,
    recall: float | None,
    alerts: float | None,
    share: float | None,
) -> dict[str, float]:
    """Those that are given, by the names of their settings.

    >>> targets(None, 0.9, None, None)
    {'recall': 0.9}
    """
    named = {"precision": precision, "recall": recall, "alerts_per_day": alerts, "top_share": share}
    return {name: value for name, value in named.items() if value is not None}


def check_targets(recipe: "Recipe", data: Path) -> None:
    """Whether the validation part can say what threshold reaches a recipe's target."""
    from logllm.datasets.prepared import Prepared
    from logllm.methods.target import goal

    goal(Prepared.load(data), recipe.target, split="validation")
