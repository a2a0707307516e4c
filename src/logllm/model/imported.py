"""Released adapters to a run: every tensor is compared with the base models' shapes.

The base models are not loaded: all shapes follow from their configurations.
"""

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


def import_released(
    released: Released,
    out: Path,
    *,
    terms: Terms,
    force: bool = False,
    progress: Report | None = None,
) -> dict[str, Any]:
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
        ModelError: base models that are missing, or a tensor that does not fit them; the message
            names it.
        DataError: the folder is taken, or cannot be written.
    """
    section = terms.recipe.model
    bases = base_models(section.weights, progress=progress)
    model = _skeleton(section)
    _check_projector(released, model)
    networks: dict[str, Any] = {"encoder": model.encoder.model, "decoder": model.decoder.model}
    with new_folder(out, force=force, kind="run") as place:
        for network, adapted in networks.items():
            # The tensors as they are; the configuration anew, for theirs names folders of another
            # machine.
            weights = released.adapters[network].weights
            _check_adapter(weights, adapted)
            config = adapted.peft_config["default"]
            config.base_model_name_or_path = bases[network]["weights"]
            config.inference_mode = True
            config.save_pretrained(place / network)
            shutil.copyfile(weights, place / network / "adapter_model.safetensors")

        # In float32, as a projector always is here.
        projector = released.projector.items()
        save_projector(place, {name: tensor.float().contiguous() for name, tensor in projector})
        write_recipe(place, terms.recipe)
        threshold = {"value": terms.threshold, "how": "set at import", "sessions": 0}
        manifest = {
            "name": out.resolve().name,
            "state": "done",
            "recipe": terms.recipe.name,
            "seed": terms.recipe.train.seed,
            **surroundings(),
            "data": {"fingerprint": None, "prepare": terms.prepare.model_dump(mode="json")},
            "base_models": bases,
            "imported": {
                "from": released.folder.resolve().name,
                "files": {name: sha256(released.folder / name) for name in FILES},
            },
            "threshold": {**threshold, "anomalous": 0, "f1": None},
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
    reads = outline(configuration(section.encoder.weights), section.encoder)
    writes = outline(configuration(section.decoder.weights), section.decoder)
    with torch.device("meta"):
        encoder = Encoder(reads, section.encoder)
        decoder = Decoder(writes, section.decoder)
        return LogLLM(encoder, decoder, prompt=render(section.prompt, words))


def _check_adapter(path: Path, adapted: nn.Module) -> None:
    """Compare names and shapes of an adapter's tensors with those its base model takes."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    wanted = {name: tuple(tensor.shape) for name, tensor in state.items()}
    try:
        # The header alone says names and shapes: no tensor is read.
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            present = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError) as exc:
        pointer = "a Git LFS pointer, perhaps: git lfs pull"
        raise ModelError(f"{path} is no safetensors file ({first_line(exc)}); {pointer}") from exc

    # Both ways: a tensor too many is of another model as much as one that is missing.
    for name in sorted(wanted.keys() | present.keys()):
        own = present.get(name, "none")
        takes = wanted.get(name, "none")
        if own != takes:
            shapes = f"found {own}, the base model takes {takes}"
            bases = "name the base models with --encoder and --decoder"
            remedy = f"{bases}, and a recipe that keeps as many layers"
            raise ModelError(f"{path}: tensor {name} does not fit: {shapes}; {remedy}")


def _check_projector(released: Released, model: LogLLM) -> None:
    """Compare the projector's shapes with the two models' widths."""
    for name, parameter in model.projector.named_parameters():
        own = tuple(released.projector[name].shape)
        takes = tuple(parameter.shape)
        if own != takes:
            shapes = f"{name} has shape {own}, encoder and decoder take {takes}"
            remedy = "name the base models with --encoder and --decoder"
            raise ModelError(f"{released.folder / 'projector.pt'}: {shapes}; {remedy}")
