"""`logllm import`: the paper's released adapters become a run."""

import json
from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import emit, note, shares
from logllm.errors import RecipeError

_Path = Annotated[
    Path, typer.Argument(help="Folder in the authors' layout: Bert_ft/, Llama_ft/, projector.pt.")
]
_Out = Annotated[Path, typer.Option(help="Folder of the run.")]
_Recipe = Annotated[
    str, typer.Option(help="The recipe of the data set the adapters were trained on.")
]
_Format = Annotated[
    str | None,
    typer.Option(help="Format of the logs to judge. Default: the one with the recipe's name."),
]
_Encoder = Annotated[
    str | None, typer.Option(help="Base model of the encoder: a folder or a name on the hub.")
]
_Decoder = Annotated[
    str | None, typer.Option(help="Base model of the decoder: a folder or a name on the hub.")
]
_Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: model.decoder.quantize=none. Repeatable."),
]
_Threshold = Annotated[float, typer.Option(min=0, max=1, help="Scores from here on are anomalous.")]
_Force = Annotated[bool, typer.Option("--force", help="Replace a run in the folder.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the manifest on standard output.")]


def import_(
    path: _Path,
    out: _Out,
    recipe: _Recipe = "bgl",
    format: _Format = None,
    encoder: _Encoder = None,
    decoder: _Decoder = None,
    settings: _Settings = None,
    threshold: _Threshold = 0.5,
    force: _Force = False,
    as_json: _AsJson = False,
) -> None:
    """Turn adapters that the paper's authors released into a run."""
    from logllm.config.recipe import Recipe
    from logllm.datasets.settings import choose
    from logllm.model.imported import Terms, import_released
    from logllm.model.released import read_released

    # The user's own settings come after what the release says of itself: the last one counts.
    released = read_released(path)
    weights = _weights(encoder=encoder, decoder=decoder)
    chosen = Recipe.load(recipe, overrides=[*released.overrides(), *(settings or []), *weights])
    # Logs are read as the paper reads them: nothing of that is overridden.
    nothing: dict[str, dict[str, str]] = {"format": {}, "sessions": {}, "split": {}, "mask": {}}
    how_read = choose(_format(format, recipe), recipe=recipe, overrides=nothing)
    terms = Terms(chosen, how_read, threshold)
    with shares() as progress:
        manifest = import_released(released, out, terms=terms, force=force, progress=progress)
    if as_json:
        emit(manifest)
    note(
        f"imported; threshold {threshold}, not chosen on data: measure the run with logllm evaluate"
        f" {out} --data DATA"
    )


def _weights(**named: str | None) -> list[str]:
    """The base models that are named, as settings of a recipe."""
    settings: list[str] = []
    for network, name in named.items():
        if name is not None:
            settings.append(f"model.{network}.weights={json.dumps(name)}")
    return settings


def _format(named: str | None, recipe: str) -> str:
    """The format of the logs to judge; a recipe of the paper is called like its format.

    Raises:
        RecipeError: no format is named, and the recipe is none of the paper's.
    """
    from logllm.formats.description import known

    # `hdfs` is a recipe of the paper and a format; `small` is a recipe alone.
    if named is None and recipe not in known():
        raise RecipeError(
            f"recipe {recipe} does not say which logs it is for: name their format with --format"
        )
    return named or recipe
