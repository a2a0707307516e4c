"""What a process that helps to judge a log does.

It reads files, and scores sessions with a run of its own.
"""

from collections.abc import Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.detect.opened_run import OpenedRun
from logllm.logs.lines import CutOff, NoLines
from logllm.logs.reader import Reader
from logllm.logs.redaction import Redactor
from logllm.logs.tally import Tallied
from logllm.sessions.message_table import MessageTable, Rows, occurring


class Origin(NamedTuple):
    """Which run judges, as every process can open it."""

    folder: Path
    """The run's, under the same name on every machine."""
    engine: str
    threshold: float
    verify: bool

    @classmethod
    def of(cls, run: OpenedRun) -> "Origin":
        """Where a run that is open here can be opened once more."""
        folder = run.folder.resolve()
        return cls(folder, run.recipe.detect.engine, run.threshold, run.workplace.verify)


class Manner(NamedTuple):
    """How files are read."""

    settings: PrepareSection
    today: date
    batch_lines: int
    redactor: Redactor | None


class FileRead(NamedTuple):
    """What one file holds."""

    frames: list[pl.DataFrame]
    """Its records (`logllm.sessions.message_table.NUMBERED`), numbered from 1, a frame a batch of
    lines."""
    messages: pl.Series
    """Its message table."""
    tallied: Tallied
    zones: set[str]
    """Abbreviations of zones that its times name."""
    fault: str | None = None
    """Why its end cannot be read; none: it can."""


class Job(NamedTuple):
    """One thing to be done, by whichever process."""

    task: str
    """A method of `Labour`."""
    arguments: tuple[Any, ...]
    lesson: pl.Series | None = None
    """Messages that whoever does it keeps for later jobs, which those others must be taught; none:
    it keeps nothing."""


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
        there = occurring(sessions)
        return cls(
            [np.searchsorted(there, session) for session in sessions], messages.gather(there)
        )


class Labour:
    """What one process does; each thing asked of it is a method by its name."""

    def __init__(self, origin: Origin | None) -> None:
        """Open nothing yet; a run is opened when it is first asked to score.

        Args:
            origin: the run; none: nothing is scored here.
        """
        self._origin = origin

    def do(self, job: Job, lessons: Sequence[pl.Series]) -> Any:
        """Do a job.

        Args:
            job: says which method it is, and what that is given.
            lessons: messages of the calls before this one that another process answered, a table a
                call.
        """
        for messages in lessons:
            self._run.method.meet(messages)
        return getattr(self, job.task)(*job.arguments)

    def read(self, name: str, manner: Manner) -> FileRead:
        """The records of a file, up to where it can be read."""
        reader = Reader(
            manner.settings,
            today=manner.today,
            batch_lines=manner.batch_lines,
            redact=manner.redactor or False,
        )
        table = MessageTable()
        frames, fault = [], None
        try:
            for records in reader.frames([name], progress=None):
                frames.append(table.numbered(records))
        except NoLines:  # the log may still have some
            pass
        except CutOff as exc:
            fault = str(exc)
        return FileRead(frames, table.messages, reader.tally.tallied, reader.zones, fault)

    def score(self, which: str, sessions: Sessions) -> Any:
        """What a run's method says of sessions.

        Args:
            which: `opinion` or `score_lines`.
            sessions: the sessions.
        """
        return getattr(self._run.method, which)(sessions.rows, sessions.messages)

    @cached_property
    def _run(self) -> OpenedRun:
        """The run, verified here, too."""
        assert self._origin is not None  # noqa: S101 - only a run's sessions are scored here
        folder, engine, threshold, verify = self._origin
        return OpenedRun.open(
            folder, progress=None, engine=engine, threshold=threshold, verify=verify
        )
