"""One pass over a log: records become sessions, and sessions verdicts."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from datetime import date
from functools import cached_property
from itertools import chain
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection
from logllm.detect.evidence.written_lines import WrittenLines
from logllm.detect.judge import Judge
from logllm.detect.judging.closed_sessions import Judging, Seen
from logllm.detect.judging.known_scores import KnownScores
from logllm.detect.verdict import Verdict, verdicts
from logllm.errors import LogLLMError
from logllm.formats.recognition import advised
from logllm.logs.lines import CutOff
from logllm.logs.records import RECORDS
from logllm.logs.tally import Tally, WrongFormat
from logllm.progress import Progress
from logllm.sessions.message_table import MessageTable
from logllm.sessions.sessionizer import Sessionizer


class Manner(NamedTuple):
    """How a log is judged."""

    cached: bool = False
    """Take scores from those kept on this machine, and keep new ones there."""
    progress: Progress | None = None
    """Told the bytes read and all there are (0: not known), then sessions scored and all there
    are."""
    top_share: float | None = None
    """Give sessions in order of their scores, when the log has ended, and call at most this share
    of them anomalous."""
    occurrences: bool = False
    """Count each message's lines."""
    evidence: bool = True
    """Say which lines speak most for an anomalous verdict."""


class Reads(Protocol):
    """Reads a log for a reading: a `Reader`, or what gives the same."""

    settings: PrepareSection
    today: date
    tally: Tally
    files: list[str]

    @property
    def redacts(self) -> bool:
        """Whether nothing secret may be written of what it reads."""

    def read(
        self, sources: Sequence[str], *, progress: Progress | None = None
    ) -> Iterator[pl.DataFrame]:
        """Records (`logllm.logs.records.RECORDS`), one frame for each batch of lines."""

    def described(self, name: str) -> FormatSection:
        """The format that a file is read by."""

    def close(self) -> None:
        """Read no further."""


