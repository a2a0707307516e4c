"""Sessions to logits: in a call each distinct session is scored once, and each distinct message encoded once in all."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from logllm.config.recipe import Recipe
from logllm.detect.metrics import Progress
from logllm.model.batch import MessageTokens, Rows, collate, in_passes
from logllm.model.logllm import LogLLM

Logits = npt.NDArray[np.float64]
"""Verdict logits, anomalous minus normal, one a session; the score is their sigmoid."""


class Scorer:
    """A model that remembers which messages it has encoded.

    One scorer serves one message table, which may grow between calls.
    """

    def __init__(self, model: LogLLM, tokenizer: Any, *, recipe: Recipe) -> None:
        """Score with a model in evaluation mode, in passes of the recipe's sizes."""
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._section = recipe.detect
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
        self._logits = {}
        if distinct := [np.frombuffer(key, dtype=np.int64) for key in dict.fromkeys(keys)]:
            self._encode(np.unique(np.concatenate(distinct)), messages)
            self._decode(distinct, progress)
        return np.array([self._logits[key] for key in keys], dtype=np.float64)

    def _encode(self, rows: Rows, messages: pl.Series) -> None:
        """Make sure that the vectors of some messages are known."""
        grown = len(messages) - len(self._known)
        if grown > 0:
            self._vectors = torch.cat([self._vectors, self._vectors.new_zeros((grown, self._vectors.shape[1]))])
            self._known = np.concatenate([self._known, np.zeros(grown, dtype=np.bool_)])
        rows = rows[~self._known[rows]]
        tokens = MessageTokens(messages.gather(rows).to_list(), self._tokenizer, max_tokens=self._max_tokens)
        self._vectors[torch.from_numpy(rows).to(self._vectors.device)] = self._model.encode(tokens, positions=self._section.batch_tokens)
        self._known[rows] = True

    def _decode(self, sessions: list[Rows], progress: Progress | None) -> None:
        """Score distinct sessions, those of like length together."""
        around = len(self._model.prompt.head) + len(self._model.prompt.question)
        lengths = np.array([len(session) + around for session in sessions])
        by_length = np.argsort(lengths, kind="stable")
        done = 0
        for rows in in_passes(by_length, lengths[by_length], positions=self._section.batch_positions):
            some = [sessions[row] for row in rows]
            with torch.inference_mode():
                pair = self._model(collate(some, vectors=self._vectors)).double()  # (b, 2)
            difference = (pair[:, 1] - pair[:, 0]).tolist()
            self._logits.update((session.tobytes(), value) for session, value in zip(some, difference, strict=True))
            done += len(rows)
            if progress is not None:
                progress(done, len(sessions))
