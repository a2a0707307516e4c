"""Micro-batches as large as memory allows, and the same step however it is cut."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.training.test_train import changed

from logllm.config.train import StageSection, TrainSection
from logllm.datasets.prepared import Prepared
from logllm.errors import RecipeError
from logllm.model.base.blueprint import draw
from logllm.model.encoder import MessageTokens
from logllm.model.logllm import assemble
from logllm.training.fit import Examples, accelerate, deterministic, micro_batch_of
from logllm.training.loop import Loop
from logllm.training.memory import stage_memory
from logllm.training.room import free_memory, largest_fitting
from logllm.training.sampler import TrainingSet

STAGE = {"trains": ["encoder", "projector", "decoder"], "lr": 1e-3, "max_sessions": 16}


@pytest.fixture
def by_itself(tiny_recipe):
    """A recipe whose micro-batches the machine settles, without dropout: passes of other sizes
    would drop other numbers."""
    section = tiny_recipe.model.model_dump()
    for part in ("encoder", "decoder"):
        section[part]["lora"]["dropout"] = 0.0
    recipe = changed(tiny_recipe, batch=16, micro_batch="auto", objective="answer", stages=[STAGE])
    return recipe.model_copy(update={"model": type(tiny_recipe.model).model_validate(section)})


def training_set(prepared: Prepared, tokenizer) -> TrainingSet:
    sessions, labels, messages, alerts = Examples.of(prepared)
    return TrainingSet(
        sessions, labels, MessageTokens(messages.to_list(), tokenizer, max_tokens=100), alerts
    )


@pytest.mark.real  # for its time alone
@pytest.mark.alone
def test_the_micro_batch_is_the_largest_that_fits(by_itself, tiny_data) -> None:
    blueprint = draw(by_itself.model)
    data = training_set(Prepared.load(tiny_data), blueprint.tokenizer)

    def needed(count: int) -> int:
        section = by_itself.train.model_copy(update={"micro_batch": count})
        memory = stage_memory(
            blueprint,
            data,
            section=section,
            planned=(0, data.orders(section)[0]),
            encode_positions=4096,
        )
        return memory.beside(memory).total

    cpu = torch.device("cpu")
    room = (0, needed(4), needed(16) - 1, needed(16))
    fitting = [
        largest_fitting(blueprint, data, recipe=by_itself, device=cpu, free=free) for free in room
    ]
    assert fitting == [1, 4, 8, 16]


def test_a_number_is_taken_as_it_is(tiny_recipe, tiny_data) -> None:
    examples = Examples.of(Prepared.load(tiny_data))
    assert micro_batch_of(tiny_recipe, examples, accelerator=accelerate(tiny_recipe)) == 2
    assert 2**20 < free_memory(torch.device("cpu")) < 2**50


@pytest.mark.real
def test_a_step_is_the_same_however_it_is_cut(by_itself, tiny_data, tmp_path) -> None:
    """Answers of other lengths, too: their tokens weigh the same in the step, not in each pass."""
    learnt = []
    for count in (16, 4, 1):
        (tmp_path / str(count)).mkdir()
        with deterministic(0):
            model, tokenizer = assemble(by_itself.model)
            data = training_set(Prepared.load(tiny_data), tokenizer)
            loop = Loop(
                model,
                data,
                section=by_itself.train,
                run=tmp_path / str(count),
                accelerator=accelerate(by_itself),
            )
            loop.count = count
            loop.train(encode_positions=4096)
        state = next((tmp_path / str(count)).glob("checkpoints/*"))
        learnt.append(load_file(state / "optimizer.safetensors"))
    gradients = [
        {name: value for name, value in one.items() if name.endswith("exp_avg")} for one in learnt
    ]
    assert gradients[0]
    for other in gradients[1:]:
        for name, value in other.items():
            torch.testing.assert_close(
                value,
                gradients[0][name],
                rtol=0,
                atol=1e-5 * float(gradients[0][name].abs().max().clamp(min=1)),
            )


def test_what_a_step_sees_does_not_depend_on_its_cuts(tiny, labelled_by_line) -> None:
    data = training_set(Prepared.load(labelled_by_line), tiny[1])
    stage = StageSection(
        trains=("decoder",), lr=1e-3, epochs=1, crop=True, insert=0.5, beginnings=3
    )
    section = TrainSection(stages=(stage,))
    seen = []
    for count in (16, 4):
        batches = list(data.micro_batches(np.arange(16), section, stage=0, step=1, count=count))
        sessions = [session.tolist() for batch in batches for session in batch.sessions]
        firsts = np.cumsum([0, *(len(batch.sessions) for batch in batches)])
        places = [
            (first + place, length)
            for first, batch in zip(firsts[:-1], batches, strict=True)
            for place, length in batch.beginnings
        ]
        seen.append((sessions, places))
    assert seen[0] == seen[1]


def test_memory_is_not_filled_before_it_is_written() -> None:
    before = torch.utils.deterministic.fill_uninitialized_memory
    with deterministic(0):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert torch.utils.deterministic.fill_uninitialized_memory == before


@pytest.mark.parametrize("wrong", [0, "most", 1.5, True])
def test_other_micro_batches_are_refused(wrong) -> None:
    with pytest.raises(
        RecipeError, match="micro_batch: takes a whole number of 1 or more, or auto"
    ):
        TrainSection.read({"micro_batch": wrong}, source="a recipe")
