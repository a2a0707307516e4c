"""What a training would do, found out without training: `train --check`."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logllm.config.recipe import Recipe
from logllm.config.train import Part, TrainSection
from logllm.datasets.prepared import Prepared
from logllm.extras import require
from logllm.model.base.blueprint import Blueprint, draw
from logllm.model.base.weights import SMALL_TIER, available, locate
from logllm.model.encoder import MessageTokens
from logllm.model.logllm import LogLLM, assemble, collate
from logllm.progress import Report
from logllm.training.fit import Examples, accelerate, check_examples, deterministic
from logllm.training.memory import Memory, resident, stage_memory
from logllm.training.room import largest_fitting
from logllm.training.sampler import Order, TrainingSet

_CUDA_CONTEXT = 500 * 2**20
"""Bytes that CUDA itself takes of a GPU, about; not measured here."""


@dataclass(frozen=True)
class PlannedStage:
    """One stage as it would run."""

    trains: tuple[Part, ...]
    parameters: int
    """Trainable parameters."""
    sessions: int
    steps: int
    memory: Memory
    """What its worst step needs, derived."""
    seconds: float | None
    """Estimate: the time of one micro-batch of middling sessions, measured here, times the number
    of micro-batches; None where the weights are not here."""


@dataclass(frozen=True)
class Plan:
    """A whole training as it would run."""

    stages: tuple[PlannedStage, ...]
    sessions: int
    anomalous: int
    distinct_messages: int
    parameters: int
    """Of all three parts, frozen ones included."""
    threads: int
    micro_batch: int
    """Sessions of a forward pass: the recipe's, or what this machine's memory is foretold to
    hold."""
    program: int
    """Bytes held besides: Python, libraries and the data, as this process holds them; on a GPU,
    CUDA's own share, about."""
    assumed: tuple[str, ...]
    """Base models that are not here: sizes follow from their configuration, lengths of messages and
    prompt are estimates."""

    @property
    def seconds(self) -> float | None:
        """Estimate for all stages."""
        estimates = [stage.seconds for stage in self.stages if stage.seconds is not None]
        if len(estimates) < len(self.stages):
            return None
        return sum(estimates)

    @property
    def peak(self) -> int:
        """Bytes that the training needs in all, at its worst moment."""
        return self.program + max(stage.memory.total for stage in self.stages)


def plan(recipe: Recipe, data: Path, *, progress: Report | None = None) -> Plan:
    """Check a recipe, its data and its models, and say what training would do.

    Models of the small tier are fetched; large ones that are not here are not: then their
    configuration says how much memory they need, and the time stays unknown.

    Raises:
        DataError, ModelError, RecipeError: whatever `train` would raise before its first step.
    """
    require("train", to="train")
    prepared = Prepared.load(data)
    examples = Examples.of(prepared)
    check_examples(recipe, examples)
    sessions, labels, _, alerts = examples
    accelerator = accelerate(recipe)
    models = (recipe.model.encoder, recipe.model.decoder)
    for part in models:
        if part.weights in SMALL_TIER:
            locate(part.weights, progress=progress)
    blueprint = draw(recipe.model)

    # Models that are not here are not for this machine, if it has no GPU.
    on_gpu = accelerator.device.type == "cuda" or bool(blueprint.assumed)
    program = _CUDA_CONTEXT if on_gpu else resident()
    with deterministic(recipe.train.seed):
        tokens = MessageTokens(
            prepared.messages.to_list(),
            blueprint.tokenizer,
            max_tokens=recipe.model.encoder.max_tokens,
        )
        training = TrainingSet(sessions, labels, tokens, alerts)
        recipe = _settled(recipe, training, blueprint=blueprint, device=accelerator.device)
        stages = _stages(recipe, training, blueprint=blueprint, on_gpu=on_gpu)

        # With the weights here one micro-batch of each stage is timed.
        if all(available(part.weights) for part in models):
            model, _ = assemble(recipe.model, progress=progress)
            model.to(accelerator.device)
            if recipe.train.gradient_checkpointing:
                model.checkpoint_gradients()
            timed = []
            for planned, order in zip(
                stages, enumerate(training.orders(recipe.train)), strict=True
            ):
                seconds = _seconds(
                    model, training, section=recipe.train, planned=order, accelerator=accelerator
                )
                timed.append(replace(planned, seconds=seconds))
            stages = timed
    return Plan(
        stages=tuple(stages),
        sessions=len(sessions),
        anomalous=int(labels.sum()),
        distinct_messages=len(tokens),
        parameters=sum(parameter.numel() for parameter in blueprint.model.parameters()),
        threads=torch.get_num_threads(),
        micro_batch=recipe.train.unit,
        program=program,
        assumed=blueprint.assumed,
    )


