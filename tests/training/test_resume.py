"""Training killed at any point goes on and ends with the same bytes."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from logllm.config.recipe import Recipe
from logllm.errors import ModelError, RecipeError

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["torch", "transformers", "peft", "accelerate", "polars", "logllm.methods.train"])
LEARNED = ("projector.safetensors", "encoder/adapter_model.safetensors", "decoder/adapter_model.safetensors")


def train_until_killed(recipe: dict, data: Path, out: Path, kill: tuple) -> None:
    """In a process of its own: train, and die by SIGKILL at a step, or in the middle of writing a file."""
    import torch

    torch.set_num_threads(1)
    from logllm.training import state, train

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    writes = 0
    write = state.write_atomic

    def counted_write(path, content) -> None:
        nonlocal writes
        writes += 1
        if kill[0] == "write" and writes == kill[1]:
            path.write_bytes(b"half a fi")
            die()
        write(path, content)

    state.write_atomic = counted_write

    def watch(step) -> None:
        if kill == ("step", step.stage, step.step):
            die()

    if kill[0] == "end":
        train.save_model = lambda *_, **__: die()
    train.train(Recipe.read(recipe, source="test"), data, out=out, watch=watch)


def trained(recipe: Recipe, data: Path, out: Path, **how) -> dict[str, bytes]:
    """Train here; the bytes of what was learned and the log without its times."""
    from logllm.methods.train import train

    train(recipe, data, out=out, **how)
    log = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    for line in log:
        del line["at"]
    return {**{name: (out / name).read_bytes() for name in LEARNED}, "steps": json.dumps(log).encode()}


@pytest.fixture(scope="module")
def uninterrupted(tiny_recipe, tiny_data, tmp_path_factory) -> dict[str, bytes]:
    return trained(tiny_recipe, tiny_data, tmp_path_factory.mktemp("whole") / "run")


def test_the_same_command_twice_gives_the_same_bytes(tiny_recipe, tiny_data, tmp_path, uninterrupted) -> None:
    assert trained(tiny_recipe, tiny_data, tmp_path / "run") == uninterrupted


def test_another_seed_gives_other_bytes(tiny_recipe, tiny_data, tmp_path, uninterrupted) -> None:
    other = tiny_recipe.model_copy(update={"train": tiny_recipe.train.model_copy(update={"seed": 7})})
    assert trained(other, tiny_data, tmp_path / "run")["projector.safetensors"] != uninterrupted["projector.safetensors"]


KILLS = [("step", 0, 1), ("step", 2, 4), ("write", 9), ("end",)]
MORE_KILLS = [("step", 1, 2), ("step", 3, 3), ("write", 1)]


@pytest.mark.parametrize("kill", [*KILLS, *(pytest.param(kill, marks=pytest.mark.real) for kill in MORE_KILLS)], ids=str)
def test_resume_after_kill_ends_with_the_same_bytes(tiny_recipe, tiny_data, tmp_path, uninterrupted, kill) -> None:
    out = tmp_path / "run"
    process = _FORKS.Process(target=train_until_killed, args=(tiny_recipe.model_dump(), tiny_data, out, kill))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    done = 0
    for position in out.glob("checkpoints/[0-9]*/position.json"):
        position.write_text(json.dumps(json.loads(position.read_text()) | {"seconds": 1000}))
        done = 1000
    assert trained(tiny_recipe, tiny_data, out, resume=True) == uninterrupted
    assert done <= json.loads((out / "manifest.json").read_text())["seconds"] < done + 500
    assert not (out / "checkpoints").exists()


def test_resume_refuses_another_recipe_and_other_data(tiny_recipe, tiny_data, tmp_path, uninterrupted) -> None:
    out = tmp_path / "run"
    trained(tiny_recipe, tiny_data, out)
    other = tiny_recipe.model_copy(update={"train": tiny_recipe.train.model_copy(update={"seed": 7})})
    with pytest.raises(RecipeError, match="another recipe"):
        trained(other, tiny_data, out, resume=True)
    with pytest.raises(ModelError, match="holds a run already.*--resume.*--force"):
        trained(tiny_recipe, tiny_data, out)
    assert trained(tiny_recipe, tiny_data, out, resume=True) == uninterrupted  # finished: nothing to do


def test_a_folder_that_is_no_run_is_left_alone(tiny_recipe, tiny_data, tmp_path) -> None:
    from logllm.methods.train import start_over

    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="is no run"):
        trained(tiny_recipe, tiny_data, tmp_path)
    with pytest.raises(ModelError, match="is no run"):
        start_over(tmp_path)
    assert (tmp_path / "thesis.txt").exists()
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "run", "version": 1, "bundle": "adapters"}))
    with pytest.raises(ModelError, match="holds an exported run"):
        start_over(tmp_path)
