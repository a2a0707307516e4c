"""LoRA's adapters: which layers have them, how training adds them, how they merge into weights."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from logllm.config.model import LoraSection
from logllm.errors import ModelError
from logllm.model.base.backbone import import_bitsandbytes

_TARGETS = (
    ("q_proj", "v_proj"),
    ("query", "value"),
    ("query_proj", "value_proj"),
    ("q", "v"),
    ("q_lin", "v_lin"),
)
"""Names of the query and value projections, split, in transformers' architectures."""
_FUSED_TARGETS = ("qkv_proj", "Wqkv", "query_key_value", "c_attn", "qkv")
"""Names of the layer that computes query, key and value at once."""
_PREFIX = "base_model.model."
_SUFFIX = ".lora_{}.weight"
"""What PEFT's format puts around a layer's name; A leads down to the rank, B up again."""


def lora_targets(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers that compute attention's query and value.

    Raises:
        ModelError: an architecture whose projections have names not known here.
    """
    targets = targets_among(name for name, _ in model.named_modules())
    if targets is None:
        what = f"no query and value projections found in {type(model).__name__}"
        raise ModelError(f"{what}: name its layers in lora.targets")
    return targets


def targets_among(layers: Iterable[str]) -> tuple[str, ...] | None:
    """Last names of the layers among a model's that compute attention's query and value.

    None where no name is known here.

    >>> targets_among(["layers.0.self_attn.q_proj", "layers.0.self_attn.v_proj", "lm_head"])
    ('q_proj', 'v_proj')
    """
    # A pair before a fused layer: with adapters on a fused one the key learns as well.
    names = {layer.rpartition(".")[2] for layer in layers}
    for pair in _TARGETS:
        if names.issuperset(pair):
            return pair
    return next(((fused,) for fused in _FUSED_TARGETS if fused in names), None)


def adapted(model: nn.Module, section: LoraSection, *, part: str) -> nn.Module:
    """The model with LoRA adapters, frozen until a stage trains them.

    Raises:
        ModelError: a target that the model does not have, or embeddings.
    """
    import_bitsandbytes()
    from peft import LoraConfig, get_peft_model

    # GPT-2's Conv1D holds its weights the other way round, which PEFT has to be told.
    transposed = any(type(module).__name__ == "Conv1D" for module in model.modules())
    config = LoraConfig(
        r=section.r,
        lora_alpha=section.alpha,
        lora_dropout=section.dropout,
        target_modules=list(section.targets or lora_targets(model)),
        fan_in_fan_out=transposed,
    )
    try:
        with warnings.catch_warnings():
            # PEFT asks transformers for it.
            deprecated = "`is_gradient_checkpointing` is deprecated"
            warnings.filterwarnings("ignore", deprecated, FutureWarning)
            model = get_peft_model(model, config)
    except ValueError as exc:
        reason = str(exc).splitlines()[0]
        raise ModelError(f"{part}: {reason}; check model.{part}.lora.targets") from exc
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    if any(hasattr(table, "base_layer") for table in tables):
        # The head's rows of the two answers are read alone, and often its weights are the input
        # embeddings' too.
        what = f"{part}: embeddings and output head take no adapters"
        raise ModelError(f"{what}; take them out of model.{part}.lora.targets")
    return model.requires_grad_(False)


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
            targets: last names of the layers where the settings give none; none: found by the
                names.

        Raises:
            ModelError: the adapters are not those of just these layers.
        """
        among = list(names)
        targets = self.section.targets or targets or targets_among(among) or ()

        # By whole last names: `proj` is none of `q_proj`.
        ends = tuple(f".{target}" for target in targets)
        layers = [name for name in among if f".{name}".endswith(ends)]

        # Each of these has both tensors, and nothing else has any.
        wanted = {f"{_PREFIX}{name}{_SUFFIX.format(side)}" for name in layers for side in "AB"}
        odd = sorted(wanted ^ self.tensors.keys())
        if odd:
            raise ModelError(f"{self.source} does not fit the base model: {odd[0]}")
        return layers

    def update(self, layer: str, *, shape: tuple[int, ...]) -> Tensor:
        """What is added to a layer's weight, (d_out, d_in), float32.

        Raises:
            ModelError: it is of another shape than the weight's.
        """
        down = self.tensors[f"{_PREFIX}{layer}{_SUFFIX.format('A')}"].float()  # (r, d_in)
        up = self.tensors[f"{_PREFIX}{layer}{_SUFFIX.format('B')}"].float()  # (d_out, r)
        scale = self.section.alpha / self.section.r
        update: Tensor = scale * (up @ down)  # (d_out, d_in)
        if update.shape != shape:
            shapes = f"{layer} is {shape}, its update {tuple(update.shape)}"
            raise ModelError(f"{self.source} does not fit the base model: {shapes}")
        return update


def merge(model: nn.Module, adapters: Adapters) -> None:
    """Add adapters to the layers that they are for, without PEFT, whose import alone takes seconds.

    Args:
        model: a base model; one in float32 takes the updates whole, in others they are rounded.
        adapters: those of a run.

    Raises:
        ModelError: adapters that are not those of this model's layers.
    """
    modules = dict(model.named_modules())
    targets = adapters.section.targets or lora_targets(model)
    with torch.no_grad():
        for name in adapters.layers(modules, targets=targets):
            # GPT-2's Conv1D is the other way round.
            layer = modules[name]
            weight: Tensor = layer.weight
            upright = isinstance(layer, nn.Linear)
            shape = tuple(weight.shape if upright else weight.shape[::-1])
            update = adapters.update(name, shape=shape)
            weight += update if upright else update.T


def merged_tensor(base: Any, name: str) -> Tensor:
    """A tensor of a transformers model, with the adapters that PEFT put on its layer.

    They are added in float32; the model stays as it is.
    """
    # PEFT puts the layer that was there inside its own, as `base_layer`.
    path, _, leaf = name.rpartition(".")
    layer = base.get_submodule(path)
    inner = getattr(layer, "base_layer", layer)
    tensor: Tensor = getattr(inner, leaf).detach()
    if leaf == "weight":
        for adapter in getattr(layer, "active_adapters", ()):
            tensor = tensor.float() + layer.get_delta_weight(adapter).detach().float()
    return tensor
