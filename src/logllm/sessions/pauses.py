"""How long sessions pause, by what was seen of them: how one knows that a session had begun before, or will go on."""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from logllm.sessions.message_sets import Counts, Keys, places, state

Chances = npt.NDArray[np.float64]

_FIRST, _EDGES = -10, 63
EDGES = np.concatenate([[0.0], 2.0 ** (_FIRST + np.arange(_EDGES - 1) / 2)])
"""Where the bins of pauses begin, in seconds (or in records, where a log has no times): each 1.4 times the one before."""
NEVER = _EDGES
"""The bin after them: the session had no record beyond."""
_MOST_STATES = 20_000
_ENOUGH = 5
"""Sessions that a share is taken of; fewer say nothing."""


class Seen(NamedTuple):
    """What was seen of some sessions at one of their ends."""

    sets: Keys
    """All messages that were seen of each."""
    messages: Keys
    """The one at the end."""
    pauses: npt.NDArray[np.float64]
    """How long there has been nothing of it there, up to the input's end."""


class Pauses:
    """At one end of sessions: after which messages they pause how long, or end.

    A log that is cut at a random moment leaves a session of which the last thing seen is a message, and then nothing
    for so long. How often a session was over then, and how often it only paused for longer, is counted here: first
    for the same set of messages with the same one last, then for the message, then for all; each weighs as one
    session in the next finer one.
    """

    def __init__(self, states: Keys, messages: Keys, *, counts: Counts) -> None:
        """Counts by state.

        Args:
            states: rising (k,).
            messages: the message at the end of each (k,).
            counts: pauses in each bin and in `NEVER`, of normal and of anomalous sessions (k, bins, 2).
        """
        self.states = states
        self.messages = messages
        self.counts = counts
        self._by_state = _at_least(counts)
        self._known, inverse = np.unique(messages, return_inverse=True)
        by_message = np.zeros((len(self._known), *counts.shape[1:]), dtype=np.int64)
        np.add.at(by_message, inverse, counts)
        self._by_message = _at_least(by_message)
        self._by_all = _at_least(counts.sum(axis=0, keepdims=True))

    @classmethod
    def learn(cls, seen: Seen, anomalous: npt.NDArray[np.bool_]) -> Self:
        """Count what is known of whole sessions.

        Args:
            seen: one entry a message of a session: the messages up to it, it, and the pause that
                follows; infinite where nothing does.
            anomalous: whether the session is.
        """
        states, first, inverse = np.unique(
            state(seen.sets, seen.messages),
            return_index=True,
            return_inverse=True,
        )
        counts = np.zeros((len(states), NEVER + 1, 2), dtype=np.int64)
        np.add.at(counts, (inverse, _bins(seen.pauses), anomalous.astype(np.int64)), 1)

        # Of very many states those that occur least go: their messages speak for them.
        most = np.argsort(-counts.sum(axis=(1, 2)), kind="stable")[:_MOST_STATES]
        rows = np.sort(most)
        return cls(states[rows], seen.messages[first[rows]], counts=counts[rows])

    def longest(self, share: float) -> float | None:
        """A pause that is longer than all but such a share of those after which sessions went on; none where none did."""
        longer = self._by_all[0, :NEVER].sum(axis=1)
        if not longer[0]:
            return None
        beyond = np.flatnonzero(longer <= share * longer[0])
        return float(EDGES[beyond[0]]) if len(beyond) else float(EDGES[-1])

    def chances(self, seen: Seen) -> Chances:
        """How likely it is that each session goes on beyond what was seen of it, in [0, 1]."""
        bins = _bins(seen.pauses)
        everywhere = np.zeros(len(bins), dtype=np.int64)
        of_all = _chance(self._by_all, everywhere, bins=bins, before=np.full(len(bins), 0.5))

        # A message after which sessions always went on, if never after so long a pause: they still do.
        whatever = _chance(self._by_all, everywhere, bins=everywhere, before=np.full(len(bins), 0.5))
        rows = places(self._known, seen.messages)
        of_message = _chance(self._by_message, rows, bins=bins, before=np.where(rows >= 0, whatever, of_all))
        rows = places(self.states, state(seen.sets, seen.messages))
        return _chance(self._by_state, rows, bins=bins, before=of_message)

    def anomalous(self, seen: Seen) -> Chances:
        """Share of the sessions in the same state, and with nothing more for so long, that were anomalous; nan of fewer than five."""
        rows = places(self.states, state(seen.sets, seen.messages))
        counts = np.zeros((len(rows), 2), dtype=np.int64)
        there = rows >= 0
        longer = self._by_state[rows[there], _bins(seen.pauses)[there]]
        counts[there] = longer + self.counts[rows[there], NEVER]
        return share(counts)


def share(counts: Counts) -> Chances:
    """The share of anomalous sessions, of counts of normal and anomalous ones; nan of fewer than five.

    >>> share(np.array([[1, 9], [0, 4]])).tolist()
    [0.9, nan]
    """
    total = counts.sum(axis=1)
    shares = np.full(len(counts), np.nan)
    enough = total >= _ENOUGH
    shares[enough] = counts[enough, 1] / total[enough]
    return shares


def _at_least(counts: Counts) -> Counts:
    """How many pauses are in a bin or in a longer one, for each bin; of those that end."""
    return np.concatenate([counts[:, NEVER - 1 :: -1].cumsum(axis=1)[:, ::-1], counts[:, NEVER:]], axis=1)


def _chance(counts: Counts, rows: Counts, *, bins: Counts, before: Chances) -> Chances:
    """The share of sessions that only paused; `before` is what is known more coarsely, and all there is for row -1."""
    if not len(counts):
        return before
    longer = counts[rows, bins].sum(axis=1)
    ended = counts[rows, NEVER].sum(axis=1)
    return np.where(rows >= 0, (longer + before) / (longer + ended + 1), before)


def _bins(pauses: npt.NDArray[np.float64]) -> Counts:
    """The bin of each pause."""
    bins = np.searchsorted(EDGES, pauses, side="right") - 1
    return np.where(np.isinf(pauses), NEVER, bins.clip(0, NEVER - 1))
