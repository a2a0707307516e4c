"""What a run directory says of itself: its recipe and its manifest, verified.

Reading them does not import torch.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from logllm.config.recipe import Recipe
from logllm.errors import ModelError, first_line
from logllm.runs.promotion import current_run
from logllm.storage import MANIFEST, remembered_sha256, sha256, write_atomic

VERSION = 2
"""Version of the run directory's layout."""
_READ = (1, 2)
"""Layouts that are read; in the first the method is always LogLLM."""
RECIPE = "recipe.toml"
"""File of the resolved recipe."""
PROJECTOR = "projector.safetensors"
"""File of LogLLM's projector."""
CHECKPOINTS = "checkpoints"
"""Folder in which a method that resumes keeps what it goes on from; it goes when the run is
done."""
ADAPTERS = "adapter_model.safetensors"
"""File of a base model's adapters, in the folder `encoder` or `decoder`."""
_OF_ADAPTERS = ("adapter_config.json", ADAPTERS)
LEARNED = (
    *(f"encoder/{file}" for file in _OF_ADAPTERS),
    *(f"decoder/{file}" for file in _OF_ADAPTERS),
    PROJECTOR,
)
"""Files that the training of LogLLM makes."""
_LARGE = 16_000_000
"""Bytes from which on a file's hash is remembered."""
SHIPPED = "postgres"
"""Name of the run that comes with the package."""


def shipped_run() -> Path:
    """The run that comes with the package.

    Trained on the data set `postgres`, it knows PostgreSQL's logs.

    Raises:
        ModelError: this installation has none.
    """
    folder = Path(str(files("logllm"))) / "runs" / SHIPPED
    if not (folder / MANIFEST).is_file():
        commands = (
            "`logllm prepare postgres --out DATA` and `logllm train postgres --data DATA --out RUN`"
        )
        what = "this installation comes without a trained run"
        raise ModelError(f"{what}: name your own first, or make one with {commands}")
    return folder


def find_run(name: str | Path) -> Path:
    """A run's folder by what a person calls it: `postgres`, or a folder.

    `postgres` is the run that comes with logllm. If a newer run was promoted in a folder's place,
    the newer run's folder is returned (`logllm.runs.promotion`).

    Raises:
        ModelError: this installation comes without one, or the promoted run is not there.
    """
    if str(name) == SHIPPED and not Path(name).exists():
        return shipped_run()
    return current_run(Path(name))


def model_name(manifest: Mapping[str, Any]) -> str:
    """What verdicts call a run: its name and the first digits of the hash of what it has learnt.

    >>> model_name({"name": "app", "files": {"projector.safetensors": "0123456789abcdef"}})
    'app@01234567'
    """
    # All stages train LogLLM's projector, and its hash is in the manifest: it names what was
    # learnt. Of other methods it is a hash over the hashes of all files.
    files = manifest["files"]
    digest = files.get(PROJECTOR)
    if digest is None:
        learnt = json.dumps(files, sort_keys=True).encode()
        digest = hashlib.sha256(learnt).hexdigest()
    return f"{manifest['name']}@{digest[:8]}"


def read_recipe(run: Path) -> Recipe:
    """A run's resolved recipe."""
    return Recipe.load(run / RECIPE)


def write_recipe(run: Path, recipe: Recipe) -> None:
    """Write the resolved recipe."""
    write_atomic(run / RECIPE, recipe.toml().encode())


def write_manifest(run: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest; last, since it vouches for everything else."""
    whole = {**manifest, "kind": "run", "version": VERSION}
    write_atomic(run / MANIFEST, json.dumps(whole, indent=2).encode())


def read_manifest(run: Path) -> dict[str, Any]:
    """A run's manifest.

    Raises:
        ModelError: the folder is no run, or one of another layout.
    """
    path = run / MANIFEST
    remedy = "name the folder that `logllm train --out` wrote"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as exc:
        if not run.exists():
            raise ModelError(f"there is no folder {run}: {remedy}") from exc
        raise ModelError(f"{run} is no run: it has no {MANIFEST}; {remedy}") from exc
    except OSError as exc:
        raise ModelError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise ModelError(
            f"{path} is damaged: {first_line(exc)}; take the run from a backup, or train it again"
        ) from exc

    # Prepared data have a manifest as well, of their own kind.
    if not isinstance(manifest, dict) or manifest.get("kind") != "run":
        raise ModelError(f"{run} is no run: its {MANIFEST} is of another kind; {remedy}")
    version = manifest.get("version")
    if version not in _READ:
        reads = f"this logllm reads {_READ[0]} to {VERSION}"
        raise ModelError(f"{run}: manifest field version is {version!r}, {reads}: train again")
    return manifest


def verified(run: Path, *, full: bool = False) -> dict[str, Any]:
    """The manifest of a finished run whose files are what it says.

    Args:
        run: its folder.
        full: read large files, too, such as a merged bundle's models, whatever is remembered of
            them (`logllm.storage`).

    Raises:
        ModelError: unfinished, or a file that is missing or changed; the message names the field.
    """
    manifest = read_manifest(run)
    if manifest["state"] != "done":
        raise ModelError(
            f"{run} is not finished: go on with `logllm train ... --out {run} --resume`"
        )
    for name, wanted in manifest["files"].items():
        file = run / name
        digest = None
        if file.is_file():
            # To read a large one takes a while: its hash is remembered.
            large = file.stat().st_size > _LARGE
            digest = remembered_sha256(file, full=full) if large else sha256(file)
        if digest != wanted:
            what = f"{run}: manifest field files.{name} disagrees"
            raise ModelError(f"{what}: the file is missing or has changed since training")
    return manifest


def check_base_models(run: Path, manifest: Mapping[str, Any], *, found: Mapping[str, Any]) -> None:
    """Check that the base models are those that a run was trained on.

    Args:
        run: what error messages call it.
        manifest: its manifest.
        found: name and fingerprint of each that is here, as a manifest has them.

    Raises:
        ModelError: they are not; the message names the field.
    """
    # Adapters on other weights would give scores all the same, of no meaning.
    for network, wanted in manifest.get("base_models", {}).items():
        present = found.get(network)
        if present != wanted:
            what = f"{run}: manifest field base_models.{network} disagrees"
            difference = f"trained on {wanted}, found {present}"
            raise ModelError(f"{what}: {difference}; restore those weights or train again")
