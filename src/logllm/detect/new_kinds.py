"""Kinds of message that good logs do not hold, and whether a log has drifted away from them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from logllm.methods.novelty import Novelty
from logllm.methods.trouble import grades
from logllm.metrics import Labels
from logllm.sessions.message_table import Rows, kinds_of

IsNew = Callable[[pl.Series], Labels]
"""Says which messages are of a kind never seen before."""

_DRIFT = 0.1
"""Share of sessions with new kinds of message from which on a log may have drifted."""
_MORE = 3
"""How many times their share among held-back sessions it must be."""
_LEAST = 5
"""How many such sessions there must be at least."""


class NewKind(NamedTuple):
    """A kind of message never seen before."""

    message: str
    """Its first message, masked."""
    lines: int
    """How many lines are of this kind."""
    line: int
    """Number of the first line."""
    file: str | None
    """That line's file; None where there is one input."""
    grade: float
    """2 where it says that something broke, 1 where something went wrong, else 0."""


class Drift(NamedTuple):
    """Sessions that hold new messages, more of them than good logs bring."""

    sessions: int
    of: int
    usual: float
    """Their share among sessions of the good logs that were held back."""


def new_kinds(
    occurrences: pl.DataFrame,
    messages: pl.Series,
    *,
    is_new: IsNew,
    files: Sequence[str],
) -> list[NewKind]:
    """New kinds, those that speak of trouble first, then in order of appearance.

    Args:
        occurrences: of a reading (`Reading.occurrences`).
        messages: its message table.
        is_new: says which messages are of a new kind.
        files: the names of its inputs.
    """
    texts = messages.gather(occurrences["message"])
    rows = occurrences.with_columns(text=texts)
    new = is_new(rows["text"])
    rows = rows.filter(pl.Series(new))
    # `user "ann"` and `user "bob"` are one kind, told by its first message.
    by_kind = rows.with_columns(kind=kinds_of(rows["text"]))
    kinds = by_kind.group_by("kind", maintain_order=True)
    of_first = pl.col("text", "line", "file").first()
    first = kinds.agg(of_first, pl.col("count").sum())
    # Trouble first; of equal grades the order of appearance stays.
    grade = pl.Series(grades(first["text"]))
    graded = first.with_columns(grade=grade)
    foremost = graded.sort("grade", descending=True, maintain_order=True)
    # Where there is one input, lines need no file.
    several = len(files) > 1
    columns = ("text", "count", "line", "file", "grade")
    kinds_of_log: list[NewKind] = []
    for text, count, line, file, grade in foremost.select(columns).iter_rows():
        name = files[file] if several else None
        kinds_of_log.append(NewKind(text, count, line, name, grade))
    return kinds_of_log


def drift(sessions: Sequence[Rows], messages: pl.Series, *, novelty: Novelty) -> Drift | None:
    """How far a log has drifted from what novelty has learnt; None where it has not.

    Args:
        sessions: for each session the rows of its messages.
        messages: the message table.
        novelty: has learnt good logs.
    """
    usual = novelty.tail.fresh.share
    new = novelty.new(sessions, messages)
    count = len(np.unique(new.sessions))
    # A good log brings new messages, too: only what is far more than that is drift.
    usual_count = max(_DRIFT, _MORE * usual) * len(sessions)
    if count < _LEAST or count <= usual_count:
        return None
    return Drift(count, len(sessions), usual)
