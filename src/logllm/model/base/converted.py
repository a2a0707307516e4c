"""SmolLM2 out of its GGUF file: the same bytes that transformers 5.23 wrote.

A run's manifest holds a hash over the files of its base models (`logllm.storage`). Whoever converts
the file, and with whatever versions, gets files of the same hash.
"""

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from logllm.model.base.gguf import Floats, Gguf

_WRITER = "5.23.0"
_SPECIAL = 3
"""Kind of a token that stands for no text."""
_AROUND = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}
"""Transformers' names of tensors outside of the layers, by GGUF's."""
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(folder: Path, file: str) -> None:
    """Write what a GGUF file holds as transformers' files beside it, and remove it.

    They are `config.json`, `model.safetensors` in float32, and a tokenizer.

    Raises:
        ModelError: it is no such file, or its numbers are of a kind not read here.
    """
    source = Gguf(folder / file)
    facts = source.facts
    _write_settings(folder / "config.json", _config(facts))
    _write_settings(folder / "tokenizer_config.json", _tokenizer_config(facts))

    # The tokenizer's file is written by another library, which escapes nothing.
    tokenizer = json.dumps(_tokenizer(facts), indent=2, ensure_ascii=False)
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    template = facts["tokenizer.chat_template"]
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    _write_tensors(folder / "model.safetensors", source)
    (folder / file).unlink()


def _write_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write settings as transformers does."""
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _config(facts: dict[str, Any]) -> dict[str, Any]:
    """The model's configuration."""
    # The keys that transformers writes, those that GGUF does not hold with the model's own values.
    return {
        "_model_name_or_path": facts["general.name"],
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": facts["tokenizer.ggml.bos_token_id"],
        "dtype": "float32",
        "eos_token_id": facts["tokenizer.ggml.eos_token_id"],
        "head_dim": facts["llama.rope.dimension_count"],
        "hidden_act": "silu",
        "hidden_size": facts["llama.embedding_length"],
        "initializer_range": 0.02,
        "intermediate_size": facts["llama.feed_forward_length"],
        "max_position_embeddings": facts["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": facts["llama.attention.head_count"],
        "num_hidden_layers": facts["llama.block_count"],
        "num_key_value_heads": facts["llama.attention.head_count_kv"],
        "pad_token_id": facts["tokenizer.ggml.padding_token_id"],
        "pretraining_tp": 1,
        "rms_norm_eps": facts["llama.attention.layer_norm_rms_epsilon"],
        "rope_parameters": {"rope_theta": facts["llama.rope.freq_base"], "rope_type": "default"},
        "tie_word_embeddings": True,
        "transformers_version": _WRITER,
        "unk_token_id": facts["tokenizer.ggml.unknown_token_id"],
        "use_cache": True,
        "vocab_size": facts["llama.vocab_size"],
    }


def _tokenizer_config(facts: dict[str, Any]) -> dict[str, Any]:
    """What the tokenizer's special tokens are."""
    # GGUF has their numbers, transformers wants the tokens.
    names = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
    tokens = facts["tokenizer.ggml.tokens"]
    special: dict[str, str] = {}
    for name, in_gguf in names.items():
        number = facts[f"tokenizer.ggml.{in_gguf}_token_id"]
        special[f"{name}_token"] = tokens[number]
    return {
        "backend": "tokenizers",
        **special,
        "is_local": True,
        "local_files_only": False,
        "model_max_length": int(1e30),
        "tokenizer_class": "TokenizersBackend",
    }


def _tokenizer(facts: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer: pairs of bytes, joined in the order in which they were learnt."""
    tokens = facts["tokenizer.ggml.tokens"]
    kinds = facts["tokenizer.ggml.token_type"]
    strips = {"single_word": False, "lstrip": False, "rstrip": False}
    plain = {**strips, "normalized": False, "special": True}
    special = []
    for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True)):
        if kind == _SPECIAL:
            special.append({"id": number, "content": token, **plain})

    # One text is A, of two the second is B.
    first = {"Sequence": {"id": "A", "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 1}}
    template = {
        "type": "TemplateProcessing",
        "single": [first],
        "pair": [first, second],
        "special_tokens": {},
    }
    merges = [pair.split(" ") for pair in facts["tokenizer.ggml.merges"]]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": _byte_level(add_prefix_space=False),
        "post_processor": template,
        "decoder": _byte_level(add_prefix_space=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": merges,
        },
    }


def _byte_level(*, add_prefix_space: bool) -> dict[str, Any]:
    """A step that takes text as bytes, or bytes as text."""
    first = {"type": "ByteLevel", "add_prefix_space": add_prefix_space}
    return {**first, "trim_offsets": True, "use_regex": True}


def _write_tensors(path: Path, source: Gguf) -> None:
    """Write all tensors as safetensors: a length, a header in JSON, then the numbers.

    One tensor is in memory at a time.
    """
    tensors = sorted((_name(name), name) for name in source.tensors)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, stored in tensors:
        shape = source.tensors[stored].shape
        start = end
        end = start + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}

    # Blanks up to a multiple of eight bytes, so that the numbers behind it are aligned.
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for numbers in _in_order(tensors, source):
            file.write(numbers.tobytes())


def _in_order(tensors: list[tuple[str, str]], source: Gguf) -> Iterator[Floats]:
    """Tensors as transformers has them."""
    # Of queries and keys alone the order of rows differs: those are turned by their positions.
    facts = source.facts
    queries = facts["llama.attention.head_count"]
    keys = facts["llama.attention.head_count_kv"]
    heads = {"attn_q": queries, "attn_k": keys}
    for _, stored in tensors:
        numbers = source.tensor(stored)
        kind = stored.split(".")[-2]
        yield _unwoven(numbers, heads=heads[kind]) if kind in heads else numbers


def _unwoven(weight: Floats, *, heads: int) -> Floats:
    """A weight whose heads' rows are in transformers' order: the first halves, then the second.

    In GGUF the two rows that are turned together stand side by side.
    """
    halves = weight.reshape(heads, -1, 2, weight.shape[-1])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def _name(stored: str) -> str:
    """Transformers' name of a tensor."""
    if stored in _AROUND:
        return _AROUND[stored]
    _, layer, part, kind = stored.split(".")
    return f"model.layers.{layer}.{_LAYER[part]}.{kind}"
