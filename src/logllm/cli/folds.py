"""`logllm folds`: prepared data cut for training on the past and testing on the next part."""

from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import emit, note, table

_Data = Annotated[Path, typer.Argument(help="Folder that `logllm prepare` wrote from one log.")]
_Out = Annotated[
    Path, typer.Option(help="Folder for the folds: fold-1, fold-2, ... each hold prepared data.")
]
_Parts = Annotated[
    int, typer.Option(help="Number of parts, in order of time. N parts make N - 1 folds.")
]
_Validation = Annotated[
    float | None,
    typer.Option(help="Share of each train part, its latest sessions, kept for validation."),
]
_Force = Annotated[bool, typer.Option("--force", help="Replace folds in the folder.")]
_AsJson = Annotated[
    bool, typer.Option("--json", help="Print the folds' counts on standard output.")
]


def folds(
    data: _Data,
    out: _Out,
    parts: _Parts = 5,
    validation: _Validation = None,
    force: _Force = False,
    as_json: _AsJson = False,
) -> None:
    """Divide all sessions into parts by time, to train on the past and test on what came next.

    Fold 1 trains on part 1 and tests on part 2; fold 2 trains on parts 1 and 2 and tests on part 3;
    and so on.
    """
    import json

    from logllm.evaluate.folds import folds as cut

    paths = cut(data, parts=parts, out=out, validation=validation, force=force)
    about = json.loads((out / "manifest.json").read_bytes())
    if as_json:
        emit(about)
    rows: list[tuple[str, ...]] = []
    warnings: list[str] = []
    for path, fold in zip(paths, about["folds"], strict=True):
        of_parts = map(_counts, fold["parts"].values())
        rows.append((path.name, *of_parts, fold["overlapping"]))
        warnings += [f"{path.name}: {warning}" for warning in fold["warnings"]]
    table(f"{out}: sessions (anomalous)", ("", "train", "validation", "test", "overlapping"), rows)
    # After the table, which is what is read first.
    for warning in warnings:
        note(f"note: {warning}")


def _counts(part: dict[str, int]) -> str:
    return f"{part['sessions']:,} ({part['anomalous']:,})"
