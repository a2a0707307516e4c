"""Trees of sequences, and engines that round."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from logllm.config.detect import DetectSection
from logllm.errors import ModelError
from logllm.model.encoder import MessageTokens
from logllm.model.fast.llama import Llama
from logllm.model.fast.packing import Layout, chunks, in_lanes
from logllm.model.fast.scorer import DOUBT, TOLERANCE, Engine
from logllm.model.fast.source import source_of
from logllm.model.fast.tree import grow

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=12)
MESSAGES = ["disk full", "disk <*> is full again", "ok", "Receiving block <*>"]


@given(SEQUENCES)
def test_a_tree_holds_each_beginning_once(lists) -> None:
    tree = grow([np.array(each) for each in lists])
    assert len(tree.rows) == len(
        {tuple(each[:end]) for each in lists for end in range(1, len(each) + 1)}
    )
    assert sorted(tree.order.tolist()) == list(range(len(lists)))
    for path, at in zip(tree.paths, tree.order, strict=True):
        assert tree.rows[path].tolist() == lists[at]
        assert tree.depths[path].tolist() == list(range(len(lists[at])))


@given(SEQUENCES, st.integers(1, 9))
def test_chunks_hold_every_node_once_and_their_masks_its_path(lists, nodes) -> None:
    tree = grow([np.array(each) for each in lists])
    layout = Layout(heads=1, kv=1, width=1, query_row=1, key_row=2)
    seen: dict[int, list[int]] = {}
    for chunk in chunks(
        tree.paths, np.diff(tree.starts), nodes=nodes, layout=layout, device=torch.device("cpu")
    ):
        for group in chunk.groups:
            g, _, q, k = group.mask.shape
            keys = group.keys.view(2, g, k)
            assert (keys[1] == keys[0] + 1).all()
            for place, query, row, mask in zip(
                group.places,
                group.queries,
                torch.arange(g).repeat_interleave(q),
                group.mask.view(g * q, k),
                strict=True,
            ):
                if place < chunk.end - chunk.start:  # not padding
                    assert place == query
                    seen[chunk.start + int(place)] = (keys[0, row][mask == 0] // 2).tolist()
    assert sorted(seen) == list(range(len(tree.rows)))
    for start, end, path in zip(tree.starts, tree.starts[1:], tree.paths, strict=False):
        for node in range(start, end):
            assert seen[node] == [each for each in path.tolist() if each <= node]


def test_doubt_is_settled_exactly(tiny) -> None:
    """What rounding could have changed is computed again; the rest is near."""
    model, tokenizer = tiny
    tokens = MessageTokens(MESSAGES, tokenizer, max_tokens=100)
    rng = np.random.default_rng(0)
    sessions = [
        np.array(each)
        for each in {tuple(rng.integers(0, 4, size=rng.integers(1, 9)).tolist()) for _ in range(60)}
    ]
    exact, rounding = (
        Engine(model, section=DetectSection(engine=name)) for name in ("exact", "bf16")
    )
    vectors = exact.encode(tokens)
    wanted, found = (each.judge(sessions, vectors) for each in (exact, rounding))
    # These tiny models are never sure: all their logits are small.
    assert rounding.doubted == len(sessions)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    middle = (wanted[:, 1] - wanted[:, 0]).median().item()
    # As sure as trained ones.
    model.decoder.model.get_output_embeddings().weight.data *= 7 / abs(middle)
    threshold = torch.tensor(7.0 * np.sign(middle) + DOUBT, dtype=torch.float64).sigmoid().item()
    exact, rounding = (
        Engine(model, section=DetectSection(engine=name), threshold=threshold)
        for name in ("exact", "bf16")
    )
    wanted, found = (each.judge(sessions, vectors) for each in (exact, rounding))
    assert 0 < rounding.doubted < len(sessions)
    wanted, found = (each[:, 1] - each[:, 0] for each in (wanted, found))
    assert not torch.equal(wanted, found)
    assert (wanted.sigmoid() - found.sigmoid()).abs().max() < TOLERANCE
    assert torch.equal(wanted.sigmoid() >= threshold, found.sigmoid() >= threshold)


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.real
def test_lanes_give_what_one_thread_gives(tiny, two_threads) -> None:
    """Chunks that pass a layer side by side read what those before them left there."""
    model, tokenizer = tiny
    tokens = MessageTokens(MESSAGES, tokenizer, max_tokens=100)
    rng = np.random.default_rng(0)
    sessions = [
        np.array(each)
        for each in {
            tuple(rng.integers(0, 4, size=rng.integers(1, 9)).tolist()) for _ in range(200)
        }
    ]
    engine = Engine(model, section=DetectSection(batch_positions=64))
    side_by_side = [
        (engine.encode(tokens), engine.judge(sessions, engine.encode(tokens))) for _ in range(5)
    ]
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    vectors = engine.encode(tokens)
    wanted = engine.judge(sessions, vectors)
    for encoded, judged in side_by_side:
        torch.testing.assert_close(encoded, vectors, rtol=0, atol=1e-6)
        torch.testing.assert_close(judged, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("ends", "wanted"), [(96, 1), (384, 4), (960, 8)])
def test_a_tree_that_no_chunk_would_fill_is_divided_among_lanes(tiny, ends, wanted) -> None:
    """Of 4 nodes a session; each lane takes at least two chunks, or there are none."""
    model, _ = tiny
    source = source_of(model.decoder.model)
    tree = grow([np.full(4, number) for number in range(ends)])
    inputs = torch.randn((len(tree.rows), source.config.hidden_size))
    small, large = (Llama(source, dtype=torch.float32, chunk=size) for size in (16, 8_192))
    steps = set()
    found = large.logits(inputs.clone(), tree, ids=(3, 4), progress=lambda _, of: steps.add(of))
    torch.testing.assert_close(found, small.logits(inputs, tree, ids=(3, 4)), rtol=0, atol=1e-5)
    assert steps == {source.config.num_hidden_layers * wanted}


def test_a_failure_in_a_lane_reaches_the_caller(two_threads) -> None:
    done = []

    def work(item: int) -> None:
        if item == 3:
            raise ValueError("the third")
        done.append((item, torch.get_num_threads()))

    with pytest.raises(ValueError, match="the third"):
        in_lanes(work, range(8), device=torch.device("cpu"), chunks=8)
    assert sorted(done) == [(item, 1) for item in (0, 1, 2, 4, 5, 6, 7)]
    assert torch.get_num_threads() == 2


def test_an_engine_that_cannot_run_the_decoder_is_refused(tiny) -> None:
    """Such as one that looks no further back than a window."""
    tiny[0].decoder.model.get_base_model().config.sliding_window = 8
    with pytest.raises(
        ModelError, match="detect.engine = 'bf16' cannot run a .*: leave it at 'exact'"
    ):
        Engine(tiny[0], section=DetectSection(engine="bf16"))


def test_training_on_changes_no_engine_made_before(tiny) -> None:
    model, tokenizer = tiny
    tokens = MessageTokens(MESSAGES, tokenizer, max_tokens=100)
    engine = Engine(model, section=DetectSection())
    vectors = engine.encode(tokens)
    before = engine.judge([np.array([0, 1])], vectors)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data += 0.1
    assert torch.equal(engine.judge([np.array([0, 1])], vectors), before)
    assert not torch.allclose(
        Engine(model, section=DetectSection()).judge([np.array([0, 1])], vectors), before
    )
