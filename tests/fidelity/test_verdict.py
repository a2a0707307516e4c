"""Scores instead of words: at one half the verdict is what the scripts' generation says, wherever
that can be read."""

import re

import numpy as np
import polars as pl
import pytest

from logllm.config.recipe import Recipe
from logllm.config.train import StageSection
from logllm.metrics import sigmoid
from logllm.model.fast.scorer import Engine, Scorer
from logllm.training.fit import accelerate
from logllm.training.loop import Loop
from logllm.training.sampler import TrainingSet
from tests.fidelity.pairs import (
    MESSAGES,
    copy_weights,
    make_pair,
    make_sessions,
    plainly,
    write_models,
)

WORD = re.compile(r"\b(normal|anomalous)\b")


@pytest.mark.real  # for its time alone
def test_the_verdict_at_one_half_is_the_word_generated(tmp_path) -> None:
    """The model has learnt the answers' form but not quite, so that some of what it writes is
    neither word."""
    # A narrower decoder cannot be sure of any word.
    pair = make_pair(write_models(tmp_path / "models", scale=0.2), learnt=False)
    sessions, _ = make_sessions(64, seed=6)
    labels = np.array([4 in session for session in sessions])
    recipe = Recipe.load("bgl")
    stage = StageSection(
        trains=("projector", "decoder"), lr=1e-2, max_sessions=1600, schedule="constant", clip=1.0
    )
    section = recipe.train.model_copy(
        update={"stages": (stage,), "micro_batch": 16, "oversample": 0.5, "checkpoint_steps": 1000}
    )
    data = TrainingSet(sessions, labels, pair.tokens)
    Loop(pair.ours, data, section=section, run=tmp_path, accelerator=accelerate(recipe)).train(
        encode_positions=500
    )
    copy_weights(pair)

    judged = [*sessions, *make_sessions(40, seed=7)[0]]
    scores = sigmoid(
        Scorer(
            Engine(pair.ours, section=recipe.detect),
            pair.plain.encoder_tokenizer,
            max_tokens=recipe.model.encoder.max_tokens,
        ).score(judged, pl.Series(MESSAGES))
    )
    words = [
        WORD.search(pair.plain.says(session)) for session in plainly(judged, [False] * len(judged))
    ]
    read = [(word[1], float(score)) for word, score in zip(words, scores, strict=True) if word]
    assert [(word, score) for word, score in read if (word == "anomalous") != (score >= 0.5)] == []
    said = [word for word, _ in read]
    assert len(said) >= 50
    assert min(said.count("normal"), said.count("anomalous")) >= 10
