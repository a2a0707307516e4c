"""What is surprising in a session, against what was counted in others."""

from typing import NamedTuple

import numpy as np

from logllm.methods.contexts import Contexts
from logllm.methods.frequencies import Frequencies, Held
from logllm.methods.tail import Nats, Surprise
from logllm.methods.trouble import Grades

_TROUBLE = 2.5
"""Nats that a word of trouble adds to the surprise of its message: as if it were 12 times rarer."""
_RARE = 3.0
"""From so many nats on, each doubling of a message in a session adds one nat."""
_DOUBLINGS = 4.0
"""How many nats doublings add at most: 16 times and more are not told apart."""
NEW = 1.0
"""A kind is new where not even one session holds it or the like of it."""
_NEW_TROUBLE = 3.0
"""Nats of a new message that speaks of trouble, where those of a session are added up."""
_NEW_KIND = 2.0
"""The same where a repeated message counts once."""


class Counted(NamedTuple):
    """What was counted in sessions."""

    frequencies: Frequencies
    contexts: Contexts
    like: Nats
    """How many sessions of each context hold a kind or the like of it, (kinds, 1 + c)."""

    def less(self, part: "Counted") -> "Counted":
        """The same without the sessions of a part."""
        # A part's own sessions may be most of what is like a kind: what is left is at least those
        # that hold the kind itself.
        contexts = self.contexts.less(part.contexts)
        like = np.maximum(self.like - part.like, contexts.holding)
        return Counted(self.frequencies.less(part.frequencies), contexts, like)


class OfEntries(NamedTuple):
    """Several measures of surprise, in nats, one number for each kind that a session holds."""

    rare: Nats
    """By how few sessions hold the kind; more where it is repeated."""
    troubled: Nats
    """The same for kinds that speak of trouble, and more for the trouble; else 0."""
    repeated: Nats
    """By how few sessions hold it, and how few of those so often."""
    seldom: Nats
    """By how few sessions hold it no more often."""
    new_trouble: Nats
    """For kinds that are new and speak of trouble; it grows with how often they are there."""
    new_kinds: Nats
    """The same, however often they are there."""


def of_entries(held: Held, counted: Counted, *, grades: Grades) -> OfEntries:
    """How surprising each kind is that a session holds.

    Args:
        held: what sessions hold.
        counted: what was counted in other sessions.
        grades: how much trouble each kind speaks of.
    """
    # A rare message that is repeated is worse, and each doubling adds as much: 2, 4, 8, 16 times
    # add one to four nats. A common one may come as often as it likes.
    rarity = counted.contexts.rarity(held, counted.like)
    doublings = np.log2(held.times).clip(max=_DOUBLINGS)
    rare = rarity + np.where(rarity > _RARE, doublings, 0)

    grade = grades[held.kinds]
    # What is new to all sessions, in whatever context, is in no count at all.
    repeated, seldom = counted.frequencies.unusual(held)
    new = counted.like[held.kinds, 0] < NEW
    new_grade = np.where(new, grade, 0)
    new_trouble = _NEW_TROUBLE * new_grade * (1 + np.log(held.times))
    new_kinds = _NEW_KIND * new_grade

    # Only what is repeated more than usual, and only what speaks of trouble, says anything by that.
    troubled = np.where(grade > 0, rare + _TROUBLE * grade, 0)
    more_often = np.where(repeated > 0, rarity + repeated, 0)
    return OfEntries(
        rare=rare,
        troubled=troubled,
        repeated=more_often,
        seldom=seldom,
        new_trouble=new_trouble,
        new_kinds=new_kinds,
    )


def of_sessions(held: Held, entries: OfEntries, *, lacking: Nats | None) -> Surprise:
    """The surprise of sessions.

    Args:
        held: what they hold.
        entries: how surprising that is.
        lacking: how surprising it is what they lack; None: this does not count.
    """
    singly = (entries.rare, entries.troubled, entries.repeated, entries.seldom)
    kinds = np.stack([_largest(held, nats) for nats in singly], axis=1)

    # To hold too little and to hold nothing are one kind of surprise; of a session of which only a
    # part was seen neither is said.
    kinds[:, -1] = 0 if lacking is None else np.maximum(kinds[:, -1], lacking)

    # What is new and speaks of trouble adds up.
    summed = (entries.new_trouble, entries.new_kinds)
    together = [np.bincount(held.sessions, weights=nats, minlength=held.total) for nats in summed]
    return Surprise(kinds.max(axis=1), np.column_stack([kinds, *together]))


def _largest(held: Held, nats: Nats) -> Nats:
    """The largest number among a session's entries, (b,)."""
    largest = np.zeros(held.total)
    np.maximum.at(largest, held.sessions, nats)
    return largest
