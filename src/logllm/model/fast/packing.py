"""Sequences of different lengths side by side without padding.

Linear layers take them in chunks, attention in groups, and lanes work on several chunks at once.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, local
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from logllm.progress import Progress
from logllm.sessions.message_table import Rows

Item = TypeVar("Item")
Linear = tuple[Tensor, Tensor | None]
"""A linear layer's weight, (d_in, d_out), and bias."""

_PADDING = 1.25
"""A group of sequences goes on while its padded queries are at most so many times the real ones."""
_AHEAD = 2
"""Chunks that each lane must have, at least, for lanes to pay; fewer are computed one after the
other by all of torch's threads."""
_TURN = Lock()
"""Held by the caller whose turn it is: while lanes run, torch's process-wide number of threads is
another."""
_HERE = local()
"""`_HERE.busy`: whether this thread has its turn, or is a lane of one that has."""


@dataclass(frozen=True)
class Layout:
    """Where the heads of queries, keys and values stand in the rows of a projection's output.

    Attributes:
        heads: the queries' heads.
        kv: the keys' heads: as many, or fewer that several queries' heads share (grouped-query
            attention).
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
    """Sequences whose attention is computed together, padded to the longest of them.

    A place is the number of a head's row: row 5 of 9 heads begins at place 45.

    Attributes:
        queries: place of each query head, (kv * g * r * q,), where r query heads share one key
            head.
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
        seen = self.seen(query, stored, layout=layout)
        heads = into.view(-1, layout.width)
        heads.index_copy_(0, self.places, seen)

    def seen(
        self, query: Tensor, stored: Tensor, *, layout: Layout, dropout: float = 0.0
    ) -> Tensor:
        """What `attend` writes, one row a head in the order of `places`, (kv * g * r * q, width).

        Unlike `attend` it passes gradients on. `dropout` is the share of the weights that are
        dropped.
        """
        g, _, q, k = self.mask.shape
        kv = layout.kv
        shared = layout.heads // layout.kv
        width = layout.width
        picked = query.reshape(-1, width).index_select(0, self.queries)
        queries = picked.view(kv * g, shared * q, width)
        both = stored.reshape(-1, width).index_select(0, self.keys)
        keys, values = both.view(2, kv * g, k, width)
        scores = torch.bmm(queries, keys.transpose(1, 2)).view(kv, g, shared, q, k)

        # In 16 bits softmax is slow on processors, and poor.
        weights = scores.float().add_(self.mask).softmax(-1)
        weights = weights.to(values.dtype).view(kv * g, shared * q, k)
        if dropout:
            weights = torch.nn.functional.dropout(weights, dropout)
        return torch.bmm(weights, values).view(-1, width)


@dataclass(frozen=True)
class Chunk:
    """Neighbouring nodes: whole sequences of them.

    They are so few that a layer's inner states stay in the processor's cache.
    """

    start: int
    end: int
    groups: tuple[Group, ...]


def chunks(
    paths: Sequence[Rows], own: Rows, *, nodes: int, layout: Layout, device: torch.device
) -> Iterator[Chunk]:
    """Cut sequences into chunks.

    Args:
        paths: for each sequence the nodes that it sees; each of its own nodes sees those before it
            and itself.
        own: how many of them are the sequence's own, its last ones, for which something is
            computed, (b,); the own nodes of all sequences follow each other in a chunk.
        nodes: own nodes that a chunk holds at most; a longer sequence is a chunk for itself.
        layout: where heads stand.
        device: where attention is computed.
    """
    starts = np.concatenate([[0], np.cumsum(own)])
    first = 0
    while first < len(own):
        # The last sequence that ends within so many nodes; a longer one is taken by itself.
        within = int(np.searchsorted(starts, starts[first] + nodes, side="right")) - 1
        last = max(first + 1, within)
        members = np.flatnonzero(own[first:last]) + first
        start = int(starts[first])
        end = int(starts[last])
        groups = []
        for alike in _alike(members, own):
            queries = (starts[alike] - start, own[alike])
            seen = [paths[at] for at in alike]
            group = _group(seen, queries, beyond=end - start, layout=layout, device=device)
            groups.append(group)
        if groups:
            yield Chunk(start, end, tuple(groups))
        first = last


def _alike(members: Rows, own: Rows) -> Iterator[Rows]:
    """Sequences with about as many own nodes together."""
    ordered = members[np.argsort(own[members], kind="stable")]
    start = 0
    real = 0
    for at, member in enumerate(ordered):
        # In rising order the newest one is the longest: all are padded to it.
        longest = int(own[member])
        real += longest
        if (at + 1 - start) * longest > _PADDING * real:
            yield ordered[start:at]
            start = at
            real = longest
    if len(ordered):
        yield ordered[start:]


