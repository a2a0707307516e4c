"""Released adapters to a run: every tensor compared with the base models, which are not loaded: their configurations say all shapes."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from logllm.config.model import ModelSection
from logllm.config.prepare import PrepareSection
from logllm.config.recipe import Recipe
from logllm.errors import ModelError, first_line
from logllm.model.base.blueprint import outline
from logllm.model.base.published import configuration
from logllm.model.base.weights import base_models, locate
from logllm.model.checkpoint import hashes, save_projector, surroundings
from logllm.model.decoder import Decoder
from logllm.model.encoder import Encoder
from logllm.model.logllm import LogLLM
from logllm.model.prompt import render
from logllm.model.released import FILES, Released
from logllm.progress import Report
from logllm.runs.manifest import read_manifest, write_manifest, write_recipe
from logllm.storage import new_folder, sha256


@dataclass(frozen=True)
class Terms:
    """What the authors' files do not say.

    Attributes:
        recipe: the model, with `Released.overrides` applied.
        prepare: how `detect` is to read logs.
        threshold: scores from here on are anomalous; the scripts read a word instead, which is .5.
    """

    recipe: Recipe
    prepare: PrepareSection
    threshold: float = 0.5


def import_released(released: Released, out: Path, *, terms: Terms, force: bool = False, progress: Report | None = None) -> dict[str, Any]:
    """Write a run that holds the released adapters.

    Args:
        released: what `read_released` found.
        out: the run's folder.
        terms: what the files do not say.
        force: replace a run that is in the folder.
        progress: told of fetches and conversions of base models.

    Returns:
        The run's manifest.

    Raises:
        ModelError: base models that are missing, or a tensor that does not fit them; the message names it.
        DataError: the folder is taken, or cannot be written.
    """
    section = terms.recipe.model
    found = base_models(section.weights, progress=progress)
    model = _skeleton(section)
    _check_projector(released, model)
    parts: dict[str, Any] = {"encoder": model.encoder.model, "decoder": model.decoder.model}
    with new_folder(out, force=force, kind="run") as place:
        for part, adapted in parts.items():
            _check_adapter(released.adapters[part].weights, adapted)
            config = adapted.peft_config["default"]
            config.base_model_name_or_path, config.inference_mode = found[part]["weights"], True
            config.save_pretrained(place / part)
            shutil.copyfile(released.adapters[part].weights, place / part / "adapter_model.safetensors")
        save_projector(place, {name: tensor.float().contiguous() for name, tensor in released.projector.items()})
        write_recipe(place, terms.recipe)
        manifest = {
            "name": out.resolve().name,
            "state": "done",
            "recipe": terms.recipe.name,
            "seed": terms.recipe.train.seed,
            **surroundings(),
            "data": {"fingerprint": None, "prepare": terms.prepare.model_dump(mode="json")},
            "base_models": found,
            "imported": {
                "from": released.folder.resolve().name,
                "files": {name: sha256(released.folder / name) for name in FILES},
            },
            "threshold": {"value": terms.threshold, "how": "set at import", "sessions": 0, "anomalous": 0, "f1": None},
            "metrics": {"validation": None},
            "files": hashes(place),
        }
        write_manifest(place, manifest)
    return read_manifest(out)


def _skeleton(section: ModelSection) -> LogLLM:
    """The model without its weights: layers and shapes, on torch's meta device."""
    from transformers import AutoTokenizer

    try:
        words = AutoTokenizer.from_pretrained(locate(section.decoder.weights))
    except (OSError, ValueError, KeyError) as exc:
        raise ModelError(f"the decoder's tokenizer cannot be read: {first_line(exc)}") from exc
    bases = [outline(configuration(each.weights), each) for each in (section.encoder, section.decoder)]
    with torch.device("meta"):
        parts = Encoder(bases[0], section.encoder), Decoder(bases[1], section.decoder)
        return LogLLM(*parts, prompt=render(section.prompt, words))


def _check_adapter(path: Path, adapted: nn.Module) -> None:
    """Compare names and shapes of an adapter's tensors with those its base model takes."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    wanted = {name: tuple(tensor.shape) for name, tensor in state.items()}
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as exc:
        raise ModelError(f"{path} is no safetensors file ({first_line(exc)}); a Git LFS pointer, perhaps: git lfs pull") from exc
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            shapes = f"found {found.get(name, 'none')}, the base model takes {wanted.get(name, 'none')}"
            remedy = "name the base models with --encoder and --decoder, and a recipe that keeps as many layers"
            raise ModelError(f"{path}: tensor {name} does not fit: {shapes}; {remedy}")


def _check_projector(released: Released, model: LogLLM) -> None:
    """Compare the projector's shapes with the two models' widths."""
    for name, parameter in model.projector.named_parameters():
        found, wanted = tuple(released.projector[name].shape), tuple(parameter.shape)
        if found != wanted:
            raise ModelError(
                f"{released.folder / 'projector.pt'}: {name} has shape {found}, encoder and decoder take {wanted}; "
                "name the base models with --encoder and --decoder"
            )
