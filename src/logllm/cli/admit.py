"""`logllm admit`: is an engine that rounds near enough to exact scores for a run?"""

from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import counts, emit, note
from logllm.errors import agreeing, plural


def admit(
    run: Annotated[Path, typer.Argument(help="Folder that `logllm train` wrote.")],
    data: Annotated[Path, typer.Option(help="Folder that `logllm prepare` wrote.")],
    engine: Annotated[str, typer.Option(help="Which engine to measure.")] = "bf16",
    split: Annotated[str, typer.Option(help="The part to measure on; labels are not looked at.")] = "validation",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome on standard output.")] = False,
) -> None:
    """Score a part of prepared data exactly and by an engine, and write into the run whether that engine may be used (exit 1: it may not)."""
    from logllm.detect.admission import admit as measure

    with counts("scoring") as bar:
        found = measure(run, data, engine=engine, split=split, progress=bar)
    if as_json:
        emit(found)
    differ = f"scores differ by at most {found['largest_difference']:.2g}, {agreeing(found['flips'], '{verdict flips|verdicts flip}')}"
    note(f"{engine} {'admitted' if found['admitted'] else 'refused'}: {plural(found['sessions'], 'session')}, {differ}")
    if not found["admitted"]:
        raise typer.Exit(1)
