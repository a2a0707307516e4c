"""A run whose sessions are scored by several processes."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import polars as pl

from logllm.detect.detector import Detector
from logllm.detect.evidence.turning import Turns
from logllm.detect.judging.known_scores import JudgesMany
from logllm.detect.opened_run import OpenedRun
from logllm.detect.reading import Reads
from logllm.detect.spread.crew import Crew
from logllm.detect.spread.labour import Job, Sessions
from logllm.detect.spread.spread_reader import SpreadReader
from logllm.errors import DataError
from logllm.logs.archives import Bytes
from logllm.logs.lines import STDIN
from logllm.methods.contract import Opinion
from logllm.metrics import Scores
from logllm.progress import Progress
from logllm.sessions.message_table import Rows


class SpreadRun(OpenedRun):
    """A run whose method works in other processes: here it says what follows from the scores."""

    _crew: Crew

    @classmethod
    def of(cls, run: OpenedRun, crew: Crew) -> Self:
        """The same run, its method in other processes."""
        spread = cls(run.folder, recipe=run.recipe, manifest=run.manifest, workplace=run.workplace)
        spread._crew = crew
        return spread

    def opinion(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Opinion:
        """How anomalous sessions are, and what their verdicts say besides."""
        return next(self._opinions([sessions], messages))

    @property
    def many(self) -> JudgesMany:
        """Judges lots of sessions side by side."""
        return self._opinions

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores] | None:
        """How much each message of sessions speaks for "anomalous".

        None: each speaks as much as it would in a session of its own.
        """
        if not self._reads_lines:
            return None
        job = _scoring("score_lines", Sessions.of(sessions, messages))
        scores: list[Scores] = self._crew.one(job)
        return scores

    def turns(self, sessions: Sequence[Rows], messages: pl.Series) -> Turns:
        """Where sessions turned that are anomalous as a whole."""
        some = Sessions.of(sessions, messages)
        turned: Turns = self._crew.one(Job("turns", (some,), lesson=some.messages))
        return turned

    def _opinions(self, lots: Iterable[Sequence[Rows]], messages: pl.Series) -> Iterator[Opinion]:
        """The opinions of lots of sessions, in their order."""
        # Jobs are made when a process has room for them, so that not all are in memory at once.
        jobs = (_scoring("opinion", Sessions.of(sessions, messages)) for sessions in lots)
        return self._crew.each(jobs)


def _scoring(which: str, some: Sessions) -> Job:
    """A job that scores sessions all at once.

    Scored in several jobs, the last bits of scores would differ.
    """
    return Job("score", (which, some), lesson=some.messages)


class SpreadDetector(Detector):
    """A detector whose reading and scoring several processes share."""

    crew: Crew
    """The processes."""

    @classmethod
    def of(cls, detector: Detector, crew: Crew) -> Self:
        """The same detector, with processes that share its work.

        It does not use scores that are kept on this machine.
        """
        # What was learnt a moment ago is in this process alone: it goes on to score here.
        run = detector.run
        if isinstance(run, OpenedRun):
            run = SpreadRun.of(run, crew)
        spread = cls(run, settings=detector.settings, cached=False)
        spread.crew = crew
        return spread

    def reader(self, names: Sequence[str], *, stdin: Bytes | None, redact: bool) -> Reads:
        """The reader of some inputs, each read by one process.

        Raises:
            DataError: standard input is among them, which only one process can read.
        """
        if STDIN in names:
            raise DataError(
                "--ray reads files, and standard input (-) can be read only once: write it to a"
                " file first"
            )
        most = self.run.recipe.detect.read_lines
        return SpreadReader(
            self.settings, self.crew, today=self.today(), batch_lines=most, redact=redact
        )
