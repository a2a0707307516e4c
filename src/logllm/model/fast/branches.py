"""Attention along a tree's branches in transformers' decoders: each node looks at its own path."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from logllm.model.fast.packing import Group, Layout, chunks
from logllm.sessions.message_table import Rows

NAME = "logllm_branches"
"""What transformers knows this attention by."""
_NO_MASK = (1, 1, 1, 1)
"""Shape of a mask that transformers hands on as it is, and that nobody reads."""


@dataclass(frozen=True)
class Branches:
    """Who sees whom, with sequences of like length put together.

    A mask over all pairs of a step's nodes took a quarter of a training step on a processor, though
    only a tenth of the pairs see each other.

    Attributes:
        groups: branches whose attention is computed together.
        rows: where each node's heads stand among what the groups give, (n * heads,).
        layout: where heads stand in queries, and in keys and values.
    """

    groups: tuple[Group, ...]
    rows: Tensor
    layout: Layout

    def attend(self, query: Tensor, stored: Tensor, *, dropout: float = 0.0) -> Tensor:
        """What each node sees, with gradients; the scale is in the queries already.

        Args:
            query: (n, heads, width).
            stored: keys, then values, (n, 2 * kv, width).
            dropout: share of the attention's weights that are dropped.

        Returns:
            (n, heads, width).
        """
        layout = self.layout
        seen = [group.seen(query, stored, layout=layout, dropout=dropout) for group in self.groups]
        return torch.cat(seen).index_select(0, self.rows).view(query.shape)


def branches_of(
    paths: Sequence[Rows],
    own: Rows,
    *,
    layout: Layout,
    device: torch.device,
) -> Branches:
    """The branches of a tree.

    Args:
        paths: for each branch the nodes that it sees.
        own: how many of them are the branch's own, its last ones, (b,); these follow each other,
            branch by branch.
        layout: where heads stand; a row of queries holds nothing else, a row of keys has the values
            after them.
        device: where attention is computed.
    """
    nodes = int(own.sum())
    heads = layout.heads
    (chunk,) = chunks(paths, own, nodes=nodes, layout=layout, device=device)
    places = torch.cat([group.places for group in chunk.groups])
    # Those of padding all go to the row after the last, which is left out.
    rows = torch.empty((nodes + 1) * heads, dtype=torch.int64, device=device)
    rows.scatter_(0, places, torch.arange(len(places), device=device))
    return Branches(chunk.groups, rows[: nodes * heads], layout)


def layout_of(config: Any) -> Layout:
    """Where heads stand in a decoder's queries, keys and values."""
    heads = config.num_attention_heads
    kv = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return Layout(heads, kv, width, query_row=heads, key_row=2 * kv)


def no_mask(like: Tensor) -> Tensor:
    """What is given as a mask where branches say who sees whom."""
    return like.new_zeros(_NO_MASK)


def read_by_branches(model: Any) -> None:
    """Have a transformers model attend along branches where its forward pass is given some.

    Where it is given none it attends as before.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def _attention(
    module: Any, query: Tensor, *seen: Any, branches: Branches | None = None, **how: Any
) -> tuple[Tensor, None]:
    """Attention in transformers' form.

    Args:
        module: the layer's.
        query: (1, heads, n, width).
        seen: keys and values, (1, kv, n, width) each, and the mask, which branches make needless.
        branches: who sees whom; none: as torch does it under the mask.
        how: scale and dropout.

    Returns:
        (1, n, heads, width), and no weights.
    """
    if branches is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        plain: tuple[Tensor, None] = sdpa_attention_forward(module, query, *seen, **how)
        return plain
    key, value = seen[:2]
    scaling = how.get("scaling")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    queries = (query[0] * scale).transpose(0, 1)  # (n, heads, width)
    stored = torch.cat([key[0], value[0]]).transpose(0, 1)  # (n, 2 * kv, width)
    attended = branches.attend(queries, stored, dropout=how.get("dropout", 0.0))
    return attended[None], None
