"""Where a session turned: the message after which its running score says "anomalous"."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from logllm.metrics import Labels, Scores
from logllm.sessions.message_table import Rows, lengths

Score = Callable[[list[Rows]], Scores]
"""Scores of some beginnings of sessions."""


class Turns(NamedTuple):
    """The message at which each of some sessions turned."""

    places: Rows
    """Its place in the session, (b,)."""
    scores: Scores
    """The score of what there was of the session with it, (b,)."""
    risen: Labels
    """Whether the score was below the threshold before it; else it never was, and the place is the
    session's last, (b,)."""


def turns(sessions: list[Rows], scores: Scores, *, score: Score, threshold: float) -> Turns:
    """Where sessions turned that are anomalous as a whole.

    Half of what is left is tried each time, so that of a session only as many beginnings are scored
    as its length has binary digits: where the score rises several times one of these places is
    found.

    Args:
        sessions: none of them empty.
        scores: theirs, from the threshold on.
        score: scores their beginnings.
        threshold: from which score on a session is anomalous.

    >>> score = lambda beginnings: np.array([float(7 in beginning) for beginning in beginnings])
    >>> turned = turns([np.array([1, 2, 7, 3]), np.array([7])], np.ones(2), score=score, threshold=0.5)
    >>> turned.places.tolist(), turned.risen.tolist()
    ([2, 0], [True, False])
    """
    below = np.zeros(len(sessions), dtype=np.int64)  # so many messages are known to be too few
    enough = lengths(sessions)  # and so many to be enough
    reached = scores.copy()
    # Halving: between `below` and `enough` the message lies at which the session turned.
    while len(open_ := np.flatnonzero(enough - below > 1)):
        middle = (below[open_] + enough[open_]) // 2
        beginnings = [sessions[row][:size] for row, size in zip(open_, middle, strict=True)]
        tried = score(beginnings)
        anomalous = tried >= threshold
        below[open_[~anomalous]] = middle[~anomalous]
        enough[open_[anomalous]] = middle[anomalous]
        reached[open_[anomalous]] = tried[anomalous]
    risen = below > 0
    return Turns(
        places=np.where(risen, enough, lengths(sessions)) - 1,
        scores=np.where(risen, reached, scores),
        risen=risen,
    )
