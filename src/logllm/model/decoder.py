"""The causal language model that reads the sequence: any of transformers', with LoRA adapters."""

import sys
from typing import Any

import torch
from torch import Tensor, nn

from logllm.config.model import DecoderSection
from logllm.model.backbone import adapted


class Decoder(nn.Module):
    """Embedding vectors to next-token logits."""

    def __init__(self, model: Any, section: DecoderSection, *, adapters: bool = True) -> None:
        """Wrap a loaded causal language model.

        Args:
            model: a transformers causal language model.
            section: adapters.
            adapters: off for a model that has them merged in.

        Raises:
            ModelError: no layers for the adapters.
        """
        super().__init__()
        self.width = int(model.get_input_embeddings().weight.shape[1])
        self.positions = int(getattr(model.config, "max_position_embeddings", sys.maxsize))
        self.model: Any = adapted(model, section.lora, part="decoder") if adapters else model

    def embed(self, ids: Tensor) -> Tensor:
        """Input embeddings of token ids, (k,) -> (k, d_dec), as the model itself makes them."""
        embedded: Tensor = self.model.get_input_embeddings()(ids)
        return embedded

    def forward(self, embeddings: Tensor, mask: Tensor, *, keep: int) -> Tensor:
        """Logits at the last positions.

        Args:
            embeddings: input vectors, (b, p, d_dec), padded on the left.
            mask: 1 at input, 0 at padding, (b, p).
            keep: how many last positions to give logits for. The output head runs on no other one.

        Returns:
            Logits under the model's own transform, (b, keep, v), float32.
        """
        positions = (mask.cumsum(1) - 1).clamp(min=0)  # (b, p)
        output = self.model(inputs_embeds=embeddings, attention_mask=mask, position_ids=positions, logits_to_keep=keep, use_cache=False)
        logits: Tensor = output.logits[:, -keep:].to(torch.float32)  # (b, keep, v)
        return logits
