"""`logllm export`: a run becomes a bundle for others."""

from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import note, shares, table

_Run = Annotated[Path, typer.Argument(help="Folder that `logllm train` or `logllm import` wrote.")]
_Out = Annotated[Path, typer.Option(help="Folder of the bundle.")]
_Merged = Annotated[
    bool,
    typer.Option(
        "--merged", help="Merge the adapters into whole models, so that no base models are needed."
    ),
]
_License = Annotated[
    str,
    typer.Option(
        help="The bundle's licence as the Hugging Face hub spells it: apache-2.0, mit, ..."
    ),
]
_Report = Annotated[
    list[Path] | None, typer.Option(help="What `logllm evaluate RUN --json` printed. Repeatable.")
]
_Force = Annotated[bool, typer.Option("--force", help="Replace a bundle in the folder.")]


def export(
    run: _Run,
    out: _Out,
    merged: _Merged = False,
    license: _License = "other",
    report: _Report = None,
    force: _Force = False,
) -> None:
    """Write a copy of a run for others or the Hugging Face hub.

    It has a model card, and holds nothing specific to this machine.
    """
    from logllm.methods.bundle import Bundle, export_run

    bundle = Bundle(merged=merged, license=license, reports=tuple(report or ()))
    with shares() as progress:
        export_run(run, out, bundle=bundle, force=force, progress=progress)
    # What is uploaded, and how long that will take, before anybody does it.
    files = [file for file in sorted(out.rglob("*")) if file.is_file()]
    sizes = {str(file.relative_to(out)): file.stat().st_size for file in files}
    sizes["all"] = sum(sizes.values())
    rows: list[tuple[str, str]] = []
    for name, size in sizes.items():
        rows.append((name, f"{size / 1e6:,.2f}"))
    table(str(out), ("file", "MB"), rows)
    card = out / "README.md"
    note(f"read {card} before you share it; next: logllm push {out} NAME")
