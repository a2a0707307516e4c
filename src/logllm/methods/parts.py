"""What methods learn from: a part of prepared data, and what may be asked of its labels."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import polars as pl

from logllm.datasets.prepared import Prepared
from logllm.errors import DataError
from logllm.metrics import Labels
from logllm.sessions.message_table import Rows, rows_of


class Part(NamedTuple):
    """Sessions of one part of prepared data, as `Method.fit` and `Method.score` take them."""

    sessions: list[Rows]
    """For each session the rows of its messages, (b,)."""
    messages: pl.Series
    """The message table: every distinct masked message of the data, also those of other parts."""
    labels: Labels | None
    """True for anomalous, (b,); none: not known."""
    line_labels: list[Labels] | None
    """For each session which of its messages are anomalous; none: labels are not per line."""

    @classmethod
    def of(cls, prepared: Prepared, name: str) -> Self:
        """A part of prepared data.

        Args:
            prepared: with or without labels.
            name: `train`, `validation` or `test`.

        Raises:
            DataError: there is no such part.
        """
        frame = prepared.part(name)
        anomalous, items = frame["anomalous"], frame["item_anomalous"]
        labels = None if anomalous.null_count() else anomalous.to_numpy().astype(np.bool_)
        line_labels = None
        if not items.null_count():
            line_labels = [session.astype(np.bool_) for session in rows_of(items)]
        return cls(rows_of(frame["messages"]), prepared.messages, labels, line_labels)


def normal_sessions(sessions: Sequence[Rows], labels: Labels | None) -> list[Rows]:
    """The normal sessions, for methods that learn from nothing else; without labels all of them.

    >>> sessions = [np.array([1]), np.array([2])]
    >>> normal_sessions(sessions, np.array([True, False]))
    [array([2])]

    Raises:
        DataError: there is none.
    """
    normal = list(sessions)
    if labels is not None:
        normal = [session for session, bad in zip(sessions, labels, strict=True) if not bad]
    if not normal:
        raise DataError("no session to learn from is normal: this baseline learns what normal is, and needs some")
    return normal


def of_both_kinds(labels: Labels | None) -> Labels:
    """The same labels, for methods that tell two kinds apart.

    Raises:
        DataError: there are no labels, or all sessions are of one kind.
    """
    if labels is None:
        raise DataError(
            "the sessions to learn from have no labels: "
            "this baseline needs normal and anomalous ones; "
            "prepare the data with labels, or take a method that needs none, such as unseen"
        )
    if labels.all() or not labels.any():
        kind = "anomalous" if len(labels) and labels.all() else "normal"
        raise DataError(f"all {len(labels):,} sessions to learn from are {kind}: this baseline needs normal and anomalous ones")
    return labels


def anything(sessions: Sequence[Rows]) -> Sequence[Rows]:
    """The same sessions, for methods that need messages to learn from and no more.

    Raises:
        DataError: there is no session, or none has a message.
    """
    if not any(len(session) for session in sessions):
        raise DataError(f"the {len(sessions):,} sessions to learn from hold no message")
    return sessions
