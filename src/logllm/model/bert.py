"""BERT encoders for scoring: messages side by side without padding."""

from contextlib import closing
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from logllm.model.batch import MessageTokens
from logllm.model.lanes import Lanes
from logllm.model.packing import Chunk, Layout, Linear, Room, add_product, chunks, plain, product, stacked


class Bert:
    """An encoder's layers, adapters merged, queries, keys and values in one projection."""

    def __init__(self, model: Any, *, pooling: Literal["mean", "pooler"], dtype: torch.dtype, chunk: int) -> None:
        """Take a transformers model's weights.

        Args:
            model: one that `serves` accepts, with or without PEFT's adapters.
            pooling: how a message's states become its vector.
            dtype: number format of the matrix products; sums along the layers stay in float32.
            chunk: tokens that pass a layer together.
        """
        base = plain(model)
        heads = base.config.num_attention_heads
        width = base.config.hidden_size // heads
        self._layout = Layout(heads, heads, width, query_row=3 * heads, key_row=3 * heads, key_first=heads)
        self._embed, self._pooler, self._pooling = base.embeddings, base.pooler, pooling
        self._dtype, self._chunk = dtype, chunk
        self._layers = [self._taken(layer) for layer in base.encoder.layer]

    @staticmethod
    def serves(model: Any) -> bool:
        """Whether a model's architecture is one that this computes."""
        base = plain(model)
        if type(base).__name__ != "BertModel" or not all(parameter.is_floating_point() for parameter in base.parameters()):
            return False
        return base.config.hidden_act == "gelu" and not base.config.is_decoder

    def _taken(self, layer: Any) -> tuple[tuple[Linear, ...], tuple[nn.LayerNorm, nn.LayerNorm]]:
        attention = layer.attention.self
        made = [
            stacked((attention.query, attention.key, attention.value)),
            *(stacked((each,)) for each in (layer.attention.output.dense, layer.intermediate.dense, layer.output.dense)),
        ]
        scaled = self._layout.heads * self._layout.width
        for tensor in made[0]:
            assert tensor is not None  # noqa: S101 - BERT's projections have biases
            tensor[..., :scaled] *= attention.scaling
        matrices = tuple((weight.to(self._dtype), None if bias is None else bias.to(self._dtype)) for weight, bias in made)
        return matrices, (layer.attention.output.LayerNorm, layer.output.LayerNorm)

    @torch.inference_mode()
    def vectors(self, tokens: MessageTokens, *, device: torch.device) -> Tensor:
        """One vector a message, (u, d_enc), float32."""
        ids, starts = tokens.packed()
        own = np.diff(starts)
        paths = [np.arange(first, last) for first, last in pairwise(starts)]
        depths = np.arange(len(ids)) - np.repeat(starts[:-1], own)
        pooled = torch.zeros((len(own), self._layout.heads * self._layout.width), device=device)
        plan = list(chunks(paths, own, nodes=self._chunk, layout=self._layout, causal=False))

        def through(chunk: Chunk) -> None:
            some = slice(chunk.start, chunk.end)
            given = [torch.from_numpy(each[some].astype(np.int64)).to(device)[None] for each in (ids, depths)]
            x = self._embed(input_ids=given[0], position_ids=given[1])[0].float()  # (c, d_enc)
            moved = chunk.to(device)
            for matrices, norms in self._layers:
                x = self._pass(x, matrices, norms=norms, chunk=moved, room=lanes.room)
            first, last = np.searchsorted(starts, (chunk.start, chunk.end))
            pooled[first:last] = self._pool(x, torch.from_numpy(own[first:last]).to(device))

        with closing(Lanes(device, chunks=len(plan))) as lanes:
            lanes.each(through, plan)
        return pooled

    def _pass(self, x: Tensor, matrices: tuple[Linear, ...], *, norms: tuple[nn.LayerNorm, ...], chunk: Chunk, room: Room) -> Tensor:
        """One layer over a chunk, (c, d_enc), whose states are written over."""
        fused, output, inner, outer = matrices
        made = product(x.to(self._dtype), fused, room=room, name="attention")
        found = room.take("found", rows=len(x) + 1, columns=x.shape[1], dtype=self._dtype)
        for group in chunk.groups:
            group.attend(made, made, layout=self._layout, into=found)
        add_product(x, found[:-1], linear=output, room=room)
        x = norms[0](x).float()
        add_product(x, torch.ops.aten.gelu_(product(x.to(self._dtype), inner, room=room, name="inner")), linear=outer, room=room)
        states: Tensor = norms[1](x).float()
        return states

    def _pool(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Vectors of a chunk's messages from their states, (c, d_enc) -> (m, d_enc)."""
        starts = lengths.cumsum(0) - lengths
        if self._pooling == "pooler":
            pooled: Tensor = torch.tanh(self._pooler.dense(states[starts]))
            return pooled
        message = torch.repeat_interleave(torch.arange(len(lengths), device=states.device), lengths)
        return states.new_zeros((len(lengths), states.shape[1])).index_add_(0, message, states) / lengths[:, None]
