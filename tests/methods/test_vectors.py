"""Frozen vectors: what is remembered, and what a run is told of their encoder."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from torch.nn.modules.module import register_module_forward_pre_hook

from logllm.config.recipe import Recipe
from logllm.methods.checks import ALTERED, MESSAGES, toy
from logllm.methods.contract import Workplace
from logllm.methods.inputs import MessageVectors
from logllm.methods.registry import make
from logllm.methods.vectors import FrozenVectors
from logllm.model.base.weights import locate
from logllm.model.encoder import Encoder
from logllm.storage import fingerprint


@pytest.fixture
def encoded() -> Iterator[list[int]]:
    """How many messages each pass of an encoder was given."""
    calls: list[int] = []

    def note(module, inputs) -> None:
        if isinstance(module, Encoder):
            calls.append(len(inputs[0]))

    with register_module_forward_pre_hook(note):
        yield calls


def test_the_messages_asked_for_last_are_remembered(tiny_models, encoded) -> None:
    frozen = FrozenVectors(tiny_models.encoder, most=3)
    whole = frozen.table([np.arange(6)], MESSAGES)  # more at once than are remembered
    assert np.abs(whole).max(axis=1).all()
    for rows, new in (
        ([5, 3], 0),
        ([4], 0),
        ([0], 1),
        ([4, 5], 0),
        ([3], 1),
        ([3, 4, 5], 0),
        ([0], 1),
    ):
        before = sum(encoded)
        table = frozen.table([np.array(rows)], MESSAGES)
        assert sum(encoded) - before == new, rows
        assert np.allclose(table[rows], whole[rows], atol=1e-5)


def test_several_threads_may_ask_at_once(tiny_models, encoded) -> None:
    frozen = FrozenVectors(tiny_models.encoder)
    asked = [[np.array([row, (row + 1) % 6])] for row in range(6)] * 4
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda rows: frozen.table(rows, MESSAGES), asked))
    assert sum(encoded) == 6
    whole = FrozenVectors(tiny_models.encoder).table([np.arange(6)], MESSAGES)
    for (rows,), table in zip(asked, tables, strict=True):
        assert np.allclose(table[rows], whole[rows], atol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["rapid", "logistic-vectors", "logistic-extremes", "logistic-lines", "logrobust", "neurallog"],
)
def test_a_run_is_told_of_the_encoder(name, tiny_models) -> None:
    recipe = Recipe.of_method(name).model_copy(update={"model": tiny_models})
    weights = tiny_models.encoder.weights
    told = {"weights": weights, "sha256": fingerprint(locate(weights))}
    assert make(name, recipe, workplace=Workplace()).about() == {"base_models": {"encoder": told}}


@pytest.mark.parametrize("name", ["tree-counts", "forest-words", "unseen", "deeplog", "cnn"])
def test_other_methods_have_no_base_model(name) -> None:
    assert make(name, Recipe.of_method(name), workplace=Workplace()).about() == {}


def test_messages_that_normal_sessions_hold_need_no_encoder(tiny_models, encoded, tmp_path) -> None:
    """A run of RAPID that is loaded meets known messages without a pass."""
    recipe = Recipe.of_method("rapid").model_copy(update={"model": tiny_models})
    train = toy(sessions=20, seed=0)
    method, loaded = (make("rapid", recipe, workplace=Workplace()) for _ in range(2))
    method.fit(train.sessions, MESSAGES, labels=train.labels, line_labels=None, seed=0)
    method.save(tmp_path)
    loaded.load(tmp_path)
    before = len(encoded)
    assert not loaded.score(train.only(False).sessions, ALTERED).any()
    assert len(encoded) == before
    assert loaded.score([np.array([8])], ALTERED)[0] > 0
    assert len(encoded) == before + 1


def test_files_are_readable_to_whom_the_umask_lets(tmp_path) -> None:
    train = toy(sessions=20, seed=0)
    method = make("tree-counts", Recipe.of_method("tree-counts"), workplace=Workplace())
    method.fit(train.sessions, MESSAGES, labels=train.labels, line_labels=None, seed=0)
    before = os.umask(0o027)
    try:
        method.save(tmp_path)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def test_a_distance_counts_in_those_of_normal_messages(tiny_models) -> None:
    """As far from normal as normal messages are from one another, in the middle, is one half."""
    recipe = Recipe.of_method("rapid").model_copy(update={"model": tiny_models})
    method = make("rapid", recipe, workplace=Workplace())
    method.fit([np.arange(4)], MESSAGES, labels=None, line_labels=None, seed=0)
    table = FrozenVectors(tiny_models.encoder).table([np.arange(6)], MESSAGES).astype(np.float64)
    directions = table / np.linalg.norm(table, axis=1, keepdims=True)
    apart = 1 - directions @ directions[:4].T
    usual = np.median(np.sort(apart[:4], axis=1)[:, 1])
    distance = apart[4:].min(axis=1)
    scores = method.score([np.array([4]), np.array([5])], MESSAGES)
    assert scores == pytest.approx(distance / (distance + usual), abs=1e-3)


def test_networks_read_vectors_of_mean_0_and_mean_square_1(tiny_models) -> None:
    inputs = MessageVectors(FrozenVectors(tiny_models.encoder))
    width = inputs.fit([np.arange(4)], MESSAGES)
    table = inputs.table([np.arange(6)], MESSAGES).numpy()
    assert table.shape == (6, width)
    assert table[:4].mean(axis=0) == pytest.approx(np.zeros(width), abs=1e-5)
    assert np.square(table[:4]).mean() == pytest.approx(1.0, abs=1e-4)
