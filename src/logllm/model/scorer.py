"""Sessions to logits: in a call each distinct session is scored once, and each distinct message encoded once in all."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from logllm.data.sequences import Rows
from logllm.metrics import Progress
from logllm.model.batch import MessageTokens
from logllm.model.engine import Engine

Logits = npt.NDArray[np.float64]
"""Verdict logits, anomalous minus normal, one a session; the score is their sigmoid."""


class Scorer:
    """An engine, and what it has encoded so far.

    One scorer serves one message table, which may grow between calls.
    """

    def __init__(self, engine: Engine, tokenizer: Any, *, max_tokens: int) -> None:
        """Score with an engine; `tokenizer` is the encoder's, and `max_tokens` what it reads of a message."""
        self._engine = engine
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._vectors = torch.zeros((0, engine.model.encoder.width), device=engine.model.device)
        self._known = np.zeros(0, dtype=np.bool_)

    def score(self, sessions: Sequence[Rows], messages: pl.Series, *, progress: Progress | None = None) -> Logits:
        """Score sessions.

        Args:
            sessions: for each session the message-table rows of its messages.
            messages: the message table: that of earlier calls, or one that continues it.
            progress: told as the decoder goes on.

        Returns:
            One logit difference a session, in the order given.
        """
        keys = [session.astype(np.int64).tobytes() for session in sessions]
        places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        if not places:
            return np.zeros(0)
        distinct = [np.frombuffer(key, dtype=np.int64) for key in places]
        self._encode(np.unique(np.concatenate(distinct)), messages)
        pair = self._engine.judge(distinct, self._vectors, progress=progress)  # (b, 2)
        difference = (pair[:, 1] - pair[:, 0]).cpu().numpy()
        return np.array([difference[places[key]] for key in keys], dtype=np.float64)

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
