"""`logllm baseline`: the old verb for `train` and `evaluate` with a simpler method."""

from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import note
from logllm.cli.evaluate import evaluate
from logllm.cli.train import train

_Name = Annotated[str, typer.Argument(help="A method: see `logllm show methods`.")]
_Data = Annotated[Path, typer.Option(help="Folder that `logllm prepare` wrote, with labels.")]
_Out = Annotated[Path, typer.Option(help="Folder of the run.")]
_Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed.")]
_Encoder = Annotated[
    str | None,
    typer.Option(help="Encoder for the methods that use vectors; see `logllm show weights`."),
]
_Force = Annotated[bool, typer.Option("--force", help="Replace a run in the folder.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the report on standard output.")]


def baseline(
    name: _Name,
    data: _Data,
    out: _Out,
    seed: _Seed = 0,
    encoder: _Encoder = None,
    force: _Force = False,
    as_json: _AsJson = False,
) -> None:
    """Train a simpler method and evaluate it: `logllm train NAME`, then `logllm evaluate`."""
    # The old verb stays for a release, and says what to write instead, with these arguments.
    settings = [f"train.seed={seed}"]
    if encoder:
        settings.append(f"model.encoder.weights={encoder}")
    options = " ".join(f"--set {setting}" for setting in settings)
    training = f"logllm train {name} {options} --data {data} --out {out}"
    evaluation = f"logllm evaluate {out} --data {data}"
    leaving = "logllm baseline will be removed in the next release"
    note(f"{leaving}; instead: {training}; {evaluation}")
    train(data, out, recipe=name, settings=settings, force=force)
    evaluate(out, data, as_json=as_json)
