"""Sessions to tensors; each distinct message once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from logllm.sessions.message_table import Rows


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
    """The token ids of a message table, each message tokenised once and held without padding."""

    def __init__(self, messages: Sequence[str], tokenizer: Any, *, max_tokens: int) -> None:
        """Tokenise messages, special tokens included, cut after `max_tokens` (paper: 100)."""
        encoded = tokenizer(list(messages), truncation=True, max_length=max_tokens)["input_ids"] if len(messages) else []
        self.lengths: Rows = np.fromiter((len(ids) for ids in encoded), dtype=np.int64, count=len(encoded))
        self._starts: Rows = np.concatenate([[0], np.cumsum(self.lengths)])
        self._flat = np.fromiter((token for ids in encoded for token in ids), dtype=np.int32, count=int(self._starts[-1]))
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
            ids[at, :length] = self._flat[self._starts[row] : self._starts[row] + length]
            mask[at, :length] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def packed(self) -> tuple[npt.NDArray[np.int32], Rows]:
        """All ids one after the other, and where each message starts, (len(self) + 1,)."""
        return self._flat, self._starts

    def passes(self, rows: Rows, *, positions: int) -> Iterator[Rows]:
        """Places in `rows`, in passes of like length with at most about `positions` token positions each."""
        by_length = np.argsort(self.lengths[rows], kind="stable")
        yield from in_passes(by_length, self.lengths[rows[by_length]], positions=positions)


def in_passes(rows: Rows, lengths: Rows, *, positions: int) -> Iterator[Rows]:
    """Cut rows, sorted by rising length, into runs whose count times longest length stays within `positions`.

    >>> [run.tolist() for run in in_passes(np.array([7, 8, 9]), np.array([2, 2, 5]), positions=8)]
    [[7, 8], [9]]
    """
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or (end + 1 - start) * int(lengths[end]) > positions:
            yield rows[start:end]
            start = end


def collate(
    sessions: Sequence[Rows],
    *,
    tokens: MessageTokens | None = None,
    vectors: Tensor | None = None,
    labels: Tensor | None = None,
    beginnings: tuple[tuple[int, int], ...] = (),
) -> Batch:
    """Make one batch of sessions, from the message table's tokens or, where they are known, its vectors.

    Args:
        sessions: for each session the message-table rows of its messages.
        tokens: the message table's tokens.
        vectors: the message table's vectors, (messages, d_enc).
        labels: 1 for anomalous, (b,).
        beginnings: sessions of which a beginning is judged too, and its length.
    """
    distinct, places = np.unique(np.concatenate(sessions), return_inverse=True)
    cuts = np.cumsum([len(session) for session in sessions])[:-1]
    if vectors is not None:
        ids = mask = torch.zeros((len(distinct), 0), dtype=torch.int64)
        vectors = vectors[torch.from_numpy(distinct).to(vectors.device)]  # (u, d_enc)
    else:
        assert tokens is not None  # noqa: S101 - a caller's mistake, not a user's
        ids, mask = tokens.tensors(distinct)
    split = tuple(np.split(places, cuts))
    return Batch(ids=ids, mask=mask, vectors=vectors, places=split, labels=labels, beginnings=beginnings)
