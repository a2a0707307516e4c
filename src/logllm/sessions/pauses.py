"""How long sessions pause, by what was seen of them.

This tells how likely it is that a session had begun before, or will go on.
"""

from collections.abc import Callable
from copy import copy
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

Seconds = npt.NDArray[np.float64]
Chances = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_BINS = 63
_SHORTEST = -10
"""The shortest pause that is told from none, as a power of 2: a thousandth of a second."""
_POWERS = _SHORTEST + np.arange(_BINS - 1) / 2
EDGES = np.concatenate([[0.0], 2.0**_POWERS])
"""Where the bins of pauses begin, in seconds (or in records, where a log has no times): each 1.4
times the one before."""
NEVER = _BINS
"""The bin after them: the session had no record beyond."""
_MOST_STATES = 20_000
_MARGIN = 10.0
"""Times the longest pause after a message: until then its sessions may well go on."""
_ENOUGH = 5
"""Sessions that a share is taken of; fewer say nothing."""


class Seen(NamedTuple):
    """What was seen of some sessions at one of their ends."""

    sets: Keys
    """All messages that were seen of each."""
    messages: Keys
    """The one at the end."""
    pauses: Seconds
    """How long there has been nothing of it, up to that end of the input."""


class Pauses:
    """At one end of sessions: after which messages they pause how long, or end.

    A log that is cut at a random moment leaves a session of which the last thing seen is a message,
    and then nothing for a while. Counted here is how often a session was over then, and how often
    it only paused for longer. It is counted three times, from the coarse to the fine: for all
    sessions, for those with the same message last, and for those in the same *state*, which is the
    set of their messages together with the last one. What a coarse count says weighs as one
    session in the next finer one. A message whose text is new, such as one with the name of another
    database, is known by its first words.
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
        # The longest pause after each message, and after any: the upper end of the last bin that
        # holds one. Counts fall from bin to bin, as each holds all longer pauses.
        upper_ends = np.append(EDGES, EDGES[-1])
        of_all = self._by_all[:, :NEVER].any(axis=2)
        of_messages = self._by_message[:, :NEVER].any(axis=2)
        self._longest_of_all = upper_ends[of_all.sum()]
        longest = upper_ends[of_messages.sum(axis=1)]
        # Row -1, of a new message, is one without a pause.
        self._longest = np.append(longest, 0.0)
        self._margin = _MARGIN

    def patient(self) -> Self:
        """The same, but a pause of any length may be one: a session that stopped may go on."""
        patient = copy(self)
        patient._margin = np.inf
        return patient

    @classmethod
    def learn(cls, seen: Seen, anomalous: Flags, *, beginnings: Beginnings) -> Self:
        """Count what is known of whole sessions.

        Args:
            seen: one entry for each message of a session: the messages up to it, the message, and
                the pause that follows, infinite where nothing follows.
            anomalous: whether the session of each entry is.
            beginnings: the first words of those messages.
        """
        of_entries = state(seen.sets, seen.messages)
        states, first, inverse = np.unique(of_entries, return_index=True, return_inverse=True)
        counts = np.zeros((len(states), NEVER + 1, 2), dtype=np.int64)
        bins = _bins(seen.pauses)
        labels = anomalous.astype(np.int64)
        np.add.at(counts, (inverse, bins, labels), 1)

        # Of very many states those that occur least go: their messages speak for them.
        totals = counts.sum(axis=(1, 2))
        commonest = np.argsort(-totals, kind="stable")[:_MOST_STATES]
        rows = np.sort(commonest)
        messages = seen.messages[first[rows]]
        first_words = beginnings.of(messages)
        return cls(states[rows], messages, beginnings=first_words, counts=counts[rows])

    @classmethod
    def known(cls, arrays: Arrays, name: str, *, beginnings: Beginnings) -> Self:
        """Pauses as they were saved.

        Args:
            arrays: what the method `arrays` gave, each name with `name` and a point before it.
            name: the end of sessions whose pauses they are.
            beginnings: the first words of the messages.
        """
        states = arrays[f"{name}.states"].astype(np.uint64)
        messages = arrays[f"{name}.messages"].astype(np.uint64)
        counts = np.zeros((len(states), NEVER + 1, 2), dtype=np.int64)
        not_zero = tuple(arrays[f"{name}.places"])
        counts[not_zero] = arrays[f"{name}.counts"]
        return cls(states, messages, beginnings=beginnings.of(messages), counts=counts)

    def arrays(self) -> Arrays:
        """What is saved, by name; of the counts, which are nearly all zero, only the others."""
        not_zero = np.nonzero(self.counts)
        return {
            "states": self.states,
            "messages": self.messages,
            "places": np.stack(not_zero).astype(np.int32),
            "counts": self.counts[not_zero],
        }

    def longest(self, rare: float) -> float | None:
        """A pause that is longer than all but a share `rare` of those after which sessions went on.

        None where no session went on.
        """
        # `_by_all` counts in each bin the pauses that are at least so long: the first bin has all.
        longer = self._by_all[0, :NEVER].sum(axis=1)
        total = longer[0]
        if not total:
            return None
        beyond = np.flatnonzero(longer <= rare * total)
        bin_beyond = beyond[0] if len(beyond) else -1
        return float(EDGES[bin_beyond])

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
            beginnings: called with which sessions have a new message at this end (sessions,); gives
                the first words of those messages, from fewer to more (new, n).
        """
        bins = _bins(seen.pauses)
        # From the coarse to the fine: what is known of all messages weighs as one session of the
        # message's own, and that in turn as one session of the state's own.
        only_row = np.zeros(len(bins), dtype=np.int64)
        even = np.full(len(bins), 0.5)
        of_all = _chance(self._by_all, only_row, bins=bins, coarser=even)

        # A message after which sessions always went on, if never after so long a pause: they still
        # do, but not after one that is far longer than all that were ever seen.
        # The first bin holds pauses of any length.
        any_length = np.zeros(len(bins), dtype=np.int64)
        after_any = _chance(self._by_all, only_row, bins=any_length, coarser=even)
        rows = places(self._known, seen.messages)
        new = rows < 0
        # It is one up to ten times the longest, and then loses belief with the square of the pause:
        # faster than by any power law that logs were found to follow.
        of_messages = self._longest[rows]
        longest = np.where(of_messages > 0, of_messages, self._longest_of_all)
        # A pause of nothing is as long as the shortest that can be told.
        pauses = np.maximum(seen.pauses, EDGES[1])
        believed = self._margin * longest / pauses
        fading = np.minimum(1.0, believed) ** 2
        still_going = after_any * fading
        of_text = np.where(new, of_all, still_going)
        if new.any():
            first_words = beginnings(new)
            of_text[new] = self._of_alike(
                first_words, bins[new], otherwise=of_all[new], after_any=after_any[new]
            )
        of_message = _chance(self._by_message, rows, bins=bins, coarser=of_text)
        states = state(seen.sets, seen.messages)
        rows_of_states = places(self.states, states)
        return _chance(self._by_state, rows_of_states, bins=bins, coarser=of_message)

    def _of_alike(
        self, beginnings: Keys, bins: Counts, *, otherwise: Chances, after_any: Chances
    ) -> Chances:
        """The chances of new messages, by messages that begin with the same words.

        More words in common count for more. Where no message begins alike, it is `otherwise`.
        """
        chances = otherwise
        alike = np.zeros(len(bins), dtype=np.bool_)
        for words, (learnt, counts) in zip(beginnings.T, self._by_beginning, strict=True):
            rows = places(learnt, words)
            matches = rows >= 0
            # The first match starts from the chance of any message, a later one from the match
            # before.
            is_first = matches & ~alike
            coarser = np.where(is_first, after_any, chances)
            chances = _chance(counts, rows, bins=bins, coarser=coarser)
            alike |= matches
        return chances

    def anomalous(self, seen: Seen) -> Chances:
        """Share of anomalous ones among the sessions in the same state that paused as long.

        Nan where there were fewer than five.
        """
        of_seen = state(seen.sets, seen.messages)
        rows = places(self.states, of_seen)
        counts = np.zeros((len(rows), 2), dtype=np.int64)
        there = rows >= 0
        rows_there = rows[there]
        bins = _bins(seen.pauses)[there]
        # Those that paused for longer, and those that had ended: both had nothing more for so long.
        paused = self._by_state[rows_there, bins]
        ended = self.counts[rows_there, NEVER]
        counts[there] = paused + ended
        return share(counts)


