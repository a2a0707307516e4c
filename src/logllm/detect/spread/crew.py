"""Processes that share the work on one log.

Who does what, and what becomes of it where one of them dies.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from logllm.counting import plural
from logllm.detect.spread.labour import Job
from logllm.errors import ServeError

_AHEAD = 2
"""Jobs that a process has before it, besides the one whose result is waited for."""
_MOST_DEATHS = 3
_LOOK = 2.0
"""Seconds after which a wait asks whether the process is still there."""


class Died(Exception):
    """A process that no longer answers; the text says what is known of it."""


class Hand(Protocol):
    """A process that does jobs in the order in which it is given them."""

    def begin(self, job: Job, lessons: list[pl.Series]) -> Any:
        """Have it do a job, once it has been taught; gives a ticket."""

    def done(self, ticket: Any, *, wait: float) -> bool:
        """Whether a job is done, or has failed, within some seconds.

        Raises:
            Died: it no longer answers.
        """

    def result(self, ticket: Any) -> Any:
        """What came of a job that is done.

        Raises:
            Died: it no longer answers.
            LogLLMError: what the job raised.
        """

    def leave(self) -> None:
        """Be let go."""


@dataclass(eq=False)
class _Begun:
    """A job that somebody has begun."""

    job: Job
    lessons: int
    """How many lessons there were before it."""
    hand: int
    ticket: Any = None


class Crew:
    """Some processes and what they have been given to do.

    Results come in the order of the jobs, whoever did them. A process that dies is replaced by a
    new one, which is taught what the old one knew and does again what it had not done: the results
    are the same.
    """

    def __init__(self, hire: Callable[[int], Hand], *, hands: int) -> None:
        """Hire.

        Args:
            hire: gives the process at a place, the first one there or a new one.
            hands: how many there are to be.
        """
        self.shards = 0
        """Jobs so far."""
        self.deaths = 0
        """Processes so far that had to be replaced."""
        self._hire = hire
        self.hands = [hire(place) for place in range(hands)]
        """The processes."""
        self._taught = [0] * hands
        self._lessons: list[pl.Series] = []
        self._unfinished: list[_Begun] = []

    def __len__(self) -> int:
        return len(self.hands)

    def each(self, jobs: Iterable[Job]) -> Iterator[Any]:
        """What comes of some jobs, in their order; several are done at once.

        Raises:
            LogLLMError: what a job raised; or processes die again and again.
        """
        waiting: deque[_Begun] = deque()
        for job in jobs:
            waiting.append(self._begun(job))
            if len(waiting) > _AHEAD * len(self.hands):
                yield self._result(waiting.popleft())
        while waiting:
            yield self._result(waiting.popleft())

    def one(self, job: Job) -> Any:
        """What comes of one job.

        Raises:
            LogLLMError: as `each`.
        """
        return self._result(self._begun(job))

    def close(self) -> None:
        """Let all go."""
        for hand in self.hands:
            hand.leave()
        self._unfinished.clear()

    def __str__(self) -> str:
        return f"{plural(len(self), 'actor')}, {plural(self.shards, 'shard')}"

    def _begun(self, job: Job) -> _Begun:
        """Give a job to the process that has the fewest before it, the first of several."""
        self.shards += 1
        load = [0] * len(self.hands)
        for other in self._unfinished:
            load[other.hand] += 1
        begun = _Begun(job, len(self._lessons), load.index(min(load)))
        if job.lesson is not None:
            self._lessons.append(job.lesson)
        self._unfinished.append(begun)
        try:
            self._give(begun)
        except Died as died:
            self._replace(begun.hand, died)
        return begun

    def _give(self, begun: _Begun) -> None:
        """Give a job to its process, and before it what that one has not been taught."""
        hand, job = begun.hand, begun.job
        lessons: list[pl.Series] = []
        if job.lesson is not None:
            lessons = self._lessons[self._taught[hand] : begun.lessons]
            self._taught[hand] = begun.lessons + 1
        begun.ticket = self.hands[hand].begin(job, lessons)

    def _result(self, begun: _Begun) -> Any:
        """What comes of a job, whoever does it in the end."""
        while True:
            hand = self.hands[begun.hand]
            try:
                while not hand.done(begun.ticket, wait=_LOOK):
                    pass
                result = hand.result(begun.ticket)
            except Died as died:
                self._replace(begun.hand, died)
                continue
            except BaseException:
                self._unfinished.remove(begun)
                raise
            self._unfinished.remove(begun)
            return result

    def _replace(self, place: int, died: Died) -> None:
        """Put a new process in the place of one that died, with all its jobs.

        Raises:
            ServeError: too many have died.
        """
        while True:
            self.deaths += 1
            if self.deaths > _MOST_DEATHS:
                raise ServeError(
                    f"{self.deaths} processes that judge have died, the last one so: {died}; see"
                    " its machine's memory, and whether the run and the logs are there under the"
                    " same names"
                ) from died
            self.hands[place].leave()
            self._taught[place] = 0
            try:
                self.hands[place] = self._hire(place)
                for begun in self._unfinished:
                    if begun.hand == place:
                        self._give(begun)
            except Died as again:
                died = again
            else:
                return
