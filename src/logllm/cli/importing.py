"""`logllm import`: the paper's released adapters become a run."""

import json
from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import emit, note, shares
from logllm.errors import RecipeError


def import_(
    path: Annotated[Path, typer.Argument(help="Folder in the authors' layout: Bert_ft/, Llama_ft/, projector.pt.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    recipe: Annotated[str, typer.Option(help="The recipe of the data set the adapters were trained on.")] = "bgl",
    format: Annotated[str | None, typer.Option(help=("Format of the logs to judge. Default: the one with the recipe's name."))] = None,
    encoder: Annotated[str | None, typer.Option(help="Base model of the encoder: a folder or a name on the hub.")] = None,
    decoder: Annotated[str | None, typer.Option(help="Base model of the decoder: a folder or a name on the hub.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override a setting: model.decoder.quantize=none. Repeatable.")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Scores from here on are anomalous.")] = 0.5,
    force: Annotated[bool, typer.Option("--force", help="Replace a run in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest on standard output.")] = False,
) -> None:
    """Turn adapters that the paper's authors released into a run."""
    from logllm.config.recipe import Recipe
    from logllm.datasets.settings import choose
    from logllm.model.imported import Terms, import_released
    from logllm.model.released import read_released

    released = read_released(path)
    named = {"encoder": encoder, "decoder": decoder}
    weights = [f"model.{part}.weights={json.dumps(name)}" for part, name in named.items() if name is not None]
    chosen = Recipe.load(recipe, overrides=[*released.overrides(), *(settings or []), *weights])
    own: dict[str, dict[str, str]] = {"format": {}, "sessions": {}, "split": {}, "mask": {}}
    terms = Terms(chosen, choose(_format(format, recipe), recipe=recipe, overrides=own), threshold)
    with shares() as progress:
        manifest = import_released(released, out, terms=terms, force=force, progress=progress)
    if as_json:
        emit(manifest)
    note(f"imported; threshold {threshold}, not chosen on data: measure the run with logllm evaluate {out} --data DATA")


def _format(named: str | None, recipe: str) -> str:
    """The format of the logs to judge: the paper's recipes are called as theirs."""
    from logllm.formats.description import known

    if named is None and recipe not in known():
        raise RecipeError(f"recipe {recipe} does not say which logs it is for: name their format with --format")
    return named or recipe
