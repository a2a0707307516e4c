"""One contract for every architecture: what LogLLM needs of an encoder and of a decoder, on tiny
random models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from tests.tiny import byte_tokenizer, word_tokenizer

from logllm.config.detect import DetectSection
from logllm.config.model import DecoderSection, EncoderSection, ModelSection
from logllm.config.recipe import Recipe
from logllm.detect.detector import Detector
from logllm.errors import ModelError
from logllm.methods.train import train
from logllm.model.base.backbone import load_backbone
from logllm.model.base.blueprint import outline
from logllm.model.base.published import configuration
from logllm.model.encoder import MessageTokens
from logllm.model.fast.scorer import Engine
from logllm.model.fast.source import source_of
from logllm.model.logllm import Batch, LogLLM, assemble, collate

pytestmark = pytest.mark.real  # for its time alone

CLOSE = {"rtol": 0, "atol": 1e-5}
WIDE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
LONG = {"max_position_embeddings": 256}
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
LLAMA = {**WIDE, **LONG, **IDS, "vocab_size": 64, "num_key_value_heads": 1}
BERT = {**WIDE, **LONG, "vocab_size": 300, "pad_token_id": 0}
BARE = {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5}

DECODERS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "llama": (
        lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**LLAMA)),
        {"targets": {"q_proj", "v_proj"}},
    ),
    "qwen2": (
        lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**LLAMA)),
        {"targets": {"q_proj", "v_proj"}},
    ),
    "qwen3": (
        lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**LLAMA, head_dim=16)),
        {"targets": {"q_proj", "v_proj"}},
    ),
    "mistral": (
        lambda: hf.MistralForCausalLM(hf.MistralConfig(**LLAMA, sliding_window=64)),
        {"targets": {"q_proj", "v_proj"}},
    ),
    "mistral-all": (
        lambda: hf.MistralForCausalLM(hf.MistralConfig(**LLAMA, sliding_window=None)),
        {"targets": {"q_proj", "v_proj"}},
    ),
    "gemma": (
        lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**LLAMA, head_dim=16)),
        {"targets": {"q_proj", "v_proj"}},
    ),
    "gemma2": (
        lambda: hf.Gemma2ForCausalLM(
            hf.Gemma2Config(
                **LLAMA, head_dim=16, final_logit_softcapping=2.0, query_pre_attn_scalar=16
            )
        ),
        {"targets": {"q_proj", "v_proj"}, "softcap": 2.0},
    ),
    "phi": (
        lambda: hf.PhiForCausalLM(
            hf.PhiConfig(**{**LLAMA, "num_key_value_heads": 2}, embd_pdrop=0.5, resid_pdrop=0.5)
        ),
        {"targets": {"q_proj", "v_proj"}},
    ),
    "phi3": (lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**LLAMA)), {"targets": {"qkv_proj"}}),
    "gpt2": (
        lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(**IDS, vocab_size=64, n_positions=256, n_embd=32, n_layer=2, n_head=2)
        ),
        {"targets": {"c_attn"}},
    ),
}
ENCODERS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "bert": (
        lambda: hf.BertModel(hf.BertConfig(**BERT, **BARE)),
        {"targets": {"query", "value"}, "pooler": True},
    ),
    "minilm": (
        lambda: hf.BertModel(
            hf.BertConfig(**{**BERT, "num_hidden_layers": 3, "num_attention_heads": 4}),
            add_pooling_layer=False,
        ),
        {"targets": {"query", "value"}},
    ),
    "roberta": (
        lambda: hf.RobertaModel(hf.RobertaConfig(**BERT, **BARE)),
        {"targets": {"query", "value"}, "pooler": True},
    ),
    "deberta-v3": (
        lambda: hf.DebertaV2Model(
            hf.DebertaV2Config(
                **BERT,
                **BARE,
                relative_attention=True,
                position_buckets=16,
                norm_rel_ebd="layer_norm",
                share_att_key=True,
                pos_att_type=["p2c", "c2p"],
                position_biased_input=False,
                type_vocab_size=0,
            )
        ),
        {"targets": {"query_proj", "value_proj"}},
    ),
    "modernbert": (
        lambda: hf.ModernBertModel(
            hf.ModernBertConfig(**BERT, cls_token_id=1, sep_token_id=2, local_attention=8)
        ),
        {"targets": {"Wqkv"}},
    ),
    "mpnet": (
        lambda: hf.MPNetModel(hf.MPNetConfig(**BERT, **BARE)),
        {"targets": {"q", "v"}, "pooler": True, "checkpointing": False},
    ),
}

MESSAGES = [
    "disk full",
    "disk <*> is full again",
    "ok",
    "x" * 300,
    "Receiving block <*> src: <*> dest: <*>",
]
SESSIONS = [np.array(session) for session in ([0, 1, 1, 2], [3], [4, 4, 4, 4, 4, 4, 0], [2, 1, 0])]
LABELS = torch.tensor([0, 1, 0, 1])


def written(make: Callable[[], Any], tokenizer: Any, folder: Any) -> str:
    """A model with weights large enough to tell right from wrong, in a folder."""
    torch.manual_seed(0)
    model = make()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


LIKE_ANOTHER = {
    "mistral-all",
    "qwen2",
    "gemma",
    "minilm",
    "phi",
    "phi3",
    "roberta",
    "mpnet",
    "mistral",
}
"""Architectures whose peculiarities others here share, or that are seldom used: tested in the
slower tier."""
PARTS = [("decoder", name) for name in DECODERS] + [("encoder", name) for name in ENCODERS]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(each, marks=pytest.mark.real) if each[1] in LIKE_ANOTHER else each
        for each in PARTS
    ],
    ids=["-".join(each) for each in PARTS],
)
def case(request, tiny_models, tmp_path_factory) -> tuple[ModelSection, dict[str, Any]]:
    """A model section with one tiny part exchanged, and what is expected of that part."""
    part, name = request.param
    make, expected = (DECODERS if part == "decoder" else ENCODERS)[name]
    # Every second decoder's tokenizer sets a beginning-of-sequence token.
    tokenizer = (
        byte_tokenizer()
        if part == "encoder"
        else word_tokenizer(bos=sorted(DECODERS).index(name) % 2 == 0)
    )
    weights = written(make, tokenizer, tmp_path_factory.mktemp(name))
    section = tiny_models.model_copy(
        update={part: getattr(tiny_models, part).model_copy(update={"weights": weights})}
    )
    return section, {"part": part, "name": name, **expected}


@pytest.fixture
def made(case) -> tuple[LogLLM, MessageTokens, dict[str, Any]]:
    """The model of a case, adapters not at zero, and its messages' tokens."""
    model, tokens = made_of(case[0])
    return model, tokens, case[1]


