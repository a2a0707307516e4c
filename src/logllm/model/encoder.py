"""Token ids to one vector a message: any encoder of transformers, with LoRA adapters."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from logllm.config.model import EncoderSection
from logllm.errors import ModelError
from logllm.model.base.backbone import adapted
from logllm.model.batch import MessageTokens
from logllm.sessions.message_table import Rows


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

    def table(self, tokens: MessageTokens, *, positions: int, device: torch.device, rows: Rows | None = None) -> Tensor:
        """Vectors of a table's messages without gradients, (len(tokens), d_enc), in passes of like length; zeros for those not among `rows`."""
        wanted = np.arange(len(tokens)) if rows is None else rows
        vectors = torch.zeros((len(tokens), self.width), device=device)
        with torch.no_grad():
            for places in tokens.passes(wanted, positions=positions):
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
        states = self.model(input_ids=ids, attention_mask=mask)
        if self.pooling == "pooler":
            pooled: Tensor = states.pooler_output.float()  # (u, d_enc)
            return pooled
        weight = mask.unsqueeze(-1).to(torch.float32)  # (u, t, 1)
        total: Tensor = (states.last_hidden_state.float() * weight).sum(1)  # (u, d_enc)
        return total / weight.sum(1).clamp(min=1)  # (u, d_enc)
