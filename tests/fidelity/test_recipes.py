"""The packaged recipes of the paper's four sets say what section 1 of paper.md says."""

import pytest
import torch

from logllm.config.recipe import Recipe
from logllm.datasets.settings import choose
from logllm.model.encoder import MessageTokens
from logllm.model.logllm import assemble, collate
from tests.fidelity.pairs import model_section
from tests.fidelity.plain import ANSWERS, HEAD, RATES, SCRIPTS_TAIL, STAGES, TAIL

NAMES = ("hdfs", "bgl", "liberty", "thunderbird")


@pytest.fixture(params=NAMES)
def recipe(request) -> Recipe:
    return Recipe.load(request.param)


def test_encoder_and_decoder(recipe) -> None:
    encoder, decoder = recipe.model.encoder, recipe.model.decoder
    assert (encoder.weights, encoder.pooling, encoder.max_tokens) == (
        "google-bert/bert-base-uncased",
        "pooler",
        100,
    )
    assert decoder.weights == "meta-llama/Meta-Llama-3-8B"
    assert (encoder.quantize, decoder.quantize) == ("nf4", "nf4")
    assert (encoder.lora.r, encoder.lora.alpha, encoder.lora.dropout) == (4, 32, 0.01)
    assert (decoder.lora.r, decoder.lora.alpha, decoder.lora.dropout) == (8, 16, 0.1)
    prompt = recipe.model.prompt
    assert (prompt.head, prompt.tail, prompt.normal, prompt.anomalous) == (
        HEAD,
        TAIL,
        ANSWERS[False],
        ANSWERS[True],
    )


def test_training(recipe) -> None:
    train = recipe.train
    assert (train.objective, train.draw, train.oversample) == ("answer", "sessions", 0.3)
    assert (train.batch, train.micro_batch, train.drop_last) == (16, 4, True)
    assert [(set(stage.trains), stage.lr) for stage in train.stages] == [
        (set(STAGES[name]), RATES[name]) for name in ("1", "2", "3")
    ]
    lengths = [
        (stage.max_sessions, stage.epochs, stage.min_epoch_sessions) for stage in train.stages
    ]
    assert lengths == [(1000, None, 0), (None, 2, 50_000), (None, 2, 50_000)]
    check_plain(train)


def check_plain(train) -> None:
    """Nothing of what the paper does not do."""
    assert (train.base_dropout, train.precision) == (False, "no")
    for stage in train.stages:
        assert (stage.schedule, stage.weight_decay, stage.clip) == ("tenths", 0.01, None)
        anew = (
            stage.shuffle_messages,
            stage.replace_normal,
            stage.crop,
            stage.transplant,
            stage.insert,
            stage.beginnings,
        )
        assert not any(anew)
        assert stage.message_dropout == 0


def test_the_scripts_stages_and_tail() -> None:
    scripts, paper = Recipe.load("scripts"), Recipe.load("bgl")
    assert scripts.model.prompt.tail == SCRIPTS_TAIL
    assert scripts.model.model_copy(update={"prompt": paper.model.prompt}) == paper.model
    stages = scripts.train.stages
    assert [(set(stage.trains), stage.lr) for stage in stages] == [
        (set(STAGES[name]), RATES[name]) for name in ("1", "2a", "2b", "3")
    ]
    lengths = [(stage.max_sessions, stage.epochs, stage.min_epoch_sessions) for stage in stages]
    assert lengths == [(1000, None, 0), (None, 1, 50_000), (None, 1, 50_000), (None, 2, 50_000)]
    check_plain(scripts.train)
    assert scripts.train.model_copy(update={"stages": paper.train.stages}) == paper.train


@pytest.mark.parametrize("name", NAMES)
def test_data(name) -> None:
    """The format and the recipe together, as `prepare NAME --recipe NAME` has them."""
    settings = choose(
        name,
        recipe=name,
        overrides={section: {} for section in ("format", "sessions", "split", "mask")},
    )
    sessions, split = settings.sessions, settings.split
    assert (sessions.max_messages, sessions.long) == (128, "cut")
    assert (split.test, split.validation) == (0.2, 0)
    assert settings.format.encoding == "latin-1"
    if name == "hdfs":
        assert (sessions.by, sessions.key_pattern, split.by) == ("key", r"blk_-?\d+", "random")
        assert settings.format.label is None
    else:
        assert (sessions.by, sessions.size, sessions.step, split.by) == ("count", 100, 100, "time")
        assert (settings.format.label is not None, settings.format.normal) == (True, ("-",))


def test_lora_stands_where_the_paper_has_it(folder) -> None:
    ours, _ = assemble(model_section(folder))
    places = {
        name.split(".lora_A")[0].rpartition(".")[2]: name.split(".")[0]
        for name, _ in ours.named_parameters()
        if "lora_A" in name
    }
    assert places == {
        "query": "encoder",
        "value": "encoder",
        "q_proj": "decoder",
        "v_proj": "decoder",
    }
    # In each layer of both.
    assert sum("lora_A" in name for name, _ in ours.named_parameters()) == 2 * 2 + 2 * 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_projector_computes_in_fp32_and_gives_the_decoders_format(
    folder, dtype, monkeypatch
) -> None:
    section = model_section(folder)
    section = section.model_copy(
        update={"decoder": section.decoder.model_copy(update={"dtype": dtype})}
    )
    ours, tokenizer = assemble(section)
    seen = []
    ours.projector.register_forward_hook(
        lambda _, given, made: seen.append((given[0].dtype, made.dtype))
    )
    ours.decoder.reads_trees = False
    ours.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    with torch.no_grad():
        ours(collate([[0, 1]], tokens=MessageTokens(["a", "b"], tokenizer, max_tokens=100)))
    assert {weight.dtype for weight in ours.projector.parameters()} == {torch.float32}
    assert seen == [(torch.float32, torch.float32), getattr(torch, dtype)]
