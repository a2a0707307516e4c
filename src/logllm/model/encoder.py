"""Token ids to one vector a message: any encoder of transformers, with LoRA adapters."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from logllm.config.model import EncoderSection, Pooling
from logllm.data.sequences import Rows
from logllm.errors import ModelError
from logllm.model.base.adapters import adapted
from logllm.model.batch import MessageTokens, in_passes


class Encoder(nn.Module):
    """A message encoder: its last states pooled into one vector (paper, section 1)."""

    def __init__(self, model: Any, section: EncoderSection, *, adapters: bool = True) -> None:
        """Wrap a loaded encoder.

        Args:
            model: a transformers encoder.
            section: pooling and adapters.
            adapters: off for a model that has them merged in.

        Raises:
            ModelError: pooling `pooler` of a model that has none, more tokens than it can read, or no layers for the adapters.
        """
        super().__init__()
        if section.pooling == "pooler" and getattr(model, "pooler", None) is None:
            raise ModelError(f"encoder {section.weights} has no pooler: set model.encoder.pooling = 'mean'")
        positions = getattr(model.config, "max_position_embeddings", section.max_tokens)
        if section.max_tokens > positions:
            raise ModelError(f"encoder {section.weights} reads at most {positions} tokens: set model.encoder.max_tokens to that or less")
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
                some = wanted[places]
                ids, mask = tokens.tensors(some)
                vectors[torch.from_numpy(some).to(device)] = self(ids.to(device), mask.to(device))
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


def pool(states: Tensor, *, pooling: Pooling, mask: Tensor | None = None, pooler: Tensor | None = None) -> Tensor:
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
