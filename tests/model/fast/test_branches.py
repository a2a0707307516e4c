"""Attention along branches is attention under a mask of who follows whom, its gradients too."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from logllm.model.fast.branches import branches_of
from logllm.model.fast.packing import Layout
from logllm.model.fast.tree import Tree, grow

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=12)
CPU = torch.device("cpu")


def masked(query: torch.Tensor, stored: torch.Tensor, tree: Tree, *, kv: int) -> torch.Tensor:
    """Every node against every node, and what no path holds taken out."""
    sees = torch.zeros((len(tree.rows), len(tree.rows)), dtype=torch.bool)
    for path in tree.paths:
        for at, node in enumerate(path):
            sees[node, path[: at + 1]] = True
    keys, values = stored[:, :kv], stored[:, kv:]
    shared = query.shape[1] // kv
    keys, values = (one.repeat_interleave(shared, 1) for one in (keys, values))
    scores = torch.einsum("qhw,khw->hqk", query, keys).masked_fill(~sees, -torch.inf)
    return torch.einsum("hqk,khw->qhw", scores.softmax(-1), values)


@given(SEQUENCES, st.sampled_from([(1, 1), (4, 2)]))
def test_what_is_seen_and_its_gradients(lists, heads) -> None:
    tree = grow([np.array(one) for one in lists])
    layout = Layout(*heads, 3, query_row=heads[0], key_row=2 * heads[1])
    drawn = torch.Generator().manual_seed(len(tree.rows))
    nodes = len(tree.rows)
    shapes = [(nodes, heads[0], 3), (nodes, 2 * heads[1], 3), (nodes, heads[0], 3)]
    query, stored, weights = (
        torch.randn(shape, generator=drawn, dtype=torch.float64) for shape in shapes
    )
    query.requires_grad_()
    stored.requires_grad_()
    branches = branches_of(tree.paths, np.diff(tree.starts), layout=layout, device=CPU)
    ways = [branches.attend(query, stored), masked(query, stored, tree, kv=heads[1])]
    torch.testing.assert_close(*ways, rtol=0, atol=1e-5)
    gradients = [torch.autograd.grad((way * weights).sum(), (query, stored)) for way in ways]
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-5)


def test_dropped_weights_are_other_ones_each_time() -> None:
    tree = grow([np.arange(9)])
    branches = branches_of(
        tree.paths, np.array([9]), layout=Layout(1, 1, 2, query_row=1, key_row=2), device=CPU
    )
    query, stored = torch.ones((9, 1, 2)), torch.ones((9, 2, 2))
    torch.manual_seed(0)
    first, second = (branches.attend(query, stored, dropout=0.5) for _ in range(2))
    assert not torch.equal(first, second)
    assert first.mean() == pytest.approx(1.0, abs=0.5)
