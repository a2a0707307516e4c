"""Adapters added into base weights without PEFT, whose import alone takes seconds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from logllm.config.model import LoraSection
from logllm.errors import ModelError
from logllm.model.base.backbone import lora_targets, targets_among

_PREFIX, _SUFFIX = "base_model.model.", ".lora_{}.weight"


@dataclass(frozen=True)
class Adapters:
    """LoRA's updates, alpha / r times B A, of some layers (Hu et al. 2021, section 4.1).

    Attributes:
        tensors: in PEFT's format.
        section: their rank and scale, and the layers they are on.
        source: what error messages call them.
    """

    tensors: Mapping[str, Tensor]
    section: LoraSection
    source: str

    def layers(self, names: Iterable[str], *, targets: tuple[str, ...] | None = None) -> list[str]:
        """The layers among a model's that have adapters.

        Args:
            names: of the model's layers.
            targets: last names of the layers where the settings give none; none: found by the names.

        Raises:
            ModelError: the adapters are not those of just these layers.
        """
        among = list(names)
        targets = self.section.targets or targets or targets_among(among) or ()
        layers = [name for name in among if any(f".{name}".endswith(f".{target}") for target in targets)]
        wanted = {f"{_PREFIX}{name}{_SUFFIX.format(side)}" for name in layers for side in "AB"}
        if odd := sorted(wanted ^ self.tensors.keys()):
            raise ModelError(f"{self.source} does not fit the base model: {odd[0]}")
        return layers

    def update(self, layer: str, *, shape: tuple[int, ...]) -> Tensor:
        """What is added to a layer's weight, (d_out, d_in), float32.

        Raises:
            ModelError: it is of another shape than the weight's.
        """
        down, up = (self.tensors[f"{_PREFIX}{layer}{_SUFFIX.format(side)}"].float() for side in "AB")  # (r, d_in), (d_out, r)
        update: Tensor = self.section.alpha / self.section.r * (up @ down)  # (d_out, d_in)
        if update.shape != shape:
            raise ModelError(f"{self.source} does not fit the base model: {layer} is {shape}, its update {tuple(update.shape)}")
        return update


def merge(model: nn.Module, tensors: Mapping[str, Tensor], *, section: LoraSection, source: str) -> None:
    """Add a run's adapters to the layers that they are for.

    Args:
        model: a base model in float32; others would round the updates away.
        tensors: the adapters in PEFT's format.
        section: their rank and scale, and the layers they are on.
        source: what error messages call the adapters.

    Raises:
        ModelError: adapters that are not those of this model's layers.
    """
    adapters = Adapters(tensors, section, source)
    modules = dict(model.named_modules())
    targets = section.targets or lora_targets(model)
    with torch.no_grad():
        for name in adapters.layers(modules, targets=targets):
            layer = modules[name]
            weight: Tensor = layer.weight
            upright = isinstance(layer, nn.Linear)  # GPT-2's Conv1D is the other way round
            update = adapters.update(name, shape=tuple(weight.shape if upright else weight.shape[::-1]))
            weight += update if upright else update.T
