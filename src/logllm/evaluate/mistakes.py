"""The worst mistakes of a model, with what it read."""

from dataclasses import dataclass
from itertools import groupby

import polars as pl

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
    scores: pl.DataFrame, sessions: pl.Series, *, messages: pl.Series, known: pl.Series, threshold: float
) -> dict[str, list[Mistake]]:
    """The most confident false alarms and misses, each distinct sequence once.

    Args:
        scores: as `logllm.evaluate.evaluation.score_frame` gives them.
        sessions: the places of the sessions' messages, in the same order.
        messages: the message table.
        known: the places that occur in train.
        threshold: scores from here on were called anomalous.

    Returns:
        `false alarms` and `misses`, the most confident first, at most ten of each.
    """
    in_train = set(known)
    called = pl.col("score") >= threshold
    kinds = {"false alarms": called & ~pl.col("anomalous"), "misses": ~called & pl.col("anomalous")}
    found = {}
    for kind, wrong in kinds.items():
        alike = scores.with_columns(messages=sessions).filter(wrong).group_by("messages", maintain_order=True)
        rows = alike.agg(pl.all().first(), times=pl.len()).sort("score", descending=kind == "false alarms", maintain_order=True)
        found[kind] = [
            Mistake(
                row["session"], row["score"], row["times"], row["in_train"],
                lines=_lines(row["lines"], row["messages"], messages=messages, known=in_train),
            )
            for row in rows.head(SHOWN).iter_rows(named=True)
        ]  # fmt: skip
    return found


def _lines(numbers: list[int], places: list[int], *, messages: pl.Series, known: set[int]) -> tuple[Line, ...]:
    """A session's messages, those that repeat themselves in a row as one."""
    runs = (list(run) for _, run in groupby(zip(numbers, places, strict=True), key=lambda pair: pair[1]))
    return tuple(Line(run[0][0], messages[run[0][1]], len(run), run[0][1] not in known) for run in runs)
