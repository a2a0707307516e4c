"""What a run directory says of itself: its recipe and its manifest, verified; to read them takes no torch."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from logllm.config.recipe import Recipe
from logllm.data.files import MANIFEST, sha256
from logllm.errors import ModelError

VERSION = 1
"""Version of the run directory's layout."""
RECIPE = "recipe.toml"
"""File of the resolved recipe."""
SHIPPED = "postgres"
"""Name of the run that comes with the package."""


def shipped_run() -> Path:
    """The run that comes with the package: trained on the data set `postgres`, it knows PostgreSQL's logs.

    Raises:
        ModelError: this installation has none.
    """
    folder = Path(str(files("logllm"))) / "runs" / SHIPPED
    if not (folder / MANIFEST).is_file():
        raise ModelError(
            "this installation comes without a trained run: name your own first, or make one with `logllm prepare postgres --out DATA` "
            "and `logllm train postgres --data DATA --out RUN`"
        )
    return folder


def read_recipe(run: Path) -> Recipe:
    """A run's resolved recipe."""
    return Recipe.load(run / RECIPE)


def read_manifest(run: Path) -> dict[str, Any]:
    """A run's manifest.

    Raises:
        ModelError: the folder is no run, or one of another layout.
    """
    path = run / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise ModelError(f"{run} is no run: it has no {MANIFEST}; name the folder that `logllm train --out` wrote") from exc
    except (OSError, ValueError) as exc:
        raise ModelError(f"{path} cannot be read: {exc}") from exc
    if not isinstance(manifest, dict) or manifest.get("kind") != "run":
        raise ModelError(f"{run} is no run: its {MANIFEST} is of another kind; name the folder that `logllm train --out` wrote")
    if manifest.get("version") != VERSION:
        raise ModelError(f"{run}: manifest field version is {manifest.get('version')!r}, this logllm reads {VERSION}: train again")
    return manifest


def verified(run: Path) -> dict[str, Any]:
    """The manifest of a finished run whose files are what it says.

    Raises:
        ModelError: unfinished, or a file that is missing or changed; the message names the field.
    """
    manifest = read_manifest(run)
    if manifest["state"] != "done":
        raise ModelError(f"{run} is not finished: go on with `logllm train ... --out {run} --resume`")
    for name, wanted in manifest["files"].items():
        if not (run / name).is_file() or sha256(run / name) != wanted:
            raise ModelError(f"{run}: manifest field files.{name} disagrees: the file is missing or has changed since training")
    return manifest
