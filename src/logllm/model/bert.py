"""BERT encoders for scoring: messages side by side without padding."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from logllm.data.sequences import Rows
from logllm.model.batch import MessageTokens, in_passes
from logllm.model.lanes import Lanes
from logllm.model.packing import Linear, Room, plain, product, stacked

_INPUTS = ("input_ids", "position_ids")
_MANY = 256
"""Tokens of one length from which attention head by head pays."""
_TAME = 1e30
"""Largest sum of a softmax's exponentials, and smallest its inverse, at which no maximum need be taken off first."""


class Run(NamedTuple):
    """Messages of one length that follow each other in a chunk."""

    messages: int
    """How many there are."""
    tokens: int
    """Of each."""


class Norm(NamedTuple):
    """A layer norm."""

    weight: Tensor
    bias: Tensor
    eps: float

    def of(self, x: Tensor) -> Tensor:
        """States normed, (c, d_enc)."""
        return nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class _Layer(NamedTuple):
    """One layer's matrices, (d_in, d_out) each.

    The biases of `output` and `outer` are in the states already: the norm before adds them, and what else reads those states
    has them taken out of its own bias, so that no pass over a chunk is made for them.
    """

    attention: Tensor
    """Keys, queries and values, whose heads are scaled."""
    asked: Tensor
    """Bias of queries and values; one of the keys changes nothing under a softmax."""
    output: Tensor
    middle: Norm
    inner: Linear
    outer: Tensor
    end: Norm

    @property
    def matrices(self) -> tuple[Tensor, ...]:
        """All that are multiplied with, in their order."""
        return (self.attention, self.output, self.inner[0], self.outer)


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
        after = [_bias(layer.attention.output.dense) for layer in base.encoder.layer]
        self._first = after[0]
        self.layers = [
            self._taken(layer, now=now, then=then)
            for layer, now, then in zip(base.encoder.layer, after, [*after[1:], torch.zeros_like(after[0])], strict=True)
        ]

    @staticmethod
    def serves(model: Any) -> bool:
        """Whether a model's architecture is one that this computes."""
        base = plain(model)
        if type(base).__name__ != "BertModel" or not all(parameter.is_floating_point() for parameter in base.parameters()):
            return False
        return base.config.hidden_act == "gelu" and not base.config.is_decoder

    def _taken(self, layer: Any, *, now: Tensor, then: Tensor) -> _Layer:
        """A layer whose states hold `now` more than the model's, and the next one's `then`."""
        own = layer.attention.self
        weight, bias = _without(now, stacked((own.key, own.query, own.value)))
        later = _bias(layer.output.dense)
        scale = (self._width // self._heads) ** -0.5
        queries = slice(self._width, 2 * self._width)
        weight[:, queries] *= scale
        bias[queries] *= scale
        middle, end = layer.attention.output.LayerNorm, layer.output.LayerNorm
        return _Layer(
            attention=weight,
            asked=bias[self._width :],
            output=stacked((layer.attention.output.dense,))[0],
            middle=_norm(middle, more=later),
            inner=_without(later, stacked((layer.intermediate.dense,))),
            outer=stacked((layer.output.dense,))[0],
            end=_norm(end, more=then),
        )

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
            x += self._first
            runs = [Run(int(messages), int(length)) for length, messages in zip(*np.unique(lengths, return_counts=True), strict=True)]
            for layer in self.layers:
                x = self._pass(x, layer, runs=runs, room=lanes.room)  # (c, d_enc)
            pooled[torch.from_numpy(rows).to(device)] = torch.cat([self._pool(states) for states in _by_run(x, runs)])

        with closing(Lanes(device, chunks=len(plan))) as lanes:
            lanes.each(through, plan)
        return pooled

    def _pass(self, x: Tensor, layer: _Layer, *, runs: Sequence[Run], room: Room) -> Tensor:
        """One layer over a chunk, (c, d_enc), whose states are written over."""
        made = product(x, (layer.attention, None), room=room, name="attention")
        made[:, self._width :].add_(layer.asked)
        found = room.take("found", rows=len(x), columns=x.shape[1], dtype=x.dtype)
        for asked, into in zip(_by_run(made, runs), _by_run(found, runs), strict=True):
            split = asked.view(*asked.shape[:2], 3, self._heads, -1)  # (g, t, 3, heads, width)
            _attend(split, into.view(*into.shape[:2], self._heads, -1), room=room)
        x = layer.middle.of(x.addmm_(found, layer.output))
        return layer.end.of(x.addmm_(torch.ops.aten.gelu_(product(x, layer.inner, room=room, name="inner")), layer.outer))

    def _pool(self, states: Tensor) -> Tensor:
        """Vectors of messages of one length from their states, (g, t, d_enc) -> (g, d_enc)."""
        if self._pooling == "pooler":
            pooled: Tensor = torch.tanh(self._pooler.dense(states[:, 0]))
            return pooled
        return states.mean(1)


def _attend(split: Tensor, into: Tensor, *, room: Room) -> None:
    """Attention of messages of one length, whose queries are scaled.

    Products of one head of all messages read it where it stands, and the softmax divides what it weighs instead of the weights; torch's own
    kernel takes up to twice the time for so few tokens a message.

    Args:
        split: keys, queries and values, (g, t, 3, heads, width).
        into: receives what is seen, (g, t, heads, width).
        room: memory for what is between.
    """
    g, t, _, heads, width = split.shape
    key, query, value = split.permute(2, 3, 0, 1, 4)  # (heads, g, t, width) each
    if g * t >= _MANY and split.device.type == "cpu":
        scores = room.take("scores", rows=heads * g * t, columns=t, dtype=split.dtype).view(heads, g, t, t)
        for asked, known, score in zip(query, key, scores, strict=True):
            torch.bmm(asked, known.transpose(1, 2), out=score)
        sums = scores.exp_().sum(-1, keepdim=True)  # (heads, g, t, 1)
        least, most = sums.aminmax()
        if least > 1 / _TAME and most < _TAME:
            seen = room.take("seen", rows=heads * g * t, columns=width, dtype=split.dtype).view(heads, g, t, width)
            for score, held, out in zip(scores, value, seen, strict=True):
                torch.bmm(score, held, out=out)
            torch.div(seen.permute(1, 2, 0, 3), sums.permute(1, 2, 0, 3), out=into)
            return
    query, key, value = (each.transpose(0, 1) for each in (query, key, value))  # (g, heads, t, width) each
    seen = nn.functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    into.copy_(seen.transpose(1, 2))


def _by_run(rows: Tensor, runs: Sequence[Run]) -> list[Tensor]:
    """A chunk's rows as messages, (g, t, d) for each length."""
    split = rows.split([run.messages * run.tokens for run in runs])  # type: ignore[no-untyped-call]
    return [part.view(*run, -1) for part, run in zip(split, runs, strict=True)]


def _bias(linear: Any) -> Tensor:
    """A linear layer's bias."""
    bias = stacked((linear,))[1]
    assert bias is not None  # noqa: S101 - all of BERT's have one
    return bias


def _without(more: Tensor, linear: Linear) -> tuple[Tensor, Tensor]:
    """A linear layer that reads states which hold `more` than they should."""
    weight, bias = linear
    assert bias is not None  # noqa: S101 - all of BERT's have one
    return weight, (bias.double() - more.double() @ weight.double()).to(bias.dtype)


def _norm(norm: nn.LayerNorm, *, more: Tensor) -> Norm:
    """A norm that adds something besides."""
    return Norm(norm.weight.detach(), norm.bias.detach() + more, norm.eps)
