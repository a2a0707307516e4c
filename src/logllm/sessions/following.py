"""What sessions go on with: which message comes next after which others, or none."""

from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import polars as pl

from logllm.sessions.message_sets import Arrays, Counts, Keys, state

END = np.uint64(0)
"""Stands where nothing follows."""
_REMEMBERED = 12
"""How many of the messages that may follow are remembered: a step may be one of many."""
_NAMED = 3
"""How many of them are named as what usually comes next."""
_MOST_ROWS = 60_000
"""So many pairs of a state and a message that follows it are remembered at most."""
_ENOUGH = 5
"""How often a state must have occurred for its followers to be remembered."""
_OFTEN = 0.2
"""Share of sessions from which on a message is expected."""
_FAR = 200
"""So many messages a way goes on at most."""
_UNLIKELY = 0.005
"""Ways that are less likely are not gone on."""
_MOST_GOALS = 10_000
"""The goals of so many ways are remembered."""
_KEYS = 1 << 64
"""Sums of keys wrap around here."""


class Way(NamedTuple):
    """How far a session may have come, as far as it counts for what comes next."""

    held: frozenset[int]
    """The keys of its messages."""
    last: int
    """The last of them."""

    @property
    def state(self) -> int:
        """The state that `state` gives a set of messages and the last of them."""
        total = sum(self.held)
        by_set = 3 * total + self.last
        return by_set % _KEYS

    def with_next(self, key: int) -> "Way":
        """The same after one more message."""
        return Way(self.held | {key}, key)


class Goals(NamedTuple):
    """Where sessions lead that begin alike."""

    ends: Mapping[frozenset[int], float]
    """What they hold at their ends, and in which share of them; ends that are too rare to be known
    are left out, so that it may be less than 1 in all."""
    first: Mapping[int, int]
    """After how many further messages each message first came."""


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
        usual = often_enough.group_by("state", maintain_order=True).head(_REMEMBERED)
        foremost = usual.head(_MOST_ROWS).sort("state", maintain_order=True)
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
            # The most frequent stand first.
            end = min(end, first + _NAMED)
            counts, following = self.counts[first:end], self.messages[first:end]
            often = counts >= _OFTEN * counts.sum()
            usual: list[int] = following[often].tolist()
            return usual
        return []

    def goals(self, messages: Keys) -> Goals:
        """What sessions that begin so hold at their ends.

        There are none for a beginning that training hardly saw.

        Args:
            messages: a session's beginning, not empty.

        >>> opened = np.array([7], dtype=np.uint64)
        >>> sets, last, next_ones = (np.repeat(np.uint64(pair), 9) for pair in
        ...                          ([7, 15], [7, 8], [8, 0]))
        >>> known = Following.learn(sets, last, following=next_ones)
        >>> goals = known.goals(opened)
        >>> [(sorted(held), share) for held, share in goals.ends.items()], goals.first
        ([([7, 8], 1.0)], {8: 0})
        """
        keys: list[int] = messages.tolist()
        held, last = frozenset(keys), keys[-1]
        beginning = Way(held, last)
        # A session that polls comes by the same way again and again, and so do others like it.
        if beginning not in self._goals:
            if len(self._goals) == _MOST_GOALS:
                self._goals.clear()
            self._goals[beginning] = self._looked_up(beginning)
        return self._goals[beginning]

    def _looked_up(self, beginning: Way) -> Goals:
        """What sessions hold at their ends that have come this way."""
        ends: dict[frozenset[int], float] = defaultdict(float)
        first: dict[int, int] = {}
        ways = {beginning: 1.0}
        for step in range(_FAR):
            ways = self._one_further(ways, ends)
            if not ways:
                break
            for way in ways:
                first.setdefault(way.last, step)
        return Goals(ends, first)

    def _one_further(
        self, ways: Mapping[Way, float], ends: dict[frozenset[int], float]
    ) -> dict[Way, float]:
        """How likely each way is after one more message; those that end here are added to `ends`.

        Args:
            ways: how likely each is.
            ends: how likely each end is, by what the session then holds.
        """
        further: dict[Way, float] = defaultdict(float)
        for way, likely in ways.items():
            # A way that is too rare to be known by all its messages is not gone on: its last
            # message alone would mix it with sessions of other sorts.
            shares = self._shares.get(way.state, {})
            for key, share in shares.items():
                likely_too = likely * share
                if key == END:
                    ends[way.held] += likely_too
                    continue
                longer = way.with_next(key)
                further[longer] += likely_too
        return {way: likely for way, likely in further.items() if likely >= _UNLIKELY}

    @cached_property
    def _goals(self) -> dict[Way, Goals]:
        """The goals of ways that were asked for."""
        return {}

    @cached_property
    def _shares(self) -> dict[int, dict[int, float]]:
        """Of each state the share of each message that follows it."""
        counted: dict[int, dict[int, int]] = defaultdict(dict)
        states, messages = self.states.tolist(), self.messages.tolist()
        rows = zip(states, messages, self.counts.tolist(), strict=True)
        for before, message, count in rows:
            counted[before][message] = count

        shares: dict[int, dict[int, float]] = {}
        for before, counts in counted.items():
            shares[before] = of_state = {}
            total = sum(counts.values())
            for message, count in counts.items():
                of_state[message] = count / total
        return shares

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
