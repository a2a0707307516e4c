"""Where a session turned: the message after which its running score says "anomalous"."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from logllm.methods.contract import BeginningsInGroups
from logllm.metrics import Labels, Scores
from logllm.sessions.message_table import Rows, lengths


class Turns(NamedTuple):
    """The message at which each session turned."""

    places: Rows
    """Its place in the session, (b,)."""
    scores: Scores
    """The score of the session up to and with it, (b,); 1 where it is the last one, for then the
    session's own score is meant."""
    risen: Labels
    """Whether the score was below the threshold before it, (b,); else it never was below, and the
    place is the session's last."""


def turns(
    sessions: Sequence[Rows],
    groups: BeginningsInGroups,
    *,
    threshold: float,
) -> Turns:
    """Where sessions turned that are anomalous as a whole.

    The search halves what is left each time, so that only as many beginnings of a session are
    scored as its length has binary digits. Where the score rises several times, one of these places
    is found.

    Args:
        sessions: none of them empty.
        groups: numbers of sessions, each in one group, and what scores their beginnings.
        threshold: from which score on a session is anomalous.

    >>> score = lambda beginnings: np.array([float(7 in beginning) for beginning in beginnings])
    >>> sessions = [np.array([1, 2, 7, 3]), np.array([7])]
    >>> turned = turns(sessions, [(np.arange(2), score)], threshold=0.5)
    >>> turned.places.tolist(), turned.risen.tolist()
    ([2, 0], [True, False])
    """
    sizes = lengths(sessions)
    below = np.zeros(len(sessions), dtype=np.int64)  # so many messages are known to be too few
    enough = sizes.copy()  # and so many to be enough
    reached = np.ones(len(sessions))
    for numbers, score in groups:
        told: dict[bytes, float] = {}
        # Halving: between `below` and `enough` the message lies at which the session turned.
        while len(open_ := numbers[enough[numbers] - below[numbers] > 1]):
            middle = (below[open_] + enough[open_]) // 2
            beginnings = [sessions[row][:size] for row, size in zip(open_, middle, strict=True)]
            # Sessions that begin alike may ask for the same beginning, also in different rounds.
            names = [beginning.tobytes() for beginning in beginnings]
            pairs = zip(names, beginnings, strict=True)
            new = {name: beginning for name, beginning in pairs if name not in told}
            if new:
                scores = score(list(new.values()))
                told |= dict(zip(new, scores.tolist(), strict=True))
            tried = np.array([told[name] for name in names])
            anomalous = tried >= threshold
            below[open_[~anomalous]] = middle[~anomalous]
            enough[open_[anomalous]] = middle[anomalous]
            reached[open_[anomalous]] = tried[anomalous]
    risen = below > 0
    messages_to_turn = np.where(risen, enough, sizes)
    scores_at_turn = np.where(risen, reached, 1.0)
    return Turns(places=messages_to_turn - 1, scores=scores_at_turn, risen=risen)
