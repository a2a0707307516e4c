"""The worst mistakes of a model, with what it read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import polars as pl

from logllm.metrics import Scores
from logllm.sessions.message_table import Rows

ScoreLines = Callable[[Sequence[Rows], pl.Series], list[Scores]]
"""Says how much each message of sessions speaks for "anomalous"."""

SHOWN = 10
"""Most mistakes of a kind."""


@dataclass(frozen=True)
class Line:
    """A message, and how often it stands there in a row."""

    number: int
    """Line of the first one in its file."""
    message: str
    """Masked."""
    times: int
    """How many follow each other."""
    new: bool
    """Whether train does not hold it."""
    telling: bool = False
    """Whether it is what speaks most for an anomalous session."""


@dataclass(frozen=True)
class Mistake:
    """A session that was judged wrongly."""

    session: str
    """Its name, of the first of its kind."""
    score: float
    """P(anomalous)."""
    times: int
    """Sessions with the same messages and the same label."""
    in_train: bool
    """Whether train has the same messages, with whatever label."""
    lines: tuple[Line, ...]
    """Its messages."""


def worst(
    scores: pl.DataFrame,
    *,
    messages: pl.Series,
    known: pl.Series,
    threshold: float,
    score_lines: ScoreLines | None = None,
) -> dict[str, list[Mistake]]:
    """The most confident false alarms and misses, each distinct sequence once.

    Args:
        scores: as `logllm.evaluate.evaluation.score_frame` gives them, and `messages`, their
            places.
        messages: the message table.
        known: the places that occur in train.
        threshold: scores from here on were called anomalous.
        score_lines: says which line is the most telling; none: none is marked.

    Returns:
        `false alarms` and `misses`, the most confident first, at most ten of each.
    """
    in_train = set(known)
    called = pl.col("score") >= threshold
    is_anomalous = pl.col("anomalous")
    kinds = {"false alarms": called & ~is_anomalous, "misses": ~called & is_anomalous}
    worst_of: dict[str, list[Mistake]] = {}
    for kind, wrong in kinds.items():
        # A sequence that is judged wrongly a thousand times is one mistake, with its count.
        alike = scores.filter(wrong).group_by("messages", maintain_order=True)
        rows = alike.agg(pl.all().first(), times=pl.len())
        highest_first = kind == "false alarms"
        rows = rows.sort("score", descending=highest_first, maintain_order=True)
        shown = rows.head(SHOWN)
        telling = _telling(shown["messages"].to_list(), messages, score_lines=score_lines)
        mistakes: list[Mistake] = []
        for row, place in zip(shown.iter_rows(named=True), telling, strict=True):
            numbers, places = row["lines"], row["messages"]
            lines = _lines(numbers, places, messages=messages, known=in_train, telling=place)
            mistake = Mistake(
                row["session"], row["score"], row["times"], row["in_train"], lines=lines
            )
            mistakes.append(mistake)
        worst_of[kind] = mistakes
    return worst_of


def _telling(
    sessions: list[list[int]], messages: pl.Series, *, score_lines: ScoreLines | None
) -> list[int | None]:
    """The place of each session's most telling message."""
    if score_lines is None:
        return [None] * len(sessions)
    rows = [np.array(session, dtype=np.int64) for session in sessions]
    of_sessions = score_lines(rows, messages)
    return [
        session[int(scores.argmax())] if session else None
        for session, scores in zip(sessions, of_sessions, strict=True)
    ]


def _lines(
    numbers: list[int],
    places: list[int],
    *,
    messages: pl.Series,
    known: set[int],
    telling: int | None,
) -> tuple[Line, ...]:
    """A session's messages, those that repeat themselves in a row as one."""
    # Ten times the same message in a row are one line of the page, with "10 times" beside it.
    lines = []
    pairs = zip(numbers, places, strict=True)
    # A session that says one thing 4000 times would fill the page with it: `x 4000` instead.
    for place, run in groupby(pairs, key=lambda pair: pair[1]):
        alike = [number for number, _ in run]
        line = Line(alike[0], messages[place], len(alike), place not in known, place == telling)
        lines.append(line)
    return tuple(lines)
