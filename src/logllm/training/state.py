"""What a killed training needs to go on as if it had never stopped."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from logllm.errors import ModelError
from logllm.model.logllm import LogLLM
from logllm.runs.manifest import CHECKPOINTS
from logllm.storage import new_folder, write_atomic


@dataclass(frozen=True)
class Position:
    """How far training has come.

    `step` optimiser steps of stage `stage` are done and `log` bytes of steps.jsonl are written; it
    took `seconds`.
    """

    stage: int
    step: int
    log: int
    seconds: float = 0.0


def learned(model: LogLLM) -> dict[str, Tensor]:
    """Every parameter that some stage may train, by name."""
    return {
        name: value
        for name, value in model.named_parameters()
        if "lora_" in name or name.startswith("projector.")
    }


def save_state(run: Path, model: LogLLM, *, optimizer: Any, position: Position) -> None:
    """Write a checkpoint, then remove the one before it.

    The folder appears under its name only when it is whole, so that a kill at any moment leaves a
    usable one.

    Raises:
        DataError: the disk is full or cannot be written; after making room, `--resume` goes on.
    """
    parameters = {name: value.detach().contiguous() for name, value in learned(model).items()}

    # The optimiser's tensors as `<parameter>.<name>`, and the generators' bytes.
    optimised = {}
    for index, slot in optimizer.state_dict()["state"].items():
        for name, value in slot.items():
            optimised[f"{index}.{name}"] = value.detach().clone().contiguous()
    optimised["generator"] = torch.get_rng_state()
    if torch.cuda.is_available():
        optimised["generator.cuda"] = torch.cuda.get_rng_state()

    name = f"{position.stage:03d}-{position.step:08d}"
    with new_folder(run / CHECKPOINTS / name, force=False) as folder:
        write_atomic(folder / "parameters.safetensors", lambda path: save_file(parameters, path))
        write_atomic(folder / "optimizer.safetensors", lambda path: save_file(optimised, path))
        write_atomic(folder / "position.json", json.dumps(asdict(position)).encode())
    for older in states(run)[:-1]:
        shutil.rmtree(older, ignore_errors=True)


def states(run: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first.

    A checkpoint that a killed process left unfinished has a name that begins with a dot.
    """
    folder = run / CHECKPOINTS
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def position_of(checkpoint: Path) -> Position:
    """Where a checkpoint stands."""
    return Position(**json.loads((checkpoint / "position.json").read_text(encoding="utf-8")))


def restore_model(checkpoint: Path, model: LogLLM) -> None:
    """Put a checkpoint's parameters into a model.

    Raises:
        ModelError: the checkpoint is of another model.
    """
    values = load_file(checkpoint / "parameters.safetensors")
    own = learned(model)
    # Shapes are compared before the first value is copied: no model is left half restored.
    stored_shapes = {name: value.shape for name, value in values.items()}
    own_shapes = {name: value.shape for name, value in own.items()}
    if stored_shapes != own_shapes:
        raise ModelError(
            f"checkpoint {checkpoint} holds other parameters than the recipe's model: train into a"
            " new folder"
        )
    with torch.no_grad():
        for name, value in values.items():
            own[name].copy_(value)


def restore_optimizer(checkpoint: Path, optimizer: Any) -> None:
    """Put a checkpoint's optimiser state and random generators back."""
    # The generators go on where they were, so that the same numbers are drawn.
    flat = load_file(checkpoint / "optimizer.safetensors")
    torch.set_rng_state(flat.pop("generator"))
    on_gpu = flat.pop("generator.cuda", None)
    if on_gpu is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(on_gpu)

    # `<parameter>.<name>`, as `save_state` wrote them.
    state = optimizer.state_dict()
    for key, value in flat.items():
        index, _, name = key.partition(".")
        state["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(state)
