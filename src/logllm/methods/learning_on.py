"""Novelty that goes on to learn beside what its run has learnt; the run stays as it is."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from logllm.methods.contexts import Contexts
from logllm.methods.contract import Bag, LearntOn
from logllm.methods.frequencies import Frequencies, Held
from logllm.methods.likeness import alike
from logllm.methods.novelty import COMPARED, Novelty
from logllm.methods.surprise import Counted, of_entries, of_sessions
from logllm.methods.trouble import Grades, grades
from logllm.methods.vocabulary import Vocabulary
from logllm.sessions.message_table import Rows

MOST_KINDS = 5_000
"""How many kinds of message are learnt at most besides those of the run."""
_MOST_TIMES = 16
"""From so many times on, a session's repetitions of a kind are not told apart."""
_WEIGHTIEST = 8
"""A session called normal counts as much as one in so many of the run's sessions at most."""


class LearningNovelty(Novelty):
    """Novelty by the sessions of a run and by those that came since.

    What came since is counted as sessions of training are. It never weighs more than training does:
    when it would, all its counts are halved, and kinds of message that are left without any count
    are forgotten. So what has not come for long is new again, and memory is bounded. What a
    surprise means is taken from sessions of training that were held back, and so stays the same.

    The same sessions in the same order give the same scores, also where `state` and `restore` stand
    between them.
    """

    def __init__(self, run: Novelty, *, most_kinds: int = MOST_KINDS) -> None:
        """Begin with what a run has learnt.

        Args:
            run: as it was loaded or fitted; it is not changed.
            most_kinds: how many kinds of message are learnt at most besides those of the run.
        """
        self._run = run
        self._most_kinds = most_kinds
        self._likeness = run._likeness
        self._tail = run._tail
        self._own = len(run._vocabulary)  # kinds of the run; they come first
        own_kinds = pl.Series(run._vocabulary.texts, dtype=pl.String)
        self._own_vectors = self._likeness.vectors(own_kinds)
        own, contexts = run._counted.frequencies, run._counted.contexts
        self._times = np.zeros_like(own.counts)  # what came since, as `Frequencies.counts`
        self._holding = np.zeros_like(contexts.holding)
        self._sizes = np.zeros_like(contexts.sizes)
        self._calm: set[str] = set()
        self._begin(run._vocabulary.texts)

    def knows(self, kinds: Sequence[str]) -> list[bool]:
        """Which kinds of message the run itself has learnt."""
        return [0 <= number < self._own for number in self._numbers_of(kinds)]

    def lacks(self, kinds: Sequence[str]) -> list[str]:
        """Those kinds that neither the run nor what came since contains."""
        numbers = self._numbers_of(kinds)
        return [kind for kind, number in zip(kinds, numbers, strict=True) if number < 0]

    def doubtful(self, kinds: Sequence[str]) -> list[str]:
        """Those kinds that the run has not learnt and that speak of trouble.

        Kinds that a person has called normal are left out.
        """
        strange = [kind for kind, own in zip(kinds, self.knows(kinds), strict=True) if not own]
        trouble = grades(pl.Series(strange, dtype=pl.String))
        doubtful: list[str] = []
        for kind, grade in zip(strange, trouble, strict=True):
            if grade > 0 and kind not in self._calm:
                doubtful.append(kind)
        return doubtful

    def learn(self, bags: Sequence[Bag]) -> LearntOn:
        """Learn sessions, as far as there is room for their kinds of message."""
        texts = self._vocabulary.texts
        new: dict[str, None] = {}
        taken: list[Bag] = []
        for bag in bags:
            # A session is learnt whole or not at all: half of its kinds would say what no session
            # holds.
            lacking = [kind for kind in self.lacks(list(bag.times)) if kind not in new]
            kinds_since = len(texts) + len(new) + len(lacking) - self._own
            if kinds_since <= self._most_kinds:
                new |= dict.fromkeys(lacking)
                taken.append(bag)
        if not taken:
            return LearntOn(0, ())
        self._add_kinds(list(new))
        self._count(_held(taken, self._vocabulary))
        # What came since never weighs more than training.
        if self._sizes[0] > self._run._counted.frequencies.sessions:
            self._halve()
        return LearntOn(sum(bag.sessions for bag in taken), tuple(new))

    def learn_normal(self, bag: Bag, *, below: float) -> LearntOn:
        """Learn a session that was called normal, until it scores below a threshold.

        It is learnt at most as often as an eighth of the run's sessions. None of its kinds of
        message speaks of trouble any more.
        """
        # Grades first: a word of trouble in it must not keep the score above the threshold.
        self._calm |= bag.times.keys()
        self._grades = self._graded(self._vocabulary.texts)
        learnt = self.learn([bag._replace(sessions=1)])
        most = max(1, self._run._counted.frequencies.sessions // _WEIGHTIEST)
        count = learnt.sessions
        while count and count < most and self._score(bag) >= below:
            # Twice as often each time: few steps, and at most about twice what would have been
            # enough.
            more = min(count, most - count)
            self.learn([bag._replace(sessions=more)])
            count += more
        return LearntOn(count, learnt.kinds)

    def forget(self, kinds: Iterable[str]) -> None:
        """Forget kinds of message that came since; their words of trouble count again."""
        gone = set(kinds)
        self._calm -= gone
        numbers = self._vocabulary.of_texts(sorted(gone)) - 1
        # What the run has learnt stays, whatever anybody says of it.
        mine = numbers[numbers >= self._own]
        self._times[mine] = 0
        self._holding[mine] = 0
        self._drop_empty()

    def state(self) -> dict[str, Any]:
        """What came since, as JSON."""
        # Nearly all counts are 0: places and values are much less than the tables.
        kinds, times = np.nonzero(self._times)
        times_counts = self._times[kinds, times]
        holding, contexts = np.nonzero(self._holding)
        holding_counts = self._holding[holding, contexts]
        return {
            "kinds": self._vocabulary.texts[self._own :],
            "sizes": self._sizes.tolist(),
            "times": [kinds.tolist(), times.tolist(), times_counts.tolist()],
            "holding": [holding.tolist(), contexts.tolist(), holding_counts.tolist()],
            "calm": sorted(self._calm),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Replace what came since by what `state` gave."""
        texts = [*self._run._vocabulary.texts, *state["kinds"]]
        self._times = np.zeros((len(texts), _MOST_TIMES + 1), dtype=np.int64)
        kinds, times, counts = state["times"]
        self._times[kinds, times] = counts
        self._holding = np.zeros((len(texts), len(self._sizes)), dtype=np.int64)
        kinds, contexts, counts = state["holding"]
        self._holding[kinds, contexts] = counts
        self._sizes = np.array(state["sizes"], dtype=np.int64)
        self._calm = set(state["calm"])
        self._begin(texts)

    def _numbers_of(self, kinds: Sequence[str]) -> list[int]:
        """Places of kinds among those that are known; -1 for a kind that is not."""
        numbers: list[int] = (self._vocabulary.of_texts(kinds) - 1).tolist()
        return numbers

    def _score(self, bag: Bag) -> float:
        """The score of a session all of whose kinds are known."""
        one = _held([bag._replace(sessions=1)], self._vocabulary)
        entries = of_entries(one, self._counted, grades=self._grades)
        lacking = self._counted.frequencies.lacking(one)
        surprise = of_sessions(one, entries, lacking=lacking)
        return float(self._tail.scores(surprise)[0])

    def _begin(self, texts: Sequence[str]) -> None:
        """Start with these kinds; what came since has been counted already."""
        self._vocabulary = Vocabulary(texts)
        self._grades = self._graded(texts)
        # The run's own vectors are the most of them, and never change.
        since = pl.Series(texts[self._own :], dtype=pl.String)
        others = self._likeness.vectors(since)
        self._vectors = np.concatenate([self._own_vectors, others])
        self._compare()
        weights = self._all_holding()[self._compared].astype(np.float64)
        self._likes = alike(self._vectors, self._others, weights=weights)
        self._put_together()

    def _graded(self, texts: Sequence[str]) -> Grades:
        """How much trouble kinds speak of; 0 for those that a person has called normal."""
        calm = np.array([text in self._calm for text in texts], dtype=np.bool_)
        return np.where(calm, 0, grades(pl.Series(texts, dtype=pl.String)))

    def _compare(self) -> None:
        """Choose the kinds that others are compared with.

        They are those of the run and, while there is room, those that came since.
        """
        run = self._run._compared
        since = np.arange(self._own, len(self._vocabulary))
        room = max(0, COMPARED - len(run))
        self._compared = np.concatenate([run, since[:room]])
        self._others = self._vectors[self._compared]

    def _all_holding(self) -> Rows:
        """How many sessions of each context hold each kind, in the run and since."""
        own = self._run._counted.contexts.holding
        holding = self._holding.copy()
        holding[: len(own)] += own
        return holding

    def _add_kinds(self, new: Sequence[str]) -> None:
        """Add kinds that have not been counted yet."""
        if not new:
            return
        texts = [*self._vocabulary.texts, *new]
        self._vocabulary = Vocabulary(texts)
        messages = pl.Series(new, dtype=pl.String)
        vectors = self._likeness.vectors(messages)
        more = ((0, len(new)), (0, 0))
        self._times, self._holding = np.pad(self._times, more), np.pad(self._holding, more)
        self._grades = np.concatenate([self._grades, self._graded(new)])
        self._vectors = np.concatenate([self._vectors, vectors])
        weights = self._all_holding()[self._compared].astype(np.float64)
        likes = alike(vectors, self._others, weights=weights)
        self._likes = np.concatenate([self._likes, likes])
        self._compare()

    def _count(self, held: Held) -> None:
        """Count what sessions hold, and what is like it."""
        kinds = len(self._vocabulary)
        times = Frequencies.of(held, kinds=kinds).counts
        # The sorts of sessions are those that training found: what is usual there stays so.
        usual = self._run._counted.contexts.usual
        contexts = Contexts.of(held, usual=usual, kinds=kinds)
        self._times[:, 1:] += times[:, 1:]
        self._holding += contexts.holding
        self._sizes += contexts.sizes

        # The sums are of whole numbers: what is added to them makes them those of all sessions.
        is_changed = contexts.holding[self._compared, 0] > 0
        changed = self._compared[is_changed]
        weights = contexts.holding[changed].astype(np.float64)
        self._likes += alike(self._vectors, self._vectors[changed], weights=weights)
        self._put_together()

    def _halve(self) -> None:
        """Halve the counts of what came since."""
        self._times //= 2
        self._holding //= 2
        self._sizes //= 2
        self._drop_empty()

    def _drop_empty(self) -> None:
        """Forget kinds without any count left, and compare anew."""
        left = self._holding[:, 0] > 0
        # A kind of the run stays, though nothing of it has come since.
        left[: self._own] = True
        texts = self._vocabulary.texts
        gone = {text for text, stays in zip(texts, left, strict=True) if not stays}
        self._times, self._holding = self._times[left], self._holding[left]
        self._calm -= gone
        self._begin([text for text in texts if text not in gone])

    def _put_together(self) -> None:
        """Judge by what the run has learnt and by what came since."""
        own = self._run._counted
        sessions = own.frequencies.sessions + int(self._sizes[0])
        counts = self._times.copy()
        # Kinds of the run come first in every table: what came since is added row by row.
        counts[: self._own] += own.frequencies.counts
        with_kind = counts[:, 1:].sum(axis=1)
        counts[:, 0] = sessions - with_kind
        frequencies = Frequencies(counts, sessions=sessions)
        holding = self._all_holding()
        sizes = own.contexts.sizes + self._sizes
        contexts = Contexts(own.contexts.usual, sizes, holding)
        like = np.maximum(self._likes, holding)
        self._counted = Counted(frequencies, contexts, like)


def _held(bags: Sequence[Bag], vocabulary: Vocabulary) -> Held:
    """What the sessions of bags hold; all of their kinds are known."""
    # One entry for each kind of each session, as if the sessions had come one by one.
    sessions: list[int] = []
    kinds: list[int] = []
    times: list[int] = []
    total = 0
    for bag in bags:
        numbers = (vocabulary.of_texts(list(bag.times)) - 1).tolist()
        for session in range(total, total + bag.sessions):
            sessions += [session] * len(numbers)
            kinds += numbers
            times += bag.times.values()
        total += bag.sessions
    of_session, of_kind, often = (np.array(it, dtype=np.int64) for it in (sessions, kinds, times))
    return Held(of_session, of_kind, often, total, of=np.zeros(0, dtype=np.int64))
