"""`logllm push`: an exported bundle goes to the Hugging Face hub."""

from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import note

_Folder = Annotated[Path, typer.Argument(help="Folder that `logllm export` wrote.")]
_Name = Annotated[
    str, typer.Argument(help="Repository on the hub: owner/name. Created if it does not exist.")
]
_Private = Annotated[bool, typer.Option("--private", help="Make the repository private.")]


def push(
    folder: _Folder,
    name: _Name,
    private: _Private = False,
) -> None:
    """Upload an exported bundle to the Hugging Face hub.

    The token is that of `hf auth login`, or of the variable HF_TOKEN.
    """
    from logllm.runs.hub import push as upload

    address = upload(folder, name, private=private)
    note(
        f"pushed to {address}; to use it: hf download {name} --local-dir RUN, then logllm detect"
        " RUN app.log"
    )
