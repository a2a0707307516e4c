"""Training killed at any point goes on and ends with the same bytes."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from logllm.config.recipe import Recipe
from logllm.errors import DataError, LogLLMError, ModelError, RecipeError

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["torch", "transformers", "peft", "accelerate", "polars", "logllm.methods.train"]
)
LEARNED = (
    "projector.safetensors",
    "encoder/adapter_model.safetensors",
    "decoder/adapter_model.safetensors",
)


def train_until_killed(recipe: dict, data: Path, out: Path, kill: tuple) -> None:
    """In a process of its own: train, and die by SIGKILL at a step, or in the middle of writing a
    file."""
    import torch

    torch.set_num_threads(1)
    from logllm.methods import train
    from logllm.model import checkpoint
    from logllm.training import state

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
        checkpoint.save_model = lambda *_, **__: die()
    train.train(Recipe.read(recipe, source="test"), data, out=out, watch=watch)


def trained(recipe: Recipe, data: Path, out: Path, **how) -> dict[str, bytes]:
    """Train here; the bytes of what was learned and the log without its times."""
    from logllm.methods.train import train

    train(recipe, data, out=out, **how)
    log = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    for line in log:
        del line["at"]
    return {
        **{name: (out / name).read_bytes() for name in LEARNED},
        "steps": json.dumps(log).encode(),
    }


@pytest.fixture(scope="module")
def uninterrupted(tiny_recipe, tiny_data, tmp_path_factory) -> dict[str, bytes]:
    return trained(tiny_recipe, tiny_data, tmp_path_factory.mktemp("whole") / "run")


def test_the_same_command_twice_gives_the_same_bytes(
    tiny_recipe, tiny_data, tmp_path, uninterrupted
) -> None:
    assert trained(tiny_recipe, tiny_data, tmp_path / "run") == uninterrupted


@pytest.mark.real
def test_another_seed_gives_other_bytes(tiny_recipe, tiny_data, tmp_path, uninterrupted) -> None:
    other = tiny_recipe.model_copy(
        update={"train": tiny_recipe.train.model_copy(update={"seed": 7})}
    )
    assert (
        trained(other, tiny_data, tmp_path / "run")["projector.safetensors"]
        != uninterrupted["projector.safetensors"]
    )


class Stopped(Exception):
    """What ends a training in this process."""


@pytest.mark.real
def test_resume_after_a_stop_ends_with_the_same_bytes(
    tiny_recipe, tiny_data, tmp_path, uninterrupted
) -> None:
    out = tmp_path / "run"

    def stop(step) -> None:
        if (step.stage, step.step) == (2, 4):
            raise Stopped

    with pytest.raises(Stopped):
        trained(tiny_recipe, tiny_data, out, watch=stop)
    assert list(out.glob("checkpoints/[0-9]*/position.json"))
    goes_on_to_the_same_bytes(tiny_recipe, tiny_data, out, uninterrupted)


KILLS = [("step", 0, 1), ("step", 1, 2), ("step", 2, 4), ("step", 3, 3)]
KILLS += [("write", 1), ("write", 9), ("end",)]


@pytest.mark.real  # a process of its own loads all libraries: five seconds a kill
@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_resume_after_kill_ends_with_the_same_bytes(
    tiny_recipe, tiny_data, tmp_path, uninterrupted, kill
) -> None:
    out = tmp_path / "run"
    process = _FORKS.Process(
        target=train_until_killed, args=(tiny_recipe.model_dump(), tiny_data, out, kill)
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    goes_on_to_the_same_bytes(tiny_recipe, tiny_data, out, uninterrupted)


def goes_on_to_the_same_bytes(recipe, data, out, uninterrupted) -> None:
    """Resume, and see that nothing of what was learned differs, nor was any of it learned twice."""
    done = 0
    for position in out.glob("checkpoints/[0-9]*/position.json"):
        position.write_text(json.dumps(json.loads(position.read_text()) | {"seconds": 1000}))
        done = 1000
    assert trained(recipe, data, out, resume=True) == uninterrupted
    assert done <= json.loads((out / "manifest.json").read_text())["seconds"] < done + 500
    assert not (out / "checkpoints").exists()


@pytest.mark.real
def test_resume_refuses_another_recipe_and_other_data(
    tiny_recipe, tiny_data, tmp_path, uninterrupted
) -> None:
    out = tmp_path / "run"
    trained(tiny_recipe, tiny_data, out)
    other = tiny_recipe.model_copy(
        update={"train": tiny_recipe.train.model_copy(update={"seed": 7})}
    )
    with pytest.raises(RecipeError, match="another recipe"):
        trained(other, tiny_data, out, resume=True)
    with pytest.raises(ModelError, match="holds a run already.*--resume.*--force"):
        trained(tiny_recipe, tiny_data, out)
    # Finished: nothing to do.
    assert trained(tiny_recipe, tiny_data, out, resume=True) == uninterrupted


def test_a_folder_that_is_no_run_is_left_alone(tiny_recipe, tiny_data, tmp_path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(DataError, match="is not a folder that logllm wrote"):
            trained(tiny_recipe, tiny_data, tmp_path, force=force)
    (tmp_path / "manifest.json").write_text(
        json.dumps({"kind": "run", "version": 1, "bundle": "adapters"})
    )
    with pytest.raises(DataError, match="holds an exported run"):
        trained(tiny_recipe, tiny_data, tmp_path, force=True)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.real
def test_an_older_run_stays_until_the_new_one_can_begin(
    tiny_recipe, tiny_data, by_line, tmp_path
) -> None:
    """Whatever is wrong with what is asked for, the run that is there is as it was."""
    out = tmp_path / "run"
    trained(tiny_recipe, tiny_data, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    encoder = tiny_recipe.model.encoder.model_copy(update={"weights": "nowhere/at-all"})
    without = tiny_recipe.model_copy(
        update={"model": tiny_recipe.model.model_copy(update={"encoder": encoder})}
    )
    alerts = tiny_recipe.model.projector.model_copy(update={"start": "alerts"})
    by_alerts = tiny_recipe.model_copy(
        update={"model": tiny_recipe.model.model_copy(update={"projector": alerts})}
    )
    for recipe, data, said in (
        (tiny_recipe, tmp_path / "nowhere", "is not prepared data"),
        (tiny_recipe, by_line(lambda line: False), "hold no anomalous one"),
        (without, tiny_data, "nowhere/at-all"),
        (by_alerts, tiny_data, "needs a label for each line"),
        (tiny_recipe.model_copy(update={"method": "logllmm"}), tiny_data, "logllm"),
    ):
        with pytest.raises(LogLLMError, match=said):
            trained(recipe, data, out, force=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    seeded = tiny_recipe.model_copy(
        update={"train": tiny_recipe.train.model_copy(update={"seed": 7})}
    )
    trained(seeded, tiny_data, out, force=True)
    assert json.loads((out / "manifest.json").read_text())["seed"] == 7
