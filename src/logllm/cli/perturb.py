"""`logllm perturb`: prepared data with an altered test part."""

from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import emit, note
from logllm.counting import plural

_Data = Annotated[Path, typer.Argument(help="Folder that `logllm prepare` wrote.")]
_Out = Annotated[Path, typer.Option(help="Folder to write.")]
_Kind = Annotated[str, typer.Option(help="insert, remove, duplicate, shuffle or reword.")]
_Ratio = Annotated[
    float | None, typer.Option(help="Share of the test sessions to alter (default .2).")
]
_Strength = Annotated[
    float | None,
    typer.Option(help="Share of messages to alter in each, at least one (default .05)."),
]
_Seed = Annotated[int | None, typer.Option(help="Random seed (default 0).")]
_Force = Annotated[bool, typer.Option("--force", help="Replace prepared data in the folder.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the manifest on standard output.")]


def perturb(
    data: _Data,
    out: _Out,
    kind: _Kind,
    ratio: _Ratio = None,
    strength: _Strength = None,
    seed: _Seed = None,
    force: _Force = False,
    as_json: _AsJson = False,
) -> None:
    """Alter the test part of prepared data, as a log changes over time.

    Labels, train and validation stay as they are.
    """
    from logllm.config.perturb import PerturbSection
    from logllm.evaluate.altered import perturb as alter

    # What is not named has its default in the settings.
    options = {"kind": kind, "ratio": ratio, "strength": strength, "seed": seed}
    named = {name: value for name, value in options.items() if value is not None}
    settings = PerturbSection.read(named, source="logllm perturb")
    manifest = alter(data, out, settings=settings, force=force)
    if as_json:
        emit(manifest)
    altered = manifest["perturbed"]
    whole = plural(manifest["parts"]["test"]["sessions"], "test session")
    messages = plural(altered["messages"], "message")
    note(f"{out}: {settings.kind} in {altered['sessions']:,} of {whole}, {messages}")
    note(f"next: logllm evaluate RUN --data {out}")
