"""How surprising sessions are that were held back in learning: the measure of surprise."""

from math import log
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from logllm.metrics import Scores

Nats = npt.NDArray[np.float64]

ALPHA = 0.05
"""How likely a false alarm may be in as many sessions as were held back."""
_MARGIN = -log(ALPHA)
_NEAR = 1e-9
"""Surprises that differ by less are equal."""


class Surprise(NamedTuple):
    """How surprising sessions are, in nats: -log of a share of sessions."""

    all: Nats
    """What is most surprising of each, (b,)."""
    kinds: Nats
    """Each kind of surprise by itself, (b, kinds)."""

    @classmethod
    def joined(cls, parts: "list[Surprise]") -> Self:
        """The surprise of several parts, one after the other."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


class Fresh(NamedTuple):
    """New messages of held-back sessions."""

    share: float = 0.0
    """The share of sessions that held one."""
    kinds: int = 0
    """How many kinds of new message spoke of trouble."""
    most: int = 0
    """How many sessions held the most frequent one of those."""


class Tail:
    """Surprise of sessions that a method had not learnt from when it judged them.

    Attributes:
        surprises: the surprise of each session, rising.
        most: the largest of each kind of surprise.
        fresh: new messages that the sessions held.
    """

    def __init__(self, surprises: Nats, most: Nats, *, fresh: Fresh) -> None:
        """Begin with held-back sessions."""
        self.surprises = surprises
        self.most = most
        self.fresh = fresh

    @classmethod
    def of(cls, held_back: Surprise, fresh: Fresh) -> Self:
        """Begin with the surprise of held-back sessions, at least one."""
        most = held_back.kinds.max(axis=0)
        return cls(np.sort(held_back.all), most, fresh=fresh)

    def scores(self, surprise: Surprise) -> Scores:
        """Surprise as scores in [0, 1).

        A score is one half and more where a session goes beyond every held-back one in some kind of
        surprise, by so much that it is 20 times less likely.
        """
        # Each kind of surprise against the most of its own: a session that lacks a message is not
        # measured by one that repeats one. 20 times less likely is log 20, about 3 nats.
        excess = (surprise.kinds - self.most - _MARGIN).max(axis=1)

        # Below one half x / (x + m) / 2, which is 1/4 at m; from there on up to 1 by e / (1 + e).
        inside = surprise.all / (surprise.all + self._middle) / 2
        outside = 0.5 + excess / (1 + excess.clip(min=0)) / 2
        scores: Scores = np.where(excess >= 0, outside, inside)
        return scores

    def least(self, times: float) -> float:
        """The score from which on sessions are anomalous.

        `times` says how many times as many are judged as were held back; above 1, a session must be
        more surprising.

        >>> tail = Tail(np.array([1.0]), np.array([1.0]), fresh=Fresh())
        >>> tail.least(0.1), round(tail.least(10), 3)
        (0.5, 0.849)
        """
        # Ten times as many sessions, ten times as many chances: so much more must be surprising.
        excess = log(max(times, 1.0))
        return 0.5 + excess / (1 + excess) / 2

    def p_values(self, scores: Scores) -> Scores:
        """The share of sessions that are at least as strange as each score says.

        It counts the held-back sessions and the judged one itself.

        >>> tail = Tail(np.array([1.0, 2.0, 3.0]), np.array([3.0]), fresh=Fresh())
        >>> nats = np.array([0.0, 2.0, 3.0, 9.0])
        >>> surprise = Surprise(nats, nats[:, None])
        >>> tail.p_values(tail.scores(surprise)).tolist()
        [1.0, 0.75, 0.5, 0.25]
        """
        # The surprise that a score was made of: s = x / (x + m) / 2 turned round.
        shares = (2 * scores).clip(max=1 - 1e-12)
        surprises = shares * self._middle / (1 - shares)

        # A rank among the held-back sessions and the one judged: never 0, for it is one of them.
        count = len(self.surprises)
        as_strange = count - np.searchsorted(self.surprises, surprises - _NEAR)
        p_values: Scores = (as_strange + 1) / (count + 1)
        return np.where(scores >= 0.5, 1 / (count + 1), p_values)

    @property
    def _middle(self) -> float:
        """The surprise whose score is one quarter."""
        return float(self.surprises[-1]) + 1
