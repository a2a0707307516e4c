"""Single messages, by the labels of lines."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from logllm.data.sequences import Rows, occurring
from logllm.errors import DataError
from logllm.methods.baseline import Labelled
from logllm.methods.vectors import FrozenVectors
from logllm.metrics import Scores, sigmoid
from logllm.training.start import alert_regression, ever_alerts


class Lines:
    """A logistic regression of single messages' vectors on the labels of their lines; a session is its most alert message.

    It is what a projector with `start = "alerts"` is fitted to: how much of LogLLM's figures is its decoder's shows beside it.
    """

    def __init__(self, vectors: FrozenVectors) -> None:
        """Read the vectors of an encoder."""
        self._vectors = vectors

    def fit(self, train: Labelled, *, seed: int) -> None:
        """Learn; nothing is drawn.

        Raises:
            DataError: labels are not per line, or all sessions or messages are of one kind.
        """
        train = train.of_both_kinds()
        if train.alerts is None:
            raise DataError("labels are of sessions: this baseline learns from labels of lines")
        rows = occurring(train.sessions)
        bad = ever_alerts(rows, train.sessions, alerts=train.alerts)
        if bad.all() or not bad.any():
            raise DataError(
                f"the messages to learn from are {'all' if bad.all() else 'none of them'} alerts: this baseline tells the two apart"
            )
        vectors = self._vectors.table(train.sessions, train.messages)[rows].astype(np.float64)
        self._weight, self._bias = alert_regression(vectors, bad)

    def score(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """The largest of a session's messages, as a probability."""
        values = self._vectors.table(sessions, messages).astype(np.float64) @ self._weight + self._bias
        return sigmoid(np.array([values[session].max(initial=-np.inf) for session in sessions]))
