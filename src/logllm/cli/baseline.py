"""`logllm baseline`: the old words for `train` and `evaluate` with a simpler method."""

from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import note
from logllm.cli.evaluate import evaluate
from logllm.cli.train import train


def baseline(
    name: Annotated[str, typer.Argument(help="A method: see `logllm show methods`.")],
    data: Annotated[Path, typer.Option(help="Folder that `logllm prepare` wrote, with labels.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed.")] = 0,
    encoder: Annotated[str | None, typer.Option(help=("Encoder for the methods that use vectors; see `logllm show weights`."))] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a run in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report on standard output.")] = False,
) -> None:
    """Train a simpler method and evaluate it: `logllm train NAME`, then `logllm evaluate`."""
    weights = [f"model.encoder.weights={encoder}"] if encoder else []
    settings = [f"train.seed={seed}", *weights]
    more = " ".join(f"--set {setting}" for setting in settings)
    note(
        f"logllm baseline will be removed in the next release; instead: logllm train {name} "
        f"{more} --data {data} --out {out}; logllm evaluate {out} --data {data}"
    )
    train(data, out, recipe=name, settings=settings, force=force)
    evaluate(out, data, as_json=as_json)
