"""The work of a process that helps to judge a log.

It reads files, and scores sessions with a run that it opens itself.
"""

from collections.abc import Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.detect.evidence.turning import Turns
from logllm.detect.opened_run import OpenedRun
from logllm.logs.inputs.spans import WHOLE, Span
from logllm.logs.lines import CutOff, NoLines
from logllm.logs.reader import Reader
from logllm.logs.redaction import Redactor
from logllm.logs.tally import Tallied
from logllm.sessions.message_table import MessageTable, Rows, occurring


class Origin(NamedTuple):
    """Which run judges, as every process can open it."""

    folder: Path
    """The run's folder, under the same name on every machine."""
    engine: str
    threshold: float
    verify: bool

    @classmethod
    def of(cls, run: OpenedRun) -> "Origin":
        """Where a run that is open here can be opened once more."""
        folder = run.folder.resolve()
        return cls(folder, run.recipe.detect.engine, run.threshold, run.workplace.verify)


class Manner(NamedTuple):
    """How files are read, or parts of them."""

    settings: PrepareSection
    today: date
    batch_lines: int
    redactor: Redactor | None
    span: Span = WHOLE
    """Which part of a file."""


class FileRead(NamedTuple):
    """What one file holds, or a part of it."""

    frames: list[pl.DataFrame]
    """Its records (`logllm.sessions.message_table.NUMBERED`), numbered from 1, one frame for each
    batch of lines."""
    messages: pl.Series
    """Its message table."""
    tallied: Tallied
    zones: set[str]
    """Abbreviations of zones that its times name."""
    fault: str | None = None
    """Why its end cannot be read; None: it can."""


class Job(NamedTuple):
    """One thing to be done, by any of the processes."""

    task: str
    """The name of a method of `Labour`."""
    arguments: tuple[Any, ...]
    lesson: pl.Series | None = None
    """Messages that the process which does the job remembers, and which the others must be taught
    before their next job; None: it remembers nothing."""


class Sessions(NamedTuple):
    """Sessions to be scored, with the messages that occur in them and no others."""

    rows: list[Rows]
    messages: pl.Series

    @classmethod
    def of(cls, sessions: Sequence[Rows], messages: pl.Series) -> "Sessions":
        """Sessions of a larger message table, their messages in the same order.

        >>> some = Sessions.of([np.array([3, 1])], pl.Series(["a", "b", "c", "d"]))
        >>> some.rows[0].tolist(), some.messages.to_list()
        ([1, 0], ['b', 'd'])
        """
        # Sent to another process, a small table costs less than the whole one.
        there = occurring(sessions)
        renumbered = [np.searchsorted(there, session) for session in sessions]
        return cls(renumbered, messages.gather(there))


class Labour:
    """The work of one process; each task is a method by its name."""

    def __init__(self, origin: Origin | None) -> None:
        """Open nothing yet: the run is opened when there is something to score.

        Args:
            origin: the run; None: nothing is scored here.
        """
        self._origin = origin

    def do(self, job: Job, lessons: Sequence[pl.Series]) -> Any:
        """Do a job.

        Args:
            job: names the method and its arguments.
            lessons: the messages of earlier calls that other processes answered, one table for each
                call.
        """
        for messages in lessons:
            self._run.method.meet(messages)
        return getattr(self, job.task)(*job.arguments)

    def read(self, name: str, manner: Manner) -> FileRead:
        """The records of a file, or of a part of it, up to where it can be read."""
        reader = Reader(
            manner.settings,
            today=manner.today,
            batch_lines=manner.batch_lines,
            redact=manner.redactor or False,
        )
        table = MessageTable()
        frames, fault = [], None
        try:
            if manner.span == WHOLE:
                batches = reader.frames([name], progress=None)
            else:
                batches = reader.of_span(name, manner.span)
            for records in batches:
                frames.append(table.numbered(records))
        except NoLines:  # the log may still have some
            pass
        except CutOff as exc:
            fault = str(exc)
        return FileRead(frames, table.messages, reader.tally.tallied, reader.zones, fault)

    def score(self, which: str, sessions: Sessions) -> Any:
        """What the run's method says of sessions.

        Args:
            which: `opinion` or `score_lines`.
            sessions: the sessions.
        """
        return getattr(self._run.method, which)(sessions.rows, sessions.messages)

    def turns(self, sessions: Sessions) -> Turns:
        """Where sessions turned that are anomalous as a whole."""
        return self._run.turns(sessions.rows, sessions.messages)

    @cached_property
    def _run(self) -> OpenedRun:
        """The run, verified in this process, too."""
        assert self._origin is not None  # noqa: S101 - only a run's sessions are scored here
        folder, engine, threshold, verify = self._origin
        return OpenedRun.open(
            folder, progress=None, engine=engine, threshold=threshold, verify=verify
        )
