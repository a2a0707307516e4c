"""Adapters added into base weights without PEFT, whose import alone takes seconds."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from logllm.config.model import LoraSection
from logllm.errors import ModelError
from logllm.model.backbone import lora_targets

_PREFIX, _SUFFIX = "base_model.model.", ".lora_{}.weight"


def merge(model: nn.Module, tensors: Mapping[str, Tensor], *, section: LoraSection, source: str) -> None:
    """Add LoRA's updates, alpha / r times B A, to the layers that they are for (Hu et al. 2021, section 4.1).

    Args:
        model: a base model in float32; others would round the updates away.
        tensors: the adapters in PEFT's format.
        section: their rank and scale, and the layers they are on.
        source: what error messages call the adapters.

    Raises:
        ModelError: adapters that are not those of this model's layers.
    """
    targets = section.targets or lora_targets(model)
    layers = {name: module for name, module in model.named_modules() if any(f".{name}".endswith(f".{target}") for target in targets)}
    wanted = {f"{_PREFIX}{name}{_SUFFIX.format(side)}": name for name in layers for side in "AB"}
    if odd := sorted(wanted.keys() ^ tensors.keys()):
        raise ModelError(f"{source} does not fit the base model: {odd[0]}")
    with torch.no_grad():
        for name, layer in layers.items():
            down, up = (tensors[f"{_PREFIX}{name}{_SUFFIX.format(side)}"].float() for side in "AB")  # (r, d_in), (d_out, r)
            update = section.alpha / section.r * (up @ down)  # (d_out, d_in)
            weight: Tensor = layer.weight
            if update.shape != (weight.shape if isinstance(layer, nn.Linear) else weight.shape[::-1]):
                raise ModelError(f"{source} does not fit the base model: {name} is {tuple(weight.shape)}, its update {tuple(update.shape)}")
            weight += update if isinstance(layer, nn.Linear) else update.T  # GPT-2's Conv1D is the other way round
