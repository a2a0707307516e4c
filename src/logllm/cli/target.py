"""The targets that a threshold can have, for the verbs that choose one."""

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
    """The targets that are given, by the names of their settings.

    >>> targets(None, 0.9, None, None)
    {'recall': 0.9}
    """
    # Named as in a recipe, where they can be written as well.
    named = {"precision": precision, "recall": recall, "alerts_per_day": alerts, "top_share": share}
    return {name: value for name, value in named.items() if value is not None}


def check_targets(recipe: "Recipe", data: Path) -> None:
    """Check that the validation part can say which threshold reaches a recipe's target.

    Raises:
        DataError: it cannot.
    """
    from logllm.datasets.prepared import Prepared
    from logllm.methods.target import goal

    goal(Prepared.load(data), recipe.target, split="validation")
