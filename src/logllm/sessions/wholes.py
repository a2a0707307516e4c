"""Which messages whole sessions hold together, and how many of those sessions are anomalous."""

from typing import Self

import numpy as np
import numpy.typing as npt

from logllm.sessions.message_sets import Arrays, Counts, Keys, places
from logllm.sessions.pauses import Chances, share

_MOST = 2_000
"""Different sets that are remembered, those of most sessions."""


class Wholes:
    """The sets of messages of whole sessions."""

    def __init__(self, wholes: Counts, messages: Keys, *, counts: Counts) -> None:
        """Sets, as pairs of a number and a message.

        Args:
            wholes: for each pair the set, from 0 (n,).
            messages: and the message (n,).
            counts: normal and anomalous sessions of each set (k, 2).
        """
        self.wholes = wholes
        self.messages = messages
        self.counts = counts
        self._known, columns = np.unique(messages, return_inverse=True)
        self._holds = np.zeros((len(self._known), len(counts)), dtype=np.bool_)
        self._holds[columns, wholes] = True

    @classmethod
    def learn(cls, wholes: Counts, messages: Keys, *, anomalous: npt.NDArray[np.bool_]) -> Self:
        """Count the sets of some sessions.

        Args:
            wholes: for each pair of a session and a message it holds, the session, rising (n,).
            messages: the message; each once a session.
            anomalous: whether a session is (sessions,).
        """
        if not len(wholes):
            return cls(wholes, messages, counts=np.zeros((0, 2), dtype=np.int64))
        starts = np.flatnonzero(np.diff(wholes, prepend=-1))
        sums = np.add.reduceat(messages, starts)
        _, first, inverse = np.unique(sums, return_index=True, return_inverse=True)
        counts = np.zeros((len(first), 2), dtype=np.int64)
        np.add.at(counts, (inverse, anomalous[wholes[starts]].astype(np.int64)), 1)
        most = np.argsort(-counts.sum(axis=1), kind="stable")[:_MOST]
        ends = np.append(starts[1:], len(wholes))
        members = [messages[starts[row] : ends[row]] for row in first[most]]
        numbers = np.repeat(np.arange(len(most)), [len(each) for each in members])
        return cls(numbers, np.concatenate(members), counts=counts[most])

    @classmethod
    def known(cls, arrays: Arrays) -> Self:
        """Those of `arrays`, saved under `wholes`."""
        sets, messages, counts = (arrays[f"wholes.{name}"] for name in ("wholes", "messages", "counts"))
        return cls(sets.astype(np.int64), messages.astype(np.uint64), counts=counts.astype(np.int64))

    def arrays(self) -> Arrays:
        """What the constructor needs, by name."""
        return {"wholes": self.wholes, "messages": self.messages, "counts": self.counts}

    def anomalous(self, messages: Keys) -> float:
        """Share of the sessions that hold all of some messages that were anomalous; nan of fewer than five."""
        rows = places(self._known, messages)
        if (rows < 0).any():
            return float("nan")
        holding = self._holds[rows].all(axis=0)
        shares: Chances = share(self.counts[holding].sum(axis=0, keepdims=True))
        return float(shares[0])