def _settled(
    recipe: Recipe, data: TrainingSet, *, blueprint: Blueprint, device: torch.device
) -> Recipe:
    """The recipe with the micro-batch that this machine's memory has room for."""
    if recipe.train.micro_batch != "auto":
        return recipe
    if recipe.train.gradient_checkpointing:
        blueprint.model.checkpoint_gradients()
    count = largest_fitting(blueprint, data, recipe=recipe, device=device)
    train = recipe.train.model_copy(update={"micro_batch": count})
    return recipe.model_copy(update={"train": train})


def _stages(
    recipe: Recipe, data: TrainingSet, *, blueprint: Blueprint, on_gpu: bool
) -> list[PlannedStage]:
    """The stages as far as shapes tell: all but the time."""
    section = recipe.train
    orders = data.orders(section)
    positions = recipe.detect.tokens_on("cuda" if on_gpu else "cpu")

    def memories() -> list[Memory]:
        how: Any = {"section": section, "encode_positions": positions}
        return [
            stage_memory(blueprint, data, planned=planned, **how) for planned in enumerate(orders)
        ]

    # The allocator's gaps are those of a training without gradient checkpointing.
    # With checkpointing both are wanted: what is needed then, and what leaves gaps.
    needed = plain = memories()
    if section.gradient_checkpointing:
        blueprint.model.checkpoint_gradients()
        needed = memories()
    if not on_gpu:
        needed = [memory.beside(without) for memory, without in zip(needed, plain, strict=True)]
    return [
        PlannedStage(
            trains=stage.trains,
            parameters=sum(parameter.numel() for parameter in blueprint.model.trains(stage.trains)),
            sessions=len(order),
            steps=-(-len(order) // section.batch),
            memory=memory,
            seconds=None,
        )
        for stage, order, memory in zip(section.stages, orders, needed, strict=True)
    ]


def _seconds(
    model: LogLLM,
    data: TrainingSet,
    *,
    section: TrainSection,
    planned: tuple[int, Order],
    accelerator: Any,
) -> float:
    """A stage's estimated time in seconds.

    One micro-batch of its middling sessions is timed as the stage sees them, and counted as often
    as there are micro-batches.
    """
    number, order = planned
    stage = section.stages[number]
    model.trains(
        stage.trains, message_dropout=stage.message_dropout, base_dropout=section.base_dropout
    )
    vectors = None
    if "encoder" not in stage.trains:
        vectors = torch.zeros((len(data.tokens), model.encoder.width), device=model.device)
    rows = _middling(order, data, count=section.unit)
    micro = next(data.micro_batches(rows, section, stage=number, step=0))
    labels = torch.from_numpy(micro.labels)
    batch = collate(
        micro.sessions,
        tokens=data.tokens,
        vectors=vectors,
        labels=labels,
        beginnings=micro.beginnings,
    )
    batch = batch.to(model.device)

    # Forward and backward, as a step of training does it.
    seconds = []
    for _ in range(2):  # the first one warms up
        started = time.perf_counter()
        with accelerator.autocast():
            loss = model.loss(batch, objective=section.objective)
        accelerator.backward(loss)
        loss.item()
        if model.device.type == "cuda":  # which goes on by itself
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    model.zero_grad(set_to_none=True)
    return min(seconds) * -(-len(order) // section.unit)


def _middling(order: Order, data: TrainingSet, *, count: int) -> Order:
    """Rows evenly spread over the order's sessions by length.

    Their passes then cost about what the stage's passes cost on average.
    """
    lengths = [len(data.sessions[row]) for row in order]
    by_length = order[np.argsort(lengths, kind="stable")]
    taken = min(count, len(by_length))
    places = np.linspace(0, len(by_length) - 1, num=taken).astype(np.int64)
    return by_length[places]