def made_of(section: ModelSection) -> tuple[LogLLM, MessageTokens]:
    torch.manual_seed(0)
    model, tokenizer = assemble(section)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model, MessageTokens(MESSAGES, tokenizer, max_tokens=100)


def adapted_layers(part: Any) -> list[str]:
    return [name for name, module in part.model.named_modules() if hasattr(module, "lora_A")]


def labelled(tokens: MessageTokens) -> Batch:
    return collate(SESSIONS, tokens=tokens, labels=LABELS)


def gradients(model: LogLLM, batch: Batch, *, objective: str) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    model.loss(batch, objective=objective).backward()
    return {
        name: value.grad.clone()
        for name, value in model.named_parameters()
        if value.grad is not None
    }


def test_adapters_are_on_query_and_value_of_every_layer(made) -> None:
    model, _, expected = made
    part = getattr(model, expected["part"])
    layers = adapted_layers(part)
    assert {name.rpartition(".")[2] for name in layers} == expected["targets"]
    assert len(layers) == part.model.config.num_hidden_layers * len(expected["targets"])
    assert not any(
        parameter.requires_grad
        for parameter in model.parameters()
        if parameter is not model.projector.weight and parameter is not model.projector.bias
    )


def test_batched_and_padded_equals_one_by_one(made) -> None:
    model, tokens, _ = made
    with torch.no_grad():
        together = model(collate(SESSIONS, tokens=tokens))
        alone = torch.cat([model(collate([session], tokens=tokens)) for session in SESSIONS])
    torch.testing.assert_close(together, alone, **CLOSE)
    assert (
        together[:, 1] - together[:, 0]
    ).std() > 1e-3  # sessions differ, so that agreement says something


