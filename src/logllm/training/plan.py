"""What a training would do, found out without training: `train --check`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logllm.config.recipe import Recipe
from logllm.config.train import Part, StageSection, TrainSection
from logllm.data.prepared import Prepared
from logllm.model.batch import MessageTokens, collate
from logllm.model.logllm import LogLLM, assemble
from logllm.model.weights import Progress
from logllm.training.loop import TrainingSet
from logllm.training.sampler import Order
from logllm.training.train import accelerate, deterministic, training_set


@dataclass(frozen=True)
class PlannedStage:
    """One stage as it would run."""

    trains: tuple[Part, ...]
    parameters: int
    """Trainable parameters."""
    sessions: int
    steps: int
    seconds: float
    """Estimate: one micro-batch of middling sessions, timed here, times the number of micro-batches."""


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

    @property
    def seconds(self) -> float:
        """Estimate for all stages."""
        return sum(stage.seconds for stage in self.stages)


def plan(recipe: Recipe, data: Path, *, progress: Progress | None = None) -> Plan:
    """Check a recipe, its data and its models, and say what training would do.

    Raises:
        DataError, ModelError, RecipeError: whatever `train` would raise before its first step.
    """
    prepared = Prepared.load(data)
    sessions, labels, alerts = training_set(prepared)
    accelerator = accelerate(recipe)
    with deterministic(recipe.train.seed):
        model, tokenizer = assemble(recipe.model, progress=progress)
        model.to(accelerator.device)
        tokens = MessageTokens(prepared.messages.to_list(), tokenizer, max_tokens=recipe.model.encoder.max_tokens)
        training = TrainingSet(sessions, labels, tokens, alerts)
        ordered = zip(recipe.train.stages, training.orders(recipe.train), strict=True)
        stages = tuple(_stage(model, training, section=recipe.train, planned=planned, accelerator=accelerator) for planned in ordered)
    return Plan(
        stages=stages,
        sessions=len(sessions),
        anomalous=int(labels.sum()),
        distinct_messages=len(tokens),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        threads=torch.get_num_threads(),
    )


def _stage(
    model: LogLLM, data: TrainingSet, *, section: TrainSection, planned: tuple[StageSection, Order], accelerator: Any
) -> PlannedStage:
    """One stage: its order as training would draw it, one micro-batch timed."""
    stage, order = planned
    trains = stage.trains
    learning = model.trains(trains)
    middling = _middling(order, data, count=section.micro_batch)
    labels = torch.from_numpy(data.labels[middling].astype(np.int64))
    vectors = None if "encoder" in trains else torch.zeros((len(data.tokens), model.encoder.width), device=model.device)
    batch = collate([data.sessions[row] for row in middling], tokens=data.tokens, vectors=vectors, labels=labels).to(model.device)
    seconds = []
    for _ in range(2):  # the first one warms up
        started = time.perf_counter()
        accelerator.backward(model.loss(batch, objective=section.objective))
        seconds.append(time.perf_counter() - started)
    model.zero_grad(set_to_none=True)
    return PlannedStage(
        trains=trains,
        parameters=sum(parameter.numel() for parameter in learning),
        sessions=len(order),
        steps=-(-len(order) // section.batch),
        seconds=min(seconds) * -(-len(order) // section.micro_batch),
    )


def _middling(order: Order, data: TrainingSet, *, count: int) -> Order:
    """Rows evenly spread over the order's sessions by length, so that their passes cost what the stage's do on average."""
    by_length = order[np.argsort([len(data.sessions[row]) for row in order], kind="stable")]
    return by_length[np.linspace(0, len(by_length) - 1, num=min(count, len(by_length))).astype(np.int64)]
