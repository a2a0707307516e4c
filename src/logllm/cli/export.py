"""`logllm export`: a run becomes a bundle for others."""

from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import note, shares, table


def export(
    run: Annotated[Path, typer.Argument(help="Folder that `logllm train` or `logllm import` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    merged: Annotated[
        bool, typer.Option("--merged", help=("Merge the adapters into whole models, so that no base models are needed."))
    ] = False,
    license: Annotated[str, typer.Option(help="The bundle's licence as the Hugging Face hub spells it: apache-2.0, mit, ...")] = "other",
    report: Annotated[list[Path] | None, typer.Option(help="What `logllm evaluate RUN --json` printed. Repeatable.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle in the folder.")] = False,
) -> None:
    """Write a copy of a run for others or the Hugging Face hub: with a model card, and nothing specific to this machine."""
    from logllm.methods.bundle import Bundle, export_run

    bundle = Bundle(merged=merged, license=license, reports=tuple(report or ()))
    with shares() as progress:
        export_run(run, out, bundle=bundle, force=force, progress=progress)
    sizes = {str(file.relative_to(out)): file.stat().st_size for file in sorted(out.rglob("*")) if file.is_file()}
    rows = [(name, f"{size / 1e6:,.2f}") for name, size in (*sizes.items(), ("all", sum(sizes.values())))]
    table(str(out), ("file", "MB"), rows)
    note(f"read {out / 'README.md'} before you share it; next: logllm push {out} NAME")
