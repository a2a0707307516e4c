"""Prompt, tokens, pooling and adapters' targets."""

import numpy as np
import pytest
import torch
from tests.tiny import byte_tokenizer, word_tokenizer
from torch import nn

from logllm.config.model import EncoderSection, PromptSection
from logllm.errors import ModelError
from logllm.model.base.adapters import lora_targets
from logllm.model.encoder import Encoder, MessageTokens, in_passes
from logllm.model.logllm import collate
from logllm.model.prompt import render
from logllm.sessions.message_table import rows_of


def test_the_papers_prompt() -> None:
    tokenizer = word_tokenizer(bos=True)
    prompt = render(PromptSection(), tokenizer)
    assert (
        tokenizer.convert_ids_to_tokens(prompt.head)
        == "<s> Below is a sequence of system log messages :".split()
    )
    assert (
        tokenizer.convert_ids_to_tokens(prompt.tail)
        == ". Is this sequence normal or anomalous ?".split()
    )
    assert tokenizer.convert_ids_to_tokens(prompt.question[-3:]) == ["The", "sequence", "is"]
    assert tokenizer.convert_ids_to_tokens(prompt.verdict_ids) == ["normal", "anomalous"]
    assert tokenizer.convert_ids_to_tokens(prompt.anomalous)[-1] == "</s>"


def test_no_bos_where_the_tokenizer_sets_none() -> None:
    assert render(PromptSection(), word_tokenizer(bos=False)).head[0] != 1


@pytest.mark.parametrize(
    ("normal", "anomalous", "shared"),
    [
        ("normal", "anomalous", 0),
        ("The sequence is normal", "The sequence is anomalous", 3),
        ("normal", "normal .", 1),
    ],
)
def test_the_verdict_is_read_where_the_answers_part(normal, anomalous, shared) -> None:
    prompt = render(PromptSection(normal=normal, anomalous=anomalous), word_tokenizer(bos=True))
    assert prompt.shared == shared
    assert prompt.verdict_ids[0] != prompt.verdict_ids[1]


def test_equal_answers_are_refused() -> None:
    with pytest.raises(ModelError, match="cannot be told apart"):
        # Both are <unk>.
        render(PromptSection(normal="unseen", anomalous="unknown"), word_tokenizer(bos=True))


def test_messages_are_cut_at_the_longest_length() -> None:
    tokens = MessageTokens(["a" * 500, "b"], byte_tokenizer(), max_tokens=100)
    assert tokens.lengths.tolist() == [100, 3]
    ids, mask = tokens.tensors(np.array([1, 0]))
    assert ids.shape == (2, 100)
    assert mask.sum(1).tolist() == [3, 100]
    assert ids[0, :3].tolist()[::2] == [1, 2]  # [CLS] and [SEP]


def test_each_distinct_message_once_in_a_batch() -> None:
    tokens = MessageTokens(["a", "bb", "ccc"], byte_tokenizer(), max_tokens=10)
    batch = collate([np.array([2, 0, 2]), np.array([0])], tokens=tokens)
    assert batch.mask.sum(1).tolist() == [3, 5]  # `a` and `ccc`, not `bb`
    assert [place.tolist() for place in batch.places] == [[1, 0, 1], [0]]


def test_passes_hold_every_row_once_within_their_size() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, size=500)
    runs = list(in_passes(lengths, positions=300))
    assert sorted(np.concatenate(runs).tolist()) == list(range(500))
    assert np.concatenate([lengths[run] for run in runs]).tolist() == sorted(lengths.tolist())
    assert max(len(run) * lengths[run].max() for run in runs) <= 300


def test_a_session_longer_than_a_pass_has_one_of_its_own() -> None:
    assert [run.tolist() for run in in_passes(np.array([1000, 5]), positions=10)] == [[1], [0]]


def test_rows_of_a_frames_sessions() -> None:
    import polars as pl

    column = pl.Series([[1, 2], [3], [1]], dtype=pl.List(pl.UInt32))
    assert [session.tolist() for session in rows_of(column)] == [[1, 2], [3], [1]]
    assert rows_of(column.head(0)) == []


