"""BERT encoders for scoring: messages side by side without padding."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from logllm.config.model import Pooling
from logllm.model.encoder import MessageTokens, in_passes, pool
from logllm.model.fast.packing import Linear, Room, in_lanes, product
from logllm.model.fast.source import Source
from logllm.sessions.message_table import Rows

Norm = tuple[Tensor, Tensor]
"""A layer norm's weight and bias."""

MANY = 256
"""Tokens of one length from which attention head by head pays."""
_TAME = 1e30
"""Largest sum of a softmax's exponentials, and smallest its inverse, at which no maximum need be
taken off first."""


class Run(NamedTuple):
    """Messages of one length that follow each other in a chunk."""

    messages: int
    """How many there are."""
    tokens: int
    """Of each."""


class _Layer(NamedTuple):
    """One layer's matrices, (d_in, d_out) each.

    The states already hold the biases of `output` and `outer`: the norm before adds them. Whatever
    else reads those states has them taken out of its own bias. This saves a pass over the chunk.
    """

    attention: Tensor
    """Keys, queries and values, whose heads are scaled."""
    bias: Tensor
    """Bias of queries and values; a bias of the keys would change nothing under a softmax."""
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

    def __init__(self, source: Source, *, pooling: Pooling, chunk: int) -> None:
        """Take a model's weights.

        Args:
            source: one whose `passes` are BERT's.
            pooling: how a message's states become its vector.
            chunk: tokens that pass a layer together.
        """
        config = source.config
        self._heads = config.num_attention_heads
        self._width = config.hidden_size
        self._eps: float = config.layer_norm_eps
        self._pooling = pooling
        self._chunk = chunk
        self._words = source.read("embeddings.word_embeddings.weight")
        self._places = source.read("embeddings.position_embeddings.weight")
        self._kind = source.read("embeddings.token_type_embeddings.weight")[0]
        self._pooler: tuple[Tensor, Tensor] | None = None
        if pooling == "pooler":
            weight, _ = source.linear("pooler.dense")
            self._pooler = weight, source.read("pooler.dense.bias").float()
        # A layer's states hold the bias that its own attention's output would add; the norm before
        # adds it.
        names = [f"encoder.layer.{number}" for number in range(config.num_hidden_layers)]
        biases = [source.read(f"{name}.attention.output.dense.bias").float() for name in names]
        nexts = [*biases[1:], torch.zeros_like(biases[0])]
        self._start = self._norm(source, "embeddings", more=biases[0])
        self.layers = []
        for name, own, following in zip(names, biases, nexts, strict=True):
            self.layers.append(self._taken(source, name, now=own, then=following))

    def _taken(self, source: Source, layer: str, *, now: Tensor, then: Tensor) -> _Layer:
        """A layer whose states hold `now` more than the model's, and the next one's `then`."""
        own = f"{layer}.attention.self"
        projections = source.linear(f"{own}.key", f"{own}.query", f"{own}.value")
        weight, bias = _without(now, projections)
        later = source.read(f"{layer}.output.dense.bias").float()

        # The scale of the scores, once for all, in the queries.
        head_width = self._width // self._heads
        scale = head_width**-0.5
        queries = slice(self._width, 2 * self._width)
        weight[:, queries] *= scale
        bias[queries] *= scale
        return _Layer(
            attention=weight,
            bias=bias[self._width :],
            output=source.linear(f"{layer}.attention.output.dense")[0],
            middle=self._norm(source, f"{layer}.attention.output", more=later),
            inner=_without(later, source.linear(f"{layer}.intermediate.dense")),
            outer=source.linear(f"{layer}.output.dense")[0],
            end=self._norm(source, f"{layer}.output", more=then),
        )

    def _norm(self, source: Source, part: str, *, more: Tensor) -> Norm:
        """The norm of a part of the model, with `more` added to its bias."""
        norm = f"{part}.LayerNorm"
        bias = source.read(f"{norm}.bias") + more
        return source.read(f"{norm}.weight"), bias

    @torch.inference_mode()
    def vectors(self, tokens: MessageTokens, *, device: torch.device) -> Tensor:
        """One vector a message, (u, d_enc), float32."""
        pooled = torch.zeros((len(tokens.lengths), self._width), device=device)
        shape = (self._width,)
        plan = list(in_passes(tokens.lengths, positions=self._chunk))
        room = Room(device)

        def through(rows: Rows) -> None:
            # All tokens of these messages one after the other, and each one's position in its
            # message.
            lengths = tokens.lengths[rows]
            firsts = np.cumsum(lengths) - lengths
            depths = np.arange(lengths.sum()) - np.repeat(firsts, lengths)
            ids = tokens.ids[np.repeat(tokens.starts[rows], lengths) + depths]
            words = self._words[torch.from_numpy(ids.astype(np.int64)).to(device)]
            places = self._places[torch.from_numpy(depths).to(device)]
            embedded = words + self._kind + places
            x = layer_norm(embedded, shape, *self._start, self._eps)  # (c, d_enc)

            # The passes are of like length: messages of one length follow each other.
            counts = zip(*np.unique(lengths, return_counts=True), strict=True)
            runs = [Run(int(messages), int(length)) for length, messages in counts]
            for layer in self.layers:
                x = self._pass(x, layer, runs=runs, room=room)  # (c, d_enc)

            # From states to one vector a message.
            vectors = []
            for states in _by_run(x, runs):  # (g, t, d_enc)
                pooler = None
                if self._pooler is not None:
                    weight, bias = self._pooler
                    pooler = torch.tanh(states[:, 0] @ weight + bias)  # (g, d_enc)
                vectors.append(pool(states, pooling=self._pooling, pooler=pooler))
            pooled[torch.from_numpy(rows).to(device)] = torch.cat(vectors)

        in_lanes(through, plan, device=device, chunks=len(plan))
        return pooled

    def _pass(self, x: Tensor, layer: _Layer, *, runs: Sequence[Run], room: Room) -> Tensor:
        """One layer over a chunk, (c, d_enc), whose states are written over."""
        made = product(x, (layer.attention, None), room=room, name="attention")
        made[:, self._width :].add_(layer.bias)
        attended = room.take("attended", rows=len(x), columns=x.shape[1], dtype=x.dtype)
        for states, into in zip(_by_run(made, runs), _by_run(attended, runs), strict=True):
            split = states.view(*states.shape[:2], 3, self._heads, -1)  # (g, t, 3, heads, width)
            outputs = into.view(*into.shape[:2], self._heads, -1)  # (g, t, heads, width)
            _attend(split, outputs, room=room)

        # The feed-forward part.
        shape = (self._width,)
        x = layer_norm(x.addmm_(attended, layer.output), shape, *layer.middle, self._eps)
        inner = product(x, layer.inner, room=room, name="inner")
        torch.ops.aten.gelu_(inner)
        return layer_norm(x.addmm_(inner, layer.outer), shape, *layer.end, self._eps)


