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

_SHARE, _FEWEST = 8, 384
"""On a processor a chunk holds an eighth of a tree's nodes at most, so that several cores have some
to pass each other, but no fewer nodes than this, or products would be slow."""


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
    """A decoder's layers, adapters merged.

    One projection gives queries, keys and values; the weights of the norm before it are merged in.
    In float32 all other matrices stay where they are, for example in a mapped file: copying them
    would take longer than judging a short log.

    The nodes of a tree pass a layer in chunks, a different one on each core, so that a chunk's
    states stay in the processor's cache from norm to norm. Keys and values of two layers are kept:
    of the one that is read and of the one that follows. Only the sequences' ends pass the last
    layer's query, output and feed-forward parts.
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
        heads = config.num_attention_heads
        width = 2 * len(self._rotary.frequencies)  # a turn for each pair of numbers
        kv = getattr(config, "num_key_value_heads", None) or heads
        self._layout = Layout(heads, kv, width, query_row=heads + 2 * kv, key_row=2 * kv)
        self._eps: float = config.rms_norm_eps
        self._dtype = dtype
        self._chunk = chunk
        self._norm = source.read("model.norm.weight").float()
        self._head = source.read("lm_head.weight")
        names = [f"model.layers.{number}" for number in range(config.num_hidden_layers)]
        self._layers = [self._taken(source, name) for name in names]

    def _taken(self, source: Source, layer: str) -> _Layer:
        """One layer's weights, in this decoder's number format."""
        attention = f"{layer}.self_attn"
        feed = f"{layer}.mlp"
        heads = self._layout.heads
        kv = self._layout.kv
        width = self._layout.width
        projections = [f"{attention}.{name}_proj" for name in "qkv"]
        weight, bias = source.linear(*projections)

        # A norm's weights scale the columns of what it gives: the matrix that reads it has them.
        before = source.read(f"{layer}.input_layernorm.weight").float()
        weight *= before[:, None]

        # The scale of the scores, once for all: where each head is normed, with the norm's weights.
        scale = width**-0.5
        norms = None
        if f"{attention}.q_norm.weight" in source.shapes:
            queries = source.read(f"{attention}.q_norm.weight").float() * scale
            keys = source.read(f"{attention}.k_norm.weight").float()
            of_heads = torch.cat([queries.expand(heads, -1), keys.expand(kv, -1)])
            norms = self._paired(of_heads)
        else:
            weight[:, : heads * width] *= scale
            if bias is not None:
                bias[: heads * width] *= scale
        paired = self._paired(weight.T, dim=0)
        weight = paired.T.to(self._dtype)
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

    def store(self, rows: int, *, device: torch.device) -> Tensor:
        """Room for keys and values of so many nodes in all layers, (layers, rows, ...)."""
        numbers = self._layout.key_row * self._layout.width
        shape = (len(self._layers), rows, numbers)
        return torch.empty(shape, dtype=self._dtype, device=device)

    @torch.inference_mode()
    def logits(
        self,
        inputs: Tensor,
        tree: Tree,
        *,
        ids: Sequence[int],
        stored: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Logits of some tokens at the sequences' ends.

        Args:
            inputs: each node's input vector, (n, d_dec); written over.
            tree: the nodes' order and paths.
            ids: the tokens.
            stored: keys and values of all layers, (layers, before + n, ...): those of earlier nodes
                are read, those of this tree's nodes are written after them. None: there are no
                earlier nodes, and nothing is kept.
            progress: told of steps, each a chunk's way through a layer.

        Returns:
            (b, len(ids)), float32, in the sequences' own order.
        """
        x = inputs.float()  # (n, d_dec)
        device = x.device
        own = np.diff(tree.starts)
        # A small tree is divided too, whatever the number of cores: they round it alike.
        nodes = self._chunk
        if device.type == "cpu":
            nodes = min(nodes, max(_FEWEST, len(x) // _SHARE))
        plan = list(chunks(tree.paths, own, nodes=nodes, layout=self._layout, device=device))
        turns = self._turns(tree.depths, device=device)

        # All nodes' keys and values, of two layers in turn where they are not kept.
        if stored is None:
            numbers = self._layout.key_row * self._layout.width
            stored = torch.empty((2, len(x), numbers), dtype=self._dtype, device=device)
        self._pass(x, stored, turns=turns, plan=plan, progress=progress)

        # The last layer's states are wanted at the ends alone.
        before = stored.shape[1] - len(x)
        paths = tree.paths[-len(tree.order) :]
        last_nodes = np.array([path[-1] for path in paths])
        ends = torch.from_numpy(last_nodes - before).to(device)
        seen = stored[(len(self._layers) - 1) % len(stored)]
        turns_at_ends = [turn[ends] for turn in turns]
        states = self._last(x[ends], seen, turns=turns_at_ends, paths=paths)  # (b, d_dec)

        # Branches are in lexicographic order: each goes back to its sequence's place.
        logits = torch.empty((len(ends), len(ids)), device=device)
        order = torch.from_numpy(tree.order).to(device)
        head = self._head[list(ids)].float()  # (len(ids), d_dec)
        logits[order] = states @ head.T
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
        """Take all nodes' states, (n, d_dec), through all layers.

        Of the last layer only keys and values are computed. A chunk's paths lead only through the
        chunks before it and itself.

        A lane that has finished its chunk of a layer begins the next one: it waits for what it
        reads and for nothing else. That is why keys and values of two layers at least are kept, in
        turn, (2 or more, before + n, ...): those of the nodes are the last n.
        """
        last = len(self._layers) - 1
        room = Room(x.device)
        ready, done = ([[Event() for _ in plan] for _ in self._layers] for _ in range(2))

        def through(step: tuple[int, int]) -> None:
            depth, at = step
            chunk = plan[at]
            layer = self._layers[depth]
            keys_and_values = stored[depth % len(stored)]
            written = keys_and_values[-len(x) :]
            nodes = slice(chunk.start, chunk.end)
            try:
                # The chunk's own states, and whoever still reads the keys and values that are
                # written over.
                needed = []
                if depth > 0:
                    needed.append(done[depth - 1][at])
                if depth > 1:
                    needed += done[depth - 2]
                for before in needed:
                    before.wait()

                # Nobody reads the last layer's queries here: the ends' alone are made, later.
                first_head = self._layout.heads if depth == last else 0
                heads = slice(first_head, self._layout.query_row)
                own_turns = [turn[nodes] for turn in turns]
                made = self._projected(layer, x[nodes], turns=own_turns, room=room, heads=heads)
                written[nodes] = made[:, -written.shape[1] :]
                ready[depth][at].set()
                if depth < last:
                    for earlier in ready[depth][:at]:
                        earlier.wait()
                    seen = (made, keys_and_values, self._layout)
                    self._finish(layer, x[nodes], chunk=chunk, seen=seen, room=room)
            finally:  # nobody waits for what has failed
                ready[depth][at].set()
                done[depth][at].set()

        steps = [(depth, at) for depth in range(last + 1) for at in range(len(plan))]
        in_lanes(through, steps, device=x.device, chunks=len(plan), progress=progress)

    def _last(
        self, x: Tensor, stored: Tensor, *, turns: Sequence[Tensor], paths: Sequence[Rows]
    ) -> Tensor:
        """The last layer's states at the sequences' ends, normed, (b, d_dec).

        The ends see the keys and values of all nodes.
        """
        room = Room(x.device)
        layer = self._layers[-1]
        heads = self._layout.heads
        layout = replace(self._layout, query_row=heads)
        own = np.ones(len(x), dtype=np.int64)
        for chunk in chunks(paths, own, nodes=self._chunk, layout=layout, device=x.device):
            ends = slice(chunk.start, chunk.end)
            own_turns = [turn[ends] for turn in turns]
            queries = slice(0, heads)
            made = self._projected(layer, x[ends], turns=own_turns, room=room, heads=queries)
            self._finish(layer, x[ends], chunk=chunk, seen=(made, stored, layout), room=room)
        return self._normed(x, room, weights=self._norm, dtype=torch.float32)

    def _paired(self, columns: Tensor, *, dim: int = -1) -> Tensor:
        """Columns of queries' and keys' heads, reordered: what turns together stands side by side.

        A pair is then a complex number. Scores do not change, since queries and keys are reordered
        alike. In 16 bits, for which there are no complex numbers, columns stay as they are.
        """
        if self._dtype != torch.float32:
            return columns
        width = self._layout.width
        count = columns.shape[dim]
        places = torch.arange(count, device=columns.device)
        turning = min(count, (self._layout.heads + self._layout.kv) * width)
        halves = places[:turning].view(-1, 2, width // 2)
        places[:turning] = halves.transpose(-1, -2).flatten()
        return columns.index_select(dim, places)

    def _turns(self, depths: Rows, *, device: torch.device) -> list[Tensor]:
        """Cosines and sines of each node's rotary angles, (n, 1, width / 2) each.

        In float32 they are one tensor of complex numbers.
        """
        positions = torch.arange(int(depths.max()) + 1, device=device, dtype=torch.float32)
        angles = positions[:, None] * self._rotary.frequencies.to(device)  # (p, width / 2)
        tables = []
        for turn in (angles.cos(), angles.sin()):
            scaled = turn * self._rotary.scale
            tables.append(scaled[:, None].to(self._dtype))
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
        """States normed by their root mean square, (c, d_dec).

        Where no matrix holds the norm's weights, they are multiplied with those.
        """
        squares: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        scale = squares.div_(x.shape[1]).add_(self._eps).rsqrt_()  # (c, 1)
        out = room.take("normed", rows=len(x), columns=x.shape[1], dtype=dtype or self._dtype)
        if weights is None:
            return torch.mul(x, scale, out=out)
        return torch.mul(x * scale, weights, out=out)

    def _projected(
        self, layer: _Layer, x: Tensor, *, turns: Sequence[Tensor], room: Room, heads: slice
    ) -> Tensor:
        """Some heads of queries, keys and values, in this order, (c, heads * width).

        Queries and keys are turned by their positions.
        """
        width = self._layout.width
        turning = self._layout.heads + self._layout.kv
        columns = slice(heads.start * width, heads.stop * width)
        weight, bias = layer.attention
        of_heads = (weight[:, columns], None if bias is None else bias[columns])
        normed = self._normed(x, room)
        made = product(normed, of_heads, room=room, name="attention")

        # Values are neither normed nor turned.
        all_heads = made.view(len(x), -1, width)
        split = all_heads[:, : turning - heads.start]
        if layer.norms is not None:
            scales = layer.norms[heads.start : min(heads.stop, turning)]
            mean_square = split.float().square().mean(-1, keepdim=True)
            split.mul_(torch.rsqrt(mean_square + self._eps) * scales)

        # (x + iy)(cos + i sin) = x cos - y sin + i(y cos + x sin): one product turns a pair.
        if len(turns) == 1:
            pairs = split.view(*split.shape[:-1], -1, 2)
            torch.view_as_complex(pairs).mul_(turns[0])
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
        # The row after the last takes what padded queries see.
        columns = layout.heads * layout.width
        attended = room.take("attended", rows=len(x) + 1, columns=columns, dtype=self._dtype)
        for group in chunk.groups:
            group.attend(query, stored, layout=layout, into=attended)
        add_product(x, attended[:-1], linear=layer.output, room=room)
        normed = self._normed(x, room, weights=layer.between)
        gate = product(normed, layer.gate, room=room, name="gate")
        up = product(normed, layer.up, room=room, name="up")

        # In pieces that the nearest cache holds: each is read twice.
        piece = _CACHED if x.device.type == "cpu" else len(x)
        for rows, factor in zip(torch.split(gate, piece), torch.split(up, piece), strict=True):
            torch.nn.functional.silu(rows, inplace=True).mul_(factor)
        add_product(x, gate, linear=layer.down, room=room)
