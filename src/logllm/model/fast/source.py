"""What an engine's passes are made from: a model's configuration and its tensors.

Tensors have the names that transformers gives them, and have their adapters added.
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
"""The class that transformers makes of a `model_type`, of the types that are read from files."""
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
        dtype: number format of the first tensor; None where some are packed into few bits.
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
        """Which of our own passes compute the model.

        None where its architecture is not among them, or some of its weights are packed.
        """
        config = self.config
        if self.dtype is None:
            return None
        if self.architecture == "BertModel":
            plain = config.hidden_act == "gelu" and not getattr(config, "is_decoder", False)
            return "bert" if plain else None
        if self.architecture not in _LLAMAS or self.rotary is None:
            return None
        # Turns that depend on a position alone, of whole heads, and no window.
        rope = getattr(config, "rope_parameters", None) or {}
        fixed = rope.get("rope_type", "default") not in ("dynamic", "longrope")
        turned_whole = fixed and rope.get("partial_rotary_factor", 1) == 1
        sees_all = getattr(config, "sliding_window", None) is None
        if turned_whole and sees_all and config.hidden_act == "silu":
            return "llama"
        return None

    def linear(self, *layers: str, dtype: torch.dtype = torch.float32) -> Linear:
        """Several linear layers of the same input as one: weight, (d_in, d_out), and bias.

        Both are read in float32 and rounded to a number format. In float32 the weight of a single
        layer is a transposed view of what was read; those of several are a copy, and so are biases.
        """
        weights = [self.read(f"{layer}.weight") for layer in layers]  # (d_out, d_in) each
        with_bias = [layer for layer in layers if f"{layer}.bias" in self.shapes]
        biases = [self.read(f"{layer}.bias").float() for layer in with_bias]

        # A single one that is in the wanted format already is not copied: there may be no room for
        # 8 billion weights a second time.
        weight = weights[0]
        if len(weights) > 1:
            weight = torch.cat([weight.float() for weight in weights])
        bias = torch.cat(biases).to(dtype) if biases else None
        return weight.T.to(dtype), bias


def source_of(model: Any) -> Source:
    """A transformers model as a source, with or without PEFT's adapters.

    Tensors stay the model's own. A source is given back as it is.
    """
    if isinstance(model, Source):
        return model
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    # PEFT puts a layer of its own around one that it adapts: `query.base_layer.weight` is what
    # `query.weight` was.
    own = {}
    for name, tensor in base.named_parameters(remove_duplicate=False):
        if "lora_" not in name:
            own[name.replace(".base_layer.", ".")] = tensor
    unpacked = all(tensor.is_floating_point() for tensor in own.values())
    first = next(iter(own.values())).dtype

    # What turns queries and keys is a module of the decoder's.
    turning = getattr(getattr(base, "model", None), "rotary_emb", None)
    frequencies = getattr(turning, "inv_freq", None)
    scale = getattr(turning, "attention_scaling", 1.0)

    def read(name: str) -> Tensor:
        return merged_tensor(base, name)

    return Source(
        architecture=type(base).__name__,
        config=base.config,
        shapes={name: tuple(tensor.shape) for name, tensor in own.items()},
        dtype=first if unpacked else None,
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
    """A base model's files as a source.

    Tensors are mapped where they lie; only those that an adapter is added to are copied.

    Args:
        folder: where the model is.
        section: how it is used, and how many of a decoder's layers are kept.
        adapters: what is added to its layers.
        device: where its tensors are wanted.

    Returns:
        None where its architecture, its number format or its files are not read here; transformers
        may still know them.

    Raises:
        ModelError: adapters that are not those of this model's layers.
    """
    config = _config(folder, section)
    files = _files(folder)
    if config is None or files is None:
        return None
    # Layers after those that are kept are left out, and a head that is the embeddings is named
    # twice.
    stored = {}
    for name in files:
        number = _NUMBERED.match(name)
        if number is None or int(number[1]) < config.num_hidden_layers:
            stored[name] = name
    if getattr(config, "tie_word_embeddings", False) and EMBEDDINGS in stored:
        stored[_HEAD] = EMBEDDINGS
    if not stored.keys() >= _needed(config, section):
        return None
    slices = {name: files[home].get_slice(home) for name, home in stored.items()}
    shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    rotary = rotary_of(config) if config.model_type == "llama" else None

    # Adapters are on linear layers: a norm's weight is a vector.
    matrices = [name for name, shape in shapes.items() if len(shape) > 1]
    layers = [name.removesuffix(".weight") for name in matrices if name.endswith(".weight")]
    adapted = set() if adapters is None else set(adapters.layers(layers))

    def read(name: str) -> Tensor:
        home = stored[name]
        layer = name.removesuffix(".weight")
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
    """A model's configuration, with only the layers that a section keeps.

    None where it is of a kind that is not read here, or cannot serve.
    """
    try:
        config = SimpleNamespace(**json.loads((folder / "config.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    kind = "bert" if isinstance(section, EncoderSection) else "llama"
    numbers = [getattr(config, name, None) for name in _NUMBERS[kind]]
    has_numbers = all(isinstance(number, int | float) for number in numbers)
    if getattr(config, "model_type", None) != kind or not has_numbers:
        return None
    is_plain = (section.dtype, section.quantize) == ("float32", "none")
    if not is_plain or not hasattr(config, "hidden_act"):
        return None

    # An encoder keeps all its layers, a decoder perhaps its first ones.
    if isinstance(section, EncoderSection):
        absolute = getattr(config, "position_embedding_type", "absolute") == "absolute"
        fits = absolute and section.max_tokens <= config.max_position_embeddings
        return config if fits else None
    if section.layers is not None:
        if section.layers > config.num_hidden_layers:
            return None
        config.num_hidden_layers = section.layers
    return config


def _files(folder: Path) -> dict[str, Any] | None:
    """For each of a model's tensors the open file that holds it.

    None where a file cannot be read, or holds numbers in another format than float32.
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
        needed = {EMBEDDINGS, "model.norm.weight", _HEAD}
        for number in layers:
            needed |= {f"model.layers.{number}.{name}.weight" for name in _LLAMA_LAYER}
        return needed

    # BERT's layers and norms have a bias each.
    linear = {"embeddings.LayerNorm"}
    for number in layers:
        linear |= {f"encoder.layer.{number}.{name}" for name in _BERT_LAYER}
    if section.pooling == "pooler":
        linear.add("pooler.dense")
    tables = {f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")}
    return tables | {f"{name}.{kind}" for name in linear for kind in ("weight", "bias")}


def rotary_of(config: Any) -> Rotary | None:
    """The turns that a configuration describes, as transformers computes them.

    None where they are of a kind that is not computed here.

    Args:
        config: with `rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling`.
    """
    newer = getattr(config, "rope_parameters", None)
    older = getattr(config, "rope_scaling", None)
    given: Mapping[str, Any] = newer or older or {}
    share = given.get("partial_rotary_factor", getattr(config, "partial_rotary_factor", 1))
    if share != 1:
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

    Slow turns are slowed down by a factor, quick ones stay, and those between are a mixture.
    """
    factor = float(given["factor"])
    low = float(given["low_freq_factor"])
    high = float(given["high_freq_factor"])
    context = given["original_max_position_embeddings"]
    wavelengths = 2 * math.pi / frequencies
    slowed = torch.where(wavelengths > context / low, frequencies / factor, frequencies)
    share = (context / wavelengths - low) / (high - low)
    mixed = (1 - share) * slowed / factor + share * slowed
    between = ~(wavelengths < context / high) * ~(wavelengths > context / low)
    return torch.where(between, mixed, slowed)
