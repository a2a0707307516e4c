"""The run that comes with logllm, from its files alone: base models, tokens and scores are those of
transformers."""

import lzma
import sys

import numpy as np
import polars as pl
import pytest
from transformers import AutoTokenizer

from logllm.datasets.published.packaged import PACKAGED
from logllm.model.base.weights import SMALL_TIER, locate
from logllm.model.checkpoint import load_run
from logllm.model.fast.light import FileTokenizer, Light, load_network
from logllm.model.fast.scorer import Engine, Scorer
from logllm.runs.manifest import read_manifest, read_recipe, shipped_run

pytestmark = pytest.mark.real

LINES = 3000


@pytest.fixture(scope="module")
def messages() -> list[str]:
    """Lines of the set's test log, each once, and text of many scripts."""
    text = lzma.decompress(PACKAGED["postgres"].log("test").read_bytes()).decode().splitlines()
    scripts = ["".join(map(chr, range(start, start + 64))) for start in range(0x20, 0x3000, 64)]
    odd = [
        "",
        " ",
        "\t\n",
        "[CLS] [SEP] [MASK]",
        "<|im_start|><|im_end|>",
        "naïve  CAFÉ",
        "a" * 900,
        "\U0001f600 ok",
        "0x7f3a <*> 12.5 ms",
    ]
    return list(dict.fromkeys([*text[:LINES], *scripts, *odd]))


@pytest.mark.parametrize("name", SMALL_TIER)
def test_tokens_are_those_of_transformers(name, messages) -> None:
    folder = locate(name)
    ours, theirs = FileTokenizer.of(folder), AutoTokenizer.from_pretrained(folder)
    assert ours is not None
    for special in ("pad_token_id", "bos_token_id", "eos_token_id"):
        assert getattr(ours, special) == getattr(theirs, special)
    for how in (
        {},
        {"truncation": True, "max_length": 100},
        {"truncation": True, "max_length": 8},
        {"add_special_tokens": False},
    ):
        assert ours(messages, **how)["input_ids"] == theirs(messages, **how)["input_ids"]
    assert [ours(text)["input_ids"] for text in messages[-60:]] == [
        theirs(text)["input_ids"] for text in messages[-60:]
    ]


def test_scores_are_those_through_transformers(messages) -> None:
    """What `load_network` also checks: that the small tier, whoever converted it, is what the run
    was trained on."""
    run = shipped_run()
    recipe, table = read_recipe(run), pl.Series(messages)
    rng = np.random.default_rng(0)
    sessions = [
        rng.integers(0, len(messages), size=length) for length in rng.integers(1, 40, size=60)
    ]
    light, tokenizer = load_network(run, recipe=recipe, manifest=read_manifest(run))
    assert isinstance(light, Light)
    network, words, _, _ = load_run(run)
    assert "peft" in sys.modules
    ours, theirs = (
        Scorer(
            Engine(model, section=recipe.detect), tokens, max_tokens=recipe.model.encoder.max_tokens
        ).score(sessions, table)
        for model, tokens in ((light, tokenizer), (network, words))
    )
    np.testing.assert_allclose(
        1 / (1 + np.exp(-ours)), 1 / (1 + np.exp(-theirs)), rtol=0, atol=1e-6
    )
