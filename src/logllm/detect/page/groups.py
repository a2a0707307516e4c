"""What there is to tell of a log before its sessions.

Incidents, ways of being unusual, what is new.
"""

from datetime import datetime
from typing import NamedTuple

import polars as pl

from logllm.detect.new_kinds import Drift, NewKind, drift, new_kinds
from logllm.detect.page.judged import Judged
from logllm.detect.page.written import Placed
from logllm.detect.summary import summarise
from logllm.detect.unlabelled import Against
from logllm.detect.unusual import unusual
from logllm.sessions.message_table import rows_of

GROUPS = 20
"""Most incidents, or ways in which sessions are unusual."""

_TELLS = 3
"""Lines that tell of an incident."""


class ToldOf(NamedTuple):
    """An incident, or sessions that are unusual in one way."""

    start: datetime | None
    end: datetime | None
    sessions: int
    score: float
    tells: tuple[tuple[Placed, int], ...]
    """Lines, and how many sessions have each; 0: nobody counted."""
    such_as: tuple[tuple[str, float], ...]
    """Some of the sessions, and their scores."""


def incidents(log: Judged) -> list[ToldOf]:
    """What was wrong, the foremost first."""
    if not log.verdicts["anomalous"].any():
        return []
    told = summarise(
        log.verdicts,
        log.messages,
        scores=log.reading.message_scores,
        threshold=log.reading.threshold,
        shown=_TELLS,
    )
    return [
        ToldOf(
            incident.start,
            incident.end,
            incident.sessions,
            incident.score,
            tells=tuple((telling, telling.sessions) for telling in incident.messages),
            such_as=incident.top,
        )
        for incident in told
    ]


def unusual_ways(log: Judged) -> list[ToldOf]:
    """The ways in which sessions are unusual, the most unusual first."""
    sessions = unusual(
        log.verdicts,
        log.messages,
        score_lines=log.detector.score_lines,
        sessions=GROUPS,
        lines=_TELLS,
    )
    # When they were, by their verdicts.
    names = [session.session for session in sessions]
    is_shown = pl.col("session").is_in(names)
    first = log.verdicts.filter(is_shown).unique("session", keep="first")
    times = {
        name: (start, end)
        for name, start, end in first.select("session", "start", "end").iter_rows()
    }
    return [
        ToldOf(
            *times[session.session],
            session.alike + 1,
            session.score,
            tells=tuple((line, 0) for line in session.lines),
            such_as=((session.session, session.score),),
        )
        for session in sessions
    ]


def kinds_never_seen(log: Judged) -> list[NewKind] | None:
    """Kinds of message that good logs lack; none where there are no good logs."""
    judge = log.detector.run
    if not isinstance(judge, Against):
        return None
    return new_kinds(
        log.reading.occurrences,
        log.messages,
        is_new=judge.new_kinds,
        files=log.reading.files,
    )


def drifted(log: Judged) -> Drift | None:
    """Whether the log holds far more that is new than good logs bring."""
    judge = log.detector.run
    if not isinstance(judge, Against):
        return None
    return drift(rows_of(log.verdicts["messages"]), log.messages, novelty=judge.novelty)
