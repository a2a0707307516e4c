"""Llama-family decoders for scoring: one pass over a tree of sequences, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Event

import numpy as np
import torch
from torch import Tensor

from logllm.model.fast.packing import (
    Chunk,
    Layout,
    Linear,
    Room,
    add_product,
    chunks,
    in_lanes,
    product,
)
from logllm.model.fast.source import Source
from logllm.model.fast.tree import Tree
from logllm.progress import Progress
from logllm.sessions.message_table import Rows

_CACHED = 64
"""Rows of the feed-forward part that stay in a core's nearest cache between two passes over
them."""


@dataclass(frozen=True)
class _Layer:
    """One layer's matrices, (d_in, d_out) each, and biases where there are any."""

    attention: Linear
    """Queries, keys and values; the weights of the norm before them are in theirs."""
    output: Linear
    between: Tensor
    """Weights of the norm before the feed-forward part."""
    gate: Linear
    up: Linear
    down: Linear
    norms: Tensor | None
    """Weights of the norms of each head's queries and keys, where the architecture has them
    (Qwen3), (heads + kv, width)."""


class Llama:
    """A decoder's layers: adapters merged, queries, keys and values in one projection with the weights of the norm before it.

    In float32 all other matrices stay where they lie, such as in a mapped file: to copy them takes longer than a short log.
    Nodes of a tree pass a layer in chunks, from norm to norm while a chunk's states are in the processor's cache, on each core
    another one; keys and values are kept of two layers, the one that is read and the one that follows.
    Only the sequences' ends pass the last layer's query, output and feed-forward parts.
    """

    def __init__(self, source: Source, *, dtype: torch.dtype, chunk: int) -> None:
        """Take a model's weights.

        Args:
            source: one whose `passes` are Llama's.
            dtype: of the matrix products; sums along the layers stay in float32.
            chunk: nodes that pass a layer together.
        """
        assert source.rotary is not None  # noqa: S101 - Llamas have them
        self._rotary = source.rotary
        config = source.config
        heads, width = (
            config.num_attention_heads,
            2 * len(self._rotary.frequencies),
        )  # a turn for each pair of numbers
        kv = getattr(config, "num_key_value_heads", None) or heads
        self._layout = Layout(heads, kv, width, query_row=heads + 2 * kv, key_row=2 * kv)
        self._eps: float = config.rms_norm_eps
        self._dtype, self._chunk = dtype, chunk
        self._norm, self._head = (
            source.read("model.norm.weight").float(),
            source.read("lm_head.weight"),
        )
        self._layers = [
            self._taken(source, f"model.layers.{number}")
            for number in range(config.num_hidden_layers)
        ]

    def _taken(self, source: Source, layer: str) -> _Layer:
        """One layer's weights, in this decoder's number format."""
        attention, feed = f"{layer}.self_attn", f"{layer}.mlp"
        heads, kv, width = self._layout.heads, self._layout.kv, self._layout.width
        before = source.read(f"{layer}.input_layernorm.weight").float()
        weight, bias = source.linear(*(f"{attention}.{name}_proj" for name in "qkv"))
        weight *= before[:, None]
        # The scale of the scores, once for all: where each head is normed, with the norm's weights.
        scale, norms = width**-0.5, None
        if f"{attention}.q_norm.weight" in source.shapes:
            queries = source.read(f"{attention}.q_norm.weight").float() * scale
            keys = source.read(f"{attention}.k_norm.weight").float()
            norms = self._paired(torch.cat([queries.expand(heads, -1), keys.expand(kv, -1)]))
        else:
            weight[:, : heads * width] *= scale
            if bias is not None:
                bias[: heads * width] *= scale
        weight = self._paired(weight.T, dim=0).T.to(self._dtype)
        if bias is not None:
            bias = self._paired(bias).to(self._dtype)
        return _Layer(
            attention=(weight, bias),
            output=source.linear(f"{attention}.o_proj", dtype=self._dtype),
            between=source.read(f"{layer}.post_attention_layernorm.weight").float(),
            gate=source.linear(f"{feed}.gate_proj", dtype=self._dtype),
            up=source.linear(f"{feed}.up_proj", dtype=self._dtype),
            down=source.linear(f"{feed}.down_proj", dtype=self._dtype),
            norms=norms,
        )

    @torch.inference_mode()
    def logits(
        self, inputs: Tensor, tree: Tree, *, ids: Sequence[int], progress: Progress | None = None
    ) -> Tensor:
        """Logits of some tokens at the sequences' ends.

        Args:
            inputs: each node's input vector, (n, d_dec); written over.
            tree: the nodes' order and paths.
            ids: the tokens.
            progress: told of steps, each a chunk's way through a layer.

        Returns:
            (b, len(ids)), float32, in the sequences' own order.
        """
        x = inputs.float()  # (n, d_dec)
        device, own = x.device, np.diff(tree.starts)
        plan = list(chunks(tree.paths, own, nodes=self._chunk, layout=self._layout, device=device))
        turns = self._turns(tree.depths, device=device)
        # All nodes' keys and values, of two layers in turn.
        numbers = self._layout.key_row * self._layout.width
        stored = torch.empty((2, len(x), numbers), dtype=self._dtype, device=device)
        self._pass(x, stored, turns=turns, plan=plan, progress=progress)
        ends = torch.from_numpy(np.array([path[-1] for path in tree.paths])).to(device)
        seen = stored[(len(self._layers) - 1) % 2]
        states = self._last(
            x[ends], seen, turns=[turn[ends] for turn in turns], paths=tree.paths
        )  # (b, d_dec)
        logits = torch.empty((len(ends), len(ids)), device=device)
        logits[torch.from_numpy(tree.order).to(device)] = states @ self._head[list(ids)].float().T
        return logits

    def _pass(
        self,
        x: Tensor,
        stored: Tensor,
        *,
        turns: Sequence[Tensor],
        plan: Sequence[Chunk],
        progress: Progress | None,
    ) -> None:
        """All layers over all nodes, (n, d_dec), of the last one the keys and values only.

        A chunk's paths lead through chunks before it.

        A lane that has done its part of a layer begins the next one: it waits for what it reads,
        and no more. Keys and values of two layers are therefore kept, (2, n, ...), in turn.
        """
        last, room = len(self._layers) - 1, Room(x.device)
        ready, done = ([[Event() for _ in plan] for _ in self._layers] for _ in range(2))

        def through(step: tuple[int, int]) -> None:
            depth, at = step
            chunk, layer, written = plan[at], self._layers[depth], stored[depth % 2]
            nodes = slice(chunk.start, chunk.end)
            try:
                # The chunk's own states, and whoever still reads the keys and values that are
                # written over.
                needed = [done[depth - 1][at]] if depth else []
                for before in needed + (done[depth - 2] if depth > 1 else []):
                    before.wait()
                heads = slice(self._layout.heads if depth == last else 0, self._layout.query_row)
                made = self._projected(
                    layer, x[nodes], turns=[turn[nodes] for turn in turns], room=room, heads=heads
                )
                written[nodes] = made[:, -written.shape[1] :]
                ready[depth][at].set()
                if depth < last:
                    for earlier in ready[depth][:at]:
                        earlier.wait()
                    self._finish(
                        layer, x[nodes], chunk=chunk, seen=(made, written, self._layout), room=room
                    )
            finally:  # nobody waits for what has failed
                ready[depth][at].set()
                done[depth][at].set()

        steps = [(depth, at) for depth in range(last + 1) for at in range(len(plan))]
        in_lanes(through, steps, device=x.device, chunks=len(plan), progress=progress)

    def _last(
        self, x: Tensor, stored: Tensor, *, turns: Sequence[Tensor], paths: Sequence[Rows]
    ) -> Tensor:
        """The last layer's states at the sequences' ends, normed, (b, d_dec), which see all nodes' keys and values."""
        room = Room(x.device)
        layer, heads = self._layers[-1], self._layout.heads
        layout, own = replace(self._layout, query_row=heads), np.ones(len(x), dtype=np.int64)
        for chunk in chunks(paths, own, nodes=self._chunk, layout=layout, device=x.device):
            ends = slice(chunk.start, chunk.end)
            made = self._projected(
                layer,
                x[ends],
                turns=[turn[ends] for turn in turns],
                room=room,
                heads=slice(0, heads),
            )
            self._finish(layer, x[ends], chunk=chunk, seen=(made, stored, layout), room=room)
        return self._normed(x, room, weights=self._norm, dtype=torch.float32)

    def _paired(self, columns: Tensor, *, dim: int = -1) -> Tensor:
        """Columns of queries' and keys' heads with what is turned together side by side, as in complex numbers; scores stay as they are.

        Not in 16 bits, for which there are no complex numbers.
        """
        if self._dtype != torch.float32:
            return columns
        width, count = self._layout.width, columns.shape[dim]
        places = torch.arange(count, device=columns.device)
        turning = min(count, (self._layout.heads + self._layout.kv) * width)
        places[:turning] = places[:turning].view(-1, 2, width // 2).transpose(-1, -2).flatten()
        return columns.index_select(dim, places)

    def _turns(self, depths: Rows, *, device: torch.device) -> list[Tensor]:
        """What turns each node's heads.

        Cosines and sines of its rotary angles, or both as complex numbers, (n, 1, width / 2) each.
        """
        positions = torch.arange(int(depths.max()) + 1, device=device, dtype=torch.float32)
        angles = positions[:, None] * self._rotary.frequencies.to(device)  # (p, width / 2)
        tables = [
            (turn * self._rotary.scale)[:, None].to(self._dtype)
            for turn in (angles.cos(), angles.sin())
        ]
        if self._dtype == torch.float32:
            tables = [torch.complex(*tables)]
        at = torch.from_numpy(depths).to(device)
        return [table[at] for table in tables]

    def _normed(
        self,
        x: Tensor,
        room: Room,
        *,
        weights: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """States normed by their root mean square, (c, d_dec), times the norm's weights where no matrix holds them."""
        squares: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        scale = squares.div_(x.shape[1]).add_(self._eps).rsqrt_()  # (c, 1)
        out = room.take("normed", rows=len(x), columns=x.shape[1], dtype=dtype or self._dtype)
        if weights is None:
            return torch.mul(x, scale, out=out)
        return torch.mul(x * scale, weights, out=out)

    def _projected(
        self, layer: _Layer, x: Tensor, *, turns: Sequence[Tensor], room: Room, heads: slice
    ) -> Tensor:
        """Some heads of queries, keys and values, in this order, (c, heads * width), turned by their positions."""
        width, turning = self._layout.width, self._layout.heads + self._layout.kv
        columns = slice(heads.start * width, heads.stop * width)
        weight, bias = layer.attention
        made = product(
            self._normed(x, room),
            (weight[:, columns], None if bias is None else bias[columns]),
            room=room,
            name="attention",
        )
        split = made.view(len(x), -1, width)[:, : turning - heads.start]
        if layer.norms is not None:
            scales = layer.norms[heads.start : min(heads.stop, turning)]
            split.mul_(
                torch.rsqrt(split.float().square().mean(-1, keepdim=True) + self._eps) * scales
            )
        if len(turns) == 1:
            torch.view_as_complex(split.view(*split.shape[:-1], -1, 2)).mul_(turns[0])
            return made
        left, right = split.chunk(2, dim=-1)
        cos, sin = turns
        turned = (left * cos).addcmul_(right, sin, value=-1)
        right.mul_(cos).addcmul_(left, sin)
        left.copy_(turned)
        return made

    def _finish(
        self,
        layer: _Layer,
        x: Tensor,
        *,
        chunk: Chunk,
        seen: tuple[Tensor, Tensor, Layout],
        room: Room,
    ) -> None:
        """Attention, output and feed-forward of a chunk, added to its states `x`, (c, d_dec).

        `seen` holds the chunk's queries, all nodes' keys and values, and where heads stand in both.
        """
        query, stored, layout = seen
        attended = room.take(
            "attended", rows=len(x) + 1, columns=layout.heads * layout.width, dtype=self._dtype
        )
        for group in chunk.groups:
            group.attend(query, stored, layout=layout, into=attended)
        add_product(x, attended[:-1], linear=layer.output, room=room)
        normed = self._normed(x, room, weights=layer.between)
        gate, up = (
            product(normed, linear, room=room, name=name)
            for linear, name in ((layer.gate, "gate"), (layer.up, "up"))
        )
        piece = _CACHED if x.device.type == "cpu" else len(x)
        for rows, factor in zip(torch.split(gate, piece), torch.split(up, piece), strict=True):
            torch.nn.functional.silu(rows, inplace=True).mul_(factor)
        add_product(x, gate, linear=layer.down, room=room)
