"""What a baseline is, and what it learns from."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from logllm.data.prepared import Prepared
from logllm.data.sequences import Rows, rows_of
from logllm.errors import DataError
from logllm.metrics import Labels, Scores


class Labelled(NamedTuple):
    """Sessions to learn from."""

    sessions: Sequence[Rows]
    """For each session the rows of its messages."""
    labels: Labels
    """True for anomalous."""
    messages: pl.Series
    """The message table: every distinct masked message of the data, also those that no session here holds."""
    alerts: Sequence[Labels] | None = None
    """For each session which of its messages are alerts; none: labels are not per line."""

    @classmethod
    def of(cls, prepared: Prepared, part: str) -> "Labelled":
        """A part of prepared data.

        Raises:
            DataError: there is no such part, or its sessions have no labels.
        """
        frame = prepared.labelled(part)
        items = frame["item_anomalous"]
        alerts = None if items.null_count() else [row.astype(np.bool_) for row in rows_of(items)]
        return cls(rows_of(frame["messages"]), frame["anomalous"].to_numpy().astype(bool), prepared.messages, alerts)

    def normal(self) -> list[Rows]:
        """The normal sessions, for methods that learn from nothing else.

        Raises:
            DataError: there is none.
        """
        found = [session for session, anomalous in zip(self.sessions, self.labels, strict=True) if not anomalous]
        if not found:
            raise DataError("no session to learn from is normal: this baseline learns what normal is, and needs some")
        return found

    def of_both_kinds(self) -> "Labelled":
        """The same, for methods that tell two kinds apart.

        Raises:
            DataError: all sessions are of one kind.
        """
        if self.labels.all() or not self.labels.any():
            kind = "anomalous" if len(self.labels) and self.labels.all() else "normal"
            raise DataError(f"all {len(self.labels):,} sessions to learn from are {kind}: this baseline needs normal and anomalous ones")
        return self


class Baseline(Protocol):
    """A method to compare with: fitted once, it scores any sessions, also those of altered data.

    Messages are known by their text: a table with other rows than the one of `fit` is no obstacle, and what a message
    never seen means is each method's own affair, said in its docstring. The same seed on the same machine gives the same scores.
    """

    def fit(self, train: Labelled, *, seed: int) -> None:
        """Learn.

        Raises:
            DataError: sessions that the method cannot learn from.
        """

    def score(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """How anomalous sessions are, in [0, 1]: a probability where the method gives one, else of the same order.

        Args:
            sessions: for each session the rows of its messages.
            messages: the table that they are rows of.
        """
