"""How many sessions a forward pass may hold: the memory foretold, next to what is free."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from logllm.config.recipe import Recipe
from logllm.config.train import TrainSection
from logllm.model.base.blueprint import Blueprint
from logllm.training.memory import stage_memory
from logllm.training.sampler import TrainingSet

_SHARE = 0.85
"""Of the memory that is free: forecasts are within a tenth of what is needed."""


def sizes(batch: int) -> Iterator[int]:
    """Micro-batches that cut a batch into equal ones, the largest first.

    >>> list(sizes(16))
    [16, 8, 4, 2, 1]
    """
    return (count for count in range(batch, 0, -1) if batch % count == 0)


def largest_fitting(
    blueprint: Blueprint,
    data: TrainingSet,
    *,
    recipe: Recipe,
    device: torch.device,
    free: int | None = None,
) -> int:
    """Sessions of the largest micro-batch with which every stage fits; 1 where none is foretold to.

    Args:
        blueprint: the model; if the training checkpoints gradients, so must it.
        data: what is trained on.
        recipe: the training.
        device: where it runs.
        free: bytes that may be taken there, weights included; none: what the device says.
    """
    if free is None:
        free = free_memory(device)

    # The largest first: the first that fits is taken.
    positions = recipe.detect.tokens_on(device.type)
    for count in sizes(recipe.train.batch):
        section = recipe.train.model_copy(update={"micro_batch": count})
        needed = _needed(blueprint, data, section=section, encode_positions=positions)
        if needed <= free:
            return count
    return 1


def _needed(
    blueprint: Blueprint, data: TrainingSet, *, section: TrainSection, encode_positions: int
) -> int:
    """Bytes of the stage that needs most."""
    orders = data.orders(section)
    needed = []
    for planned in enumerate(orders):
        memory = stage_memory(
            blueprint,
            data,
            section=section,
            planned=planned,
            encode_positions=encode_positions,
        )
        needed.append(memory.beside(memory).total)
    return max(needed)


def free_memory(device: torch.device) -> int:
    """Bytes that a training may take on a device: most of what nobody has taken."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(_SHARE * free)
    # Linux counts what it could free at once, such as cached files, as available.
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # no Linux: half of what is built in
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    return int(_SHARE * kilobytes * 1024)