def share(counts: Counts) -> Chances:
    """The share of anomalous sessions, by the counts of normal and anomalous ones (k, 2).

    Nan where there are fewer than five.

    >>> share(np.array([[1, 9], [0, 4]])).tolist()
    [0.9, nan]
    """
    total = counts.sum(axis=1)
    shares = np.full(len(counts), np.nan)
    enough = total >= _ENOUGH
    shares[enough] = counts[enough, 1] / total[enough]
    return shares


def _grouped(keys: Keys, counts: Counts) -> tuple[Keys, Counts]:
    """Distinct keys, rising, and for each the sum of its counts, made cumulative by `_at_least`."""
    distinct, inverse = np.unique(keys, return_inverse=True)
    sums = np.zeros((len(distinct), *counts.shape[1:]), dtype=np.int64)
    np.add.at(sums, inverse, counts)
    return distinct, _at_least(sums)


def _at_least(counts: Counts) -> Counts:
    """For each bin how many pauses are in it or in a longer one; `NEVER` stays as it is."""
    longest_first = counts[:, NEVER - 1 :: -1]  # for the running sum
    at_least = longest_first.cumsum(axis=1)[:, ::-1]
    ended = counts[:, NEVER:]
    return np.concatenate([at_least, ended], axis=1)


def _chance(counts: Counts, rows: Counts, *, bins: Counts, coarser: Chances) -> Chances:
    """The share of sessions that only paused, at the given rows and bins of the counts.

    `coarser` is the chance that a coarser count gives; for row -1 it is all there is.
    """
    if not len(counts):
        return coarser
    # (went on + coarser) / (went on + ended + 1): the coarser chance counts as one more session.
    longer = counts[rows, bins].sum(axis=1)
    ended = counts[rows, NEVER].sum(axis=1)
    paused_share = (longer + coarser) / (longer + ended + 1)
    return np.where(rows >= 0, paused_share, coarser)


def _bins(pauses: Seconds) -> Counts:
    """The bin of each pause."""
    bins = np.searchsorted(EDGES, pauses, side="right") - 1
    finite = bins.clip(0, NEVER - 1)
    return np.where(np.isinf(pauses), NEVER, finite)
