"""Sequences that begin alike, as one tree: what they have in common is there once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from logllm.sessions.message_table import Rows


@dataclass(frozen=True)
class Tree:
    """Sequences in lexicographic order, each without what it shares with the one before.

    A causal decoder's state at a position depends only on what stands before it: positions that
    have the same path from the root are the same work. Node numbers rise along each path.

    Attributes:
        rows: each node's row, (n,).
        depths: each node's position in its sequences, (n,).
        starts: where each branch's own nodes begin, and where the last one's end, (b + 1,).
        paths: for each branch the nodes of all its positions.
        order: for each branch the number of its sequence, (b,). Where it is shorter, these are the
            last branches: the ones before them are passed, and nothing is read at their ends.
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
    # Big-endian bytes compare as the numbers do, and faster than lists of them.
    sort_keys = [sequence.astype(">i8").tobytes() for sequence in sequences]
    order = sorted(range(len(sequences)), key=sort_keys.__getitem__)

    rows = []
    depths = []
    starts = [0]
    paths: list[Rows] = []
    before = np.zeros(0, dtype=np.int64)
    path = np.zeros(0, dtype=np.int64)
    for at in order:
        # What a sequence shares with the one before it is that one's path, as far as they agree.
        sequence = sequences[at]
        both = min(len(before), len(sequence))
        differs = np.flatnonzero(before[:both] != sequence[:both])
        shared = int(differs[0]) if len(differs) else both

        # The rest of it are new nodes.
        end = starts[-1] + len(sequence) - shared
        own = np.arange(starts[-1], end)
        path = np.concatenate([path[:shared], own])
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
