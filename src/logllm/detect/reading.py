"""One pass over a log: records become sessions, sessions verdicts; and what was read on the way."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.detect.cut_sessions import CutSessions
from logllm.detect.evidence.telling_lines import Sources, evidence
from logllm.detect.evidence.written_lines import WrittenLines
from logllm.detect.judge import Judge
from logllm.detect.known_scores import KnownScores
from logllm.detect.verdict import Verdict, to_frame, verdicts
from logllm.errors import LogLLMError
from logllm.formats.recognition import advised
from logllm.logs.lines import CutOff
from logllm.logs.reader import Reader
from logllm.logs.records import RECORDS
from logllm.logs.tally import WrongFormat
from logllm.metrics import Labels, Scores
from logllm.progress import Progress
from logllm.sessions.cut import Span
from logllm.sessions.message_table import MessageTable, Rows, occurring, rows_of
from logllm.sessions.sessionizer import Sessionizer

if TYPE_CHECKING:
    from logllm.datasets.services import ServicesReader


class Manner(NamedTuple):
    """How a log is judged."""

    cached: bool = False
    """Take scores from those kept on this machine, and keep new ones there."""
    progress: Progress | None = None
    """Told the bytes read and all there are (0: not known), then sessions scored and all there are."""
    top_share: float | None = None
    """Give sessions in order of their scores, when the log has ended, and call at most this share of
    them anomalous."""
    occurrences: bool = False
    """Count each message's lines."""
    evidence: bool = True
    """Say which lines speak most for an anomalous verdict."""