def _attend(split: Tensor, into: Tensor, *, room: Room) -> None:
    """Attention of messages of one length, whose queries are scaled already.

    Each product takes one head of all messages, and reads it where it stands. The softmax divides
    what the weights have summed instead of each weight. For so few tokens a message torch's own
    kernel takes up to twice the time.

    Args:
        split: keys, queries and values, (g, t, 3, heads, width).
        into: receives what is seen, (g, t, heads, width).
        room: memory for what is between.
    """
    g, t, _, heads, width = split.shape
    key, query, value = split.permute(2, 3, 0, 1, 4)  # (heads, g, t, width) each
    if g * t >= MANY and split.device.type == "cpu":
        rows = heads * g * t
        scores = room.take("scores", rows=rows, columns=t, dtype=split.dtype).view(heads, g, t, t)
        for queries, keys, score in zip(query, key, scores, strict=True):
            torch.bmm(queries, keys.transpose(1, 2), out=score)
        # Where no sum overflows or vanishes there is no need to take off the largest score first.
        sums = scores.exp_().sum(-1, keepdim=True)  # (heads, g, t, 1)
        least, most = sums.aminmax()
        if least > 1 / _TAME and most < _TAME:
            memory = room.take("seen", rows=rows, columns=width, dtype=split.dtype)
            seen = memory.view(heads, g, t, width)
            for score, weighed, out in zip(scores, value, seen, strict=True):
                torch.bmm(score, weighed, out=out)
            torch.div(seen.permute(1, 2, 0, 3), sums.permute(1, 2, 0, 3), out=into)
            return
    query, key, value = (heads.transpose(0, 1) for heads in (query, key, value))
    seen = scaled_dot_product_attention(query, key, value, scale=1.0)  # (g, heads, t, width)
    into.copy_(seen.transpose(1, 2))


def _by_run(rows: Tensor, runs: Sequence[Run]) -> list[Tensor]:
    """A chunk's rows as messages, (g, t, d) for each length."""
    split = rows.split([run.messages * run.tokens for run in runs])  # type: ignore[no-untyped-call]
    return [part.view(*run, -1) for part, run in zip(split, runs, strict=True)]


def _without(more: Tensor, linear: Linear) -> tuple[Tensor, Tensor]:
    """A linear layer whose bias takes out the `more` that the states it reads hold, (d_in,)."""
    weight, bias = linear
    assert bias is not None  # noqa: S101 - all of BERT's have one
    surplus = more.double() @ weight.double()  # (d_out,)
    return weight, (bias.double() - surplus).to(bias.dtype)
