"""The encoder's own passes: what transformers computes, whatever the weights, the lengths and the
size of the scores."""

from typing import Any, Literal

import pytest
import torch
from tests.tiny import byte_tokenizer
from transformers import BertConfig, BertModel

from logllm.config.model import EncoderSection
from logllm.model.encoder import Encoder, MessageTokens
from logllm.model.fast.bert import MANY, Bert
from logllm.model.fast.source import source_of

CPU = torch.device("cpu")
ALIKE = [f"{number:018d}" for number in range(MANY // 20 + 1)]
"""Enough messages of one length, 20 tokens, to be attended to head by head."""
MIXED = [*ALIKE, *("a" * length for length in range(1, 40, 3))]


def encoder(*, pooling: Literal["mean", "pooler"] = "mean") -> Encoder:
    """A tiny BERT none of whose weights and biases is nothing."""
    torch.manual_seed(0)
    shape = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    model = BertModel(BertConfig(vocab_size=300, max_position_embeddings=64, **shape)).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return Encoder(
        model, EncoderSection(weights="tiny", pooling=pooling, max_tokens=60), adapters=False
    )


def both(given: Encoder, *, messages: list[str]) -> tuple[Any, Any]:
    """Vectors of our passes and of transformers'."""
    tokens = MessageTokens(messages, byte_tokenizer(), max_tokens=60)
    assert source_of(given.model).passes == "bert"
    ours = Bert(source_of(given.model), pooling=given.pooling, chunk=512).vectors(
        tokens, device=CPU
    )
    return ours, given.table(tokens, positions=512)


@pytest.mark.parametrize("pooling", ["mean", "pooler"])
@pytest.mark.parametrize("messages", [ALIKE, MIXED, MIXED[-1:]])
def test_vectors_are_those_of_transformers(pooling, messages) -> None:
    ours, theirs = both(encoder(pooling=pooling), messages=messages)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("size", "few"), [(1, 0), (30, 3)])
def test_scores_too_large_for_plain_exponentials_go_through_torchs_kernel(size, few) -> None:
    given = encoder()
    for layer in given.model.encoder.layer:
        layer.attention.self.query.weight.data *= size
    passes = Bert(source_of(given.model), pooling="mean", chunk=512)
    tokens = MessageTokens(ALIKE, byte_tokenizer(), max_tokens=60)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        ours = passes.vectors(tokens, device=CPU)
    calls = {event.key: event.count for event in profile.key_averages()}
    assert calls.get("aten::scaled_dot_product_attention", 0) == few  # one a layer
    torch.testing.assert_close(ours, given.table(tokens, positions=512), rtol=0, atol=1e-4)
    assert ours.isfinite().all()
