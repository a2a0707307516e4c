"""Lines and sessions that a client sends, judged at once; nothing of them is stored."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Semaphore
from typing import Any, NamedTuple

import polars as pl

from logllm.config.sessions import SessionSection
from logllm.detect.detector import Detector
from logllm.detect.judging.closed_sessions import Judging, Seen
from logllm.detect.judging.known_scores import KnownScores
from logllm.detect.verdict import OPTIONAL, json_lines
from logllm.errors import DataError
from logllm.formats.recognition import advised
from logllm.logs.reader import Reader
from logllm.logs.tally import WrongFormat
from logllm.serve.web.judging.given_texts import Given, GivenTexts, given, records_of
from logllm.serve.web.refusals import Refusal
from logllm.serve.web.request_models import GivenSession
from logllm.sessions.message_table import MessageTable
from logllm.sessions.sessionizer import Sessionizer

Objects = list[dict[str, Any]]


class Judged(NamedTuple):
    """What was judged."""

    verdicts: Objects
    counts: dict[str, int]
    """What was read, and what was not."""
    seconds: float
    """How long it took."""


class JudgingNow:
    """Judges for several clients, some at a time; others wait, and the rest come later."""

    newer: Callable[[], Detector | None] | None = None
    """Asked before each request for the run that was promoted since; none: somebody else asks."""

    def __init__(self, detector: Detector, *, lines: int, at_once: int, redact: bool) -> None:
        """Judging by a run that is loaded.

        Args:
            detector: judges.
            lines: most lines of one request.
            at_once: requests that are worked on at a time; as many again wait.
            redact: nothing secret in what is answered.
        """
        self.detector = detector
        """Judges; may be replaced by a newer one at any time."""
        self._most = lines
        self.redact = redact
        """Whether nothing secret is answered."""
        self._places = Semaphore(2 * at_once)
        self._working = Semaphore(at_once)

    def lines(self, lines: Sequence[str]) -> Judged:
        """Verdicts on the sessions of some lines, which are read and grouped as the run's log was.

        Raises:
            Refusal: too many lines, too many clients, or hardly a line can be read.
        """
        return self._judged([given(lines)], grouping=self.detector.settings.sessions)

    def sessions(self, sessions: Sequence[GivenSession]) -> Judged:
        """Verdicts on whole sessions: nobody asks whether something of one is lacking.

        Raises:
            Refusal: as `lines`, or two sessions have one name.
        """
        # Verdicts are told apart by it: two of one name would be one session.
        names = [session.session for session in sessions]
        if len(set(names)) < len(names):
            raise Refusal(422, "sessions: two have one name")
        several = []
        for session in sessions:
            bare = session.lines is None
            texts = session.lines or session.messages or ()
            several.append(given(texts, session=session.session, bare=bare))
        # Grouped by the name that was sent, whatever the run groups by; long sessions are treated
        # as in training.
        limits = self.detector.settings.sessions
        by_name = SessionSection(
            by="key",
            key_field="session",
            max_messages=limits.max_messages,
            long=limits.long,
        )
        return self._judged(several, grouping=by_name)

    def _judged(self, several: Sequence[Given], *, grouping: SessionSection) -> Judged:
        """Verdicts on what was sent."""
        count = sum(len(one.texts) for one in several)
        if not count:
            raise Refusal(422, "there are no lines")
        if count > self._most:
            raise Refusal(413, f"{count:,} lines: send at most {self._most:,} at once")

        # Asked for a newer run once, so that one request is read and judged by the same.
        with self._turn() as taken:
            self.detector = (self.newer and self.newer()) or self.detector
            detector = self.detector
            reader = self._reader(detector)
            records = records_of(several, reader=reader)
            _check_format(reader)
            written = self._written(several, detector)
            verdicts = _verdicts(records, written, detector=detector, grouping=grouping)
            counts = {name: number for name, number in reader.tally.counts.items() if number}
            return Judged(verdicts, counts, taken())

    def _reader(self, detector: Detector) -> Reader:
        """What reads lines by the run's format.

        Raises:
            DataError: the run reads several formats, and a line does not say which is its own.
        """
        settings = detector.settings
        if settings.services:
            raise DataError("this run reads logs of several services: send them to `logllm detect`")
        return Reader(settings, today=datetime.now(UTC).date(), redact=self.redact)

    def _written(self, several: Sequence[Given], detector: Detector) -> GivenTexts:
        """What was sent, for evidence."""
        settings = detector.settings
        redacted = self.redact or settings.redact
        return GivenTexts(several, settings=settings, redacted=redacted)

    @contextmanager
    def _turn(self) -> Iterator[Callable[[], float]]:
        """Wait until one may work; gives the seconds that it has taken so far.

        Raises:
            Refusal: too many wait already, or what was sent cannot be judged.
        """
        # Waiting has an end: who finds the queue full is told at once to come later.
        if not self._places.acquire(blocking=False):
            later = {"retry-after": "1"}
            raise Refusal(503, "other requests are being judged and waiting", headers=later)
        try:
            with self._working:
                # Without the time in the queue: it says how long judging takes.
                begun = time.perf_counter()
                yield lambda: round(time.perf_counter() - begun, 3)
        except DataError as exc:
            raise Refusal(422, str(exc)) from exc
        finally:
            self._places.release()


def _verdicts(
    records: pl.DataFrame,
    written: GivenTexts,
    *,
    detector: Detector,
    grouping: SessionSection,
) -> Objects:
    """Verdicts on the sessions of some records."""
    run = detector.run
    table = MessageTable()
    sessionizer = Sessionizer(grouping)
    closed = sessionizer.push(table.numbered(records))
    sessions = pl.concat([closed, sessionizer.flush()])
    if not sessions.height:
        return []

    # Sessions that a client names are whole as they were sent: nothing has cut them.
    if written.named:
        sessions = sessions.with_columns(cut=pl.lit(None, dtype=pl.String))
    by_key = grouping.by_key and not written.named
    known = KnownScores(run.opinion)
    judging = Judging(run, known, by_key=by_key, written=lambda: written)
    seen = Seen(sessionizer.span, over=True, sessions=sessions.height)
    frame = judging.verdicts(sessions, table.messages, seen=seen, files=written.files)
    return list(_objects(frame.drop("messages", "files", strict=False)))


def _check_format(reader: Reader) -> None:
    """Whether enough of what was sent could be read.

    Raises:
        DataError: it could not; the message names formats that fit.
    """
    try:
        reader.tally.check(reader.files)
    except WrongFormat as exc:
        raise advised(exc, today=reader.today) from exc


def _objects(frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Verdicts as they are given, without what says nothing."""
    for text in json_lines(frame):
        for line in text.removesuffix("\n").split("\n"):
            verdict = json.loads(line)
            silent = [name for name in OPTIONAL if verdict.get(name) is None]
            for name in silent:
                verdict.pop(name, None)
            # There are no files here: what was sent has no name that a client knows.
            for telling in verdict.get("evidence", ()):
                telling.pop("file", None)
            yield verdict
