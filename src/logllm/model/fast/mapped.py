"""A model from its files: tensors are mapped where they lie, and only those are copied that an adapter is added to."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from logllm.config.model import DecoderSection, EncoderSection
from logllm.model.fast.merging import Adapters
from logllm.model.fast.rotary import head_width, rotary_of
from logllm.model.fast.source import Source

_ARCHITECTURES = {"bert": "BertModel", "llama": "LlamaForCausalLM"}
"""What transformers makes of a configuration's `model_type`, of those that are read here."""
_NUMBERS = {
    "bert": ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings", "layer_norm_eps"),
    "llama": ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings", "rms_norm_eps"),
}
_NUMBERED = re.compile(r"(?:encoder\.layer|model\.layers)\.([0-9]+)\.")
_EMBEDDINGS, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_LAYER = {
    "bert": (
        *(f"attention.self.{name}.{kind}" for name in ("query", "key", "value") for kind in ("weight", "bias")),
        *(f"{name}.{kind}" for name in ("attention.output.dense", "intermediate.dense", "output.dense") for kind in ("weight", "bias")),
        *(f"{name}.LayerNorm.{kind}" for name in ("attention.output", "output") for kind in ("weight", "bias")),
    ),
    "llama": (
        *(f"self_attn.{name}_proj.weight" for name in "qkvo"),
        *(f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")),
        "input_layernorm.weight",
        "post_attention_layernorm.weight",
    ),
}


def mapped(folder: Path, section: EncoderSection | DecoderSection, *, adapters: Adapters | None, device: torch.device) -> Source | None:
    """A base model's source.

    Args:
        folder: where it is.
        section: how it is used; of a decoder, how many layers of it.
        adapters: what is added to its layers.
        device: where its tensors are wanted.

    Returns:
        None where its architecture, its numbers or its files are not what is read here: transformers may know them.

    Raises:
        ModelError: adapters that are not those of this model's layers.
    """
    config = _config(folder, section)
    tensors = None if config is None else _Files.of(folder, device=device)
    if config is None or tensors is None:
        return None
    tensors.cut(config.num_hidden_layers)
    if getattr(config, "tie_word_embeddings", False) and _EMBEDDINGS in tensors.shapes:
        tensors.rename(_EMBEDDINGS, _HEAD)
    if not tensors.shapes.keys() >= _needed(config, section):
        return None
    if adapters is not None:
        tensors.add(adapters)
    return Source(
        architecture=_ARCHITECTURES[config.model_type],
        config=config,
        shapes=tensors.shapes,
        dtype=torch.float32,
        read=tensors.read,
        rotary=rotary_of(config, width=head_width(config)) if config.model_type == "llama" else None,
    )


def _config(folder: Path, section: EncoderSection | DecoderSection) -> Any:
    """A model's configuration, cut to the layers that a section keeps; none where it is of no kind that is read here, or cannot serve."""
    try:
        config = SimpleNamespace(**json.loads((folder / "config.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    kind = "bert" if isinstance(section, EncoderSection) else "llama"
    if getattr(config, "model_type", None) != kind or not all(
        isinstance(getattr(config, name, None), int | float) for name in _NUMBERS[kind]
    ):
        return None
    if (section.dtype, section.quantize) != ("float32", "none") or not hasattr(config, "hidden_act"):
        return None
    if isinstance(section, EncoderSection):
        absolute = getattr(config, "position_embedding_type", "absolute") == "absolute"
        return config if absolute and section.max_tokens <= config.max_position_embeddings else None
    if section.layers is not None:
        if section.layers > config.num_hidden_layers:
            return None
        config.num_hidden_layers = section.layers
    return config


def _needed(config: Any, section: EncoderSection | DecoderSection) -> set[str]:
    """Names of the tensors that a pass reads."""
    bert = isinstance(section, EncoderSection)
    layer = "encoder.layer" if bert else "model.layers"
    needed = {f"{layer}.{number}.{name}" for number in range(config.num_hidden_layers) for name in _LAYER[config.model_type]}
    if not isinstance(section, EncoderSection):
        return needed | {_EMBEDDINGS, "model.norm.weight", _HEAD}
    needed |= {f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")}
    needed |= {f"embeddings.LayerNorm.{kind}" for kind in ("weight", "bias")}
    return needed | ({"pooler.dense.weight", "pooler.dense.bias"} if section.pooling == "pooler" else set())


class _Files:
    """Tensors of one model's safetensors files.

    Attributes:
        shapes: by name.
    """

    def __init__(self, homes: dict[str, Any], *, device: torch.device) -> None:
        """Tensors by name in the open files that hold them."""
        self.shapes = {name: tuple(file.get_slice(name).get_shape()) for name, file in homes.items()}
        self._homes = homes
        self._stored = {name: name for name in homes}
        self._adapted: dict[str, Adapters] = {}
        self._device = device

    @classmethod
    def of(cls, folder: Path, *, device: torch.device) -> "_Files | None":
        """A folder's; none where the files cannot be read or hold other numbers than float32."""
        homes: dict[str, Any] = {}
        try:
            for path in sorted(folder.glob("*.safetensors")):
                file = safe_open(path, framework="pt")
                homes.update(dict.fromkeys(file.keys(), file))  # type: ignore[no-untyped-call]
            floats = all(file.get_slice(name).get_dtype() == "F32" for name, file in homes.items() if not name.endswith("position_ids"))
            return cls(homes, device=device) if floats else None
        except (OSError, SafetensorError):
            return None

    def cut(self, layers: int) -> None:
        """Leave out those of later layers than the first so many."""
        numbers = {name: _NUMBERED.match(name) for name in self.shapes}
        self.shapes = {name: self.shapes[name] for name, number in numbers.items() if number is None or int(number[1]) < layers}

    def rename(self, stored: str, name: str) -> None:
        """Give a tensor a second name."""
        self._stored[name] = stored
        self.shapes[name] = self.shapes[stored]

    def add(self, adapters: Adapters) -> None:
        """Add adapters to what is read from now on.

        Raises:
            ModelError: they are not those of this model's layers.
        """
        layers = [name.removesuffix(".weight") for name, shape in self.shapes.items() if name.endswith(".weight") and len(shape) > 1]
        self._adapted = dict.fromkeys(adapters.layers(layers), adapters)

    def read(self, name: str) -> Tensor:
        """A tensor, a copy only where an adapter is added or it is wanted on another device."""
        stored = self._stored[name]
        tensor: Tensor = self._homes[stored].get_tensor(stored)
        layer = name.removesuffix(".weight")
        if layer in self._adapted:
            tensor = tensor + self._adapted[layer].update(layer, shape=self.shapes[name])
        return tensor.to(self._device)
