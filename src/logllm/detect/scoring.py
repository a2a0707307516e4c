"""Sessions to logits: each distinct session scored once, each distinct message encoded once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from logllm.config.recipe import Recipe
from logllm.model.batch import MessageTokens, Rows
from logllm.model.engine import Engine, Progress
from logllm.model.logllm import LogLLM

Logits = npt.NDArray[np.float64]
"""Verdict logits, anomalous minus normal, one a session; the score is their sigmoid."""

_REMEMBERED = 1_000_000
"""Distinct sessions whose logits are kept between calls."""


class Scorer:
    """A model that remembers which messages it has encoded and which sessions it has scored.

    One scorer serves one message table, which may grow between calls.
    """

    def __init__(self, model: LogLLM, tokenizer: Any, *, recipe: Recipe) -> None:
        """Score with a model in evaluation mode, in passes of the recipe's sizes."""
        self._engine = Engine(model, section=recipe.detect)
        self._tokenizer = tokenizer
        self._max_tokens = recipe.model.encoder.max_tokens
        self._vectors = torch.zeros((0, model.encoder.width), device=model.device)
        self._known = np.zeros(0, dtype=np.bool_)
        self._logits: dict[bytes, float] = {}

    def score(self, sessions: Sequence[Rows], messages: pl.Series, *, progress: Progress | None = None) -> Logits:
        """Score sessions.

        Args:
            sessions: for each session the message-table rows of its messages.
            messages: the message table: that of earlier calls, or one that continues it.
            progress: told after each decoder pass.

        Returns:
            One logit difference a session, in the order given.
        """
        keys = [session.astype(np.int64).tobytes() for session in sessions]
        if len(self._logits) > _REMEMBERED:
            self._logits.clear()
        new = [np.frombuffer(key, dtype=np.int64) for key in dict.fromkeys(keys) if key not in self._logits]
        if new:
            self._encode(np.unique(np.concatenate(new)), messages)
            self._decode(new, progress)
        return np.array([self._logits[key] for key in keys], dtype=np.float64)

    def _encode(self, rows: Rows, messages: pl.Series) -> None:
        """Make sure that the vectors of some messages are known."""
        grown = len(messages) - len(self._known)
        if grown > 0:
            self._vectors = torch.cat([self._vectors, self._vectors.new_zeros((grown, self._vectors.shape[1]))])
            self._known = np.concatenate([self._known, np.zeros(grown, dtype=np.bool_)])
        rows = rows[~self._known[rows]]
        tokens = MessageTokens(messages.gather(rows).to_list(), self._tokenizer, max_tokens=self._max_tokens)
        self._vectors[torch.from_numpy(rows).to(self._vectors.device)] = self._engine.encode(tokens)
        self._known[rows] = True

    def _decode(self, sessions: list[Rows], progress: Progress | None) -> None:
        """Score distinct sessions."""
        pair = self._engine.judge(sessions, self._vectors, progress=progress)  # (b, 2)
        difference = (pair[:, 1] - pair[:, 0]).tolist()
        self._logits.update((session.tobytes(), value) for session, value in zip(sessions, difference, strict=True))


def sigmoid(logits: Logits) -> Logits:
    """P(anomalous) of logit differences, without overflow.

    >>> sigmoid(np.array([0.0, 1000.0])).tolist()
    [0.5, 1.0]
    """
    return np.asarray(torch.from_numpy(np.asarray(logits)).sigmoid())
