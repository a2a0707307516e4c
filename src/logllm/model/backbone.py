"""What encoder and decoder share: loading base weights, and adapters on the right layers."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from logllm.config.model import DecoderSection, EncoderSection, LoraSection
from logllm.errors import ModelError

_TARGETS = (("q_proj", "v_proj"), ("query", "value"), ("query_proj", "value_proj"), ("q", "v"), ("q_lin", "v_lin"))
"""Names of the query and value projections, split, in transformers' architectures."""
_FUSED_TARGETS = ("qkv_proj", "Wqkv", "query_key_value", "c_attn", "qkv")
"""Names of the layer that computes query, key and value at once."""


def load_backbone(folder: Path, section: EncoderSection | DecoderSection) -> tuple[nn.Module, Any]:
    """A base model and its tokenizer from a folder.

    Returns:
        The model in evaluation mode with frozen weights, and its tokenizer.

    Raises:
        ModelError: transformers cannot read the folder, or 4-bit weights are asked for without bitsandbytes.
    """
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    kind = AutoModel if isinstance(section, EncoderSection) else AutoModelForCausalLM
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = kind.from_pretrained(folder, dtype=getattr(torch, section.dtype), **_quantization(section))
    except (OSError, ValueError, KeyError, RuntimeError) as exc:
        raise ModelError(f"weights {section.weights} cannot be read: {str(exc).strip().splitlines()[0]}") from exc
    return model.eval().requires_grad_(False), tokenizer


def lora_targets(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers that compute attention's query and value.

    Raises:
        ModelError: an architecture whose projections have names not known here.
    """
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    for pair in _TARGETS:
        if names.issuperset(pair):
            return pair
    for fused in _FUSED_TARGETS:
        if fused in names:
            return (fused,)
    raise ModelError(f"no query and value projections found in {type(model).__name__}: name its layers in lora.targets")


def adapted(model: nn.Module, section: LoraSection, *, part: str) -> nn.Module:
    """The model with LoRA adapters, frozen until a stage trains them.

    Raises:
        ModelError: a target that the model does not have.
    """
    from peft import LoraConfig, get_peft_model

    targets = section.targets or lora_targets(model)
    fan_in_fan_out = any(type(module).__name__ == "Conv1D" for module in model.modules())
    config = LoraConfig(
        r=section.r, lora_alpha=section.alpha, lora_dropout=section.dropout, target_modules=list(targets), fan_in_fan_out=fan_in_fan_out
    )
    try:
        model = get_peft_model(model, config)
    except ValueError as exc:
        raise ModelError(f"{part}: {str(exc).splitlines()[0]}; check model.{part}.lora.targets") from exc
    return model.requires_grad_(False)


def _quantization(section: EncoderSection | DecoderSection) -> dict[str, Any]:
    """Transformers' settings for 4-bit weights: NF4 without double quantisation (paper, section 1)."""
    if section.quantize == "none":
        return {}
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise ModelError(f"4-bit weights of {section.weights} need bitsandbytes: pip install 'logllm[qlora]', or set quantize = 'none'")
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=False,
            bnb_4bit_compute_dtype=getattr(torch, section.compute),
        )
    }
