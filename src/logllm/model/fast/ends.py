"""A Llama of transformers over a tree, with gradients.

The last layer is passed by the ends alone.
"""

from typing import Any

import torch
from torch import Tensor

from logllm.model.fast.branches import Branches, no_mask

_LLAMAS = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
"""Architectures whose layers are written out here as Llama's."""


def reads_ends(model: Any) -> bool:
    """Whether a model's last layer can be passed by some of its positions alone."""
    return type(model).__name__ in _LLAMAS


def logits_at(
    model: Any,
    inputs: Tensor,
    *,
    depths: Tensor,
    branches: Branches,
    ends: tuple[Branches, Tensor],
) -> Tensor:
    """Logits at some nodes of a tree, (k, v).

    Args:
        model: a causal language model without PEFT's shell, its layers with adapters or without.
        inputs: the nodes' input vectors, (n, d_dec).
        depths: their positions, (n,).
        branches: who sees whom.
        ends: the same of the nodes where logits are wanted, and these nodes, (k,).
    """
    base = model.model
    hidden = inputs[None]  # (1, n, d_dec)
    positions = depths[None]  # (1, n)
    turns = base.rotary_emb(hidden, position_ids=positions)  # cosines and sines, (1, n, width) each
    how = {
        "attention_mask": no_mask(inputs),
        "position_ids": positions,
        "position_embeddings": turns,
        "branches": branches,
    }
    for layer in base.layers[:-1]:
        hidden = layer(hidden, use_cache=False, **how)
    states = _last(base.layers[-1], hidden, turns=turns, ends=ends)  # (1, k, d_dec)
    normed = base.norm(states)
    logits: Tensor = model.lm_head(normed)[0]
    return logits


def _last(
    layer: Any,
    hidden: Tensor,
    *,
    turns: tuple[Tensor, Tensor],
    ends: tuple[Branches, Tensor],
) -> Tensor:
    """A layer's states at some nodes, (1, k, d_dec).

    Of the other nodes it computes keys and values alone.
    """
    branches, nodes = ends
    attention = layer.self_attn
    width = attention.head_dim
    normed = layer.input_layernorm(hidden)  # (1, n, d_dec)

    def heads(projected: Tensor, norm: str | None = None) -> Tensor:
        split = projected.view(*projected.shape[:-1], -1, width)  # (1, n, heads, width)
        if norm is None or not hasattr(attention, norm):
            return split
        normed: Tensor = getattr(attention, norm)(split)  # Qwen3's
        return normed

    at_ends = normed[:, nodes]  # (1, k, d_dec)
    query = heads(attention.q_proj(at_ends), "q_norm")
    key = heads(attention.k_proj(normed), "k_norm")
    value = heads(attention.v_proj(normed))
    turns_at_ends = [turn[:, nodes] for turn in turns]
    query = _turned(query, turns_at_ends) * attention.scaling
    stored = torch.cat([_turned(key, turns), value], 2)  # (1, n, 2 * kv, width)
    dropout = attention.attention_dropout if attention.training else 0.0
    seen = branches.attend(query[0], stored[0], dropout=dropout)  # (k, heads, width)

    states = hidden[:, nodes] + attention.o_proj(seen.flatten(1)[None])  # (1, k, d_dec)
    between = layer.post_attention_layernorm(states)
    ended: Tensor = states + layer.mlp(between)
    return ended


def _turned(heads: Tensor, turns: Any) -> Tensor:
    """Heads turned by their positions (Su et al. 2021), (1, n, heads, width)."""
    cos, sin = (turn[:, :, None] for turn in turns)  # (1, n, 1, width)
    left, right = heads.chunk(2, dim=-1)
    crosswise = torch.cat([-right, left], -1)
    turned: Tensor = heads * cos + crosswise * sin
    return turned
