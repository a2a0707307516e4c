"""What sessions go on with: which message comes next after which others, or none."""

from typing import Self

import numpy as np
import polars as pl

from logllm.sessions.message_sets import Arrays, Counts, Keys, state

END = np.uint64(0)
"""Stands where nothing follows."""
_NEXT = 3
"""How many of the messages that may follow are remembered, and named."""
_MOST_STATES = 20_000
_ENOUGH = 5
"""How often a state must have occurred for its followers to be remembered."""
_OFTEN = 0.2
"""Share of sessions from which on a message is expected."""


class Following:
    """Messages by what comes before them.

    What comes before is the set of all messages so far together with the last of them, or where
    that is unknown, the last one alone.
    """

    def __init__(self, states: Keys, messages: Keys, *, counts: Counts) -> None:
        """Begin with what was counted.

        Args:
            states: what came before, rising; once for each message that follows it (n,).
            messages: what follows; `END` for nothing (n,).
            counts: how often it did (n,).
        """
        self.states = states
        self.messages = messages
        self.counts = counts

    @classmethod
    def learn(cls, sets: Keys, last: Keys, *, following: Keys) -> Self:
        """Count what follows.

        Args:
            sets: for each message of sessions the sum of the distinct ones up to and with it (n,).
            last: that message (n,).
            following: what follows it (n,).
        """
        # Each entry counts twice: by all that came before it, and by its last message alone.
        by_set = state(sets, last)
        by_last = state(np.zeros_like(sets), last)
        states = np.concatenate([by_set, by_last])
        messages = np.tile(following, 2)
        rows = pl.DataFrame({"state": states, "message": messages})
        counted = rows.group_by("state", "message", maintain_order=True).len("count")
        total = pl.col("count").sum().over("state")
        counted = counted.with_columns(total=total)
        counted = counted.sort("total", "count", descending=True, maintain_order=True)

        # Of very many states those that occur least go: their last messages speak for them.
        often_enough = counted.filter(pl.col("total") >= _ENOUGH)
        usual = often_enough.group_by("state", maintain_order=True).head(_NEXT)
        foremost = usual.head(_NEXT * _MOST_STATES).sort("state", maintain_order=True)
        counts = foremost["count"].to_numpy()
        return cls(
            foremost["state"].to_numpy(),
            foremost["message"].to_numpy(),
            counts=counts.astype(np.int64),
        )

    def expected(self, messages: Keys, *, came: np.uint64 = END) -> list[int]:
        """Keys of the messages that most often follow such a beginning, the most frequent first.

        Args:
            messages: a session's beginning, not empty.
            came: what came instead; it is left out.

        >>> opened = np.array([7, 8], dtype=np.uint64)
        >>> sets, last, following = (np.full(9, key, np.uint64) for key in (15, 8, 5))
        >>> known = Following.learn(sets, last, following=following)
        >>> known.expected(opened), known.expected(opened, came=np.uint64(5))
        ([5], [])
        """
        usual = self.usual(messages)
        return [key for key in usual if key not in (END, came)]

    def usual(self, messages: Keys) -> list[int]:
        """Keys of what most often follows such a beginning, `END` among them where it is usual.

        Args:
            messages: a session's beginning, not empty.
        """
        last = messages[-1:]
        so_far = np.unique(messages).sum(dtype=np.uint64, keepdims=True)
        by_set = state(so_far, last)
        by_last = state(np.zeros_like(last), last)
        # The finer state first: the coarser one is asked only where the finer never occurred.
        for before in (by_set[0], by_last[0]):
            first = np.searchsorted(self.states, before, side="left")
            end = np.searchsorted(self.states, before, side="right")
            if first == end:
                continue
            counts, following = self.counts[first:end], self.messages[first:end]
            often = counts >= _OFTEN * counts.sum()
            usual: list[int] = following[often].tolist()
            return usual
        return []

    @classmethod
    def known(cls, arrays: Arrays) -> Self | None:
        """What was saved under `following`; None where a run has not learnt it."""
        if "following.states" not in arrays:
            return None
        states = arrays["following.states"].astype(np.uint64)
        messages = arrays["following.messages"].astype(np.uint64)
        counts = arrays["following.counts"].astype(np.int64)
        return cls(states, messages, counts=counts)

    def arrays(self) -> Arrays:
        """What the constructor needs, by name."""
        return {"states": self.states, "messages": self.messages, "counts": self.counts}
