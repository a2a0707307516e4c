"""`logllm perturb`: prepared data with an altered test part."""

from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import emit, note
from logllm.counting import plural


def perturb(
    data: Annotated[Path, typer.Argument(help="Folder that `logllm prepare` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    kind: Annotated[str, typer.Option(help="insert, remove, duplicate, shuffle or reword.")],
    ratio: Annotated[float | None, typer.Option(help=("Share of the test sessions to alter (default .2)."))] = None,
    strength: Annotated[float | None, typer.Option(help=("Share of messages to alter in each, at least one (default .05)."))] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed (default 0).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace prepared data in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest on standard output.")] = False,
) -> None:
    """Alter the test part of prepared data, as a log changes over time; labels, train and validation stay as they are."""
    from logllm.config.perturb import PerturbSection
    from logllm.evaluate.altered import perturb as alter

    given = {"kind": kind, "ratio": ratio, "strength": strength, "seed": seed}
    settings = PerturbSection.read({name: value for name, value in given.items() if value is not None}, source="logllm perturb")
    manifest = alter(data, out, settings=settings, force=force)
    if as_json:
        emit(manifest)
    done, whole = manifest["perturbed"], manifest["parts"]["test"]["sessions"]
    note(f"{out}: {settings.kind} in {done['sessions']:,} of {plural(whole, 'test session')}, {plural(done['messages'], 'message')}")
    note(f"next: logllm evaluate RUN --data {out}")
