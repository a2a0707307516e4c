"""Models drawn from their configuration: the same sizes as the real ones, and what cannot serve is
refused."""

import pytest
import torch
from transformers import AutoConfig

from logllm.config.model import DecoderSection, EncoderSection, ModelSection, PromptSection
from logllm.errors import ModelError
from logllm.model.base.backbone import refusal
from logllm.model.base.blueprint import draw, outline, weight_bytes
from logllm.model.base.candidate import describe
from logllm.model.base.published import AssumedTokenizer, configuration
from logllm.model.prompt import render


def saved(config, folder, kind) -> str:
    """Random weights of a configuration in a folder; its name."""
    kind.from_config(config).save_pretrained(folder)
    return str(folder)


@pytest.mark.real
def test_a_blueprint_has_the_models_parameters(tiny, tiny_models) -> None:
    model, _ = tiny
    drawn = draw(tiny_models).model
    assert {
        name: (parameter.shape, parameter.dtype) for name, parameter in drawn.named_parameters()
    } == {name: (parameter.shape, parameter.dtype) for name, parameter in model.named_parameters()}
    assert drawn.prompt == model.prompt
    base = [
        parameter
        for name, parameter in model.named_parameters()
        if "lora_" not in name and not name.startswith("projector.")
    ]
    assert draw(tiny_models).weights == sum(parameter.nbytes for parameter in base)


@pytest.mark.real
def test_the_papers_models_from_their_published_shapes() -> None:
    section = ModelSection(
        encoder=EncoderSection(
            weights="google-bert/bert-base-uncased",
            pooling="pooler",
            quantize="nf4",
            dtype="float16",
        ),
        decoder=DecoderSection(
            weights="meta-llama/Meta-Llama-3-8B", quantize="nf4", dtype="float16"
        ),
    )
    drawn = draw(section)
    assert drawn.assumed == ("google-bert/bert-base-uncased", "meta-llama/Meta-Llama-3-8B")
    parts = dict(drawn.model.named_children())
    assert (
        sum(p.numel() for name, p in parts["encoder"].named_parameters() if "lora_" not in name)
        == 109_482_240
    )
    assert (
        sum(p.numel() for name, p in parts["decoder"].named_parameters() if "lora_" not in name)
        == 8_030_261_248
    )
    assert drawn.transient == 4096 * 14_336 * 2  # the largest layer, in bfloat16


def test_four_bit_weights_are_as_large_as_loaded_ones(tiny_models) -> None:
    pytest.importorskip("bitsandbytes")
    from pathlib import Path

    from logllm.model.base.backbone import load_backbone

    for section in (tiny_models.encoder, tiny_models.decoder):
        packed = section.model_copy(update={"quantize": "nf4", "compute": "float32"})
        loaded, _ = load_backbone(Path(section.weights), packed)
        size = sum(
            parameter.nbytes
            + (parameter.quant_state.absmax.nbytes if hasattr(parameter, "quant_state") else 0)
            for parameter in loaded.parameters()
        )
        assert (
            weight_bytes(outline(configuration(section.weights), section), quantize="nf4") == size
        )


def test_tied_weights_count_once() -> None:
    small = {
        "vocab_size": 100,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    apart, tied = (
        AutoConfig.for_model("llama", **small, tie_word_embeddings=tie) for tie in (False, True)
    )
    sizes = [
        weight_bytes(outline(config, DecoderSection()), quantize="none") for config in (apart, tied)
    ]
    assert sizes[0] - sizes[1] == 100 * 16 * 4


def test_an_assumed_tokenizer_gives_about_as_many_tokens() -> None:
    tokenizer = AssumedTokenizer()
    # `started` is two pieces; one more at each end.
    assert len(tokenizer("jobid <*> started")["input_ids"]) == 1 + 1 + 3 + 2 + 1
    assert [
        len(ids)
        for ids in tokenizer(["word " * 200, "a"], truncation=True, max_length=100)["input_ids"]
    ] == [100, 3]
    prompt = render(PromptSection(), tokenizer)
    assert prompt.head[0] == tokenizer.bos_token_id
    assert prompt.verdict_ids[0] != prompt.verdict_ids[1]


@pytest.mark.parametrize(
    ("kind", "encoder", "reason"),
    [
        ("t5", True, "encoder-decoder"),
        ("t5", False, "encoder-decoder"),
        ("bart", False, "encoder-decoder"),
        ("bert", False, "both directions"),
        ("vit", False, "no causal language model"),
        ("bert", True, None),
        ("llama", False, None),
        ("gpt2", False, None),
        ("modernbert", True, None),
    ],
)
def test_which_architectures_are_refused(kind, encoder, reason) -> None:
    found = refusal(AutoConfig.for_model(kind), encoder=encoder)
    assert found is None if reason is None else reason in found


def test_a_model_whose_forward_pass_does_not_fit_is_refused() -> None:
    """ViT reads pictures: it has attention and hidden states, and takes no token ids."""
    config = AutoConfig.for_model(
        "vit", hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    from logllm.model.base import candidate

    role = candidate._role(
        config,
        EncoderSection(
            weights="pictures", lora={"targets": ("q_proj", "v_proj", "query", "value")}
        ),
    )
    assert role.refused is not None


def test_a_model_that_cannot_run_on_shapes_alone_is_not_refused(caplog) -> None:
    """A mixture of experts: how many tokens an expert reads depends on what is computed."""
    from logllm.model.base import candidate

    small = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
    }
    role = candidate._role(
        AutoConfig.for_model("mixtral", num_local_experts=2, vocab_size=50, **small),
        DecoderSection(weights="experts"),
    )
    assert role.refused is None
    assert role.targets == ("q_proj", "v_proj")


def test_a_candidate_says_what_a_model_would_bring(tiny_models) -> None:
    found = describe(tiny_models.decoder.weights)
    assert (found.architecture, found.layers, found.width, found.vocabulary) == (
        "LlamaForCausalLM",
        2,
        64,
        64,
    )
    assert (found.here, found.pooler, found.sets_bos) == (True, False, True)
    assert found.decoder.refused is None
    assert found.decoder.targets == ("q_proj", "v_proj")
    # Two layers, rank 8, query and value.
    assert found.decoder.adapter_parameters == 2 * 8 * ((64 + 64) + (64 + 32))
    assert found.bytes["float32"] == 2 * found.bytes["bfloat16"] == 4 * found.parameters
    assert found.bytes["nf4"] < found.bytes["bfloat16"]
    reader = describe(tiny_models.encoder.weights)
    assert (reader.pooler, reader.encoder.refused) == (True, None)
    assert "both directions" in str(reader.decoder.refused)


def test_a_candidate_of_a_model_that_serves_in_no_part(tmp_path) -> None:
    from transformers import AutoModel

    config = AutoConfig.for_model(
        "t5", d_model=16, d_kv=8, num_heads=2, num_layers=1, d_ff=32, vocab_size=50
    )
    found = describe(saved(config, tmp_path / "t5", AutoModel))
    assert "encoder-decoder" in str(found.encoder.refused)
    assert "encoder-decoder" in str(found.decoder.refused)
    assert found.here


def test_a_folder_without_a_model_is_refused(tmp_path) -> None:
    with pytest.raises(ModelError, match="holds no config.json"):
        describe(str(tmp_path))


def test_drawing_leaves_no_weights(tiny_models) -> None:
    assert all(
        isinstance(parameter, torch._subclasses.FakeTensor)
        for parameter in draw(tiny_models).model.parameters()
    )