def test_the_prompt_is_what_the_model_itself_would_read(made) -> None:
    """Words through the splice against the model's own way from token ids: embedding scale,
    positions, logit transform."""
    model, _, expected = made
    ids = torch.tensor([*model.prompt.head, *model.prompt.question])
    assert (ids[0] == 1) == (model.prompt.head[0] == 1)
    base = model.decoder.model
    with torch.no_grad():
        own = base(input_ids=ids[None], use_cache=False).logits[
            0, -1, list(model.prompt.verdict_ids)
        ]
        empty = model(
            Batch(
                torch.zeros((0, 1)),
                torch.zeros((0, 1)),
                torch.zeros((0, model.encoder.width)),
                (np.zeros(0, dtype=np.int64),),
            )
        )
    torch.testing.assert_close(empty[0], own, **CLOSE)
    if "softcap" in expected:
        assert own.abs().max() <= expected["softcap"]


def test_each_vector_is_in_its_place(made) -> None:
    """The whole prompt written out: embeddings of the words, projected vectors between them."""
    model, tokens, _ = made
    with torch.no_grad():
        vectors = torch.cat(
            [model.encoder(*tokens.tensors(np.array([row]))) for row in range(len(tokens))]
        )
        session = SESSIONS[0]
        embed = model.decoder.model.get_input_embeddings()
        words = [embed(torch.tensor(piece)) for piece in (model.prompt.head, model.prompt.question)]
        whole = torch.cat(
            [words[0], model.projector(vectors[torch.from_numpy(session)]), words[1]]
        )[None]
        expected = model.decoder.model(inputs_embeds=whole, use_cache=False).logits[
            0, -1, list(model.prompt.verdict_ids)
        ]
        torch.testing.assert_close(model(collate([session], tokens=tokens))[0], expected, **CLOSE)
        other = model(collate([session[::-1].copy()], tokens=tokens))[0]
    assert (other - expected).abs().max() > 1e-4


TREES = {"llama", "qwen2", "qwen3", "mistral-all", "gemma", "phi", "phi3", "gpt2"}
ENGINES = {"llama", "qwen2", "qwen3", "mistral-all", "bert", "minilm"}


