"""Which sessions the ends of an input cut.

It also says whether what was seen of such a session is enough to call it anomalous.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from logllm.metrics import Scores
from logllm.sessions.cut import Span
from logllm.sessions.ends import Ends
from logllm.sessions.message_sets import Keys, MessageKeys
from logllm.sessions.message_table import Rows, occurring, rows_of

_Flags = npt.NDArray[np.bool_]
ScoreLines = Callable[[Rows], Scores]
"""Scores of some messages of the table, each as a session of its own."""


class CutSessions:
    """What one reading knows of the sessions that its input cuts.

    Windows say themselves where they are short. A session by key is cut where it is likely, by how
    long sessions pause in training, that it had begun before the input or goes on after it. A run
    that has not learnt this (`ends` is none) takes the sessions of the first and the last record.
    """

    def __init__(self, ends: Ends | None, *, threshold: float, doubt: float, by_key: bool) -> None:
        """Begin with what a run knows.

        Args:
            ends: how sessions begin and end; None: it is not known.
            threshold: scores from here on are anomalous.
            doubt: how likely it must be that a session is cut for it to be judged as one.
            by_key: whether sessions are by key.
        """
        self._ends = ends
        self._doubt = doubt
        self._threshold = threshold
        self._by_key = by_key
        self._keys = MessageKeys()

    def marked(
        self, sessions: pl.DataFrame, messages: pl.Series, *, span: Span, over: bool
    ) -> pl.DataFrame:
        """Sessions with `cut` as the run knows it.

        Args:
            sessions: of `logllm.sessions.sessionizer.SESSIONS`, that close together.
            messages: the message table.
            span: the records so far.
            over: whether no more come.
        """
        ends = self._ends
        # Without times in the log a run whose pauses are seconds knows nothing.
        no_times = ends is not None and ends.timed and span.began is None
        if ends is None or not self._by_key or not sessions.height or no_times:
            return sessions
        self._keys.of(messages)
        cut = ends.cut(sessions, self._keys, span=span, over=over, doubt=self._doubt)
        return sessions.with_columns(cut)

    def enough(
        self, sessions: pl.DataFrame, messages: pl.Series, *, span: Span, score_lines: ScoreLines
    ) -> _Flags:
        """Whether what was seen of cut sessions is enough to call them anomalous, (b,).

        It is if a message tells by itself, or if nearly all sessions of training that could be the
        whole of it were anomalous.
        """
        # A message that only anomalous sessions hold is enough, whatever is missing of this one.
        keys = self._keys.of(messages)
        rows = rows_of(sessions["messages"])
        telling = self._telling(occurring(rows), keys, score_lines=score_lines)
        has_telling = [bool(telling[session].any()) for session in rows]
        enough = np.array(has_telling, dtype=np.bool_)
        # Where training had labels it is known, too, how sessions end that went wrong.
        if self._ends is not None and self._ends.labelled:
            enough |= self._ends.enough(sessions, keys, span=span)
        return enough

    def _telling(self, rows: Rows, keys: Keys, *, score_lines: ScoreLines) -> _Flags:
        """Which messages of the table tell by themselves."""
        telling = np.zeros(len(keys), dtype=np.bool_)
        scored = rows
        level = self._threshold
        if self._ends is not None:
            if self._ends.labelled:
                keys_of_rows = keys[rows]
                telling[rows] = self._ends.telling(keys_of_rows)
                scored = rows[self._ends.new(keys_of_rows)]
            # A message must also say more than those of normal sessions say by themselves.
            normal = np.nan_to_num(self._ends.line_score, nan=1.0)
            level = max(level, np.nextafter(normal, 2.0))
        if len(scored) and level <= 1:
            telling[scored] = score_lines(scored) >= level
        return telling
