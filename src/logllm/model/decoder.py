"""The causal language model that reads the sequence: any of transformers', with LoRA adapters."""

import sys
from typing import Any

import torch
from torch import Tensor, nn

from logllm.config.model import DecoderSection
from logllm.model.base.adapters import adapted
from logllm.model.fast.tree import Tree

_READ_TREES = (
    *(f"{name}ForCausalLM" for name in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Phi", "Phi3")),
    "GPT2LMHeadModel",
)
"""Architectures that take positions and a mask of who sees whom as they are.

None of them has a window beyond which it does not look.
"""


class Decoder(nn.Module):
    """Embedding vectors to next-token logits.

    Attributes:
        width: of an input vector, d_dec.
        positions: most that the model can read.
        reads_trees: whether `read` is for this architecture.
    """

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
        whole = getattr(model.config, "sliding_window", None) is None
        self.reads_trees = type(model).__name__ in _READ_TREES and whole

        # Floating-point operations of a layer's linear parts, a position: a multiplication and an
        # addition for each of its weights. Embeddings and output head are in no layer.
        tables = (model.get_input_embeddings(), model.get_output_embeddings())
        ends = {id(table.weight) for table in tables}
        weights = (weight for weight in model.parameters() if weight.dim() > 1)
        sizes = [int(weight.numel()) for weight in weights if id(weight) not in ends]
        self._linear = 2.0 * sum(sizes) / int(model.config.num_hidden_layers)
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
        # Positions count from the first input, not from the padding before it: a mask of
        # (0, 0, 1, 1, 1) has (0, 0, 0, 1, 2).
        positions = (mask.cumsum(1) - 1).clamp(min=0)  # (b, p)
        output = self.model(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=positions,
            logits_to_keep=keep,
            use_cache=False,
        )
        logits: Tensor = output.logits[:, -keep:].to(torch.float32)  # (b, keep, v)
        return logits

    def read(self, embeddings: Tensor, tree: Tree, *, nodes: Tensor) -> Tensor:
        """Logits at some nodes of a tree of sequences, each node computed once.

        Args:
            embeddings: the nodes' input vectors, (n, d_dec).
            tree: their positions and who follows whom.
            nodes: where logits are wanted, (k,).

        Returns:
            Logits under the model's own transform, (k, v), float32.
        """
        # A node sees those that it follows: what is added to all other attention is the least
        # number, which the softmax makes nothing.
        device, dtype = embeddings.device, embeddings.dtype
        follows = torch.from_numpy(tree.mask()).to(device)
        mask = torch.zeros(follows.shape, dtype=dtype, device=device)
        mask.masked_fill_(~follows, torch.finfo(dtype).min)  # (n, n)
        positions = torch.from_numpy(tree.depths).to(device)
        output = self.model(
            inputs_embeds=embeddings[None],
            attention_mask=mask[None, None],
            position_ids=positions[None],
            logits_to_keep=nodes,
            use_cache=False,
        )
        logits: Tensor = output.logits[0].to(torch.float32)  # (k, v)
        return logits

    def gains(self, tree: Tree) -> bool:
        """Whether a tree is less work than its sequences padded to the longest.

        It has fewer nodes, but each is weighed against all others.
        """
        n, b, p = len(tree.rows), len(tree.paths), max(map(len, tree.paths))

        # Attention of one position to n others takes 4 * d * n operations: two products of 2 * d
        # each. Of the tree n positions see n, of b padded sequences b * p see p.
        of_tree = n * (self._linear + 4 * self.width * n)
        padded = b * p * (self._linear + 4 * self.width * p)
        return of_tree < padded
