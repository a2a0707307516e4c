"""Processes that share the work on one log.

Here is decided which of them does what, and what happens if one of them dies.
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
"""How many jobs each process has waiting, besides the one whose result is waited for."""
_MOST_DEATHS = 3
_LOOK = 2.0
"""Seconds of waiting after which it is asked whether the process is still there."""


class Died(Exception):
    """A process no longer answers; the text says what is known of it."""


class Hand(Protocol):
    """A process that does jobs in the order in which it is given them."""

    def begin(self, job: Job, lessons: list[pl.Series]) -> Any:
        """Teach it the lessons, then have it do a job; gives a ticket for the result."""

    def done(self, ticket: Any, *, wait: float) -> bool:
        """Whether a job is done, or has failed, within some seconds.

        Raises:
            Died: it no longer answers.
        """

    def result(self, ticket: Any) -> Any:
        """The result of a job that is done.

        Raises:
            Died: it no longer answers.
            LogLLMError: what the job raised.
        """

    def leave(self) -> None:
        """End the process."""


@dataclass(eq=False)
class _Begun:
    """A job that a process has begun."""

    job: Job
    lessons: int
    """How many lessons there were before it."""
    hand: int
    ticket: Any = None


class Crew:
    """Some processes and the jobs that they have been given.

    Results come in the order of the jobs, whichever process did them. A process that dies is
    replaced by a new one, which is taught what the old one knew and does again what that had not
    finished: the results are the same.
    """

    def __init__(self, hire: Callable[[int], Hand], *, hands: int) -> None:
        """Hire the processes.

        Args:
            hire: starts a process for a place, the first one there or one that replaces another.
            hands: how many processes to hire.
        """
        self.shards = 0
        """How many jobs there were so far."""
        self.deaths = 0
        """How many processes had to be replaced so far."""
        self._hire = hire
        self.hands = [hire(place) for place in range(hands)]
        """The processes."""
        self._taught = [0] * hands
        self._lessons: list[pl.Series] = []
        self._unfinished: list[_Begun] = []

    def __len__(self) -> int:
        return len(self.hands)

    def each(self, jobs: Iterable[Job]) -> Iterator[Any]:
        """The results of jobs, in their order; several are done at once.

        Raises:
            LogLLMError: what a job raised; or processes die again and again.
        """
        # Enough jobs are begun that no process waits, and no more: results lie in memory.
        waiting: deque[_Begun] = deque()
        for job in jobs:
            waiting.append(self._begun(job))
            if len(waiting) > _AHEAD * len(self.hands):
                yield self._result(waiting.popleft())
        while waiting:
            yield self._result(waiting.popleft())

    def one(self, job: Job) -> Any:
        """The result of one job.

        Raises:
            LogLLMError: as `each`.
        """
        return self._result(self._begun(job))

    def close(self) -> None:
        """End all processes."""
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
        fewest = load.index(min(load))
        begun = _Begun(job, len(self._lessons), fewest)
        if job.lesson is not None:
            self._lessons.append(job.lesson)
        # Noted before it is given: if the process dies of it, its successor is given it again.
        self._unfinished.append(begun)
        try:
            self._give(begun)
        except Died as died:
            self._replace(begun.hand, died)
        return begun

    def _give(self, begun: _Begun) -> None:
        """Give a job to its process, with the lessons that this one has missed."""
        hand, job = begun.hand, begun.job
        # The job's own messages are no lesson for the process that does it.
        lessons: list[pl.Series] = []
        if job.lesson is not None:
            lessons = self._lessons[self._taught[hand] : begun.lessons]
            self._taught[hand] = begun.lessons + 1
        begun.ticket = self.hands[hand].begin(job, lessons)

    def _result(self, begun: _Begun) -> Any:
        """The result of a job, whichever process does it in the end."""
        while True:
            # After a death another process has the job, and another ticket.
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
            # A new process knows nothing, and has all jobs of the old one before it.
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
