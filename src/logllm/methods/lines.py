"""Single messages, by the labels of lines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.errors import DataError
from logllm.methods.contract import Method, Needs, Workplace, of_both_kinds
from logllm.methods.learnt import Learnt
from logllm.methods.vectors import FrozenVectors
from logllm.metrics import Labels, Scores, sigmoid
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, ever_alerts, occurring


class Lines(Method):
    """A logistic regression of single messages' vectors on the labels of their lines.

    A session scores as its most alert message. A projector with `start = "alerts"` is fitted to
    this regression: compared with it, LogLLM's figures show what the decoder adds. A message never
    seen has a vector like any other.
    """

    needs: ClassVar[Needs] = Needs.LINES

    def __init__(self, recipe: Recipe, workplace: Workplace) -> None:
        """Read the vectors of the recipe's encoder."""
        self._vectors = FrozenVectors.of(recipe, workplace)

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Learn from distinct messages; nothing is drawn.

        Raises:
            DataError: labels are not per line, or all sessions or messages are of one kind.
        """
        from logllm.training.start import alert_regression

        of_both_kinds(labels)
        if line_labels is None:
            raise DataError("labels are of sessions: this baseline learns from labels of lines")
        rows = occurring(sessions)
        # A message is an alert where it ever was labelled so: of equal messages the network sees
        # one.
        bad = ever_alerts(rows, sessions, alerts=line_labels)
        if bad.all() or not bad.any():
            which = "all" if bad.all() else "none of them"
            what = f"the messages to learn from are {which} alerts"
            raise DataError(f"{what}: this baseline tells the two apart")
        vectors = self._vectors.table(sessions, messages)[rows].astype(np.float64)
        self._weights, self._bias = alert_regression(vectors, bad)

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """The largest of a session's messages, as a probability."""
        # A session without a message has the logit -infinity, and so the score 0.
        values = self._values(sessions, messages)
        largest = [values[session].max(initial=-np.inf) for session in sessions]
        return sigmoid(np.array(largest))

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """Each message's own probability."""
        probabilities = sigmoid(self._values(sessions, messages))
        return [probabilities[session] for session in sessions]

    def about(self) -> dict[str, Any]:
        """The encoder."""
        return self._vectors.about()

    def save(self, folder: Path) -> None:
        """Write `fitted.safetensors` and `fitted.json`."""
        arrays = {"weights": self._weights, "bias": np.array([self._bias])}
        Learnt(arrays, {}).write(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ModelError: files that are missing or of another method.
        """
        fitted = Learnt.read(folder)
        self._weights, self._bias = fitted.array("weights"), float(fitted.array("bias")[0])

    def _values(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """Logits of a table's messages that occur, (len(messages),)."""
        rows = occurring(sessions)
        values = np.full(len(messages), -np.inf)
        if len(rows):
            vectors = self._vectors.table(sessions, messages)[rows]
            values[rows] = (vectors * self._weights).sum(axis=1) + self._bias
        return values
