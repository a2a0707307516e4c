"""A method for logllm in one file."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.errors import DataError, ModelError
from logllm.methods.contract import Method, Needs, Workplace
from logllm.metrics import Labels, Scores
from logllm.progress import Progress
from logllm.sessions.message_table import Rows


class NewWords(Method):
    """share of a session's words that no normal session in training had."""

    needs = Needs.NOTHING

    def __init__(self, recipe: Recipe, workplace: Workplace) -> None:
        """Take the one option: words that say nothing."""
        self._ignored = set(recipe.options.get("ignore", []))

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Note the words of the sessions, where labels are known of the normal ones."""
        bad = np.zeros(len(sessions), dtype=bool) if labels is None else labels
        normal = [rows for rows, anomalous in zip(sessions, bad, strict=True) if not anomalous]
        if not normal:
            raise DataError("no session to learn from is normal")
        self._words = self._ignored.union(*(words(messages.gather(rows)) for rows in normal))

    def score(
        self, sessions: Sequence[Rows], messages: pl.Series, *, progress: Progress | None = None
    ) -> Scores:
        """The share of the words that are new."""
        spoken = [words(messages.gather(rows)) for rows in sessions]
        return np.array(
            [len(own - self._words) / max(1, len(own)) for own in spoken], dtype=np.float64
        )

    def save(self, folder: Path) -> None:
        """Write one JSON file."""
        (folder / "words.json").write_text(json.dumps(sorted(self._words)), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read it."""
        try:
            self._words = set(json.loads((folder / "words.json").read_text(encoding="utf-8")))
        except (OSError, ValueError) as exc:
            raise ModelError(f"{folder} holds no words: train it again") from exc


def words(messages: Iterable[str]) -> set[str]:
    """The words of some messages."""
    return {word for message in messages for word in message.lower().split()}