@pytest.mark.parametrize("objective", ["answer", "verdict"])
def test_a_tree_equals_padding(made, objective) -> None:
    """Sessions that begin alike, the same one several times, and one that ends where another goes
    on: losses and gradients."""
    model, tokens, expected = made
    assert model.decoder.reads_trees == (expected["part"] == "encoder" or expected["name"] in TREES)
    if not model.decoder.reads_trees:
        return
    sessions = 3 * [*SESSIONS, SESSIONS[0], SESSIONS[0][:2], SESSIONS[2][:5]]
    batch = collate(sessions, tokens=tokens, labels=torch.tensor(3 * [0, 1, 0, 1, 0, 1, 1]))
    nodes: list[int] = []
    read = model.decoder.read

    def noted(embeddings, tree, *, keep):
        nodes.append(len(embeddings))
        return read(embeddings, tree, keep=keep)

    model.decoder.read = noted
    model.trains(("encoder", "projector", "decoder"))
    model.eval()
    grown, losses = (
        gradients(model, batch, objective=objective),
        [model.loss(batch, objective=objective)],
    )
    model.decoder.reads_trees = False
    padded = gradients(model, batch, objective=objective)
    losses.append(model.loss(batch, objective=objective))
    assert nodes[0] < sum(map(len, sessions)) + len(sessions) * len(
        model.prompt.head + model.prompt.question
    )
    torch.testing.assert_close(*losses, **CLOSE)
    for name, value in padded.items():
        torch.testing.assert_close(grown[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("sizes", [(1024, 65_536), (9, 20)], ids=["at once", "in pieces"])
def test_scoring_equals_the_forward_pass(made, sizes) -> None:
    """Merged, fused, unpadded, each common beginning once, in chunks of any size: as in
    training."""
    model, tokens, expected = made
    engine = Engine(model, section=DetectSection(batch_positions=sizes[0], tree_positions=sizes[1]))
    own = source_of(
        model.encoder.model if expected["part"] == "encoder" else model.decoder.model
    ).passes
    assert (own is not None) == (expected["name"] in ENGINES)
    sessions = [*SESSIONS, SESSIONS[0][:2], SESSIONS[2][:5], np.array([1])]
    told: list[tuple[int, int]] = []
    with torch.no_grad():
        vectors = torch.cat(
            [model.encoder(*tokens.tensors(np.array([row]))) for row in range(len(tokens))]
        )
        alone = torch.cat([model(collate([session], tokens=tokens)) for session in sessions])
    torch.testing.assert_close(engine.encode(tokens), vectors, **CLOSE)
    judged = engine.judge(sessions, vectors, progress=lambda *at: told.append(at))
    torch.testing.assert_close(judged.float(), alone, **CLOSE)
    assert told[-1] == (len(sessions), len(sessions))


def test_the_first_layers_are_the_models_own(case) -> None:
    """One of two layers against the whole model whose second one is taken out by hand."""
    section, expected = case
    if expected["part"] == "encoder":
        return
    folder = Path(section.decoder.weights)
    shallow, _ = load_backbone(folder, section.decoder.model_copy(update={"layers": 1}))
    whole, _ = load_backbone(folder, section.decoder)
    (layers,) = (
        module
        for module in whole.modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == 2
    )
    ids = torch.tensor([[1, 7, 8, 9, 10]])
    with torch.no_grad():
        kept, both = (
            shallow(input_ids=ids, use_cache=False).logits,
            whole(input_ids=ids, use_cache=False).logits,
        )
        del layers[1]
        whole.config.num_hidden_layers = 1
        by_hand = whole(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(kept, by_hand, **CLOSE)
    assert (kept - both).abs().max() > 1e-3
    drawn = outline(
        configuration(section.decoder.weights), section.decoder.model_copy(update={"layers": 1})
    )
    assert {name: value.shape for name, value in drawn.named_parameters()} == {
        name: value.shape for name, value in shallow.named_parameters()
    }


@pytest.mark.parametrize("objective", ["answer", "verdict"])
def test_every_adapter_learns_and_nothing_else(made, objective) -> None:
    model, tokens, expected = made
    model.trains(("encoder", "projector", "decoder"))
    model.eval()
    found = gradients(model, labelled(tokens), objective=objective)
    assert {name for name in found if "lora_" not in name} == {"projector.weight", "projector.bias"}
    assert all(value.abs().max() > 0 for value in found.values())
    assert sum(name.startswith(expected["part"]) for name in found) == 2 * len(
        adapted_layers(getattr(model, expected["part"]))
    )


def test_gradient_checkpointing_gives_the_same_gradients(made) -> None:
    model, tokens, expected = made
    if not expected.get("checkpointing", True):
        with pytest.raises(
            ModelError,
            match=(
                "encoder MPNetModel has no gradient checkpointing: set "
                "train.gradient_checkpointing = false"
            ),
        ):
            model.checkpoint_gradients()
        return
    batch = labelled(tokens)
    model.trains(("encoder", "projector", "decoder"))
    model.eval()
    calls: list[int] = []
    adapted = next(
        module for module in getattr(model, expected["part"]).modules() if hasattr(module, "lora_A")
    )
    adapted.register_forward_hook(lambda *_: calls.append(1))
    kept = gradients(model, batch, objective="answer")
    once = len(calls)
    model.checkpoint_gradients()
    model.trains(("encoder", "projector", "decoder"))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    again = gradients(model, batch, objective="answer")
    assert len(calls) == 3 * once  # without: once; with: forwards, and once more on the way back
    assert kept.keys() == again.keys()
    for name, value in kept.items():
        torch.testing.assert_close(again[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_pooler_or_a_reason(case) -> None:
    section, expected = case
    if expected["part"] == "decoder":
        return
    pooling = section.model_copy(
        update={"encoder": section.encoder.model_copy(update={"pooling": "pooler"})}
    )
    if not expected.get("pooler"):
        with pytest.raises(ModelError, match="pooler.*set model.encoder.pooling = 'mean'"):
            assemble(pooling)
        return
    model, tokens = made_of(pooling)
    ids, mask = tokens.tensors(np.array([0, 1]))
    with torch.no_grad():
        own = model.encoder.model(input_ids=ids, attention_mask=mask).pooler_output
        torch.testing.assert_close(model.encoder(ids, mask), own, **CLOSE)
        torch.testing.assert_close(model.encoder(*tokens.tensors(np.array([0]))), own[:1], **CLOSE)


def test_trains_saves_and_detects(case, tiny_data, tmp_path) -> None:
    """The whole way: all stages, the run's files, the run read back."""
    section, _ = case
    recipe = Recipe.load(
        "tiny", overrides=["train.stages.0.max_sessions=4", "train.stages.3.max_sessions=4"]
    )
    recipe = recipe.model_copy(
        update={
            "model": section,
            "train": recipe.train.model_copy(update={"stages": recipe.train.stages[::3]}),
        }
    )
    manifest = train(recipe, tiny_data, out=tmp_path / "run")
    assert manifest["state"] == "done"
    detector = Detector.load(tmp_path / "run")
    lines = [
        '{"time": 1700000000, "job": "a", "message": "open file /data/a1"}',
        '{"time": 1700000001, "job": "b", "message": "close file"}',
    ]
    verdicts = list(detector.detect(lines))
    assert [verdict.session for verdict in verdicts] == ["a", "b"]
    assert verdicts[0].score != verdicts[1].score


def refused(make: Callable[[], Any], section: Any, folder: Any) -> str:
    with pytest.raises(ModelError) as error:
        load_backbone(
            folder, section.model_copy(update={"weights": written(make, byte_tokenizer(), folder)})
        )
    return str(error.value)


def test_an_encoder_cannot_be_the_decoder(tmp_path) -> None:
    assert (
        "bert reads in both directions and was not taught to go on with a text: it may serve as "
        "encoder"
        in refused(lambda: hf.BertLMHeadModel(hf.BertConfig(**BERT)), DecoderSection(), tmp_path)
    )


def test_an_encoder_decoder_is_neither(tmp_path) -> None:
    tiny = {
        "vocab_size": 300,
        "d_model": 32,
        "d_kv": 16,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 2,
    }
    assert "T5Model) cannot serve as encoder: t5 is an encoder-decoder model" in refused(
        lambda: hf.T5Model(hf.T5Config(**tiny)), EncoderSection(), tmp_path
    )


def test_a_model_without_attention_masks_is_refused(tmp_path) -> None:
    tiny = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1, "state_size": 4}
    assert "it takes no position_ids" in refused(
        lambda: hf.MambaForCausalLM(hf.MambaConfig(**tiny)), DecoderSection(), tmp_path
    )


def test_weights_that_are_not_all_there_are_refused(tmp_path) -> None:
    """transformers fills what is missing with random numbers; a run must not stand on those."""
    from safetensors.torch import load_file, save_file

    section = EncoderSection(
        weights=written(lambda: hf.BertModel(hf.BertConfig(**BERT)), byte_tokenizer(), tmp_path)
    )
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: value for name, value in tensors.items() if "layer.1.output.dense" not in name},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(
        ModelError,
        match=(
            r"cannot serve as encoder: its files lack 2 of its weights,"
            r" such as encoder.layer.1.output.dense.bias"
        ),
    ):
        load_backbone(tmp_path, section)


def test_a_model_that_looks_ahead_is_refused_whatever_its_configuration_says(
    tmp_path, tiny_models
) -> None:
    """A causal language model's class is no proof: here its attention is made to go both ways."""
    from transformers import AutoModelForCausalLM

    from logllm.model.base.backbone import check_serves

    base = AutoModelForCausalLM.from_pretrained(
        tiny_models.decoder.weights, attn_implementation="eager"
    ).eval()
    for layer in base.model.layers:
        attention, inner = layer.self_attn, layer.self_attn.forward
        attention.forward = lambda *args, inner=inner, **kwargs: inner(
            *args, **{**kwargs, "attention_mask": None}
        )
    with pytest.raises(
        ModelError,
        match="it reads what comes after a token, too; a causal language model is needed",
    ):
        check_serves(base, tiny_models.decoder)
