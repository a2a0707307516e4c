"""One stage's steps through the real loop: loss, rate, gradients and weights are the plain ones.

The loop puts sessions of like length into one micro-batch, the scripts do not. The loss is a mean
over each micro-batch's tokens, so where the answers' lengths differ the composition is part of it:
the plain implementation is told ours (`micro_batches`), and the last test says by how much another
one differs.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from logllm.config.recipe import Recipe
from logllm.config.train import StageSection, TrainSection
from logllm.training.fit import accelerate
from logllm.training.loop import Loop
from logllm.training.sampler import TrainingSet
from tests.fidelity.pairs import Pair, make_pair, make_sessions, plain_name, plainly, write_models
from tests.fidelity.plain import MICRO_BATCH, RATES, STAGES, AdamW, Session, learns, loss, rates

pytestmark = pytest.mark.real  # for its time alone

CLOSE = {"rtol": 0, "atol": 1e-5}
SESSIONS, LABELS = make_sessions(40, seed=5)


class Done(NamedTuple):
    """What an optimiser step did."""

    loss: float
    lr: float
    gradients: dict[str, Tensor]
    weights: dict[str, Tensor]


def settings(*stages: tuple[str, int], **changes) -> TrainSection:
    """The paper's recipe with stages of some sessions each."""
    sections = tuple(
        StageSection(trains=STAGES[name], lr=RATES[name], max_sessions=sessions)
        for name, sessions in stages
    )
    return Recipe.load("bgl").train.model_copy(update={"stages": sections, **changes})


def run_loop(pair: Pair, section: TrainSection, run) -> tuple[list[Done], Loop]:
    """Train ours, and note what each step did; its gradients as the optimiser gets them."""
    steps, gradients = [], {}
    names = {id(parameter): plain_name(name) for name, parameter in pair.ours.named_parameters()}

    def note_gradients(optimizer, *_) -> None:
        gradients.clear()
        gradients.update(
            {
                names[id(value)]: value.grad.clone()
                for group in optimizer.param_groups
                for value in group["params"]
            }
        )

    def note_step(step) -> None:
        weights = {name: value.detach().clone() for name, value in pair.weights().items()}
        steps.append(Done(step.loss, step.lr, dict(gradients), weights))

    run.mkdir()
    loop = Loop(
        pair.ours,
        TrainingSet(SESSIONS, LABELS, pair.tokens),
        section=section,
        run=run,
        accelerator=accelerate(Recipe.load("bgl")),
    )
    with register_optimizer_step_pre_hook(note_gradients):
        loop.train(encode_positions=500, watch=note_step)
    return steps, loop


def micro_batches(rows: np.ndarray, *, by_length: bool = True) -> list[list[Session]]:
    """A step's sessions, shortest first, in fours."""
    rows = sorted(rows, key=lambda row: len(SESSIONS[row])) if by_length else rows
    sessions = plainly([SESSIONS[row] for row in rows], LABELS[rows])
    return [sessions[start : start + MICRO_BATCH] for start in range(0, len(sessions), MICRO_BATCH)]


