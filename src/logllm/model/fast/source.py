"""What passes are made from.

A model's configuration and its tensors by transformers' names, adapters added.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from logllm.config.model import DecoderSection, EncoderSection
from logllm.model.base.adapters import Adapters, merged_tensor
from logllm.model.fast.packing import Linear

EMBEDDINGS = "model.embed_tokens.weight"
"""Name of a Llama's table of input vectors."""
_HEAD = "lm_head.weight"
_THETA = 10_000.0
_LLAMAS = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
"""Architectures that Llama's passes compute."""
_ARCHITECTURES = {"bert": "BertModel", "llama": "LlamaForCausalLM"}
"""What transformers makes of a configuration's `model_type`, of those that are read from files."""
_NUMBERS = {
    "bert": (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "max_position_embeddings",
        "layer_norm_eps",
    ),
    "llama": (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "max_position_embeddings",
        "rms_norm_eps",
    ),
}
"""Numbers that a configuration must give."""
_BERT_LAYER = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
"""What a layer holds, each with weight and bias."""
_LLAMA_LAYER = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
    "input_layernorm",
    "post_attention_layernorm",
)
"""What a layer holds, each with a weight."""
_NUMBERED = re.compile(r"(?:encoder\.layer|model\.layers)\.([0-9]+)\.")


@dataclass(frozen=True)
class Rotary:
    """What turns a decoder's queries and keys by their positions (Su et al. 2021).

    Attributes:
        frequencies: radians a position for each pair of a head's numbers, (width / 2,).
        scale: what cosines and sines are multiplied with; 1 but in YaRN.
    """

    frequencies: Tensor
    scale: float = 1.0


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

    @property
    def passes(self) -> Literal["bert", "llama"] | None:
        """Whose passes of our own compute the model.

        None where its architecture is another, or some of its weights are packed.
        """
        config = self.config
        if self.dtype is None:
            return None
        if self.architecture == "BertModel":
            plain = config.hidden_act == "gelu" and not getattr(config, "is_decoder", False)
            return "bert" if plain else None
        if self.architecture not in _LLAMAS or self.rotary is None:
            return None
        rope = getattr(config, "rope_parameters", None) or {}
        fixed = rope.get("rope_type", "default") not in ("dynamic", "longrope")
        turned_whole = fixed and rope.get("partial_rotary_factor", 1) == 1
        sees_all = getattr(config, "sliding_window", None) is None
        return "llama" if turned_whole and sees_all and config.hidden_act == "silu" else None

    def linear(self, *layers: str, dtype: torch.dtype = torch.float32) -> Linear:
        """Linear layers of one input as one.

        Weight, (d_in, d_out), and bias, read in float32 and rounded to a number format.

        In float32 one layer's weight is what it is read from, seen from the other side; those of
        several are a copy, and so are biases.
        """
        weights = [self.read(f"{layer}.weight") for layer in layers]  # (d_out, d_in) each
        biases = [
            self.read(f"{layer}.bias").float() for layer in layers if f"{layer}.bias" in self.shapes
        ]
        # One that is in the wanted format already is no copy: of 8 billion weights there is room
        # for one.
        weight = (
            weights[0] if len(weights) == 1 else torch.cat([weight.float() for weight in weights])
        )
        return weight.T.to(dtype), torch.cat(biases).to(dtype) if biases else None


def source_of(model: Any) -> Source:
    """The source that a transformers model is, with or without PEFT's adapters, whose tensors stay the model's own; a source is itself one."""
    if isinstance(model, Source):
        return model
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    # PEFT puts a layer of its own around one that it adapts: `query.base_layer.weight` is what
    # `query.weight` was.
    own = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in base.named_parameters(remove_duplicate=False)
        if "lora_" not in name
    }
    first = next(iter(own.values())).dtype
    turning = getattr(getattr(base, "model", None), "rotary_emb", None)
    frequencies = getattr(turning, "inv_freq", None)
    scale = getattr(turning, "attention_scaling", 1.0)

    def read(name: str) -> Tensor:
        return merged_tensor(base, name)

    return Source(
        architecture=type(base).__name__,
        config=base.config,
        shapes={name: tuple(tensor.shape) for name, tensor in own.items()},
        dtype=first if all(tensor.is_floating_point() for tensor in own.values()) else None,
        read=read,
        rotary=None if frequencies is None else Rotary(frequencies.float(), scale),
    )


