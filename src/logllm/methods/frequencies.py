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
"""A kind must be in at least this share of sessions for its absence to say anything."""


class Held(NamedTuple):
    """Which kinds sessions hold and how often, one entry for each kind of a session."""

    sessions: Rows
    """Which session, rising."""
    kinds: Rows
    times: Rows
    total: int
    """How many sessions there are."""
    of: Rows
    """For each message of the sessions, one after the other, its entry."""

    def part(self, chosen: Flags) -> "Held":
        """The same for some of the sessions, without `of`."""
        here = chosen[self.sessions]
        renumbered = chosen.cumsum() - 1
        sessions = renumbered[self.sessions[here]]
        total = int(chosen.sum())
        return Held(sessions, self.kinds[here], self.times[here], total, _NOTHING)


_NOTHING: Rows = np.zeros(0, dtype=np.int64)


def held(sessions: Sequence[Rows], kinds: Rows) -> Held:
    """What sessions hold.

    >>> held([np.array([0, 1, 1]), np.array([2])], np.array([5, 6, 6])).times.tolist()
    [1, 2, 1]

    Args:
        sessions: for each session the rows of its messages.
        kinds: the kind of each row.
    """
    # All messages one after the other: the kind of each, and the session that it is of.
    flat = kinds[np.concatenate([*sessions, _NOTHING])]
    session = np.repeat(np.arange(len(sessions)), lengths(sessions))

    # Session and kind as one number, to count equal pairs at once: with 7 kinds, kind 5 of session
    # 2 is 2 * 7 + 5 = 19, and 19 // 7 and 19 % 7 give the two again.
    width = int(flat.max()) + 1 if len(flat) else 1
    pairs = session * width + flat
    entries, of, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    session_of, kind_of = entries // width, entries % width
    times = counts.astype(np.int64)
    return Held(session_of, kind_of, times, len(sessions), of)


class Frequencies:
    """How many sessions hold a kind how often.

    Attributes:
        counts: how many sessions hold a kind just so often, (kinds, 17); 16 times and more are one.
        sessions: how many sessions there are.
    """

    def __init__(self, counts: Rows, *, sessions: int) -> None:
        """Begin with counts."""
        self.counts = counts
        self.sessions = sessions
        # Sessions that hold a kind so often or more: sums from the right. Of (6, 3, 1) sessions
        # with none, one and two there are (10, 4, 1).
        reaching = counts[:, ::-1].cumsum(axis=1)[:, ::-1]
        self.holding: Rows = reaching[:, 1]
        """How many sessions hold a kind at all, (kinds,)."""

        # Surprise is -log of a share of sessions. The half and the one keep what was never seen
        # from being impossible.
        of_holding = (reaching + 0.5) / (self.holding[:, None] + 1)
        self._repeated = -np.log(of_holding)
        self._repeated[:, :2] = 0  # to hold it once is no repetition

        # So often or less: sums from the left. A share may come out above 1, which surprises
        # nobody.
        at_most = counts.cumsum(axis=1)
        of_all = (at_most + 0.5) / (sessions + 1)
        self._seldom = -np.log(of_all).clip(max=0)
        self._seldom = np.abs(self._seldom)

    @classmethod
    def of(cls, held: Held, *, kinds: int) -> Self:
        """Count what sessions hold."""
        # Kind and times as one number, to count equal pairs at once.
        width = _MOST + 1
        times = np.minimum(held.times, _MOST)
        counts = np.bincount(held.kinds * width + times, minlength=kinds * width)
        counts = counts.reshape(kinds, width).astype(np.int64)

        # What is in no entry a session does not hold.
        counts[:, 0] = held.total - counts.sum(axis=1)
        return cls(counts, sessions=held.total)

    def less(self, part: "Frequencies") -> "Frequencies":
        """The same without the sessions of a part."""
        counts = self.counts - part.counts
        return Frequencies(counts, sessions=self.sessions - part.sessions)

    def unusual(self, held: Held) -> tuple[Nats, Nats]:
        """How surprising it is that a session holds a kind so often, and not more often.

        The first is measured among the sessions that hold the kind at all. Both are in nats, one
        number for each entry, and 0 for kinds that were not learnt.
        """
        # Kinds that were not learnt are numbered behind the others: they look up kind 0, and what
        # that says is put aside.
        learnt = held.kinds < len(self.counts)
        kinds = np.where(learnt, held.kinds, 0)
        times = np.minimum(held.times, _MOST)
        repeated = self._repeated[kinds, times]
        seldom = self._seldom[kinds, times]
        return np.where(learnt, repeated, 0), np.where(learnt, seldom, 0)

    def lacking(self, held: Held) -> Nats:
        """The largest surprise that a session lacks a kind, in nats, (b,)."""
        # Only of few kinds does it say anything that they are missing: each gets a column.
        usual = np.flatnonzero(self.holding >= _USUAL * self.sessions)
        last_kind = int(held.kinds.max(initial=0))
        kinds = max(len(self.counts), last_kind + 1)
        column = np.full(kinds, -1)
        column[usual] = np.arange(len(usual))

        # Each session lacks all of them but those that it holds.
        lacks = np.ones((held.total, len(usual)), dtype=np.bool_)
        columns = column[held.kinds]
        here = columns >= 0
        lacks[held.sessions[here], columns[here]] = False
        surprise: Nats = (lacks * self._seldom[usual, 0]).max(axis=1, initial=0)
        return surprise

    def arrays(self) -> dict[str, Array]:
        """What `from_arrays` needs."""
        return {"counts": self.counts, "sessions": np.array([self.sessions])}

    @classmethod
    def from_arrays(cls, fitted: Learnt) -> Self:
        """Read what `arrays` gave.

        Raises:
            ModelError: there are none.
        """
        return cls(fitted.array("counts"), sessions=int(fitted.array("sessions")[0]))
