"""Several processes that train one network together, over gloo on this machine's processor."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_pre_hook

from logllm.config.recipe import Recipe
from logllm.errors import RecipeError
from logllm.training.fit import accelerate
from logllm.training.processes import own, process_count, summed, together, writes

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["torch", "transformers", "peft", "accelerate", "polars", "logllm.methods.train"]
)
LEARNED = (
    "projector.safetensors",
    "encoder/adapter_model.safetensors",
    "decoder/adapter_model.safetensors",
)


def one_of_two(recipe: dict, paths: tuple[Path, Path], *, rank: int, port: int, how: dict) -> None:
    """In a process of its own: train as `torchrun` would have it, and keep the gradients of each
    step."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    from logllm.methods.train import train

    data, out = paths
    kill = how.pop("kill", None)

    def watch(step) -> None:
        if (step.stage, step.step) == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    keep_gradients(out.parent / f"gradients-{rank}.pt")
    train(Recipe.read(recipe, source="test"), data, out=out, watch=watch, **how)


def keep_gradients(place: Path) -> None:
    """Have each step of an optimiser in this process keep what it was given."""
    kept: list[torch.Tensor] = []

    def before(optimizer, *_: object) -> None:
        values = [value for group in optimizer.param_groups for value in group["params"]]
        kept.append(
            torch.cat([value.grad.flatten().clone() for value in values if value.grad is not None])
        )
        torch.save(kept, place)

    register_optimizer_step_pre_hook(before)


def two(recipe: Recipe, data: Path, out: Path, **how) -> list[int | None]:
    """Exit statuses of two processes that train together."""
    # No system gives one of these to whoever asks for any port.
    port = 20_000 + os.getpid() % 10_000
    options = [{"rank": rank, "port": port, "how": dict(how)} for rank in range(2)]
    processes = [
        _FORKS.Process(target=one_of_two, args=(recipe.model_dump(), (data, out)), kwargs=option)
        for option in options
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()
    return [process.exitcode for process in processes]


def alone(recipe: dict, data: Path, out: Path) -> None:
    """In a process of its own: train by itself."""
    torch.set_num_threads(1)
    from logllm.methods.train import train

    keep_gradients(out.parent / "gradients.pt")
    train(Recipe.read(recipe, source="test"), data, out=out)


@pytest.fixture(scope="module")
def recipe(tiny_recipe) -> Recipe:
    """With micro-batches smaller than a batch, so that there is something to share, and with
    dropout."""
    stages = [
        {"trains": ["projector"], "lr": 1e-3, "epochs": 1},
        {
            "trains": ["projector", "encoder", "decoder"],
            "lr": 1e-3,
            "epochs": 1,
            "message_dropout": 0.1,
            "clip": 1.0,
        },
    ]
    train = {
        **tiny_recipe.train.model_dump(),
        "batch": 16,
        "micro_batch": 4,
        "stages": stages,
        "checkpoint_steps": 2,
    }
    return Recipe.read({**tiny_recipe.model_dump(), "train": train}, source="test")


@pytest.fixture(scope="module")
def whole(recipe, tiny_data, tmp_path_factory) -> Path:
    """The run of one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    process = _FORKS.Process(target=alone, args=(recipe.model_dump(), tiny_data, out))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    return out


def same(run: Path, other: Path) -> None:
    """Whether two runs took the same steps, learnt the same, and say the same."""
    for name in LEARNED:
        ours, theirs = load_file(run / name), load_file(other / name)
        for key, value in ours.items():
            torch.testing.assert_close(value, theirs[key], rtol=0, atol=2e-4)
    logs = [
        [json.loads(line) for line in (place / "steps.jsonl").read_text().splitlines()]
        for place in (run, other)
    ]
    assert [(line["stage"], line["step"], line["lr"]) for line in logs[0]] == [
        (line["stage"], line["step"], line["lr"]) for line in logs[1]
    ]
    assert [line["loss"] for line in logs[0]] == pytest.approx(
        [line["loss"] for line in logs[1]], abs=1e-4
    )
    manifests = [json.loads((place / "manifest.json").read_text()) for place in (run, other)]
    assert manifests[0]["threshold"]["value"] == pytest.approx(
        manifests[1]["threshold"]["value"], abs=1e-4
    )
    assert (
        manifests[0]["metrics"]["validation"]["f1"] == manifests[1]["metrics"]["validation"]["f1"]
    )


@pytest.mark.real
def test_two_processes_learn_as_one(recipe, tiny_data, whole, tmp_path) -> None:
    """The same order of sessions, gradients equal to 1e-5, the run's scores equal; one process
    writes."""
    assert two(recipe, tiny_data, tmp_path / "run") == [0, 0]
    first, second, expected = (
        torch.load(place)
        for place in (
            tmp_path / "gradients-0.pt",
            tmp_path / "gradients-1.pt",
            whole.parent / "gradients.pt",
        )
    )
    for ours, theirs, one in zip(first, second, expected, strict=True):
        assert torch.equal(ours, theirs)
        torch.testing.assert_close(ours, one, rtol=1e-5, atol=1e-5 * float(one.abs().max()))
    same(tmp_path / "run", whole)
    from logllm.detect.detector import Detector

    log = [str(tiny_data.parent / "app.jsonl")]
    scores = [
        [verdict.score for verdict in Detector.load(run).read(log)]
        for run in (tmp_path / "run", whole)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.real
def test_a_training_of_which_one_process_is_killed_goes_on(
    recipe, tiny_data, whole, tmp_path
) -> None:
    """The other ends too, with an error; together they resume."""
    statuses = two(recipe, tiny_data, tmp_path / "run", kill=(1, 3))
    assert statuses[0] == -signal.SIGKILL
    assert statuses[1] not in (0, None)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["state"] == "training"
    assert two(recipe, tiny_data, tmp_path / "run", resume=True) == [0, 0]
    same(tmp_path / "run", whole)


def test_what_one_process_sees_to(monkeypatch) -> None:
    assert (process_count(), writes(), own("abcde")) == (1, True, list(enumerate("abcde")))
    together()  # alone it does not wait
    parameter = torch.nn.Parameter(torch.ones(2))
    assert summed([parameter], 0.5, accelerator=None) == 0.5
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert (writes(), own("abcde")) == (False, [(1, "b"), (3, "d")])


def test_gradients_are_summed_where_some_have_none(monkeypatch) -> None:
    class Doubling:
        def reduce(self, flat, *, reduction):
            return flat * 2

    monkeypatch.setenv("WORLD_SIZE", "2")
    some, none = (
        torch.nn.Parameter(torch.ones(2, 1)),
        torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16)),
    )
    some.grad = torch.tensor([[1.0], [-2.0]])
    assert summed([some, none], 0.25, accelerator=Doubling()) == 0.5
    assert some.grad.tolist() == [[2.0], [-4.0]]
    assert none.grad.tolist() == [0.0, 0.0, 0.0]
    assert none.grad.dtype == torch.bfloat16


def test_processes_without_work_are_refused(recipe, monkeypatch) -> None:
    """Before a process group is there, which the others would have to join."""
    monkeypatch.setenv("WORLD_SIZE", "5")
    with pytest.raises(
        RecipeError,
        match="5 processes would share a batch of 4 micro-batches.*micro_batch to 3 or less",
    ):
        accelerate(recipe)