def _group(
    paths: Sequence[Rows],
    queries: tuple[Rows, Rows],
    *,
    beyond: int,
    layout: Layout,
    device: torch.device,
) -> Group:
    """A group from its sequences' paths, and the first places and counts of their queries."""
    first, count = queries
    g = len(paths)
    q = int(count.max())
    k = max(map(len, paths))
    keys = np.zeros((g, k), dtype=np.int64)
    mask = np.full((g, 1, q, k), -np.inf, dtype=np.float32)
    mask[..., 0] = 0  # padding sees something, for a softmax of nothing is no number
    for at, (path, mine) in enumerate(zip(paths, count, strict=True)):
        keys[at, : len(path)] = path
        # Its own nodes are a path's last ones: 2 of 4 see (1, 1, 1, 0) and (1, 1, 1, 1).
        sees = np.tri(mine, len(path), len(path) - mine)
        mask[at, 0, :mine, : len(path)] = np.where(sees, 0, -np.inf)

    # Where each query stands; a sequence with fewer than q has padding, which stands nowhere.
    steps = np.arange(q)
    real = steps < count[:, None]  # (g, q)
    places = np.where(real, first[:, None] + steps, 0)

    # From rows to heads: row 5 of 9 heads begins at head 45.
    head = np.arange(layout.heads).reshape(layout.kv, 1, -1, 1)  # (kv, 1, r, 1)
    both = np.arange(2 * layout.kv)[:, None, None]  # (2 * kv, 1, 1)
    query_heads = places[:, None] * layout.query_row + head  # (kv, g, r, q), as the next two
    key_heads = keys * layout.key_row + both  # (2 * kv, g, k)
    goes_to = np.where(real, places, beyond)
    output_heads = goes_to[:, None] * layout.heads + head
    return Group(
        queries=torch.from_numpy(query_heads.ravel()).to(device),
        keys=torch.from_numpy(key_heads.ravel()).to(device),
        mask=torch.from_numpy(mask).to(device),
        places=torch.from_numpy(output_heads.ravel()).to(device),
    )


@dataclass(eq=False)
class Room(local):
    """Memory for a chunk's inner states, which each thread takes once and uses again.

    Fresh pages for every product would cost a fifth of the product's time.

    Attributes:
        device: where it is.
        taken: this thread's, by name.
    """

    device: torch.device
    taken: dict[str, Tensor] = field(default_factory=dict)

    def take(self, name: str, *, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """A tensor of any content, (rows, columns); the same memory again for the same name."""
        numbers = rows * columns
        memory = self.taken.get(name)
        if memory is None or memory.dtype != dtype or len(memory) < numbers:
            memory = torch.empty(numbers, dtype=dtype, device=self.device)
            self.taken[name] = memory
        return memory[:numbers].view(rows, columns)


def product(x: Tensor, linear: Linear, *, room: Room, name: str) -> Tensor:
    """A linear layer's output, (c, d_out), in the room's memory of that name."""
    weight, bias = linear
    out = room.take(name, rows=len(x), columns=weight.shape[1], dtype=weight.dtype)
    if bias is None:
        return torch.mm(x, weight, out=out)
    return torch.addmm(bias, x, weight, out=out)


def add_product(onto: Tensor, x: Tensor, *, linear: Linear, room: Room) -> None:
    """Add a linear layer's output to states, (c, d_out)."""
    weight, bias = linear
    if onto.dtype != x.dtype:
        onto.add_(product(x, linear, room=room, name="added"))
        return
    if bias is not None:
        onto.add_(bias)
    onto.addmm_(x, weight)


def in_lanes(
    work: Callable[[Item], None],
    items: Sequence[Item],
    *,
    device: torch.device,
    chunks: int,
    progress: Progress | None = None,
) -> None:
    """Do the work of every item on a processor's cores, each of which takes whole items.

    A lane is a thread whose kernels run on that one thread; there are as many lanes as torch has
    threads. The alternative, every product shared between all cores, makes cores wait for each
    other at every kernel. In lanes a chunk's states stay in one core's cache, a core waits only
    for what another core's chunk gives it, and work that is no matrix product runs beside products.
    Meanwhile torch has one thread a kernel in the whole process: its matrix library knows only one
    number of threads.

    Items are begun in order, so that one may wait for those before it. Callers in several threads
    take turns, each with all lanes. A call from inside a lane has that lane alone; on a device
    other than a processor there is only the caller's thread.

    Args:
        work: what is done with an item.
        items: what there is.
        device: where tensors are.
        chunks: how many chunks there are, each of one item or of several; with few of them lanes do
            not pay.
        progress: told in the caller's thread how many items are done, counted in order.

    Raises:
        Exception: what the work of an item raised; of several, the first item's.
    """

    def alone(item: Item) -> None:
        _HERE.busy = True
        torch.set_num_threads(1)
        with torch.inference_mode():
            work(item)

    with _turn(device) as threads:
        if threads == 1 or chunks < _AHEAD * threads:
            for count, item in enumerate(items, 1):
                work(item)
                if progress is not None:
                    progress(count, len(items))
            return
        with ThreadPoolExecutor(threads) as pool:
            begun = [pool.submit(alone, item) for item in items]
            try:
                for count, outcome in enumerate(begun, 1):
                    outcome.result()
                    if progress is not None:
                        progress(count, len(items))
            finally:  # it ends when nothing runs any more
                for outcome in begun:
                    outcome.cancel()
                wait(begun)


@contextmanager
def _turn(device: torch.device) -> Iterator[int]:
    """Wait for the caller's turn, and give the number of lanes that it has.

    That is torch's number of threads, which is set again afterwards.

    A thread goes on with the number that torch had when the thread first asked, even if that was
    set by another caller's lanes. A new thread takes the process's number, the one set last. It is
    asked for when no lanes run.
    """
    if device.type != "cpu" or getattr(_HERE, "busy", False):
        yield 1
        return
    with _TURN:
        with ThreadPoolExecutor(1) as fresh:
            threads = fresh.submit(torch.get_num_threads).result()
        _HERE.busy = True
        try:
            torch.set_num_threads(threads)
            yield threads
        finally:
            torch.set_num_threads(threads)
            _HERE.busy = False
