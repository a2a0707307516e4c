"""Verdicts on sessions that close together.

Scored, cut ones held to what was seen, and the lines named that tell.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from logllm.detect.evidence.telling_lines import Sources, Written, evidence
from logllm.detect.judge import Judge
from logllm.detect.judging.cut_sessions import CutSessions
from logllm.detect.judging.known_scores import KnownScores
from logllm.detect.verdict import to_frame
from logllm.metrics import Labels, Scores
from logllm.progress import Progress
from logllm.sessions.cut import Span, cut_at
from logllm.sessions.message_table import Rows, occurring, rows_of


class Seen(NamedTuple):
    """How much of a log has been seen when some of its sessions are judged."""

    span: Span
    """Its records so far."""
    over: bool
    """Whether no more come."""
    sessions: int
    """Sessions so far, those to be judged included."""
    open: bool = False
    """Whether those to be judged go on, as far as one knows."""


class Judging:
    """What one pass over a log knows while it judges.

    It serves one message table, which may grow.
    """

    def __init__(
        self,
        run: Judge,
        known: KnownScores,
        *,
        by_key: bool,
        written: Callable[[], Written] | None,
    ) -> None:
        """Nothing judged yet.

        Args:
            run: scores, and says which sessions are anomalous.
            known: scores sessions that are not known yet.
            by_key: whether sessions are by key.
            written: what gives what is written in lines, asked for when a session is anomalous;
                none: no line is named.
        """
        self._run = run
        self._known = known
        self._written = written
        self._cuts = CutSessions(
            run.ends,
            threshold=run.threshold,
            doubt=run.doubt,
            by_key=by_key,
        )

    def verdicts(
        self,
        sessions: pl.DataFrame,
        messages: pl.Series,
        *,
        seen: Seen,
        files: Sequence[str],
        progress: Progress | None = None,
    ) -> pl.DataFrame:
        """A verdict frame of sessions that close together, with their `messages`.

        Args:
            sessions: of `logllm.sessions.sessionizer.SESSIONS`.
            messages: the message table.
            seen: how much of the log there was.
            files: names of the inputs.
            progress: told of the distinct sessions scored.
        """
        sessions = self._cuts.marked(sessions, messages, span=seen.span, over=seen.over)
        if seen.open:
            # One that goes on is cut at its end, whatever is known of its beginning.
            is_cut_at_start = pl.col("cut").is_in(["start", "both"]).fill_null(False)
            sessions = sessions.with_columns(cut=cut_at(is_cut_at_start, pl.lit(True)))
        scores, more = self._known.of(sessions["messages"], messages, progress=progress)
        if more is not None:
            sessions = pl.concat([sessions, more], how="horizontal")

        # A cut session is anomalous only if what was seen of it is enough by itself.
        scores, anomalous, p_values = self._run.judged(
            scores,
            sessions["messages"],
            messages=messages,
            count=seen.sessions,
        )
        doubtful = np.flatnonzero(anomalous & sessions["cut"].is_not_null().to_numpy())
        if len(doubtful):
            anomalous[doubtful] = self._enough(sessions[doubtful], messages, seen=seen)
        if p_values is not None:
            sessions = sessions.with_columns(p=p_values)
        if self._written is not None and anomalous.any():
            judged = sessions.with_columns(score=scores)
            sessions = self._with_evidence(judged, messages, anomalous=anomalous, files=files)
        frame = to_frame(
            sessions,
            scores,
            anomalous=anomalous,
            model=self._run.name,
            files=files,
        )
        return frame.with_columns(sessions["messages"])

    def line_scores(self, rows: Rows, messages: pl.Series) -> Scores:
        """How much some messages speak for "anomalous"."""
        scores = self._run.line_scores(rows, messages)
        if scores is not None:
            return scores
        return self._known.of(_alone(rows), messages).scores

    def _enough(self, cut: pl.DataFrame, messages: pl.Series, *, seen: Seen) -> Labels:
        """Whether what was seen of cut sessions is enough by itself to call them anomalous."""
        # Novelty judges what was seen of a session; other methods need to know how sessions go on.
        rows = rows_of(cut["messages"])
        scores = self._run.seen_scores(rows, messages)
        # A method that says what the seen part alone is worth is believed.
        if scores is not None:
            judgement = self._run.judged(
                scores,
                cut["messages"],
                messages=messages,
                count=seen.sessions,
            )
            return judgement.anomalous
        return self._cuts.enough(
            cut,
            messages,
            span=seen.span,
            score_lines=lambda places: self.line_scores(places, messages),
        )

    def _with_evidence(
        self,
        sessions: pl.DataFrame,
        messages: pl.Series,
        *,
        anomalous: Labels,
        files: Sequence[str],
    ) -> pl.DataFrame:
        """Sessions with `evidence`, the lines that speak most for anomalous ones, and `expected`, what did not come."""
        assert self._written is not None  # noqa: S101 - asked for only where lines are to be named
        rows = sessions.with_row_index("row")
        judged = rows.filter(anomalous)
        run, known = self._run, self._known
        sources = Sources(
            score_lines=lambda distinct: self._scored_lines(distinct, messages),
            score=lambda beginnings: known.of(_listed(beginnings), messages).scores,
            threshold=run.threshold,
            level=run.line_level,
            following=None if run.ends is None else run.ends.following,
        )
        lines = evidence(judged, messages, sources=sources, written=self._written(), files=files)
        told = pl.concat([judged.select("row"), lines], how="horizontal")
        joined = rows.join(told, on="row", how="left", maintain_order="left")
        return joined.drop("row", "score")

    def _scored_lines(self, distinct: list[Rows], messages: pl.Series) -> list[Scores]:
        """How much each line of distinct sessions speaks for "anomalous"."""
        scores = self._run.score_lines(distinct, messages)
        if scores is not None:
            return scores
        # A message is scored once, however many sessions hold it.
        rows = occurring(distinct)
        of_messages = np.zeros(len(messages))
        of_messages[rows] = self._known.of(_alone(rows), messages).scores
        return [of_messages[session] for session in distinct]


def _listed(beginnings: list[Rows]) -> pl.Series:
    """Some beginnings of sessions as a column."""
    return pl.Series([rows.tolist() for rows in beginnings], dtype=pl.List(pl.UInt32))


def _alone(places: pl.Series | Rows) -> pl.Series:
    """Each of some messages as a session that holds nothing else."""
    return pl.Series(places, dtype=pl.UInt32).reshape((-1, 1)).arr.to_list()
