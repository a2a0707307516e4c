"""What a pass is made from: one model's configuration and its tensors by transformers' names, adapters added."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from logllm.model.fast.packing import Linear
from logllm.model.fast.rotary import Rotary


@dataclass(frozen=True)
class Source:
    """A model's tensors, read one by one when they are wanted: nothing is copied before.

    Attributes:
        architecture: transformers' name of the model's class.
        config: transformers' configuration, or an object with the same names.
        shapes: of the base model's tensors, by name.
        dtype: of the first one's numbers; none where some are packed into few bits.
        read: gives the tensor of a name, its adapters added where it has some.
        rotary: a decoder's, where it has such positions and their turns are known.
    """

    architecture: str
    config: Any
    shapes: dict[str, tuple[int, ...]]
    dtype: torch.dtype | None
    read: Callable[[str], Tensor]
    rotary: Rotary | None = None

    def linear(self, layer: str) -> Linear:
        """A linear layer's weight, (d_in, d_out), and bias, in float32: what they are read from, seen from the other side, no copy."""
        return self._weight(layer).T, self.bias(layer)

    def stacked(self, layers: Sequence[str]) -> Linear:
        """Linear layers of one input as one: weight (d_in, d_out) and bias, in float32, a copy."""
        weight = torch.cat([self._weight(layer) for layer in layers])  # (d_out, d_in)
        biases = [bias for layer in layers if (bias := self.bias(layer)) is not None]
        return weight.T, torch.cat(biases) if biases else None

    def bias(self, layer: str) -> Tensor | None:
        """A linear layer's bias in float32, where it has one."""
        return self.read(f"{layer}.bias").float() if f"{layer}.bias" in self.shapes else None

    def _weight(self, layer: str) -> Tensor:
        """A linear layer's weight, (d_out, d_in), in float32."""
        return self.read(f"{layer}.weight").float()


def source_of(model: Any) -> Source:
    """The source that a transformers model is, with or without PEFT's adapters; its tensors stay the model's own."""
    base = plain(model)
    # PEFT puts a layer of its own around one that it adapts: `query.base_layer.weight` is what `query.weight` was.
    own = {name.replace(".base_layer.", "."): each for name, each in base.named_parameters(remove_duplicate=False) if "lora_" not in name}
    first = next(iter(own.values())).dtype
    turning = getattr(getattr(base, "model", None), "rotary_emb", None)
    frequencies = getattr(turning, "inv_freq", None)
    return Source(
        architecture=type(base).__name__,
        config=base.config,
        shapes={name: tuple(each.shape) for name, each in own.items()},
        dtype=first if all(each.is_floating_point() for each in own.values()) else None,
        read=lambda name: _merged(base, name),
        rotary=None if frequencies is None else Rotary(frequencies.float(), getattr(turning, "attention_scaling", 1.0)),
    )


def plain(model: Any) -> Any:
    """A transformers model without PEFT's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _merged(base: Any, name: str) -> Tensor:
    """A tensor of a transformers model, the layer's LoRA adapters added in float32."""
    path, _, leaf = name.rpartition(".")
    layer = base.get_submodule(path)
    tensor: Tensor = getattr(getattr(layer, "base_layer", layer), leaf).detach()
    if leaf == "weight":
        for adapter in getattr(layer, "active_adapters", ()):
            tensor = tensor.float() + layer.get_delta_weight(adapter).detach().float()
    return tensor
