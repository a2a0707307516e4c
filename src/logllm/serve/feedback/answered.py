"""Answers of people as sessions to learn from: which of them count, and how they are divided."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

_FEWEST_UNITS = 4
"""Sequences of messages below which equal sessions may be both learnt and held back."""


@dataclass(frozen=True)
class Answer:
    """What a person said of a session."""

    number: int
    """In the store; a later answer has a higher one."""
    stream: str
    session: str
    anomalous: bool
    messages: tuple[str, ...]
    """The session's masked messages, in order."""
    guilty: tuple[bool, ...] | None
    """Which of them a person named as guilty; none: that was not said."""
    made: datetime
    trained: str | None = None
    """What verdicts call the run that has learnt it; none: no run has."""

    @property
    def said(self) -> str:
        """In the store's words."""
        return "anomalous" if self.anomalous else "normal"


def counting(answers: Sequence[Answer]) -> list[Answer]:
    """The answers that count: of several on one session, or on equal sessions, the last one.

    No model can tell sessions with the same messages apart. Where several answers on such sessions
    agree, all of them count.
    """
    # What the last answer said of a sequence of messages, and sessions that have been answered for.
    of_sequence: dict[Hashable, bool] = {}
    of_session: set[Hashable] = set()
    counted: list[Answer] = []
    for answer in sorted(answers, key=lambda answer: -answer.number):
        named = (answer.stream, answer.session, answer.messages)
        # Newest first: the first answer on a sequence of messages is the one that holds for all of
        # them.
        agrees = of_sequence.setdefault(answer.messages, answer.anomalous) == answer.anomalous
        if agrees and named not in of_session:
            counted.append(answer)
        of_session.add(named)
    return counted[::-1]


def shares(answers: Sequence[Answer], *, count: int, seed: int) -> list[list[Answer]]:
    """Answers in shares, such that learning from one share says something of another.

    Each share has about as many answers of either kind. Sessions with the same messages stay
    together, unless there are hardly any others.
    """
    apart = len({answer.messages for answer in answers}) >= _FEWEST_UNITS
    # Anomalous and normal ones are dealt out apart, each as evenly as units of several allow: a
    # unit is all answers on one sequence of messages.
    rng = np.random.default_rng(seed)
    divided: list[list[Answer]] = [[] for _ in range(count)]
    for anomalous in (True, False):
        units: dict[Hashable, list[Answer]] = {}
        for answer in answers:
            if answer.anomalous == anomalous:
                units.setdefault(answer.messages if apart else answer.number, []).append(answer)
        drawn = list(units.values())
        sizes = [0] * count
        for place in rng.permutation(len(drawn)):
            # The share that has the fewest of this kind, of several such the one with the fewest of
            # all.
            # Of this kind the fewest; of equals the share with the fewest answers.
            fewest = [(sizes[share], len(divided[share])) for share in range(count)]
            smallest = fewest.index(min(fewest))
            divided[smallest].extend(drawn[place])
            sizes[smallest] += len(drawn[place])
    return divided
