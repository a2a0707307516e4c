"""The most unusual sessions of a log, and the lines that make them so."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from logllm.detect.evidence.telling_lines import LEAST
from logllm.metrics import Scores
from logllm.sessions.message_table import Rows, rows_of

ScoreLines = Callable[[Sequence[Rows], pl.Series], list[Scores]]
"""How surprising each message of sessions is."""

_LOOKED_AT = 1_000
"""How many sessions with the highest scores are looked at; alike ones are put together."""
_DIGITS = 4
"""Scores that are equal when they are shown are equal to a reader."""


class UnusualLine(NamedTuple):
    """A line of a session."""

    message: str
    """Its message, masked."""
    line: int
    file: str | None
    """Its file; None where there is one input."""


class UnusualSession(NamedTuple):
    """A session, and how many are unusual in the same way."""

    session: str
    score: float
    alike: int
    """How many further sessions are unusual in the same way."""
    lacks: bool
    """Whether no line says why: it lacks what most sessions hold, or holds it less often."""
    lines: tuple[UnusualLine, ...]
    """The most surprising ones, in their order."""


def unusual(
    verdicts: pl.DataFrame,
    messages: pl.Series,
    *,
    score_lines: ScoreLines,
    sessions: int,
    lines: int,
) -> list[UnusualSession]:
    """The most unusual sessions, the highest score first.

    Args:
        verdicts: with `messages`.
        messages: the message table.
        score_lines: says which lines make a session unusual.
        sessions: how many sessions are given at most.
        lines: how many lines of each are given at most.
    """
    # Only the highest scores are worth comparing, and a log may have millions of sessions.
    top = verdicts.sort("score", descending=True, maintain_order=True).head(_LOOKED_AT)
    rows = rows_of(top["messages"])
    scores = score_lines(rows, messages)
    several = "files" in top.columns
    groups: dict[tuple[bool, int | float], UnusualSession] = {}
    for place, (of_lines, session) in enumerate(zip(scores, rows, strict=True)):
        # Sessions with the same most surprising message are unusual in one way: the first stands
        # for all. Where no line says why, those with the same score lack what is as usual: their
        # ordinary lines must not put them with sessions that are whole.
        verdict = top.row(place, named=True)
        name, score = verdict["session"], verdict["score"]
        foremost = int(of_lines.argmax())
        lacks = bool(of_lines[foremost] < LEAST * score)
        way = (lacks, round(score, _DIGITS) if lacks else int(session[foremost]))
        if way in groups:
            group = groups[way]
            groups[way] = group._replace(alike=group.alike + 1)
            continue
        shown: list[UnusualLine] = []
        for at in strangest(session, of_lines, lines=lines):
            file = verdict["files"][at] if several else None
            message = messages[int(session[at])]
            shown.append(UnusualLine(message, verdict["lines"][at], file))
        groups[way] = UnusualSession(name, score, 0, lacks, tuple(shown))
    return list(groups.values())[:sessions]


def strangest(session: Rows, scores: Scores, *, lines: int) -> list[int]:
    """The places in a session of its most surprising lines, in their order.

    A repeated message counts once, at its first place.

    >>> strangest(np.array([5, 7, 7, 9]), np.array([0.1, 0.8, 0.8, 0.3]), lines=2)
    [1, 3]

    Args:
        session: the rows of its messages.
        scores: how surprising each is.
        lines: how many at most.
    """
    _, first = np.unique(session, return_index=True)
    order = np.argsort(-scores[first], kind="stable")
    foremost = first[order][:lines]
    return sorted(foremost.tolist())
