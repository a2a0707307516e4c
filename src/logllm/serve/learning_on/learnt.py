"""What a stream's watch has learnt: the result of entries, taken one after the other."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from logllm.methods.contract import Bag, LearningOn
from logllm.serve.store.frames import NUL_PICTURE
from logllm.serve.verdict_rows import LONGEST_KIND

_SHARE = 16
"""What closes is learnt together: each time one in so many of the sessions so far."""
_MOST_TOGETHER = 256
_MOST_ALARMED = 5_000
"""Kinds that are remembered because an anomalous session was known by them, the latest ones."""
_COUNTS = ("learnt_sessions", "learnt_kinds", "learnt_false_alarms", "sessions_not_learnt")


class Answered(NamedTuple):
    """What a person said of a session."""

    normal: bool
    bag: Bag


class Entry(NamedTuple):
    """What one transaction brings to be learnt."""

    sessions: int
    """How many sessions of the stream have closed by then."""
    bags: Sequence[Bag] = ()
    """Sessions that may be learnt."""
    passed: int = 0
    """Normal sessions that may not: cut, closed early, part of an incident, or with something
    secret."""
    lines: Mapping[str, str] = {}
    """A line of each kind of message that is new."""
    alarmed: Sequence[str] = ()
    """Kinds of message, none of which the run knows, by which anomalous sessions are known."""
    answers: Sequence[Answered] = ()
    answered: int = 0
    """The change up to which answers have been taken."""

    def as_object(self) -> dict[str, Any]:
        """The same as JSON."""
        bags = _bag_objects(self.bags)
        answers = [[answer.normal, *_bag_objects([answer.bag])] for answer in self.answers]
        return self._asdict() | {"bags": bags, "answers": answers}

    @classmethod
    def of_object(cls, told: Mapping[str, Any]) -> Self:
        """What `as_object` gave."""
        answers = [Answered(normal, *_bags_of([bag])) for normal, bag in told["answers"]]
        bags = _bags_of(told["bags"])
        return cls(**{**told, "bags": bags, "answers": answers})


class Learnt:
    """What was learnt so far, and what waits to be learnt.

    Sessions are learnt several at a time, at set numbers of closed sessions. So what has been
    learnt when a session is judged depends on the order of sessions alone, not on transactions.

    Attributes:
        method: scores by the run and by what was learnt.
        sessions: how many sessions of the stream have closed.
        point: the number of closed sessions at which the next ones are learnt.
        answered: the change up to which answers have been taken.
        counts: what was learnt since the beginning, and what was not, by name.
        lines: kinds of message that were learnt, or may be, each with a line of it.
    """

    def __init__(self, method: LearningOn, *, threshold: float) -> None:
        """Nothing learnt yet.

        Args:
            method: goes on to learn.
            threshold: of the run; what a person called normal is to score less.
        """
        self.method = method
        self.sessions = 0
        self.point = 1
        self.answered = 0
        self.counts = dict.fromkeys(_COUNTS, 0)
        self._threshold = threshold
        self._waiting: list[Bag] = []
        self._alarmed: dict[str, None] = {}
        self.lines: dict[str, str] = {}
        self._nothing = self.state()

    def apply(self, entry: Entry) -> tuple[str, ...] | None:
        """Take an entry; the kinds of message learnt with it, or none where nothing was learnt."""
        self.sessions = entry.sessions
        self.answered = max(self.answered, entry.answered)
        self.counts["sessions_not_learnt"] += entry.passed
        self.lines |= entry.lines
        # In this order: what people say counts before anything is learnt of what waits.
        self._alarm(entry.alarmed)
        outcomes: list[tuple[str, ...] | None] = []
        for answer in entry.answers:
            outcomes.append(self._answer(answer))
        self._waiting += entry.bags
        if self.sessions >= self.point:
            outcomes.append(self._learn())
            # The more sessions there were, the more of them are learnt at a time.
            while self.point <= self.sessions:
                together = max(self.point // _SHARE, 1)
                self.point += min(together, _MOST_TOGETHER)
        learnt = [kinds for kinds in outcomes if kinds is not None]
        if not learnt:
            return None
        return tuple(kind for kinds in learnt for kind in kinds)

    def state(self) -> dict[str, Any]:
        """All of it, as JSON."""
        waiting = _bag_objects(self._waiting)
        alarmed = list(self._alarmed)
        method = self.method.state()
        return {
            "sessions": self.sessions,
            "point": self.point,
            "answered": self.answered,
            "counts": dict(self.counts),
            "waiting": waiting,
            "alarmed": alarmed,
            "lines": dict(self.lines),
            "method": method,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Know what `state` gave, and nothing else. An empty state: nothing was learnt yet."""
        state = state or self._nothing
        self.sessions = state["sessions"]
        self.point = state["point"]
        self.answered = state["answered"]
        self.counts = dict(state["counts"])
        self._waiting = _bags_of(state["waiting"])
        self._alarmed = dict.fromkeys(state["alarmed"])
        self.lines = dict(state["lines"])
        self.method.restore(state["method"])

    def _alarm(self, kinds: Sequence[str]) -> None:
        """Remember kinds by which anomalous sessions are known, the latest ones."""
        # Taken out first, so that it goes to the end: the kinds that alarmed last are kept.
        for kind in map(as_stored, kinds):
            self._alarmed.pop(kind, None)
            self._alarmed[kind] = None
        # A dictionary keeps the order of insertion: the oldest kinds come first, and are dropped.
        surplus = max(0, len(self._alarmed) - _MOST_ALARMED)
        for kind in list(self._alarmed)[:surplus]:
            del self._alarmed[kind]

    def _answer(self, answer: Answered) -> tuple[str, ...]:
        """Learn what a person called normal, forget what a person called anomalous."""
        kinds = list(answer.bag.times)
        marks = self.method.knows(kinds)
        strange = [kind for kind, is_known in zip(kinds, marks, strict=True) if not is_known]
        # What a person calls normal is learnt at once, and no alarm of its kinds counts any more.
        if answer.normal:
            for kind in map(as_stored, strange):
                self._alarmed.pop(kind, None)
            outcome = self.method.learn_normal(answer.bag, below=self._threshold)
            self.counts["learnt_false_alarms"] += 1
            self.counts["learnt_kinds"] += len(outcome.kinds)
            return outcome.kinds
        self._alarm(strange)
        self.method.forget(strange)
        # One such session waits no longer; others that hold the same may be normal.
        alike = (bag for bag in self._waiting if bag.times == answer.bag.times)
        same = next(alike, None)
        if same is not None:
            self._waiting.remove(same)
        return ()

    def _learn(self) -> tuple[str, ...] | None:
        """Learn what waits, but for sessions with a kind of message that is doubtful."""
        waiting, self._waiting = self._waiting, []
        kinds = list(dict.fromkeys(kind for bag in waiting for kind in bag.times))
        doubtful = set(self.method.doubtful(kinds))
        # A kind by which a session alarmed is not learnt from others that hold it, unless a person
        # says so.
        doubtful |= {kind for kind in kinds if as_stored(kind) in self._alarmed}
        good = [bag for bag in waiting if not doubtful & bag.times.keys()]
        outcome = self.method.learn(good)
        # Lines of kinds that were not learnt are of no use to anybody.
        for kind in self.method.lacks(list(self.lines)):
            del self.lines[kind]
        waited = sum(bag.sessions for bag in waiting)
        self.counts["learnt_sessions"] += outcome.sessions
        self.counts["learnt_kinds"] += len(outcome.kinds)
        self.counts["sessions_not_learnt"] += waited - outcome.sessions
        return outcome.kinds if outcome.sessions else None


def as_stored(kind: str) -> str:
    """A kind of message as verdicts have it."""
    return kind[:LONGEST_KIND].replace("\x00", NUL_PICTURE)


def _bag_objects(bags: Sequence[Bag]) -> list[list[Any]]:
    """Bags as JSON."""
    return [[bag.sessions, dict(bag.times)] for bag in bags]


def _bags_of(told: Sequence[Sequence[Any]]) -> list[Bag]:
    """What `_bag_objects` gave."""
    return [Bag(times, sessions) for sessions, times in told]
