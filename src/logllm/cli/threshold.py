"""`logllm threshold`: from which score on a run calls sessions anomalous."""

from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import counts, emit, note


def threshold(
    run: Annotated[Path, typer.Argument(help="Folder that `logllm train` wrote.")],
    value: Annotated[float | None, typer.Argument(min=0, max=1, help="The score to begin at.")] = None,
    data: Annotated[Path | None, typer.Option(help="Choose it by F1 on labelled data: folder that `logllm prepare` wrote.")] = None,
    split: Annotated[str, typer.Option(help="The part of --data.")] = "validation",
    because: Annotated[str, typer.Option(help="Why this value: it stands in the run and in every report.")] = "set by hand",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be chosen, and leave the run as it is.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the threshold on standard output.")] = False,
) -> None:
    """Show a run's threshold, set it, or choose it on other labelled data than it was trained with."""
    from logllm.detect.threshold import choose, current, given, write
    from logllm.errors import RecipeError

    if value is not None and data is not None:
        raise RecipeError("a value and --data at once: give one of them")
    with counts("scoring") as bar:
        found = choose(run, data, split=split, progress=bar) if data is not None else given(value, because=because)
    if found is not None and not dry_run:
        write(run, found)
    said = found or current(run)
    if as_json:
        emit(vars(said))
    note(f"sessions with a score of at least {said.value:.4g} are called anomalous ({said.how})")
