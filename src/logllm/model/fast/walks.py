"""Beginnings of sessions that are asked for in several rounds: what they share is walked once."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from logllm.model.fast.branches import layout_of
from logllm.model.fast.llama import Llama
from logllm.model.fast.source import Source
from logllm.model.fast.tree import Tree
from logllm.model.prompt import Prompt
from logllm.sessions.message_table import Rows, lengths, occurring

KEPT = 256 * 2**20
"""Bytes of keys and values that are kept at once."""


class Walk:
    """A tree of prompts that grows from call to call.

    A message's keys and values stay what they are when its session goes on, so they are kept. Those
    of the question, which follows the last message, are written over by the next call.
    """

    def __init__(self, decoder: Llama, *, size: int, prompts: int, question: int) -> None:
        """Begin with nothing walked.

        Args:
            decoder: takes nodes through its layers.
            size: positions that are kept at most, those of the questions of one pass included.
            prompts: how many of them pass the decoder together, at most.
            question: how many positions at a prompt's end are its question.
        """
        self._decoder = decoder
        self._size = size
        self._prompts = prompts
        self._question = question
        self._stored: Tensor | None = None
        self._nodes: dict[tuple[int, int], int] = {}  # by the node before it (-1: none) and its row

    def logits(self, prompts: Sequence[Rows], table: Tensor, *, ids: Sequence[int]) -> Tensor:
        """Logits of some tokens at the prompts' ends, (b, len(ids)).

        Args:
            prompts: all different; the rows of the table that each reads.
            table: input vectors, (rows, d_dec), the same in each call.
            ids: the tokens.
        """
        if self._stored is None:
            self._stored = self._decoder.store(self._size, device=table.device)
        parts = []
        for start in range(0, len(prompts), self._prompts):
            tree, before = self._grown(prompts[start : start + self._prompts])
            stored = self._stored[:, : before + len(tree.rows)]
            inputs = table[torch.from_numpy(tree.rows).to(table.device)]  # (n, d_dec)
            parts.append(self._decoder.logits(inputs, tree, ids=ids, stored=stored))
        return torch.cat(parts)

    def _grown(self, prompts: Sequence[Rows]) -> tuple[Tree, int]:
        """The nodes that some prompts add, and how many there are before them.

        The messages that no call has walked come first, and stay; the questions come last.
        """
        before = len(self._nodes)
        rows, depths, paths = [], [], []
        ways = []
        for prompt in prompts:
            shown = prompt[: -self._question]
            first = len(self._nodes)
            way = self._way(shown)
            ways.append(way)
            # What is new of a way is its end.
            if new := len(self._nodes) - first:
                rows.append(shown[-new:])
                depths.append(np.arange(len(shown) - new, len(shown)))
                paths.append(way)

        # Each question follows its prompt's last message, and is nobody else's.
        node = len(self._nodes)
        for prompt, way in zip(prompts, ways, strict=True):
            question = np.arange(node, node + self._question)
            node += self._question
            rows.append(prompt[-self._question :])
            depths.append(np.arange(len(way), len(prompt)))
            paths.append(np.concatenate([way, question]))
        starts = np.concatenate([[0], np.cumsum(lengths(rows))])
        order = np.arange(len(prompts))
        tree = Tree(np.concatenate(rows), np.concatenate(depths), starts, tuple(paths), order)
        return tree, before

    def _way(self, sequence: Rows) -> Rows:
        """The nodes of a sequence; those that are new have the next numbers."""
        node = -1
        way = []
        for row in sequence.tolist():
            node = self._nodes.setdefault((node, row), len(self._nodes))
            way.append(node)
        return np.array(way, dtype=np.int64)


class Walks:
    """What is kept of some sessions while their beginnings are scored in several rounds."""

    def __init__(self, sessions: Sequence[Rows], *, around: int, question: int, total: int) -> None:
        """Begin with nothing walked.

        Args:
            sessions: for each session the rows of its messages in a message table.
            around: positions of a prompt beside its messages.
            question: those of them that follow the messages.
            total: of how many sessions these are some.
        """
        self.rows = occurring(sessions)
        """The rows of the messages that the sessions hold, rising."""
        self.total = total
        """Of how many sessions these are some."""
        self._new_walk = partial(
            Walk,
            size=sum(map(len, sessions)) + around * len(sessions),
            prompts=len(sessions),
            question=question,
        )
        self._walks: dict[Llama, Walk] = {}

    def by(self, decoder: Llama) -> Walk:
        """What a decoder has walked."""
        if decoder not in self._walks:
            self._walks[decoder] = self._new_walk(decoder)
        return self._walks[decoder]


def in_groups(
    sessions: Sequence[Rows], prompt: Prompt, *, room: int
) -> Iterator[tuple[Rows, Walks | None]]:
    """Numbers of sessions that are walked together, and what is kept of them.

    Sessions that begin alike are in one group. Nothing is kept where there is no room at all, or of
    a session that is too large for it.

    Args:
        sessions: for each session the rows of its messages in a message table.
        prompt: what stands around messages.
        room: how many positions may be kept.
    """
    if not room:
        yield np.arange(len(sessions)), None
        return
    # Where nothing follows the messages, the last of them is what is asked.
    question = max(1, len(prompt.question))
    around = len(prompt.head) + question
    sort_keys = [session.astype(">i8").tobytes() for session in sessions]
    order = sorted(range(len(sessions)), key=sort_keys.__getitem__)
    sizes = lengths(sessions) + around

    # A group goes on while its positions fit; one that is too large has one session.
    while order:
        ends = np.cumsum(sizes[order])
        count = max(1, int(np.searchsorted(ends, room, side="right")))
        numbers = np.array(order[:count])
        order = order[count:]
        walks = None
        if ends[0] <= room:
            group = [sessions[number] for number in numbers]
            walks = Walks(group, around=around, question=question, total=len(sessions))
        yield numbers, walks


def room_for(source: Source | None, *, rounds: bool) -> int:
    """How many positions' keys and values of all layers are `KEPT` bytes.

    0 where a decoder's passes are not ours.

    Args:
        source: the decoder's weights; None: it has no passes of our own.
        rounds: whether it passes in bfloat16 as well; what that leaves in doubt is walked once
            more, exactly.
    """
    if source is None:
        return 0
    formats = [torch.bfloat16] if rounds else []
    if source.dtype == torch.float32:
        formats.append(torch.float32)
    layout = layout_of(source.config)
    numbers = source.config.num_hidden_layers * layout.key_row * layout.width
    size = numbers * sum(format_.itemsize for format_ in formats)
    return KEPT // size if size else 0
