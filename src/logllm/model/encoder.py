"""Messages to tokens to one vector each: any encoder of transformers, with LoRA adapters."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from logllm.config.model import EncoderSection, Pooling
from logllm.errors import ModelError
from logllm.model.base.adapters import adapted
from logllm.sessions.message_table import Rows


class MessageTokens:
    """The token ids of a message table, each message tokenised once and held without padding.

    Attributes:
        lengths: of the messages, in tokens, (len(self),).
        ids: those of all messages one after the other.
        starts: where each message starts among them, and where the last one ends, (len(self) + 1,).
    """

    def __init__(self, messages: Sequence[str], tokenizer: Any, *, max_tokens: int) -> None:
        """Tokenise messages, special tokens included, cut after `max_tokens` (paper: 100)."""
        # A tokenizer of transformers refuses an empty list.
        encoded = []
        if len(messages):
            encoded = tokenizer(list(messages), truncation=True, max_length=max_tokens)["input_ids"]

        # One array for all, not a list of lists: 100,000 messages of 30 tokens are 12 MB so.
        sizes = (len(ids) for ids in encoded)
        self.lengths: Rows = np.fromiter(sizes, dtype=np.int64, count=len(encoded))
        self.starts: Rows = np.concatenate([[0], np.cumsum(self.lengths)])
        tokens = (token for ids in encoded for token in ids)
        self.ids = np.fromiter(tokens, dtype=np.int32, count=int(self.starts[-1]))
        self._pad = tokenizer.pad_token_id or 0

    def __len__(self) -> int:
        return len(self.lengths)

    def tensors(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Ids and mask of some messages, (u, t) each, padded on the right to the longest one."""
        longest = int(self.lengths[rows].max(initial=1))
        ids = np.full((len(rows), longest), self._pad, dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for at, row in enumerate(rows):
            start = self.starts[row]
            length = self.lengths[row]
            ids[at, :length] = self.ids[start : start + length]
            mask[at, :length] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)


def in_passes(lengths: Rows, *, positions: int) -> Iterator[Rows]:
    """Rows of like length together: no pass has more than `positions`, padding included.

    >>> [rows.tolist() for rows in in_passes(np.array([5, 2, 2]), positions=8)]
    [[1, 2], [0]]
    """
    # Rising lengths: the next row would be the longest of the pass, and all are padded to it.
    rows = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(rows) + 1):
        is_last = end == len(rows)
        if is_last or (end + 1 - start) * int(lengths[rows[end]]) > positions:
            yield rows[start:end]
            start = end


class Encoder(nn.Module):
    """A message encoder: its last states pooled into one vector (paper, section 1)."""

    def __init__(self, model: Any, section: EncoderSection, *, adapters: bool = True) -> None:
        """Wrap a loaded encoder.

        Args:
            model: a transformers encoder.
            section: pooling and adapters.
            adapters: off for a model that has them merged in.

        Raises:
            ModelError: pooling `pooler` of a model that has none, more tokens than it can read, or
                no layers for the adapters.
        """
        super().__init__()
        if section.pooling == "pooler" and getattr(model, "pooler", None) is None:
            remedy = "set model.encoder.pooling = 'mean'"
            raise ModelError(f"encoder {section.weights} has no pooler: {remedy}")
        positions = getattr(model.config, "max_position_embeddings", section.max_tokens)
        if section.max_tokens > positions:
            remedy = "set model.encoder.max_tokens to that or less"
            raise ModelError(
                f"encoder {section.weights} reads at most {positions} tokens: {remedy}"
            )
        self.pooling = section.pooling
        self.width = int(model.config.hidden_size)
        self.model: Any = adapted(model, section.lora, part="encoder") if adapters else model

    def table(self, tokens: MessageTokens, *, positions: int, rows: Rows | None = None) -> Tensor:
        """Vectors of a table's messages without gradients, (len(tokens), d_enc).

        Args:
            tokens: the messages.
            positions: token positions of a pass, in which messages are of like length.
            rows: messages that are wanted, the others are zeros; none: all.
        """
        wanted = np.arange(len(tokens)) if rows is None else rows
        device = next(self.parameters()).device
        vectors = torch.zeros((len(tokens), self.width), device=device)
        with torch.no_grad():
            for places in in_passes(tokens.lengths[wanted], positions=positions):
                # Each pass goes to the device by itself, and only its vectors stay there.
                chosen = wanted[places]
                ids, mask = tokens.tensors(chosen)
                encoded = self(ids.to(device), mask.to(device))
                vectors[torch.from_numpy(chosen).to(device)] = encoded
        return vectors

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode messages.

        Args:
            ids: token ids, (u, t), padded anywhere.
            mask: 1 at tokens, 0 at padding, (u, t).

        Returns:
            One vector a message, (u, d_enc), float32.
        """
        output = self.model(input_ids=ids, attention_mask=mask)
        pooler = output.pooler_output if self.pooling == "pooler" else None
        return pool(output.last_hidden_state, pooling=self.pooling, mask=mask, pooler=pooler)


def pool(
    states: Tensor,
    *,
    pooling: Pooling,
    mask: Tensor | None = None,
    pooler: Tensor | None = None,
) -> Tensor:
    """One vector a message from its tokens' last states.

    Args:
        states: an encoder's, (u, t, d_enc).
        pooling: `mean` of the states, or `pooler`: what the encoder itself makes of the first one.
        mask: 1 at tokens, 0 at padding, (u, t); none: there is no padding.
        pooler: what the encoder's own pooler gives, (u, d_enc).

    Returns:
        (u, d_enc), float32.
    """
    if pooling == "pooler":
        assert pooler is not None  # noqa: S101 - a caller's mistake, not a user's
        return pooler.float()
    if mask is None:
        return states.float().mean(1)
    weight = mask.unsqueeze(-1).to(torch.float32)  # (u, t, 1)
    total: Tensor = (states.float() * weight).sum(1)  # (u, d_enc)
    return total / weight.sum(1).clamp(min=1)
