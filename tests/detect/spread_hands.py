"""Processes for tests of sharing work: in this process, each with a run of its own, some of which
die."""

import pickle
from typing import Any

from logllm.detect.spread.crew import Died
from logllm.detect.spread.labour import Job, Labour, Origin


class Here:
    """A hand in this process: what it is given and gives is pickled, as between processes."""

    def __init__(self, origin: Origin | None, *, jobs: int | None = None) -> None:
        """It dies before it does more than so many jobs; none: it lives."""
        self._labour = Labour(origin)
        self._left = jobs
        self.did: list[str] = []
        self.lessons = 0

    def begin(self, job: Job, lessons: list[Any]) -> Any:
        return pickle.dumps((job, lessons))

    def done(self, ticket: Any, *, wait: float) -> bool:
        return True

    def result(self, ticket: Any) -> Any:
        if self._left == 0:
            raise Died("its power was cut")
        self._left = None if self._left is None else self._left - 1
        job, lessons = pickle.loads(ticket)  # noqa: S301 - made above
        self.did.append(job.task)
        self.lessons += len(lessons)
        return pickle.loads(pickle.dumps(self._labour.do(job, lessons)))  # noqa: S301

    def leave(self) -> None:
        pass
