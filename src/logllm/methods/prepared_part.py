"""The sessions of one part of prepared data, as methods take them."""

from typing import NamedTuple, Self

import numpy as np
import polars as pl

from logllm.datasets.prepared import Prepared
from logllm.metrics import Labels
from logllm.sessions.message_table import Rows, rows_of


class Part(NamedTuple):
    """Sessions of one part of prepared data, as `Method.fit` and `Method.score` take them."""

    sessions: list[Rows]
    """For each session the rows of its messages, (b,)."""
    messages: pl.Series
    """The message table: every distinct masked message of the data, also those of other parts."""
    labels: Labels | None
    """True for anomalous, (b,); None: not known."""
    line_labels: list[Labels] | None
    """For each session which of its messages are anomalous; None: labels are not per line."""

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
        # A part has labels of all of its sessions, or counts as having none.
        labels = None if anomalous.null_count() else anomalous.to_numpy().astype(np.bool_)
        line_labels = None
        if not items.null_count():
            line_labels = [session.astype(np.bool_) for session in rows_of(items)]
        return cls(rows_of(frame["messages"]), prepared.messages, labels, line_labels)