def train_plainly(
    pair: Pair, stages: tuple[tuple[str, int], ...], orders: list[np.ndarray]
) -> Iterator[Done]:
    """Train the plain model on the sessions that ours saw."""
    for (stage, _), order in zip(stages, orders, strict=True):
        learning = {
            name: weight
            for name, weight in pair.plain.named_parameters()
            if learns(name, stage=stage)
        }
        optimizer = AdamW(learning.values())
        lrs = list(rates(RATES[stage], micro_batches=len(order) // MICRO_BATCH))
        for start in range(0, len(order), 16):
            step_loss = loss(pair.plain, micro_batches(order[start : start + 16]))
            gradients = torch.autograd.grad(step_loss, list(learning.values()))
            lr = lrs[start // MICRO_BATCH]
            optimizer.step(gradients, lr=lr)
            weights = {
                name: weight.detach().clone()
                for name, weight in pair.plain.named_parameters()
                if name in pair.weights()
            }
            yield Done(step_loss.item(), lr, dict(zip(learning, gradients, strict=True)), weights)


def compare(pair: Pair, stages: tuple[tuple[str, int], ...], run) -> list[Done]:
    """Both trainings, step by step."""
    steps, loop = run_loop(pair, settings(*stages), run)
    for got, expected in zip(steps, train_plainly(pair, stages, loop.orders), strict=True):
        assert got.loss == pytest.approx(expected.loss, abs=1e-5)
        assert got.lr == pytest.approx(expected.lr, rel=1e-12)
        assert set(got.gradients) == set(expected.gradients)
        for name, gradient in expected.gradients.items():
            torch.testing.assert_close(
                got.gradients[name],
                gradient,
                **CLOSE,
                msg=lambda text, name=name: f"gradient of {name}: {text}",
            )
        assert set(got.weights) == set(expected.weights)
        for name, weight in expected.weights.items():
            torch.testing.assert_close(
                got.weights[name], weight, **CLOSE, msg=lambda text, name=name: f"{name}: {text}"
            )
    return steps


@pytest.mark.parametrize("stage", STAGES)
def test_two_steps_of_each_stage(pair, tmp_path, stage) -> None:
    """The first step alone shows gradients and the update, the second what AdamW remembers and the
    rate's fall."""
    before = {name: value.detach().clone() for name, value in pair.weights().items()}
    steps = compare(pair, ((stage, 32),), tmp_path / "run")
    assert len(steps) == 2
    for name, value in steps[-1].weights.items():
        moved = (value - before[name]).abs().max().item()
        assert moved > RATES[stage] if learns(name, stage=stage) else moved == 0
        if learns(name, stage=stage):
            assert steps[0].gradients[name].abs().max() > 1e-3


@pytest.mark.parametrize(
    ("names", "sessions"),
    [(("1", "2", "3"), 32), pytest.param(("1", "2a", "2b", "3"), 16, marks=pytest.mark.real)],
    ids=["paper", "scripts"],
)
def test_all_stages_one_after_the_other(folder, tmp_path, names, sessions) -> None:
    """From the very beginning, where LoRA is nothing yet; a new optimiser and schedule in each
    stage."""
    compare(
        make_pair(folder, learnt=False), tuple((name, sessions) for name in names), tmp_path / "run"
    )


def test_the_optimiser_over_many_steps(folder, tmp_path) -> None:
    """AdamW alone, on the gradients that the loop had, at a rate at which decay and memory show; A,
    at first, has decay and no gradient."""
    pair = make_pair(folder, learnt=False)
    weights = {
        name: torch.nn.Parameter(value.detach().clone()) for name, value in pair.weights().items()
    }
    stage = StageSection(trains=STAGES["3"], lr=0.01, max_sessions=48, schedule="constant")
    steps, _ = run_loop(
        pair, settings(batch=4).model_copy(update={"stages": (stage,)}), tmp_path / "run"
    )
    optimizer = AdamW(weights.values())
    for step in steps:
        optimizer.step([step.gradients[name] for name in weights], lr=0.01)
        for name, weight in weights.items():
            torch.testing.assert_close(step.weights[name], weight.detach(), rtol=0, atol=1e-6)
    assert len(steps) == 12
    assert not any(
        gradient.any() for name, gradient in steps[0].gradients.items() if name.endswith(".A")
    )


def test_micro_batches_of_other_sessions_differ_only_where_answers_do(folder, tmp_path) -> None:
    """Sorting by length changes the loss where the two answers have different numbers of tokens,
    and nothing where they have not."""
    differences = {}
    for split, models in ((True, folder), (False, write_models(tmp_path, split=False))):
        pair = make_pair(models)
        (rows,) = TrainingSet(SESSIONS, LABELS, pair.tokens).orders(settings(("3", 16)))
        sorted_loss, drawn_loss = (
            loss(pair.plain, micro_batches(rows, by_length=by_length)).item()
            for by_length in (True, False)
        )
        differences[split] = abs(sorted_loss - drawn_loss) / drawn_loss
    assert differences[False] < 1e-6
    assert 1e-5 < differences[True] < 0.01
