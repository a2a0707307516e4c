"""Sorts of sessions, each known by a usual kind of message: what is rare differs between them."""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from logllm.methods.frequencies import Held
from logllm.methods.learnt import Learnt
from logllm.sessions.message_table import Rows

Nats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_CONTEXTS = 16
"""How many usual kinds there are at most."""
_LEAST = 0.01
"""The share of sessions that must hold a kind for it to be usual."""


class Contexts(NamedTuple):
    """In how many sessions each kind occurs: of all, and of those that hold a usual kind.

    An error that only people who type statements make is rare in a service's session, however often
    it is seen. So a session is compared with all sessions, and with those of each usual kind that
    it holds.
    """

    usual: Rows
    """The usual kinds, (c,)."""
    sizes: Rows
    """How many sessions there are, and how many hold each usual kind, (1 + c,)."""
    holding: Rows
    """How many of those hold each kind, (kinds, 1 + c)."""

    @classmethod
    def of(cls, held: Held, *, usual: Rows, kinds: int) -> Self:
        """Count what sessions hold.

        Args:
            held: what they hold.
            usual: the usual kinds.
            kinds: how many kinds there are.
        """
        # Context by context: the entries of the sessions in it, counted by their kinds.
        inside = _inside(held, usual)
        counts = []
        for within in inside.T:
            kinds_inside = held.kinds[within[held.sessions]]
            counts.append(np.bincount(kinds_inside, minlength=kinds))
        return cls(usual, inside.sum(axis=0), np.stack(counts, axis=1))

    def less(self, part: "Contexts") -> "Contexts":
        """The same without the sessions of a part."""
        return Contexts(self.usual, self.sizes - part.sizes, self.holding - part.holding)

    def rarity(self, held: Held, like: Nats) -> Nats:
        """The surprise that a session holds a kind, in nats, one number for each entry.

        It is the largest of those in the session's contexts.

        Args:
            held: what sessions hold.
            like: how many sessions of each context hold a kind or the like of it, (kinds, 1 + c).
        """
        # -log of the share of a context's sessions that hold the kind; the half and the one keep
        # what was never seen from being impossible.
        share = (like + 0.5) / (self.sizes + 1)
        surprise = -np.log(share).clip(max=0)
        rarity: Nats = np.abs(surprise[held.kinds, 0])

        # Each context that a session is in may only make a kind rarer.
        inside = _inside(held, self.usual)
        for context in range(1, len(self.sizes)):
            here = inside[held.sessions, context]
            kinds = held.kinds[here]
            rarity[here] = np.maximum(rarity[here], surprise[kinds, context])
        return rarity

    def arrays(self) -> dict[str, Rows]:
        """What `from_arrays` needs."""
        return {"usual": self.usual, "sizes": self.sizes, "holding": self.holding}

    @classmethod
    def from_arrays(cls, fitted: Learnt) -> Self:
        """Read what `arrays` gave.

        Raises:
            ModelError: there are none.
        """
        return cls(fitted.array("usual"), fitted.array("sizes"), fitted.array("holding"))


def usual_kinds(holding: Rows, *, sessions: int) -> Rows:
    """The kinds by which sorts of sessions are known: those that most sessions hold.

    >>> usual_kinds(np.array([90, 1, 40]), sessions=100).tolist()
    [0, 2]

    Args:
        holding: how many sessions hold each kind.
        sessions: how many sessions there are.
    """
    # At least two sessions: what is counted of one says nothing of what is usual.
    least = max(2, _LEAST * sessions)
    most = np.argsort(-holding, kind="stable")[:_CONTEXTS]
    return most[holding[most] >= least]


def _inside(held: Held, usual: Rows) -> Flags:
    """Which sessions are in which context, (b, 1 + c); all are in the first."""
    inside = np.zeros((held.total, 1 + len(usual)), dtype=np.bool_)
    inside[:, 0] = True
    for context, kind in enumerate(usual, start=1):
        with_kind = held.sessions[held.kinds == kind]
        inside[with_kind, context] = True
    return inside
