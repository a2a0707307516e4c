"""A run's folder: recipe, adapters, projector, and the manifest that verifies all of it."""

import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from logllm.config.model import ModelSection
from logllm.config.recipe import Recipe
from logllm.errors import ModelError
from logllm.extras import versions
from logllm.model.base.adapters import Adapters, merge
from logllm.model.base.weights import base_models
from logllm.model.logllm import LogLLM, assemble
from logllm.progress import Report
from logllm.runs.card import MERGED
from logllm.runs.manifest import (
    ADAPTERS,
    LEARNED,
    PROJECTOR,
    check_base_models,
    read_recipe,
    verified,
)
from logllm.storage import honour_umask, sha256, write_atomic


def surroundings() -> dict[str, Any]:
    """What a run was made with: threads, processor, versions."""
    return {
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "versions": versions(),
    }


def save_model(run: Path, model: LogLLM, *, section: ModelSection) -> None:
    """Write adapters (PEFT's format) and projector."""
    networks: dict[str, tuple[Any, str]] = {
        "encoder": (model.encoder.model, section.encoder.weights),
        "decoder": (model.decoder.model, section.decoder.weights),
    }
    for network, (adapted, weights) in networks.items():
        # The base model's name, not the folder of this machine that it was read from.
        adapted.peft_config["default"].base_model_name_or_path = weights

        # Written beside its place and renamed: a kill leaves the former adapters or the new ones.
        scratch = run / f".{network}.new"
        shutil.rmtree(scratch, ignore_errors=True)
        adapted.save_pretrained(scratch, save_embedding_layers=False)
        honour_umask(scratch)
        shutil.rmtree(run / network, ignore_errors=True)
        scratch.rename(run / network)
        # PEFT adds a model card of its own, with blanks for everything.
        (run / network / "README.md").unlink(missing_ok=True)
    save_projector(run, model.projector.state_dict())


def save_projector(run: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write the projector's `weight` and `bias`."""
    write_atomic(run / PROJECTOR, lambda path: save_file(dict(tensors), path))


def hashes(run: Path) -> dict[str, str]:
    """The SHA-256 of each file that training makes, for the manifest."""
    return {name: sha256(run / name) for name in LEARNED}


def load_run(
    run: Path,
    *,
    merged: bool = False,
    progress: Report | None = None,
) -> tuple[LogLLM, Any, Recipe, dict[str, Any]]:
    """Load a finished run, after checking that it and its base models are what its manifest says.

    Args:
        run: a folder that `train` wrote.
        merged: add the adapters to the base weights, which takes less time and memory, to score and
            nothing else. Weights in float32 take them whole, in others they are rounded.
        progress: told of fetches and conversions of base models.

    Returns:
        The model in evaluation mode, the encoder's tokenizer, the recipe, and the manifest.

    Raises:
        ModelError: unfinished, a file or a base model that changed; the message names the field.
    """
    manifest = verified(run)
    recipe = read_recipe(run)
    whole = manifest.get("bundle") == MERGED
    # A merged bundle needs no base models: its own files were verified just now.
    if not whole:
        present = base_models(recipe.model.weights, progress=progress)
        check_base_models(run, manifest, found=present)
    section = inside(run, recipe.model) if whole else recipe.model
    model, tokenizer = restored(run, section, whole=whole, merged=merged, progress=progress)
    return model, tokenizer, recipe, manifest


def restored(
    folder: Path,
    section: ModelSection,
    *,
    whole: bool,
    merged: bool,
    progress: Report | None = None,
) -> tuple[LogLLM, Any]:
    """A network as `save_model` wrote it, and the encoder's tokenizer; nothing is verified.

    Args:
        folder: what holds adapters and projector.
        section: base models that are here.
        whole: whether these have the adapters merged in already.
        merged: as in `load_run`.
        progress: told of fetches and conversions of base models.

    Raises:
        ModelError: files that do not fit the base models.
    """
    adapters = not whole and not merged
    model, tokenizer = assemble(section, adapters=adapters, progress=progress)
    if adapters:
        _restore(folder, model)
    elif not whole:
        # Added into the weights here: PEFT's layers around them would cost time at every pass.
        for network, base, lora in (
            ("encoder", model.encoder.model, section.encoder.lora),
            ("decoder", model.decoder.model, section.decoder.lora),
        ):
            tensors = load_file(folder / network / ADAPTERS)
            merge(base, Adapters(tensors, lora, f"{folder}/{network}"))
    model.projector.load_state_dict(load_file(folder / PROJECTOR))
    return model, tokenizer


def _restore(run: Path, model: LogLLM) -> None:
    """Put a run's adapters into those of a freshly assembled model."""
    from peft import set_peft_model_state_dict

    networks = {"encoder": model.encoder.model, "decoder": model.decoder.model}
    for network, adapted in networks.items():
        tensors = load_file(run / network / ADAPTERS)
        outcome: Any = set_peft_model_state_dict(adapted, tensors)
        # The base model's own weights count as missing as well: they are in no run.
        missing = [name for name in outcome.missing_keys if "lora_" in name]
        odd = [*outcome.unexpected_keys, *missing]
        if odd:
            raise ModelError(f"{run}/{network} does not fit the base model: {odd[0]}")


def inside(run: Path, section: ModelSection) -> ModelSection:
    """Model settings of a merged bundle: its own folders instead of the base models."""
    own = {}
    for network, inner in (("encoder", section.encoder), ("decoder", section.decoder)):
        own[network] = inner.model_copy(update={"weights": str(run / network)})
    return section.model_copy(update=own)