class Reading(Iterator[Verdict]):
    """Verdicts as sessions close, iterable once; the rest grows as the verdicts are taken.

    It belongs to one caller: several readings of one detector go on side by side, each with counts
    of its own. One that is not read to its end is to be closed, or used in a `with` block.
    """

    def __init__(
        self,
        reader: "Reader | ServicesReader",
        names: Sequence[str],
        *,
        run: Judge,
        manner: Manner,
    ) -> None:
        """Nothing read yet.

        Args:
            reader: reads the log.
            names: the log's files, or `-`.
            run: scores, and says which sessions are anomalous.
            manner: what else is wanted.
        """
        self.counts: dict[str, int] = reader.tally.counts
        """Plain counts of what was read so far: `lines`, `rejected`, and all else worth knowing."""
        self._reader = reader
        self._names = names
        self._run = run
        self._cached = manner.cached
        self._progress = manner.progress
        self._top_share = manner.top_share
        self._evidence = manner.evidence
        self._count = 0  # sessions so far
        self._occurrences: list[pl.DataFrame] | None = [] if manner.occurrences else None
        self._table = MessageTable()
        by_key = reader.settings.sessions.by_key
        self._cuts = CutSessions(
            run.ends,
            threshold=run.threshold,
            doubt=run.doubt,
            by_key=by_key,
        )
        inputs = [(name, reader.described(name)) for name in names]
        self._written = WrittenLines(inputs, key_field=reader.settings.sessions.key_field, redacted=reader.redacts)
        self._frames = self._judged()
        each = (verdicts(frame.drop("messages")) for frame in self.frames())
        self._verdicts = chain.from_iterable(each)

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
        """Of each message so far, where they are counted, its `message`, `count` of lines, and the first's `line` and `file`."""
        frames = self._occurrences or [_occurrences(self._table.numbered(pl.DataFrame(schema=RECORDS)))]
        rows = pl.concat(frames).group_by("message", maintain_order=True)
        return rows.agg(pl.col("count").sum(), pl.col("line", "file").first())

    @property
    def threshold(self) -> float:
        """Scores from here on are anomalous."""
        return self._run.threshold

    def message_scores(self, places: pl.Series) -> pl.Series:
        """What some messages score by themselves: each as a session that holds nothing else.

        Args:
            places: in this reading's `messages`, (u,).
        """
        with closing(self._run.cache()) if self._cached else nullcontext() as cache:
            known = KnownScores(self._run.opinion, cache=cache)
            scores = self._line_scores(places.to_numpy(), known)
        return pl.Series("score", scores)

    @property
    def knows_ends(self) -> bool:
        """Whether it is known how sessions begin and end: the run has learnt it, or they are windows."""
        return self._run.ends is not None or not self._reader.settings.sessions.by_key

    def __next__(self) -> Verdict:
        return next(self._verdicts)

    def frames(self) -> Iterator[pl.DataFrame]:
        """The verdicts as frames, one for the sessions that close together.

        Beside a verdict's own columns they have `messages` (list[u32]), which goes with `lines`: places
        in this reading's `messages`.

        Raises:
            DataError: an input cannot be read, is empty, or most of its lines are not in the format.
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
            known = KnownScores(self._run.opinion, cache=cache)
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
                    yield self._verdict_frame(closed, known, after=sessionizer)
            last = pl.concat([*waiting, sessionizer.flush()])
            for name, count in (
                *sessionizer.counts.items(),
                ("cut_messages", sessionizer.messages_cut),
            ):
                self.counts[name] = self.counts.get(name, 0) + count
            if last.height:
                self._run.learn(last, self.messages)
                yield self._ordered(self._verdict_frame(last, known, after=sessionizer))
        if faults:
            raise faults[0]

    def _verdict_frame(
        self,
        sessions: pl.DataFrame,
        known: KnownScores,
        *,
        after: Sessionizer,
    ) -> pl.DataFrame:
        """Verdicts on sessions that close together, with their messages; `after` is what closed them."""
        messages, span, over = self.messages, after.span, after.over
        sessions = self._cuts.marked(sessions, messages, span=span, over=over)
        progress = self._progress if over else None
        scores, more = known.of(sessions["messages"], messages, progress=progress)
        if more is not None:
            sessions = pl.concat([sessions, more], how="horizontal")

        # A cut session is anomalous only if what was seen of it is enough by itself.
        self._count += sessions.height
        scores, anomalous = self._run.judged(
            scores,
            sessions["messages"],
            messages=messages,
            count=self._count,
        )
        doubtful = np.flatnonzero(anomalous & sessions["cut"].is_not_null().to_numpy())
        if len(doubtful):
            anomalous[doubtful] = self._enough(sessions[doubtful], known, span=span)
        if self._cached:
            self.counts["scores_from_cache"] = known.from_cache
        p_values = self._run.p_values(scores)
        if p_values is not None:
            sessions = sessions.with_columns(p=p_values)
        if self._evidence and anomalous.any():
            sessions = self._with_evidence(sessions, known, scores=scores, anomalous=anomalous)
        frame = to_frame(
            sessions,
            scores,
            anomalous=anomalous,
            model=self._run.name,
            files=self._reader.files,
        )
        return frame.with_columns(sessions["messages"])

    def _enough(self, cut: pl.DataFrame, known: KnownScores, *, span: Span) -> Labels:
        """Whether what was seen of cut sessions is enough by itself to call them anomalous."""
        rows = rows_of(cut["messages"])
        scores = self._run.seen_scores(rows, self.messages)
        if scores is not None:
            _, anomalous = self._run.judged(
                scores,
                cut["messages"],
                messages=self.messages,
                count=self._count,
            )
            return anomalous
        return self._cuts.enough(
            cut,
            self.messages,
            span=span,
            score_lines=lambda places: self._line_scores(places, known),
        )

    def _line_scores(self, rows: Rows, known: KnownScores) -> Scores:
        """How much some messages speak for "anomalous"."""
        scores = self._run.line_scores(rows, self.messages)
        return known.of(_alone(rows), self.messages).scores if scores is None else scores

    def _with_evidence(
        self,
        sessions: pl.DataFrame,
        known: KnownScores,
        *,
        scores: Scores,
        anomalous: Labels,
    ) -> pl.DataFrame:
        """Sessions with `evidence`, the lines that speak most for anomalous ones, and `expected`, what did not come."""
        rows = sessions.with_row_index("row").with_columns(score=scores)
        judged = rows.filter(anomalous)
        run, messages = self._run, self.messages
        sources = Sources(
            score_lines=lambda distinct: self._scored_lines(distinct, known),
            score=lambda beginnings: known.of(_listed(beginnings), messages).scores,
            threshold=run.threshold,
            level=run.line_level,
            following=None if run.ends is None else run.ends.following,
        )
        lines = evidence(
            judged,
            messages,
            sources=sources,
            written=self._written,
            files=self._reader.files,
        )
        told = pl.concat([judged.select("row"), lines], how="horizontal")
        joined = rows.join(told, on="row", how="left", maintain_order="left")
        return joined.drop("row", "score")

    def _scored_lines(self, distinct: list[Rows], known: KnownScores) -> list[Scores]:
        """How much each line of distinct sessions speaks for "anomalous"."""
        scores = self._run.score_lines(distinct, self.messages)
        if scores is not None:
            return scores
        rows = occurring(distinct)
        of_messages = np.zeros(len(self.messages))
        of_messages[rows] = known.of(_alone(rows), self.messages).scores
        return [of_messages[session] for session in distinct]

    def _ordered(self, verdicts: pl.DataFrame) -> pl.DataFrame:
        """All verdicts of a log, where that is wanted by score and with so many anomalous ones at most."""
        if self._top_share is None:
            return verdicts
        most = max(1, int(self._top_share * verdicts.height))
        ordered = verdicts.sort("score", descending=True, maintain_order=True)
        calls = pl.col("anomalous")
        ordered = ordered.with_columns(calls & (calls.cum_sum() <= most))
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
    """Of each message how many records have it, and where the first is."""
    rows = records.group_by("message", maintain_order=True)
    return rows.agg(pl.len().alias("count"), pl.col("line", "file").first())


def _listed(beginnings: list[Rows]) -> pl.Series:
    """Some beginnings of sessions as a column."""
    return pl.Series([rows.tolist() for rows in beginnings], dtype=pl.List(pl.UInt32))


def _alone(places: pl.Series | Rows) -> pl.Series:
    """Each of some messages as a session that holds nothing else."""
    return pl.Series(places, dtype=pl.UInt32).reshape((-1, 1)).arr.to_list()
