"""What a page tells of a log before it comes to the sessions.

That is incidents, or ways in which sessions are unusual, and what is new.
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
"""How many incidents, or ways in which sessions are unusual, are told at most."""

_TELLS = 3
"""How many lines tell of an incident at most."""


class ToldOf(NamedTuple):
    """An incident, or sessions that are unusual in one way."""

    start: datetime | None
    end: datetime | None
    sessions: int
    score: float
    tells: tuple[tuple[Placed, int], ...]
    """Lines, and how many sessions have each; 0: not counted."""
    such_as: tuple[tuple[str, float], ...]
    """Some of the sessions, and their scores."""
    lacks: bool = False
    """Whether no line says why: what most sessions hold is missing, or there less often."""


def incidents(log: Judged) -> list[ToldOf]:
    """The incidents of a log, the foremost first."""
    if not log.verdicts["anomalous"].any():
        return []
    # Where verdicts bring no evidence, messages are scored by themselves.
    told = summarise(
        log.verdicts,
        log.messages,
        scores=log.reading.message_scores,
        threshold=log.reading.threshold,
        shown=_TELLS,
    )
    groups: list[ToldOf] = []
    for incident in told:
        tells = [(telling, telling.sessions) for telling in incident.messages]
        group = ToldOf(
            incident.start,
            incident.end,
            incident.sessions,
            incident.score,
            tells=tuple(tells),
            such_as=incident.top,
        )
        groups.append(group)
    return groups


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
    rows = first.select("session", "start", "end").iter_rows()
    times = {name: (start, end) for name, start, end in rows}
    # One group for each way of being unusual, shown by its first session.
    groups: list[ToldOf] = []
    for session in sessions:
        start, end = times[session.session]
        tells = [(line, 0) for line in session.lines]
        such_as = ((session.session, session.score),)
        sessions_alike = session.alike + 1
        group = ToldOf(
            start,
            end,
            sessions_alike,
            session.score,
            tells=tuple(tells),
            such_as=such_as,
            lacks=session.lacks,
        )
        groups.append(group)
    return groups


def kinds_never_seen(log: Judged) -> list[NewKind] | None:
    """Kinds of message that good logs lack; None where there are no good logs."""
    # Only good logs say which kinds of message a healthy log holds.
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
    """How far the log holds more that is new than good logs bring; None where it does not."""
    judge = log.detector.run
    if not isinstance(judge, Against):
        return None
    sessions = rows_of(log.verdicts["messages"])
    return drift(sessions, log.messages, novelty=judge.novelty)