def test_mean_pooling_leaves_padding_out(tiny) -> None:
    model, tokenizer = tiny
    tokens = MessageTokens(
        ["short", "a much longer message than the other one"], tokenizer, max_tokens=100
    )
    with torch.no_grad():
        padded = model.encoder(*tokens.tensors(np.array([0, 1])))[:1]
        alone = model.encoder(*tokens.tensors(np.array([0])))
    torch.testing.assert_close(padded, alone, rtol=0, atol=1e-5)


def test_pooler_pooling_is_the_models_own(tiny_models) -> None:
    from transformers import AutoModel

    base = AutoModel.from_pretrained(tiny_models.encoder.weights).eval()
    ids = torch.tensor([[1, 9, 8, 2]])
    expected = base(input_ids=ids).pooler_output
    encoder = Encoder(base, EncoderSection(pooling="pooler")).eval()
    torch.testing.assert_close(encoder(ids, torch.ones_like(ids)), expected)


def test_an_encoder_without_a_pooler_refuses_it(tiny_models) -> None:
    from transformers import AutoModel

    base = AutoModel.from_pretrained(tiny_models.encoder.weights, add_pooling_layer=False)
    with pytest.raises(ModelError, match="has no pooler: set model.encoder.pooling = 'mean'"):
        Encoder(base, EncoderSection(pooling="pooler"))


@pytest.mark.parametrize(
    ("names", "targets"),
    [
        (("q_proj", "k_proj", "v_proj"), ("q_proj", "v_proj")),
        (("query", "key", "value"), ("query", "value")),
        (("query_proj", "key_proj", "value_proj"), ("query_proj", "value_proj")),
        (("q", "k", "v"), ("q", "v")),
        (("qkv_proj",), ("qkv_proj",)),
        (("Wqkv",), ("Wqkv",)),
        (("c_attn", "c_proj"), ("c_attn",)),
    ],
)
def test_lora_targets_of_an_architecture(names, targets) -> None:
    attention = nn.ModuleDict({name: nn.Linear(2, 2) for name in names})
    assert lora_targets(nn.ModuleDict({"layer": attention})) == targets


def test_an_unknown_architecture_is_refused_with_the_remedy() -> None:
    with pytest.raises(
        ModelError,
        match=r"no query and value projections found in Linear: name its layers in lora.targets",
    ):
        lora_targets(nn.Linear(2, 2))


def test_a_wrong_target_is_refused(tiny_models) -> None:
    from logllm.model.logllm import assemble

    lora = tiny_models.decoder.lora.model_copy(update={"targets": ("nothing",)})
    section = tiny_models.model_copy(
        update={"decoder": tiny_models.decoder.model_copy(update={"lora": lora})}
    )
    with pytest.raises(ModelError, match=r"decoder:.*nothing.*check model.decoder.lora.targets"):
        assemble(section)


@pytest.mark.parametrize("table", ["lm_head", "embed_tokens"])
def test_embeddings_and_output_head_take_no_adapters(tiny_models, table) -> None:
    from logllm.model.logllm import assemble

    lora = tiny_models.decoder.lora.model_copy(update={"targets": ("q_proj", table)})
    section = tiny_models.model_copy(
        update={"decoder": tiny_models.decoder.model_copy(update={"lora": lora})}
    )
    with pytest.raises(ModelError, match="embeddings and output head take no adapters"):
        assemble(section)


def test_more_tokens_than_the_encoder_reads_are_refused(tiny_models) -> None:
    from transformers import AutoModel

    base = AutoModel.from_pretrained(tiny_models.encoder.weights)
    with pytest.raises(ModelError, match="reads at most 128 tokens: set model.encoder.max_tokens"):
        Encoder(base, EncoderSection(max_tokens=129))


def test_a_session_longer_than_the_decoder_reads_is_refused(tiny) -> None:
    model, tokenizer = tiny
    tokens = MessageTokens(["a"], tokenizer, max_tokens=100)
    around = len(model.prompt.head) + len(model.prompt.question)
    model.decoder.positions = around + 5
    model(collate([np.zeros(5, dtype=np.int64)], tokens=tokens))
    with pytest.raises(
        ModelError,
        match=(
            "a session of 6 messages is longer than the 5 that the decoder can read: prepare with"
            " --max-messages 5"
        ),
    ):
        model(collate([np.zeros(6, dtype=np.int64), np.zeros(2, dtype=np.int64)], tokens=tokens))
