"""A run to what an engine scores with: from its files alone where passes of our own serve, else through transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from logllm.config.model import DecoderSection, EncoderSection, ModelSection
from logllm.config.recipe import Recipe
from logllm.model.base.device import device
from logllm.model.base.weights import Progress, locate
from logllm.model.checkpoint import inside, restored
from logllm.model.fast.bert import Bert
from logllm.model.fast.light import Light, LightPart
from logllm.model.fast.llama import Llama
from logllm.model.fast.mapped import mapped
from logllm.model.fast.merging import Adapters
from logllm.model.fast.tokenizer import FileTokenizer
from logllm.model.logllm import LogLLM
from logllm.model.prompt import render
from logllm.runs.card import MERGED
from logllm.runs.manifest import ADAPTERS, PROJECTOR


def load_network(run: Path, *, recipe: Recipe, manifest: Mapping[str, Any], progress: Progress | None = None) -> tuple[LogLLM | Light, Any]:
    """A verified run ready for an engine, on a GPU where there is one.

    Args:
        run: a finished run whose files, and whose base models, are what its manifest says.
        recipe: the run's.
        manifest: the run's.
        progress: told of fetches and conversions of base models.

    Returns:
        The network, or what its files hold where that is enough; and the encoder's tokenizer.

    Raises:
        ModelError: a base model that is missing, has changed or does not serve.
        RecipeError: it takes transformers, which is not installed.
    """
    whole = manifest.get("bundle") == MERGED
    section = inside(run, recipe.model) if whole else recipe.model
    light = light_model(run, section, adapters=not whole)
    if light is not None:
        return light
    network, tokenizer = restored(run, section, whole=whole, merged=True, progress=progress)
    return network.to(device()), tokenizer


def light_model(run: Path, section: ModelSection, *, adapters: bool) -> tuple[Light, FileTokenizer] | None:
    """A run's network from its files, and the encoder's tokenizer.

    Args:
        run: a finished run.
        section: its model settings, with base models that are here.
        adapters: whether the run has adapters; a merged bundle has none.

    Returns:
        None where passes of our own do not serve both models, or a tokenizer is more than its file.

    Raises:
        ModelError: adapters of other models, or a prompt that cannot be rendered.
    """
    where = device()
    folders = [locate(part.weights) for part in (section.encoder, section.decoder)]
    encoder = mapped(folders[0], section.encoder, adapters=_adapters(run / "encoder", section.encoder, there=adapters), device=where)
    decoder = mapped(folders[1], section.decoder, adapters=_adapters(run / "decoder", section.decoder, there=adapters), device=where)
    if encoder is None or decoder is None or not Bert.serves(encoder) or not Llama.serves(decoder):
        return None
    tokenizer, words = map(FileTokenizer.of, folders)
    if tokenizer is None or words is None:
        return None
    projector = {name: tensor.to(where) for name, tensor in load_file(run / PROJECTOR).items()}
    d_dec, d_enc = projector["weight"].shape
    light = Light(
        LightPart(encoder, d_enc, section.encoder.pooling),
        LightPart(decoder, d_dec),
        projector=projector,
        prompt=render(section.prompt, words),
        rounding=torch.float16 if section.projector.output == "float16" else torch.float32,
    )
    return light, tokenizer


def _adapters(folder: Path, section: EncoderSection | DecoderSection, *, there: bool) -> Adapters | None:
    """What a run adds to one of its base models."""
    return Adapters(load_file(folder / ADAPTERS), section.lora, str(folder)) if there else None
