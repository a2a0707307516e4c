"""What sessions go on with: after which messages which one comes next, or none."""

from typing import Self

import numpy as np
import polars as pl

from logllm.sessions.message_sets import Arrays, Counts, Keys, state

END = np.uint64(0)
"""Stands where nothing follows."""
_NEXT = 3
"""Most messages that are remembered of what follows, and said."""
_MOST_STATES = 20_000
_ENOUGH = 5
"""Sessions that must have been in a state for it to be gone by."""
_OFTEN = 0.2
"""Share of sessions from which on a message is expected."""


class Following:
    """Messages by what comes before them.

    The set of all messages so far and the last of them, else the last alone.
    """

    def __init__(self, states: Keys, messages: Keys, *, counts: Counts) -> None:
        """Know what follows.

        Args:
            states: what came before, rising, as often as several things follow (n,).
            messages: what follows; `END` for nothing (n,).
            counts: how many times (n,).
        """
        self.states = states
        self.messages = messages
        self.counts = counts

    @classmethod
    def learn(cls, sets: Keys, last: Keys, *, following: Keys) -> Self:
        """Count.

        Args:
            sets: for each message of sessions the sum of the distinct ones so far, it included
                (n,).
            last: it (n,).
            following: what follows it (n,).
        """
        # Each entry counts twice: by all that came before it, and by its last message alone.
        by_set = state(sets, last)
        by_last = state(np.zeros_like(sets), last)
        states = np.concatenate([by_set, by_last])
        rows = pl.DataFrame({"state": states, "message": np.tile(following, 2)})
        counted = rows.group_by("state", "message", maintain_order=True).len("count")
        counted = counted.with_columns(total=pl.col("count").sum().over("state"))
        counted = counted.sort("total", "count", descending=True, maintain_order=True)

        # Of very many states those that occur least go: their last messages speak for them.
        often_enough = counted.filter(pl.col("total") >= _ENOUGH)
        usual = often_enough.group_by("state", maintain_order=True).head(_NEXT)
        foremost = usual.head(_NEXT * _MOST_STATES).sort("state", maintain_order=True)
        return cls(
            foremost["state"].to_numpy(),
            foremost["message"].to_numpy(),
            counts=foremost["count"].to_numpy().astype(np.int64),
        )

    def expected(self, messages: Keys, *, came: np.uint64 = END) -> list[int]:
        """Keys of what sessions that begin so most often go on with, the most frequent first.

        Args:
            messages: a session's beginning, not empty.
            came: what came instead; it is not named.

        >>> opened = np.array([7, 8], dtype=np.uint64)
        >>> known = Following.learn(np.full(9, 15, np.uint64), np.full(9, 8, np.uint64), following=np.full(9, 5, np.uint64))
        >>> known.expected(opened), known.expected(opened, came=np.uint64(5))
        ([5], [])
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
            return [int(key) for key in following[often] if key not in (END, came)]
        return []

    @classmethod
    def known(cls, arrays: Arrays) -> Self | None:
        """Those of `arrays`, saved under `following`; none where a run has not learnt it."""
        if "following.states" not in arrays:
            return None
        states = arrays["following.states"].astype(np.uint64)
        messages = arrays["following.messages"].astype(np.uint64)
        return cls(states, messages, counts=arrays["following.counts"].astype(np.int64))

    def arrays(self) -> Arrays:
        """What the constructor needs, by name."""
        return {"states": self.states, "messages": self.messages, "counts": self.counts}