def mapped(
    folder: Path,
    section: EncoderSection | DecoderSection,
    *,
    adapters: Adapters | None,
    device: torch.device,
) -> Source | None:
    """The source that a base model's files are.

    Tensors are mapped where they lie, and only those copied that an adapter is added to.

    Args:
        folder: where it is.
        section: how it is used; of a decoder, how many layers of it.
        adapters: what is added to its layers.
        device: where its tensors are wanted.

    Returns:
        None where its architecture, its numbers or its files are not what is read here:
        transformers may know them.

    Raises:
        ModelError: adapters that are not those of this model's layers.
    """
    config, files = _config(folder, section), _files(folder)
    if config is None or files is None:
        return None
    # Later layers than those that are kept are left out, and a head that is the embeddings is named
    # twice.
    numbers = {name: _NUMBERED.match(name) for name in files}
    kept = [
        name
        for name, number in numbers.items()
        if number is None or int(number[1]) < config.num_hidden_layers
    ]
    stored = {name: name for name in kept}
    if getattr(config, "tie_word_embeddings", False) and EMBEDDINGS in stored:
        stored[_HEAD] = EMBEDDINGS
    if not stored.keys() >= _needed(config, section):
        return None
    shapes = {name: tuple(files[home].get_slice(home).get_shape()) for name, home in stored.items()}
    rotary = rotary_of(config) if config.model_type == "llama" else None
    matrices = [
        name for name, shape in shapes.items() if name.endswith(".weight") and len(shape) > 1
    ]
    layers = [name.removesuffix(".weight") for name in matrices]
    adapted = set() if adapters is None else set(adapters.layers(layers))

    def read(name: str) -> Tensor:
        home, layer = stored[name], name.removesuffix(".weight")
        tensor: Tensor = files[home].get_tensor(home)
        if adapters is not None and layer in adapted:
            tensor = tensor + adapters.update(layer, shape=shapes[name])
        return tensor.to(device)

    return Source(
        architecture=_ARCHITECTURES[config.model_type],
        config=config,
        shapes=shapes,
        dtype=torch.float32,
        read=read,
        rotary=rotary,
    )


def _config(folder: Path, section: EncoderSection | DecoderSection) -> Any:
    """A model's configuration, cut to the layers that a section keeps.

    None where it is of no kind that is read here, or cannot serve.
    """
    try:
        config = SimpleNamespace(**json.loads((folder / "config.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    kind = "bert" if isinstance(section, EncoderSection) else "llama"
    numbers = [getattr(config, name, None) for name in _NUMBERS[kind]]
    if getattr(config, "model_type", None) != kind or not all(
        isinstance(number, int | float) for number in numbers
    ):
        return None
    if (section.dtype, section.quantize) != ("float32", "none") or not hasattr(
        config, "hidden_act"
    ):
        return None
    if isinstance(section, EncoderSection):
        absolute = getattr(config, "position_embedding_type", "absolute") == "absolute"
        return config if absolute and section.max_tokens <= config.max_position_embeddings else None
    if section.layers is not None:
        if section.layers > config.num_hidden_layers:
            return None
        config.num_hidden_layers = section.layers
    return config


def _files(folder: Path) -> dict[str, Any] | None:
    """A model's tensors by name, each as the open file that holds it.

    None where a file cannot be read or holds other numbers than float32.
    """
    files: dict[str, Any] = {}
    try:
        for path in sorted(folder.glob("*.safetensors")):
            file = safe_open(path, framework="pt")
            files.update(dict.fromkeys(file.keys(), file))  # type: ignore[no-untyped-call]
        kinds = {
            file.get_slice(name).get_dtype()
            for name, file in files.items()
            if not name.endswith("position_ids")
        }
    except (OSError, SafetensorError):
        return None
    return files if kinds <= {"F32"} else None


def _needed(config: Any, section: EncoderSection | DecoderSection) -> set[str]:
    """Names of the tensors that passes read."""
    layers = range(config.num_hidden_layers)
    if not isinstance(section, EncoderSection):
        around = {EMBEDDINGS, "model.norm.weight", _HEAD}
        return around | {
            f"model.layers.{number}.{name}.weight" for number in layers for name in _LLAMA_LAYER
        }
    around = {f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")}
    linear = {f"encoder.layer.{number}.{name}" for number in layers for name in _BERT_LAYER} | {
        "embeddings.LayerNorm"
    }
    if section.pooling == "pooler":
        linear.add("pooler.dense")
    return around | {f"{name}.{kind}" for name in linear for kind in ("weight", "bias")}


def rotary_of(config: Any) -> Rotary | None:
    """The turns that a configuration describes, as transformers computes them.

    None where it is of a kind not computed here.

    Args:
        config: with `rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling`.
    """
    given: Mapping[str, Any] = (
        getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    )
    if given.get("partial_rotary_factor", getattr(config, "partial_rotary_factor", 1)) != 1:
        return None
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    theta = float(given.get("rope_theta", getattr(config, "rope_theta", _THETA)))
    exponents = torch.arange(0, width, 2, dtype=torch.int64).float() / width
    frequencies: Tensor = 1.0 / (theta**exponents)
    kind = given.get("rope_type", given.get("type", "default"))
    if kind == "default":
        return Rotary(frequencies)
    if kind == "linear":
        return Rotary(frequencies / given["factor"])
    if kind == "llama3":
        return Rotary(_slowed(frequencies, given))
    return None


def _slowed(frequencies: Tensor, given: Mapping[str, Any]) -> Tensor:
    """Llama 3's turns for long contexts.

    Slow ones slower by a factor, quick ones as they are, those between mixed.
    """
    factor, low, high = (
        float(given[name]) for name in ("factor", "low_freq_factor", "high_freq_factor")
    )
    context = given["original_max_position_embeddings"]
    wavelengths = 2 * math.pi / frequencies
    slowed = torch.where(wavelengths > context / low, frequencies / factor, frequencies)
    share = (context / wavelengths - low) / (high - low)
    mixed = (1 - share) * slowed / factor + share * slowed
    between = ~(wavelengths < context / high) * ~(wavelengths > context / low)
    return torch.where(between, mixed, slowed)