class Reading(Iterator[Verdict]):
    """Verdicts as sessions close, iterable once; counts and messages grow as they are taken.

    A reading belongs to one caller: several readings of one detector may go on side by side, each
    with counts of its own. One that is not read to its end must be closed, or used in a `with`
    block.
    """

    def __init__(
        self,
        reader: Reads,
        names: Sequence[str],
        *,
        run: Judge,
        manner: Manner,
    ) -> None:
        """Begin with nothing read.

        Args:
            reader: reads the log.
            names: the log's files, or `-`.
            run: scores, and says which sessions are anomalous.
            manner: how the log is judged.
        """
        self.counts: dict[str, int] = reader.tally.counts
        """Counts of what was read so far: `lines`, `rejected` and others."""
        self._reader = reader
        self._names = names
        self._run = run
        self._cached = manner.cached
        if self._cached:
            self.counts["scores_from_cache"] = 0
        self._progress = manner.progress
        self._top_share = manner.top_share
        self._evidence = manner.evidence
        self._count = 0  # sessions so far
        self._occurrences: list[pl.DataFrame] | None = [] if manner.occurrences else None
        self._table = MessageTable()
        self._frames = self._judged()
        objects = (verdicts(frame.drop("messages")) for frame in self.frames())
        self._verdicts = chain.from_iterable(objects)

    @property
    def rejects(self) -> list[dict[str, object]]:
        """The first three lines that did not parse: `file`, `line`, `text` (shortened)."""
        return self._reader.tally.first_rejects

    @property
    def messages(self) -> pl.Series:
        """The distinct masked messages so far."""
        return self._table.messages

    @property
    def settings(self) -> PrepareSection:
        """What the log is read by."""
        return self._reader.settings

    @property
    def files(self) -> list[str]:
        """The inputs' names as verdicts give them."""
        return self._reader.files

    @property
    def occurrences(self) -> pl.DataFrame:
        """One row for each message so far, where they are counted.

        Columns are `message`, `count` (of lines), and `line` and `file` of the first of these.
        """
        # Where nothing was counted the frame is empty, with the same columns.
        nothing = self._table.numbered(pl.DataFrame(schema=RECORDS))
        frames = self._occurrences or [_occurrences(nothing)]
        by_message = pl.concat(frames).group_by("message", maintain_order=True)
        count = pl.col("count").sum()
        return by_message.agg(count, pl.col("line", "file").first())

    @property
    def threshold(self) -> float:
        """Scores from here on are anomalous."""
        return self._run.threshold

    def message_scores(self, places: pl.Series) -> pl.Series:
        """The scores of messages by themselves: each as a session that holds nothing else, (u,).

        Args:
            places: in this reading's `messages`, (u,).
        """
        with closing(self._run.cache()) if self._cached else nullcontext() as cache:
            known = KnownScores(self._run.opinion, many=self._run.many, cache=cache)
            judging = self._judging(known)
            scores = judging.line_scores(places.to_numpy(), self.messages)
        return pl.Series("score", scores)

    @property
    def knows_ends(self) -> bool:
        """Whether it is known how sessions begin and end.

        It is if the run has learnt it, or if sessions are windows.
        """
        return self._run.ends is not None or not self._reader.settings.sessions.by_key

    def __next__(self) -> Verdict:
        return next(self._verdicts)

    def frames(self) -> Iterator[pl.DataFrame]:
        """The verdicts as frames, one for all sessions that close together.

        Beside a verdict's own columns they have `messages` (list[u32]): for each of `lines` the
        place of its message in this reading's `messages`.

        Raises:
            DataError: an input cannot be read, is empty, or most of its lines are not in the
                format.
        """
        try:
            yield from self._frames
        finally:
            self.close()

    def close(self) -> None:
        """Read no further."""
        self._reader.close()
        # Closed by another thread, it ends when its read does.
        if not getattr(self._frames, "gi_running", False):
            self._frames.close()

    def _judged(self) -> Generator[pl.DataFrame]:
        """Verdict frames, as sessions close."""
        sessionizer = Sessionizer(self._reader.settings.sessions)
        faults: list[Exception] = []
        with closing(self._run.cache()) if self._cached else nullcontext() as cache:
            known = KnownScores(self._run.opinion, many=self._run.many, cache=cache)
            judging = self._judging(known)
            # Whatever ranks sessions needs all of them: they wait for the end of the log.
            together = self._run.together or self._top_share is not None
            waiting = []
            for batch in self._until_fault(faults):
                records = self._table.numbered(batch)
                if self._occurrences is not None:
                    self._occurrences.append(_occurrences(records))
                closed = sessionizer.push(records)
                if together:
                    waiting.append(closed)
                elif closed.height:
                    yield self._verdict_frame(closed, judging, known=known, after=sessionizer)
            # The input has ended: what is still open closes now, with what was judged together.
            last = pl.concat([*waiting, sessionizer.flush()])
            further = {**sessionizer.counts, "cut_messages": sessionizer.messages_cut}
            for name, count in further.items():
                self.counts[name] = self.counts.get(name, 0) + count
            if last.height:
                if self._run.together:
                    self._run.learn(last, self.messages)
                verdicts = self._verdict_frame(last, judging, known=known, after=sessionizer)
                if self._top_share is not None:
                    verdicts = self._ordered(verdicts, share=self._top_share)
                yield verdicts
        # After all verdicts: what was read before the fault is worth having.
        if faults:
            raise faults[0]

    def _judging(self, known: KnownScores) -> Judging:
        """What judges with the scores that are known."""
        by_key = self._reader.settings.sessions.by_key
        written = (lambda: self._written) if self._evidence else None
        return Judging(self._run, known, by_key=by_key, written=written)

    @cached_property
    def _written(self) -> WrittenLines:
        """What is written in the lines of anomalous sessions."""
        # Inputs by their own names: redacted ones could not be opened again.
        reader = self._reader
        inputs = [(name, reader.described(name)) for name in self._names]
        key_field = reader.settings.sessions.key_field
        return WrittenLines(inputs, key_field=key_field, redacted=reader.redacts)

    def _verdict_frame(
        self,
        sessions: pl.DataFrame,
        judging: Judging,
        *,
        known: KnownScores,
        after: Sessionizer,
    ) -> pl.DataFrame:
        """Verdicts on sessions that close together, with their messages.

        `after` is the sessionizer that closed them.
        """
        self._count += sessions.height
        # Of a log that still comes nobody knows how many sessions it will have.
        progress = self._progress if after.over else None
        seen = Seen(after.span, after.over, self._count)
        frame = judging.verdicts(
            sessions, self.messages, seen=seen, files=self._reader.files, progress=progress
        )
        if self._cached:
            self.counts["scores_from_cache"] = known.from_cache
        return frame

    def _ordered(self, verdicts: pl.DataFrame, *, share: float) -> pl.DataFrame:
        """All verdicts of a log by score, at most such a share of them anomalous."""
        # At least one: of 20 sessions a share of .01 would call none anomalous. Of equal scores at
        # the border those are that come first.
        most = max(1, int(share * verdicts.height))
        ordered = verdicts.sort("score", descending=True, maintain_order=True)
        calls = pl.col("anomalous")
        is_among_first = calls.cum_sum() <= most
        ordered = ordered.with_columns(calls & is_among_first)
        # Who is no longer called anomalous needs no reason.
        why = [name for name in ("evidence", "expected") if name in ordered.columns]
        return ordered.with_columns(pl.when("anomalous").then(name).alias(name) for name in why)

    def _until_fault(self, faults: list[Exception]) -> Iterator[pl.DataFrame]:
        """The records before the input ends in a fault, which is noted.

        Raises:
            DataError: these are no records at all.
        """
        try:
            yield from self._reader.read(self._names, progress=self._progress)
        except CutOff as exc:
            faults.append(exc)
        except WrongFormat as exc:
            raise advised(exc, today=self._reader.today) from None
        except LogLLMError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever lines that somebody else makes end with
            faults.append(exc)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _occurrences(records: pl.DataFrame) -> pl.DataFrame:
    """How many records have each message, and where the first of these is."""
    by_message = records.group_by("message", maintain_order=True)
    count = pl.len().alias("count")
    return by_message.agg(count, pl.col("line", "file").first())
