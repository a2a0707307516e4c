"""Sessions to logits: in a call each distinct session is scored once, and each message encoded once while it is remembered."""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from logllm.model.batch import MessageTokens
from logllm.model.fast.engine import Engine
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, distinct, occurring

Logits = npt.NDArray[np.float64]
"""Verdict logits, anomalous minus normal, one a session; the score is their sigmoid."""

REMEMBERED = 65_536
"""Messages whose vectors are remembered between calls: 100 MB of the small tier's vectors, 200 MB of BERT-base's."""

_DIGEST = 16


class Scorer:
    """An engine, and the vectors of the messages that it met last.

    A message is known by its text: calls may bring other message tables, in which it has another row.
    A call costs what the messages of its sessions cost, however long the table. What is held between
    calls is bounded: of more than `most` messages the ones longest out of use are forgotten, and
    encoded again when they return. One scorer may serve several threads at once: they take turns where
    messages are looked up and encoded, so that no message is encoded twice.
    """

    def __init__(self, engine: Engine, tokenizer: Any, *, max_tokens: int, most: int = REMEMBERED) -> None:
        """Know no message yet.

        Args:
            engine: what encodes messages and judges sessions.
            tokenizer: the encoder's.
            max_tokens: how much of a message the encoder reads.
            most: messages whose vectors are remembered between calls; a call itself may bring more.
        """
        self.engine = engine
        """What encodes messages and judges sessions."""
        self.tokenizer = tokenizer
        """The encoder's."""
        self._max_tokens = max_tokens
        self._vectors = _Vectors(engine.model.encoder.width, engine.model.device, most=most)
        self._turn = Lock()

    @property
    def remembered(self) -> int:
        """Messages whose vectors are remembered now."""
        return len(self._vectors)

    def score(self, sessions: Sequence[Rows], messages: pl.Series, *, progress: Progress | None = None) -> Logits:
        """Score sessions.

        Args:
            sessions: for each session the message-table rows of its messages.
            messages: the message table, of this call alone.
            progress: told as the decoder goes on.

        Returns:
            One logit difference a session, in the order given.
        """
        if not len(sessions):
            return np.zeros(0)
        once = distinct([session.astype(np.int64) for session in sessions])
        rows = occurring(once.sessions)
        vectors = self._encoded(messages.gather(rows).to_list())  # (u, d_enc)
        places = [np.searchsorted(rows, session) for session in once.sessions]
        pair = self.engine.judge(places, vectors, progress=progress)  # (b, 2)
        difference = (pair[:, 1] - pair[:, 0]).cpu().numpy().astype(np.float64)
        logits: Logits = difference[once.of]
        return logits

    def rounding_error(self, sessions: Sequence[Rows], messages: pl.Series) -> float | None:
        """The largest error of a logit where products are rounded and nothing is computed again.

        Args:
            sessions: some that are all different.
            messages: their message table.

        Returns:
            None where the engine rounds nothing.
        """
        rows = occurring(sessions)
        vectors = self._encoded(messages.gather(rows).to_list())  # (u, d_enc)
        places = [np.searchsorted(rows, session) for session in sessions]
        return self.engine.rounding_error(places, vectors)

    def _encoded(self, texts: Sequence[str]) -> Tensor:
        """The vectors of distinct messages, (u, d_enc)."""
        keys = [blake2b(text.encode(), digest_size=_DIGEST).digest() for text in texts]
        with self._turn:
            vectors, missing = self._vectors.look_up(keys)
            if missing:
                tokens = MessageTokens([texts[place] for place in missing], self.tokenizer, max_tokens=self._max_tokens)
                fresh = self.engine.encode(tokens)
                vectors[missing] = fresh
                self._vectors.remember([keys[place] for place in missing], fresh)
        return vectors


class _Vectors:
    """Rows of one table by key; when all are taken, that of the key longest out of use goes to the next one."""

    def __init__(self, width: int, device: torch.device, *, most: int) -> None:
        self._most = most
        self._table = torch.zeros((0, width), device=device)
        self._row: OrderedDict[bytes, int] = OrderedDict()  # the key longest out of use first

    def __len__(self) -> int:
        return len(self._row)

    def look_up(self, keys: Sequence[bytes]) -> tuple[Tensor, list[int]]:
        """A copy of the vectors of some keys, and the places of those that are not known, which hold zeros."""
        rows = [self._row.get(key, -1) for key in keys]
        present = [place for place, row in enumerate(rows) if row >= 0]
        vectors = self._table.new_zeros((len(keys), self._table.shape[1]))
        vectors[present] = self._table[[rows[place] for place in present]]
        for place in present:
            self._row.move_to_end(keys[place])
        return vectors, [place for place, row in enumerate(rows) if row < 0]

    def remember(self, keys: Sequence[bytes], vectors: Tensor) -> None:
        """Take in the vectors of distinct new keys; of more than there is room for the last ones."""
        keys, vectors = keys[-self._most :], vectors[-self._most :]
        rows = []
        for key in keys:
            full = len(self._row) == self._most
            row = self._row.popitem(last=False)[1] if full else len(self._row)
            self._row[key] = row
            rows.append(row)
        self._grow(len(self._row))
        self._table[rows] = vectors

    def _grow(self, rows: int) -> None:
        """Make room for so many rows: at least twice as many as before, as each growth copies all of them."""
        if rows > len(self._table):
            grown = self._table.new_zeros((min(self._most, max(rows, 2 * len(self._table))), self._table.shape[1]))
            grown[: len(self._table)] = self._table
            self._table = grown
