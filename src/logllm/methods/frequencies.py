"""How often sessions hold each kind of message."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from logllm.methods.learnt import Array, Learnt
from logllm.sessions.message_table import Rows, lengths

Nats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_MOST = 16
"""Times from which on a session's repetitions of a kind are not told apart."""
_USUAL = 0.5
"""Kinds that at least this share of sessions hold may be missed."""


class Held(NamedTuple):
    """Which kinds sessions hold and how often, one entry a kind of a session."""

    sessions: Rows
    """Which session, rising."""
    kinds: Rows
    times: Rows
    total: int
    """How many sessions there are."""
    of: Rows
    """For each message of the sessions, one after the other, its entry."""

    def part(self, chosen: Flags) -> "Held":
        """The same of some of the sessions; without `of`."""
        here = chosen[self.sessions]
        renumbered = chosen.cumsum() - 1
        sessions = renumbered[self.sessions[here]]
        return Held(sessions, self.kinds[here], self.times[here], int(chosen.sum()), _NOTHING)


_NOTHING: Rows = np.zeros(0, dtype=np.int64)


def held(sessions: Sequence[Rows], kinds: Rows) -> Held:
    """What sessions hold.

    >>> held([np.array([0, 1, 1]), np.array([2])], np.array([5, 6, 6])).times.tolist()
    [1, 2, 1]

    Args:
        sessions: for each session the rows of its messages.
        kinds: the kind of each row.
    """
    flat = kinds[np.concatenate([*sessions, _NOTHING])]
    session = np.repeat(np.arange(len(sessions)), lengths(sessions))
    width = int(flat.max()) + 1 if len(flat) else 1
    entries, of, times = np.unique(session * width + flat, return_inverse=True, return_counts=True)
    return Held(entries // width, entries % width, times.astype(np.int64), len(sessions), of)


class Frequencies:
    """In how many sessions a kind occurs how often.

    Attributes:
        counts: sessions that hold a kind just so often, (kinds, 17); 16 times and more are one.
        sessions: how many there are.
    """

    def __init__(self, counts: Rows, *, sessions: int) -> None:
        """Know counts."""
        self.counts = counts
        self.sessions = sessions
        # The half and the one keep what was never seen from being impossible.
        reaching = counts[:, ::-1].cumsum(axis=1)[:, ::-1]
        self.holding: Rows = reaching[:, 1]
        """How many sessions hold a kind at all, (kinds,)."""
        self._repeated = -np.log((reaching + 0.5) / (self.holding[:, None] + 1))
        self._repeated[:, :2] = 0
        self._seldom = -np.log((counts.cumsum(axis=1) + 0.5) / (sessions + 1)).clip(max=0)
        self._seldom = np.abs(self._seldom)

    @classmethod
    def of(cls, found: Held, *, kinds: int) -> Self:
        """Count what sessions hold."""
        times = np.minimum(found.times, _MOST)
        counts = np.bincount(found.kinds * (_MOST + 1) + times, minlength=kinds * (_MOST + 1))
        counts = counts.reshape(kinds, _MOST + 1).astype(np.int64)
        counts[:, 0] = found.total - counts.sum(axis=1)
        return cls(counts, sessions=found.total)

    def less(self, part: "Frequencies") -> "Frequencies":
        """Those without a part's."""
        return Frequencies(self.counts - part.counts, sessions=self.sessions - part.sessions)

    def unusual(self, found: Held) -> tuple[Nats, Nats]:
        """How surprising it is that a session holds a kind so often, and that it does no more often.

        The first is said of the sessions that hold it at all. Both are in nats, one number an entry;
        0 for kinds that were not learnt.
        """
        learnt = found.kinds < len(self.counts)
        kinds = np.where(learnt, found.kinds, 0)
        times = np.minimum(found.times, _MOST)
        repeated, seldom = self._repeated[kinds, times], self._seldom[kinds, times]
        return np.where(learnt, repeated, 0), np.where(learnt, seldom, 0)

    def lacking(self, found: Held) -> Nats:
        """The largest surprise that a session does not hold a kind at all, (b,), in nats."""
        usual = np.flatnonzero(self.holding >= _USUAL * self.sessions)
        place = np.full(max(len(self.counts), int(found.kinds.max(initial=0)) + 1), -1)
        place[usual] = np.arange(len(usual))
        lacks = np.ones((found.total, len(usual)), dtype=np.bool_)
        here = place[found.kinds] >= 0
        lacks[found.sessions[here], place[found.kinds[here]]] = False
        surprise: Nats = (lacks * self._seldom[usual, 0]).max(axis=1, initial=0)
        return surprise

    def arrays(self) -> dict[str, Array]:
        """What `from_arrays` needs."""
        return {"counts": self.counts, "sessions": np.array([self.sessions])}

    @classmethod
    def from_arrays(cls, fitted: Learnt) -> Self:
        """Those that `arrays` gave.

        Raises:
            ModelError: there are none.
        """
        return cls(fitted.array("counts"), sessions=int(fitted.array("sessions")[0]))
