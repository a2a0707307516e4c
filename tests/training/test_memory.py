"""The memory predicted on shapes alone is what the real model's passes take."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.training.test_train import changed

from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.model.base.blueprint import draw
from logllm.model.encoder import MessageTokens
from logllm.model.fast.tree import grow
from logllm.model.logllm import assemble, collate
from logllm.training.fit import Examples
from logllm.training.memory import LiveTensors, stage_memory, worst_batches
from logllm.training.sampler import TrainingSet

pytestmark = pytest.mark.real  # for its time alone


@pytest.fixture
def data(tiny_data, tiny) -> TrainingSet:
    prepared = Prepared.load(tiny_data)
    sessions, labels, *_ = Examples.of(prepared)
    alerts = [
        np.arange(len(session)) == (len(session) - 1 if label else -1)
        for session, label in zip(sessions, labels, strict=True)
    ]
    return TrainingSet(
        sessions,
        labels,
        MessageTokens(prepared.messages.to_list(), tiny[1], max_tokens=100),
        alerts,
    )


def test_live_tensors_counts_what_lives() -> None:
    given = torch.ones(1000)
    with LiveTensors(known=[given]) as watched:
        view = given[:10]  # no memory of its own
        assert watched.live == 0
        made = given + 1
        assert watched.live == 4000
        (made * 2).sum()
        assert watched.live == 4000
        del made
    assert watched.live == 0
    assert watched.peak == 8004
    assert len(view) == 10


@pytest.mark.parametrize(
    ("trains", "objective", "checkpointing", "like"),
    [
        (("encoder", "projector", "decoder"), "answer", False, "small"),
        pytest.param(
            ("encoder", "projector", "decoder"), "verdict", True, "small", marks=pytest.mark.real
        ),
        (("projector", "decoder"), "verdict", False, "brief"),
        pytest.param(("encoder", "projector"), "answer", True, "small", marks=pytest.mark.real),
        pytest.param(("projector", "decoder"), "verdict", False, "small", marks=pytest.mark.real),
        pytest.param(("decoder",), "answer", False, "small", marks=pytest.mark.real),
        pytest.param(
            ("encoder", "projector", "decoder"), "verdict", False, "nano", marks=pytest.mark.real
        ),
        pytest.param(
            ("encoder", "projector", "decoder"), "answer", False, "nano", marks=pytest.mark.real
        ),
    ],
)
def test_a_stages_activations_are_those_of_the_real_model(
    tiny_recipe, tiny_models, data, trains, objective, checkpointing, like
) -> None:
    layers = 1 if like == "nano" else None
    tiny_models = tiny_models.model_copy(
        update={
            "prompt": Recipe.load(like).model.prompt,
            "decoder": tiny_models.decoder.model_copy(update={"layers": layers}),
        }
    )
    stage = {
        "trains": trains,
        "lr": 1e-3,
        "max_sessions": 32,
        "message_dropout": 0.1 if len(trains) == 2 else 0,
    }
    stage["beginnings"] = 3 if like == "brief" else 0
    section = changed(
        tiny_recipe,
        objective=objective,
        batch=8,
        micro_batch=8,
        gradient_checkpointing=checkpointing,
        stages=[stage],
    ).train
    order = data.orders(section)[0]
    blueprint = draw(tiny_models)
    model, _ = assemble(tiny_models)
    if checkpointing:
        blueprint.model.checkpoint_gradients()
        model.checkpoint_gradients()
    memory = stage_memory(blueprint, data, section=section, planned=(0, order), encode_positions=64)
    learning = model.trains(
        section.stages[0].trains, message_dropout=section.stages[0].message_dropout
    )
    gradients = sum(parameter.nbytes for parameter in learning)
    assert memory.optimiser == 3 * gradients

    peaks = []
    for some in worst_batches(order, data, section=section, stage=0):
        model.zero_grad(set_to_none=True)
        frozen = "encoder" not in trains
        vectors = torch.zeros((len(data.tokens), model.encoder.width)) if frozen else None
        labels = torch.from_numpy(
            (np.arange(len(some.labels)) == len(some.labels) - 1).astype(np.int64)
        )
        batch = replace(
            collate(some.sessions, tokens=data.tokens, vectors=vectors, labels=labels),
            beginnings=some.beginnings,
        )
        known = [
            *model.parameters(),
            *model.buffers(),
            batch.ids,
            batch.mask,
            labels,
            *([] if vectors is None else [vectors]),
        ]
        with LiveTensors(known=known) as watched:
            model.loss(batch, objective=objective).backward()
        peaks.append(watched.peak - gradients + (vectors.nbytes if vectors is not None else 0))
    assert memory.activations == pytest.approx(max(peaks), rel=0.01)


@pytest.mark.real  # for its time alone
def test_gradient_checkpointing_is_predicted_to_need_less(tiny_recipe, tiny_models, data) -> None:
    found = []
    for checkpointing in (False, True):
        stage = {"trains": ["encoder", "projector", "decoder"], "lr": 1e-3, "max_sessions": 32}
        section = changed(tiny_recipe, gradient_checkpointing=checkpointing, stages=[stage]).train
        blueprint = draw(tiny_models)
        if checkpointing:
            blueprint.model.checkpoint_gradients()
        found.append(
            stage_memory(
                blueprint,
                data,
                section=section,
                planned=(0, data.orders(section)[0]),
                encode_positions=64,
            )
        )
    assert found[1].activations < found[0].activations


def test_the_worst_batches_are_found(data, tiny_recipe) -> None:
    section = changed(
        tiny_recipe, stages=[{"trains": ["encoder", "projector"], "lr": 1e-3, "epochs": 1}]
    ).train
    order = data.orders(section)[0]
    decoder, tree, encoder = (
        some.sessions for some in worst_batches(order, data, section=section, stage=0)
    )
    every = [
        each.sessions
        for step, start in enumerate(range(0, len(order), section.batch))
        for each in data.micro_batches(
            order[start : start + section.batch], section, stage=0, step=step
        )
    ]
    assert len(decoder) * max(map(len, decoder)) == max(
        len(some) * max(map(len, some)) for some in every
    )
    assert len(grow(tree).rows) == max(len(grow(some).rows) for some in every)

    def tokens(sessions) -> int:
        distinct = np.unique(np.concatenate(sessions))
        return len(distinct) * data.tokens.lengths[distinct].max()

    assert tokens(encoder) == max(map(tokens, every))
