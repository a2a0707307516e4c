"""Sessions to tensors; each distinct message once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from logllm.data.sequences import Rows


@dataclass(frozen=True)
class Batch:
    """What one forward pass reads (design: `u` distinct messages, `t` tokens, `b` sessions).

    Attributes:
        ids: token ids of the distinct messages, (u, t).
        mask: 1 at tokens, 0 at padding, (u, t).
        vectors: the messages' vectors where they are known already, (u, d_enc); `ids` is then not read.
        places: for each session the row of each of its messages.
        labels: 1 for anomalous, (b,); none when scoring.
        beginnings: sessions of which a beginning is judged too, as if it were one more session at the end of the batch, and its length;
            `labels` has theirs as well.
    """

    ids: Tensor
    mask: Tensor
    vectors: Tensor | None
    places: tuple[Rows, ...]
    labels: Tensor | None = None
    beginnings: tuple[tuple[int, int], ...] = ()

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        moved = (None if tensor is None else tensor.to(device) for tensor in (self.ids, self.mask, self.vectors, self.labels))
        ids, mask, vectors, labels = moved
        assert ids is not None  # noqa: S101 - for the type checker
        assert mask is not None  # noqa: S101
        return replace(self, ids=ids, mask=mask, vectors=vectors, labels=labels)


class MessageTokens:
    """The token ids of a message table, each message tokenised once and held without padding.

    Attributes:
        lengths: of the messages, in tokens, (len(self),).
        ids: those of all messages one after the other.
        starts: where each message starts among them, and where the last one ends, (len(self) + 1,).
    """

    def __init__(self, messages: Sequence[str], tokenizer: Any, *, max_tokens: int) -> None:
        """Tokenise messages, special tokens included, cut after `max_tokens` (paper: 100)."""
        encoded = []
        if len(messages):
            encoded = tokenizer(list(messages), truncation=True, max_length=max_tokens)["input_ids"]
        self.lengths: Rows = np.fromiter((len(ids) for ids in encoded), dtype=np.int64, count=len(encoded))
        self.starts: Rows = np.concatenate([[0], np.cumsum(self.lengths)])
        tokens = (token for ids in encoded for token in ids)
        self.ids = np.fromiter(tokens, dtype=np.int32, count=int(self.starts[-1]))
        self._pad = tokenizer.pad_token_id or 0

    def __len__(self) -> int:
        return len(self.lengths)

    def tensors(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Ids and mask of some messages, (u, t) each, padded on the right to the longest of them."""
        longest = int(self.lengths[rows].max(initial=1))
        ids = np.full((len(rows), longest), self._pad, dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for at, row in enumerate(rows):
            length = self.lengths[row]
            ids[at, :length] = self.ids[self.starts[row] : self.starts[row] + length]
            mask[at, :length] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)


def in_passes(lengths: Rows, *, positions: int) -> Iterator[Rows]:
    """Rows of like length together, in passes whose count times longest length stays within `positions`.

    >>> [rows.tolist() for rows in in_passes(np.array([5, 2, 2]), positions=8)]
    [[1, 2], [0]]
    """
    rows = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or (end + 1 - start) * int(lengths[rows[end]]) > positions:
            yield rows[start:end]
            start = end


def collate(
    sessions: Sequence[Rows], *, tokens: MessageTokens | None = None, vectors: Tensor | None = None, labels: Tensor | None = None
) -> Batch:
    """Make one batch of sessions, from the message table's tokens or, where they are known, its vectors.

    Args:
        sessions: for each session the message-table rows of its messages.
        tokens: the message table's tokens.
        vectors: the message table's vectors, (messages, d_enc).
        labels: 1 for anomalous, (b,).
    """
    distinct, places = np.unique(np.concatenate(sessions), return_inverse=True)
    cuts = np.cumsum([len(session) for session in sessions])[:-1]
    if vectors is not None:
        ids = mask = torch.zeros((len(distinct), 0), dtype=torch.int64)
        vectors = vectors[torch.from_numpy(distinct).to(vectors.device)]  # (u, d_enc)
    else:
        assert tokens is not None  # noqa: S101 - a caller's mistake, not a user's
        ids, mask = tokens.tensors(distinct)
    return Batch(ids=ids, mask=mask, vectors=vectors, places=tuple(np.split(places, cuts)), labels=labels)
