"""Which sessions a person is asked about, and in which order."""

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
import polars as pl

from logllm.detect.labelling.judged_log import JudgedLog
from logllm.metrics import Scores
from logllm.sessions.message_table import Rows, distinct, kinds_of, rows_of

ScoreLines = Callable[[list[Rows], pl.Series], list[Scores]]
"""How much each message of sessions speaks for "anomalous"."""

_TURNS = ("highest", "nearest", "highest", "usual")
"""What is asked about by turns: every other time the highest score, else what is nearest the
threshold, or what most sessions are like."""


class Question(NamedTuple):
    """A session that a person is asked about."""

    session: str
    score: float
    anomalous: bool
    """Whether the run called it anomalous."""
    names: tuple[str, ...]
    """This session and all others that hold just the same messages: they get the same label."""
    row: int
    """Its row in the judged log."""
    telling: int
    """The place of its most telling message among its lines."""


def questions(
    log: JudgedLog, *, threshold: float, score_lines: ScoreLines | None
) -> list[Question]:
    """All that could be asked, what is worth most first.

    Sessions of just the same messages are one question. Those with the highest scores take turns
    with those nearest the threshold, each kind once before any comes twice, and with those that
    most sessions are like: without these nobody would learn what is normal.

    Args:
        log: the sessions.
        threshold: scores from here on are anomalous.
        score_lines: says which message is the most telling; None: the one that fewest sessions
            hold.
    """
    # Thousands of sessions may hold the same messages. They are one question, since no method can
    # tell them apart.
    apart, of = distinct(rows_of(log.sessions["messages"]))
    telling = _telling(apart, log.messages, score_lines=score_lines)
    foremost = [int(rows[place]) for rows, place in zip(apart, telling, strict=True)]
    # Of one kind are sessions whose most telling message differs in its numbers alone.
    kinds = kinds_of(log.messages.gather(foremost))
    groups = _groups(log.sessions, of).with_columns(kind=kinds)
    # One question a group, named after its session with the highest score.
    names = log.sessions["session"]
    asked: list[Question] = []
    for group in groups.iter_rows(named=True):
        row, number = group["row"], group["group"]
        question = Question(
            session=names[row],
            score=group["score"],
            anomalous=group["anomalous"],
            names=tuple(group["names"]),
            row=row,
            telling=int(telling[number]),
        )
        asked.append(question)
    return [asked[place] for place in _in_turn(groups, threshold=threshold)]


def _groups(sessions: pl.DataFrame, of: Rows) -> pl.DataFrame:
    """One row for all sessions of the same messages.

    Columns are `group`, `row` (of the session with the highest score), `score`, `anomalous` and
    `names`.
    """
    # Sorted first: the group's first row is then its highest score.
    rows = sessions.with_row_index("row").with_columns(group=pl.Series(of))
    foremost = rows.sort("score", descending=True, maintain_order=True)
    of_highest = pl.col("row", "score", "anomalous").first()
    names = pl.col("name").unique(maintain_order=True)
    by_group = foremost.group_by("group")
    groups = by_group.agg(of_highest, names=names)
    return groups.sort("group")


def _telling(apart: Sequence[Rows], messages: pl.Series, *, score_lines: ScoreLines | None) -> Rows:
    """The place of the most telling message of each session."""
    if score_lines is None:
        # Without scores of lines, the message that fewest sessions hold tells one from the others.
        holding = np.zeros(len(messages), dtype=np.int64)
        for rows in apart:
            holding[np.unique(rows)] += 1
        places = [holding[rows].argmin() for rows in apart]
    else:
        scores = score_lines(list(apart), messages)
        places = [of_lines.argmax() for of_lines in scores]
    return np.array(places, dtype=np.int64)


def _in_turn(groups: pl.DataFrame, *, threshold: float) -> Iterator[int]:
    """The places of groups, in the order in which they are asked about."""
    score = pl.col("score")
    far = (score - threshold).abs()
    alike = pl.col("names").list.len().cast(pl.Int64)
    highest = _of_each_kind(groups, by=-score)
    nearest = _of_each_kind(groups, by=far)
    usual = _ordered(groups, by=-alike)
    orders = {"highest": iter(highest), "nearest": iter(nearest), "usual": iter(usual)}
    # Each order is gone through once; what another one has asked about already is passed over.
    asked: set[int] = set()
    for turn in cycle(_TURNS):
        not_asked = (place for place in orders[turn] if place not in asked)
        place = next(not_asked, None)
        if place is not None:
            asked.add(place)
            yield place
        if len(asked) == groups.height:
            return


def _of_each_kind(groups: pl.DataFrame, *, by: pl.Expr) -> list[int]:
    """Places of groups, the lowest first, each kind once before any comes twice."""
    turn = pl.col("by").rank("ordinal").over("kind")
    ranked = groups.with_columns(by=by).with_columns(turn=turn)
    return _ordered(ranked, by=[pl.col("turn"), pl.col("by")])


def _ordered(groups: pl.DataFrame, *, by: pl.Expr | list[pl.Expr]) -> list[int]:
    """Places of groups, the lowest first."""
    ordered = groups.with_row_index("place").sort(by, maintain_order=True)
    return ordered["place"].to_list()
