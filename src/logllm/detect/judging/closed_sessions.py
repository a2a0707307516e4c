"""Verdicts on sessions that close together.

They are scored; cut sessions are judged by what was seen of them, and telling lines are named.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from logllm.detect.evidence.telling_lines import Sources, evidence
from logllm.detect.evidence.turning import Turns
from logllm.detect.evidence.whole_records import Written
from logllm.detect.judge import Judge
from logllm.detect.judging.cut_sessions import CutSessions
from logllm.detect.judging.known_scores import KnownScores, Question
from logllm.detect.verdict import to_frame
from logllm.methods.contract import Opinion
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
    """Whether the sessions to be judged may still go on."""


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
        """Begin with nothing judged.

        Args:
            run: scores, and says which sessions are anomalous.
            known: scores sessions, and remembers their scores.
            by_key: whether sessions are by key.
            written: gives the reader of written lines, asked for when a session is anomalous; None:
                no line is named.
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
        # What else a method says of sessions becomes further columns of their verdicts.
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
        is_cut = sessions["cut"].is_not_null().to_numpy()
        doubtful = np.flatnonzero(anomalous & is_cut)
        if len(doubtful):
            cut_sessions = sessions[doubtful]
            anomalous[doubtful] = self._enough(cut_sessions, messages, seen=seen)
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
        """Sessions with `evidence` and `expected`.

        These are the lines that speak most for anomalous sessions, and the messages that did not
        come.
        """
        assert self._written is not None  # noqa: S101 - asked for only where lines are to be named
        # Only anomalous sessions need a reason.
        rows = sessions.with_row_index("row")
        judged = rows.filter(anomalous)
        run = self._run
        following = None if run.ends is None else run.ends.following
        sources = Sources(
            score_lines=lambda distinct: self._scored_lines(distinct, messages),
            turns=lambda distinct: self._turns(distinct, messages),
            level=run.line_level,
            following=following,
        )
        written = self._written()
        lines = evidence(judged, messages, sources=sources, written=written, files=files)
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
        opinion = self._known.of(_alone(rows), messages)
        of_messages[rows] = opinion.scores
        return [of_messages[session] for session in distinct]

    def _turns(self, distinct: list[Rows], messages: pl.Series) -> Turns:
        """Where distinct sessions turned; it is kept as their scores are."""

        def searched(
            sessions: Sequence[Rows], messages: pl.Series, *, progress: Progress | None = None
        ) -> Opinion:
            turned = self._run.turns(sessions, messages)
            where = pl.DataFrame({"place": turned.places, "risen": turned.risen})
            return Opinion(turned.scores, where)

        question = Question(b"turn", searched)
        scores, where = self._known.of(_listed(distinct), messages, question=question)
        assert where is not None  # noqa: S101 - each session has a place
        return Turns(where["place"].to_numpy(), scores, where["risen"].to_numpy())


def _listed(sessions: list[Rows]) -> pl.Series:
    """Sessions as a column."""
    lists = [rows.tolist() for rows in sessions]
    return pl.Series(lists, dtype=pl.List(pl.UInt32))


def _alone(places: pl.Series | Rows) -> pl.Series:
    """Each message as a session that holds nothing else."""
    numbers = pl.Series(places, dtype=pl.UInt32)
    return numbers.reshape((-1, 1)).arr.to_list()
