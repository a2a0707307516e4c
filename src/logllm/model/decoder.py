"""The causal language model that reads the sequence: any of transformers', with LoRA adapters."""

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from logllm.config.model import DecoderSection
from logllm.model.base.adapters import adapted
from logllm.model.fast.branches import branches_of, layout_of, no_mask, read_by_branches
from logllm.model.fast.ends import logits_at, reads_ends
from logllm.model.fast.tree import Tree

_READ_TREES = (
    *(
        f"{name}ForCausalLM"
        for name in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Phi", "Phi3")
    ),
    "GPT2LMHeadModel",
)
"""Architectures that take positions as they are, and whose attention can be another one.

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
        if self.reads_trees:
            self._layout = layout_of(model.config)
            read_by_branches(model)
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

    def read(self, embeddings: Tensor, tree: Tree, *, keep: int) -> Tensor:
        """Logits at the ends of a tree's sequences, each node computed once.

        Args:
            embeddings: the nodes' input vectors, (n, d_dec).
            tree: their positions and who follows whom.
            keep: at how many last positions of each sequence logits are wanted.

        Returns:
            Logits under the model's own transform, (b, keep, v), float32, in the sequences' own
            order.
        """
        device = embeddings.device
        layout = self._layout
        depths = torch.from_numpy(tree.depths).to(device)
        branches = branches_of(tree.paths, np.diff(tree.starts), layout=layout, device=device)

        # The ends, branch by branch. A sequence may be shorter than `keep`: what stands in its
        # first places is not looked at.
        counts = np.array([min(keep, len(path)) for path in tree.paths])
        firsts = np.cumsum(counts) - counts
        places = np.zeros((len(counts), keep), dtype=np.int64)
        for at, count, first in zip(tree.order, counts, firsts, strict=True):
            places[at, keep - count :] = np.arange(first, first + count)
        last = [path[-keep:] for path in tree.paths]
        nodes = torch.from_numpy(np.concatenate(last)).to(device)  # (k,)

        base = self._base
        if reads_ends(base):
            ends = branches_of(tree.paths, counts, layout=layout, device=device)
            logits = logits_at(
                base, embeddings, depths=depths, branches=branches, ends=(ends, nodes)
            )
        else:
            output = self.model(
                inputs_embeds=embeddings[None],
                attention_mask=no_mask(embeddings),
                position_ids=depths[None],
                logits_to_keep=nodes,
                use_cache=False,
                branches=branches,
            )
            logits = output.logits[0]  # (k, v)
        rows = torch.from_numpy(places.ravel()).to(device)
        return logits[rows].view(*places.shape, -1).to(torch.float32)  # (b, keep, v)

    @property
    def _base(self) -> Any:
        """The model without PEFT's shell."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
