"""Sequences of different lengths side by side without padding: chunks for linear layers, groups for attention."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor

from logllm.sessions.message_table import Rows

Linear = tuple[Tensor, Tensor | None]
"""A linear layer's weight, (d_in, d_out), and bias."""

_PADDING = 1.25
"""A group of sequences goes on while its padded queries are at most so many times the real ones."""


@dataclass(frozen=True)
class Layout:
    """Where the heads of queries, keys and values stand in the rows of a projection's output.

    Attributes:
        heads: the queries' heads.
        kv: the keys' heads: as many, or fewer that several queries' heads share (grouped-query attention).
        width: of a head.
        query_row: heads in a row of what holds the queries, which come first.
        key_row: heads in a row of what holds the keys, and values after them.
    """

    heads: int
    kv: int
    width: int
    query_row: int
    key_row: int


@dataclass(frozen=True)
class Group:
    """Sequences whose attention is computed together, padded to the longest of them; places are those of heads.

    Attributes:
        queries: place of each query head, (kv * g * r * q,), where r query heads share one key head.
        keys: place of each key head, then of each value head, (2 * kv * g * k,).
        mask: 0 where a query sees a key, minus infinity where not, (g, 1, q, k).
        places: where each output head goes; those of padding go to the row after the chunk's last.
    """

    queries: Tensor
    keys: Tensor
    mask: Tensor
    places: Tensor

    def attend(self, query: Tensor, stored: Tensor, *, layout: Layout, into: Tensor) -> None:
        """Scaled dot-product attention; the scale is in the queries already.

        Args:
            query: rows of the chunk with its queries.
            stored: rows of all nodes that are seen, with keys and values.
            layout: where heads stand in both.
            into: receives the chunk's outputs, (c + 1, heads * width).
        """
        g, _, q, k = self.mask.shape
        kv, shared, width = layout.kv, layout.heads // layout.kv, layout.width
        asked = query.reshape(-1, width).index_select(0, self.queries).view(kv * g, shared * q, width)
        keys, values = stored.reshape(-1, width).index_select(0, self.keys).view(2, kv * g, k, width)
        scores = torch.bmm(asked, keys.transpose(1, 2)).view(kv, g, shared, q, k)
        # In 16 bits softmax is slow on processors, and poor.
        weights = scores.float().add_(self.mask).softmax(-1).to(values.dtype).view(kv * g, shared * q, k)
        into.view(-1, width).index_copy_(0, self.places, torch.bmm(weights, values).view(-1, width))


@dataclass(frozen=True)
class Chunk:
    """Neighbouring nodes, whole sequences of them, small enough for a layer's inner states to stay in the processor's cache."""

    start: int
    end: int
    groups: tuple[Group, ...]

    def to(self, device: torch.device) -> Self:
        """The same chunk on a device."""
        groups = [Group(*(getattr(group, field.name).to(device) for field in fields(Group))) for group in self.groups]
        return type(self)(self.start, self.end, tuple(groups))


def chunks(paths: Sequence[Rows], own: Rows, *, nodes: int, layout: Layout) -> Iterator[Chunk]:
    """Cut sequences into chunks.

    Args:
        paths: for each sequence the nodes that it sees: of them each own node those before it and itself.
        own: for how many of them, its last ones, something is computed, (b,); these nodes of all sequences follow each other in a chunk.
        nodes: own nodes that a chunk holds at most; a longer sequence is a chunk for itself.
        layout: where heads stand.
    """
    starts = np.concatenate([[0], np.cumsum(own)])
    first = 0
    while first < len(own):
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + nodes, side="right")) - 1)
        members = np.flatnonzero(own[first:last]) + first
        start, end = int(starts[first]), int(starts[last])
        groups = []
        for some in _alike(members, own):
            groups.append(_group([paths[at] for at in some], (starts[some] - start, own[some]), beyond=end - start, layout=layout))
        if groups:
            yield Chunk(start, end, tuple(groups))
        first = last


def _alike(members: Rows, own: Rows) -> Iterator[Rows]:
    """Sequences with about as many own nodes together."""
    ordered = members[np.argsort(own[members], kind="stable")]
    start, real = 0, 0
    for at, member in enumerate(ordered):
        real += int(own[member])
        if (at + 1 - start) * int(own[member]) > _PADDING * real:
            yield ordered[start:at]
            start, real = at, int(own[member])
    if len(ordered):
        yield ordered[start:]


def _group(paths: Sequence[Rows], queries: tuple[Rows, Rows], *, beyond: int, layout: Layout) -> Group:
    """A group from its sequences' paths, and the first places and counts of their queries."""
    first, count = queries
    g, q, k = len(paths), int(count.max()), max(map(len, paths))
    keys = np.zeros((g, k), dtype=np.int64)
    mask = np.full((g, 1, q, k), -np.inf, dtype=np.float32)
    mask[..., 0] = 0  # padding sees something, for a softmax of nothing is no number
    for at, (path, mine) in enumerate(zip(paths, count, strict=True)):
        keys[at, : len(path)] = path
        mask[at, 0, :mine, : len(path)] = np.where(np.tri(mine, len(path), len(path) - mine), 0, -np.inf)
    steps = np.arange(q)
    real = steps < count[:, None]  # (g, q)
    places = np.where(real, first[:, None] + steps, 0)
    head = np.arange(layout.heads).reshape(layout.kv, 1, -1, 1)  # (kv, 1, r, 1)
    both = np.arange(2 * layout.kv)[:, None, None]  # (2 * kv, 1, 1)
    return Group(
        queries=torch.from_numpy((places[:, None] * layout.query_row + head).ravel()),
        keys=torch.from_numpy((keys * layout.key_row + both).ravel()),
        mask=torch.from_numpy(mask),
        places=torch.from_numpy((np.where(real, places, beyond)[:, None] * layout.heads + head).ravel()),
    )


class Room:
    """Memory for the inner states of a chunk, taken once: fresh pages for every product cost a fifth of its time."""

    def __init__(self, device: torch.device) -> None:
        """Take nothing yet."""
        self._device = device
        self._taken: dict[str, Tensor] = {}

    def take(self, name: str, *, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """A tensor of any content, (rows, columns); the same memory again for the same name."""
        held = self._taken.get(name)
        if held is None or len(held) < rows * columns:
            held = self._taken[name] = torch.empty(rows * columns, dtype=dtype, device=self._device)
        return held[: rows * columns].view(rows, columns)


def product(x: Tensor, linear: Linear, *, room: Room, name: str) -> Tensor:
    """A linear layer's output, (c, d_out), in the room's memory of that name."""
    weight, bias = linear
    out = room.take(name, rows=len(x), columns=weight.shape[1], dtype=weight.dtype)
    return torch.mm(x, weight, out=out) if bias is None else torch.addmm(bias, x, weight, out=out)


def add_product(onto: Tensor, x: Tensor, *, linear: Linear, room: Room) -> None:
    """Add a linear layer's output to states, (c, d_out)."""
    weight, bias = linear
    if onto.dtype == x.dtype:
        (onto if bias is None else onto.add_(bias)).addmm_(x, weight)
    else:
        onto.add_(product(x, linear, room=room, name="added"))
