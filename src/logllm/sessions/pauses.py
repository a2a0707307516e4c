"""How long sessions pause, by what was seen of them.

How one knows that a session had begun before, or will go on.
"""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from logllm.sessions.message_sets import (
    NO_BEGINNING,
    Arrays,
    Beginnings,
    Counts,
    Keys,
    places,
    state,
)

Chances = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_FIRST, _EDGES = -10, 63
EDGES = np.concatenate([[0.0], 2.0 ** (_FIRST + np.arange(_EDGES - 1) / 2)])
"""Where the bins of pauses begin, in seconds (or in records, where a log has no times): each 1.4
times the one before."""
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

    A log that is cut at a random moment leaves a session of which the last thing seen is a message,
    and then nothing for so long. How often a session was over then, and how often it only paused
    for longer, is counted here: first for the same set of messages with the same one last, then for
    the message, then for all; each weighs as one session in the next finer one. A message whose
    text is new, such as one with the name of another database, is known by its first words instead.
    """

    def __init__(self, states: Keys, messages: Keys, *, beginnings: Keys, counts: Counts) -> None:
        """Counts by state.

        Args:
            states: rising (k,).
            messages: the message at the end of each (k,).
            beginnings: the first words of that message, from fewer to more (k, n).
            counts: pauses in each bin and in `NEVER`, of normal and of anomalous sessions (k, bins,
                2).
        """
        self.states = states
        self.messages = messages
        self.counts = counts
        self._by_state = _at_least(counts)
        self._known, self._by_message = _grouped(messages, counts)
        self._beginnings = beginnings
        self._by_all = _at_least(counts.sum(axis=0, keepdims=True))

    @classmethod
    def learn(cls, seen: Seen, anomalous: npt.NDArray[np.bool_], *, beginnings: Beginnings) -> Self:
        """Count what is known of whole sessions.

        Args:
            seen: one entry a message of a session: the messages up to it, it, and the pause that
                follows; infinite where nothing does.
            anomalous: whether the session is.
            beginnings: the first words of those messages.
        """
        states, first, inverse = np.unique(
            state(seen.sets, seen.messages),
            return_index=True,
            return_inverse=True,
        )
        counts = np.zeros((len(states), NEVER + 1, 2), dtype=np.int64)
        labels = anomalous.astype(np.int64)
        np.add.at(counts, (inverse, _bins(seen.pauses), labels), 1)

        # Of very many states those that occur least go: their messages speak for them.
        totals = counts.sum(axis=(1, 2))
        most = np.argsort(-totals, kind="stable")[:_MOST_STATES]
        rows = np.sort(most)
        messages = seen.messages[first[rows]]
        return cls(states[rows], messages, beginnings=beginnings.of(messages), counts=counts[rows])

    @classmethod
    def known(cls, arrays: Arrays, name: str, *, beginnings: Beginnings) -> Self:
        """Pauses as they were saved.

        Args:
            arrays: those of `arrays` under the name, a point and their own names.
            name: the end of sessions whose pauses they are.
            beginnings: the first words of the messages.
        """
        states = arrays[f"{name}.states"].astype(np.uint64)
        messages = arrays[f"{name}.messages"].astype(np.uint64)
        counts = np.zeros((len(states), NEVER + 1, 2), dtype=np.int64)
        counts[tuple(arrays[f"{name}.places"])] = arrays[f"{name}.counts"]
        return cls(states, messages, beginnings=beginnings.of(messages), counts=counts)

    def arrays(self) -> Arrays:
        """What is saved, by name; nearly all counts are zero."""
        places = np.nonzero(self.counts)
        return {
            "states": self.states,
            "messages": self.messages,
            "places": np.stack(places).astype(np.int32),
            "counts": self.counts[places],
        }

    def longest(self, share: float) -> float | None:
        """A pause that is longer than all but such a share of those after which sessions went on.

        None where none did.
        """
        # `_by_all` counts in each bin the pauses that are at least so long: the first bin has all.
        longer = self._by_all[0, :NEVER].sum(axis=1)
        if not longer[0]:
            return None
        beyond = np.flatnonzero(longer <= share * longer[0])
        return float(EDGES[beyond[0]]) if len(beyond) else float(EDGES[-1])

    @cached_property
    def _by_beginning(self) -> list[tuple[Keys, Counts]]:
        """Pauses by first words, from fewer to more."""
        by_count: list[tuple[Keys, Counts]] = []
        for words in self._beginnings.T:
            long_enough = words != NO_BEGINNING
            by_count.append(_grouped(words[long_enough], self.counts[long_enough]))
        return by_count

    def chances(self, seen: Seen, beginnings: Callable[[Flags], Keys]) -> Chances:
        """How likely it is that each session goes on beyond what was seen of it, in [0, 1].

        Args:
            seen: what was seen.
            beginnings: gives the first words of the messages at some of the ends, from fewer to
                more (s, n); asked for where a message is new.
        """
        bins = _bins(seen.pauses)
        # From the coarse to the fine: what is known of all messages weighs as one session of the
        # message's own, and that in turn as one session of the state's own.
        everywhere = np.zeros(len(bins), dtype=np.int64)
        even = np.full(len(bins), 0.5)
        of_all = _chance(self._by_all, everywhere, bins=bins, before=even)

        # A message after which sessions always went on, if never after so long a pause: they still
        # do.
        whatever = _chance(self._by_all, everywhere, bins=everywhere, before=even)
        rows = places(self._known, seen.messages)
        new = rows < 0
        before = np.where(new, of_all, whatever)
        if new.any():
            alike = self._of_alike(
                beginnings(new), bins[new], otherwise=of_all[new], whatever=whatever[new]
            )
            before[new] = alike
        of_message = _chance(self._by_message, rows, bins=bins, before=before)
        rows = places(self.states, state(seen.sets, seen.messages))
        return _chance(self._by_state, rows, bins=bins, before=of_message)

    def _of_alike(
        self, beginnings: Keys, bins: Counts, *, otherwise: Chances, whatever: Chances
    ) -> Chances:
        """The chances of new messages by those that begin alike, the longer the better.

        `otherwise` where none does.
        """
        chances = otherwise
        alike = np.zeros(len(bins), dtype=np.bool_)
        for words, (of, counts) in zip(beginnings.T, self._by_beginning, strict=True):
            rows = places(of, words)
            # The first match starts from the chance of any message, a later one from the match
            # before.
            before = np.where(alike | (rows < 0), chances, whatever)
            chances = _chance(counts, rows, bins=bins, before=before)
            alike |= rows >= 0
        return chances

    def anomalous(self, seen: Seen) -> Chances:
        """Share of the sessions in the same state, and with nothing more for so long, that were anomalous; nan of fewer than five."""
        rows = places(self.states, state(seen.sets, seen.messages))
        counts = np.zeros((len(rows), 2), dtype=np.int64)
        there = rows >= 0
        states, bins = rows[there], _bins(seen.pauses)[there]
        # Those that paused for longer, and those that had ended: both had nothing more for so long.
        paused = self._by_state[states, bins]
        ended = self.counts[states, NEVER]
        counts[there] = paused + ended
        return share(counts)


def share(counts: Counts) -> Chances:
    """The share of anomalous sessions, of counts of normal and anomalous ones.

    Nan of fewer than five.

    >>> share(np.array([[1, 9], [0, 4]])).tolist()
    [0.9, nan]
    """
    total = counts.sum(axis=1)
    shares = np.full(len(counts), np.nan)
    enough = total >= _ENOUGH
    shares[enough] = counts[enough, 1] / total[enough]
    return shares


def _grouped(keys: Keys, counts: Counts) -> tuple[Keys, Counts]:
    """The sums of counts by rising keys, at least so long a pause in each bin."""
    distinct, inverse = np.unique(keys, return_inverse=True)
    sums = np.zeros((len(distinct), *counts.shape[1:]), dtype=np.int64)
    np.add.at(sums, inverse, counts)
    return distinct, _at_least(sums)


def _at_least(counts: Counts) -> Counts:
    """How many pauses are in a bin or in a longer one, for each bin; of those that end."""
    pauses = counts[:, NEVER - 1 :: -1]  # the longest first, for the running sum
    at_least = pauses.cumsum(axis=1)[:, ::-1]
    return np.concatenate([at_least, counts[:, NEVER:]], axis=1)


def _chance(counts: Counts, rows: Counts, *, bins: Counts, before: Chances) -> Chances:
    """The share of sessions that only paused.

    `before` is what is known more coarsely, and all there is for row -1.
    """
    if not len(counts):
        return before
    # (went on + before) / (went on + ended + 1): the coarser chance counts as one more session.
    longer = counts[rows, bins].sum(axis=1)
    ended = counts[rows, NEVER].sum(axis=1)
    paused_share = (longer + before) / (longer + ended + 1)
    return np.where(rows >= 0, paused_share, before)


def _bins(pauses: npt.NDArray[np.float64]) -> Counts:
    """The bin of each pause."""
    bins = np.searchsorted(EDGES, pauses, side="right") - 1
    return np.where(np.isinf(pauses), NEVER, bins.clip(0, NEVER - 1))
