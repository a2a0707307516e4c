"""Sequences that begin alike, as one tree: what they have in common is there once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from logllm.sessions.message_table import Rows


@dataclass(frozen=True)
class Tree:
    """Sequences in lexicographic order, each without the beginning that it shares with the one before.

    A causal decoder's state at a position depends on what stands before it alone: positions that have the same path
    from the root are the same work. Node numbers rise along each path.

    Attributes:
        rows: each node's row, (n,).
        depths: each node's position in its sequences, (n,).
        starts: branch i's own nodes are `starts[i]` to `starts[i + 1]`, (b + 1,).
        paths: for each branch the nodes of all its positions.
        order: the sequence that each branch is, (b,).
    """

    rows: Rows
    depths: Rows
    starts: Rows
    paths: tuple[Rows, ...]
    order: Rows


def grow(sequences: Sequence[Rows]) -> Tree:
    """The tree of some sequences, none of them empty.

    >>> tree = grow([np.array([5, 6, 8]), np.array([5, 6, 7]), np.array([5, 6])])
    >>> tree.rows.tolist(), tree.depths.tolist(), [path.tolist() for path in tree.paths]
    ([5, 6, 7, 8], [0, 1, 2, 2], [[0, 1], [0, 1, 2], [0, 1, 3]])
    """
    order = sorted(
        range(len(sequences)),
        key=[sequence.astype(">i8").tobytes() for sequence in sequences].__getitem__,
    )
    rows, depths, starts, paths = [], [], [0], list[Rows]()
    before, path = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for at in order:
        sequence = sequences[at]
        both = min(len(before), len(sequence))
        differs = np.flatnonzero(before[:both] != sequence[:both])
        shared = int(differs[0]) if len(differs) else both
        end = starts[-1] + len(sequence) - shared
        path = np.concatenate([path[:shared], np.arange(starts[-1], end)])
        rows.append(sequence[shared:])
        depths.append(np.arange(shared, len(sequence)))
        paths.append(path)
        starts.append(end)
        before = sequence
    return Tree(
        np.concatenate(rows),
        np.concatenate(depths),
        np.array(starts),
        tuple(paths),
        np.array(order),
    )
