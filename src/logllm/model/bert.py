"""BERT encoders for scoring: messages side by side without padding."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from logllm.model.batch import MessageTokens, Rows, in_passes
from logllm.model.lanes import Lanes
from logllm.model.packing import Linear, Room, add_product, plain, product, stacked

_INPUTS = ("input_ids", "position_ids")


class Run(NamedTuple):
    """Messages of one length that follow each other in a chunk."""

    messages: int
    """How many there are."""
    tokens: int
    """Of each."""


class Bert:
    """An encoder's layers, adapters merged, queries, keys and values in one projection."""

    def __init__(self, model: Any, *, pooling: Literal["mean", "pooler"], chunk: int) -> None:
        """Take a transformers model's weights.

        Args:
            model: one that `serves` accepts, with or without PEFT's adapters.
            pooling: how a message's states become its vector.
            chunk: tokens that pass a layer together.
        """
        base = plain(model)
        self._heads, self._width = base.config.num_attention_heads, base.config.hidden_size
        self._embed, self._pooler, self._pooling = base.embeddings, base.pooler, pooling
        self._chunk = chunk
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
        linears = (
            (attention.query, attention.key, attention.value),
            (layer.attention.output.dense,),
            (layer.intermediate.dense,),
            (layer.output.dense,),
        )
        return tuple(map(stacked, linears)), (layer.attention.output.LayerNorm, layer.output.LayerNorm)

    @torch.inference_mode()
    def vectors(self, tokens: MessageTokens, *, device: torch.device) -> Tensor:
        """One vector a message, (u, d_enc), float32."""
        ids, starts = tokens.packed()
        by_length = np.argsort(tokens.lengths, kind="stable")
        pooled = torch.zeros((len(by_length), self._width), device=device)
        plan = list(in_passes(by_length, tokens.lengths[by_length], positions=self._chunk))

        def through(rows: Rows) -> None:
            lengths = tokens.lengths[rows]
            depths = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            given = (ids[np.repeat(starts[rows], lengths) + depths].astype(np.int64), depths)
            x = self._embed(**{name: torch.from_numpy(each).to(device)[None] for name, each in zip(_INPUTS, given, strict=True)})[0]
            runs = [Run(int(messages), int(length)) for length, messages in zip(*np.unique(lengths, return_counts=True), strict=True)]
            for matrices, norms in self._layers:
                x = self._pass(x, matrices, norms=norms, runs=runs, room=lanes.room)  # (c, d_enc)
            pooled[torch.from_numpy(rows).to(device)] = torch.cat([self._pool(states) for states in _by_run(x, runs)])

        with closing(Lanes(device, chunks=len(plan))) as lanes:
            lanes.each(through, plan)
        return pooled

    def _pass(self, x: Tensor, matrices: tuple[Linear, ...], *, norms: tuple[nn.LayerNorm, ...], runs: Sequence[Run], room: Room) -> Tensor:
        """One layer over a chunk, (c, d_enc), whose states are written over."""
        fused, output, inner, outer = matrices
        made = product(x, fused, room=room, name="attention")
        found = room.take("found", rows=len(x), columns=x.shape[1], dtype=x.dtype)
        for asked, into in zip(_by_run(made, runs), _by_run(found, runs), strict=True):
            query, key, value = asked.view(*asked.shape[:2], 3, self._heads, -1).permute(2, 0, 3, 1, 4)  # (g, heads, t, width) each
            seen = nn.functional.scaled_dot_product_attention(query, key, value)
            into.view(*into.shape[:2], self._heads, -1).copy_(seen.transpose(1, 2))
        add_product(x, found, linear=output, room=room)
        x = norms[0](x)
        add_product(x, torch.ops.aten.gelu_(product(x, inner, room=room, name="inner")), linear=outer, room=room)
        states: Tensor = norms[1](x)
        return states

    def _pool(self, states: Tensor) -> Tensor:
        """Vectors of messages of one length from their states, (g, t, d_enc) -> (g, d_enc)."""
        if self._pooling == "pooler":
            pooled: Tensor = torch.tanh(self._pooler.dense(states[:, 0]))
            return pooled
        return states.mean(1)


def _by_run(rows: Tensor, runs: Sequence[Run]) -> list[Tensor]:
    """A chunk's rows as messages, (g, t, d) for each length."""
    split = rows.split([run.messages * run.tokens for run in runs])  # type: ignore[no-untyped-call]
    return [part.view(*run, -1) for part, run in zip(split, runs, strict=True)]
