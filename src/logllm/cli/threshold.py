"""`logllm threshold`: from which score on a run calls sessions anomalous."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from logllm.cli.console import counts, emit, result
from logllm.cli.target import AlertsPerDay, TargetPrecision, TargetRecall, TopShare, targets

if TYPE_CHECKING:
    from logllm.config.target import TargetSection


_Run = Annotated[Path, typer.Argument(help="Folder that `logllm train` wrote.")]
_Value = Annotated[
    float | None, typer.Argument(min=0, max=1, help="Score from which a session is anomalous.")
]
_Data = Annotated[
    Path | None,
    typer.Option(
        help=(
            "Choose the threshold on these data, for the best F1 unless a target is given: folder"
            " that `logllm prepare` wrote."
        )
    ),
]
_Split = Annotated[str, typer.Option(help="The part of --data to use.")]
_Because = Annotated[str, typer.Option(help="Why this value; the run and every report show it.")]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be chosen, without changing the run.")
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the threshold on standard output.")]


def threshold(
    run: _Run,
    value: _Value = None,
    data: _Data = None,
    precision: TargetPrecision = None,
    recall: TargetRecall = None,
    alerts: AlertsPerDay = None,
    share: TopShare = None,
    split: _Split = "validation",
    because: _Because = "set by hand",
    dry_run: _DryRun = False,
    as_json: _AsJson = False,
) -> None:
    """Show a run's threshold, set it, or choose it on new data.

    It is chosen for the best F1, or for a target.
    """
    from logllm.config.target import TargetSection
    from logllm.detect.threshold import choose, current, given, write

    target = TargetSection.read(targets(precision, recall, alerts, share), source="the threshold")
    _check(target, value=value, data=data)
    with counts("scoring") as bar:
        if data is None:
            chosen = given(value, because=because)
        else:
            chosen = choose(run, data, split=split, target=target, progress=bar)
    if chosen is not None and not dry_run:
        write(run, chosen)
    # Without a value and without data it only tells what holds.
    holding = chosen or current(run)
    if as_json:
        emit(vars(holding))
    called = f"sessions with a score of at least {holding.value:.4g} are called anomalous"
    result(f"{called} ({holding.how})", aside=as_json)


def _check(target: "TargetSection", *, value: float | None, data: Path | None) -> None:
    """Check that it is said in one way what the threshold is to be.

    Raises:
        RecipeError: it is said in two ways, or there is nothing to choose it on.
    """
    from logllm.errors import RecipeError

    if target.wanted and data is None:
        raise RecipeError(
            "a threshold is chosen on sessions that training has not seen: name them with --data"
        )
    # Which of the two holds would be a guess.
    if value is not None and data is not None:
        raise RecipeError("give either a value or --data")
