"""What `logllm bench` counts and measures, on tiny models."""

import subprocess

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from logllm.bench.speed import bench, training_speed
from logllm.bench.stages import Watch
from logllm.bench.work import (
    Work,
    decoder_work,
    encoder_work,
    gemm_peak,
    linear_weights,
    number_format,
    share,
)
from logllm.datasets.prepared import Prepared
from logllm.model.encoder import MessageTokens
from logllm.model.logllm import collate


def begun(command: list[str], *, input: bytes, **_: object) -> subprocess.CompletedProcess:
    """In a process's place: it would judge the log's first ten lines."""
    assert command[1:4] == ["-m", "logllm", "detect"]
    assert command[-1] == "-"  # a pipe, no copy on disk
    assert len(input.splitlines()) == 10
    return subprocess.CompletedProcess(command, 0)


@pytest.fixture(scope="module")
def report(tiny_run, tiny_data) -> dict:
    """One measurement, of a smaller product; the fresh process is left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logllm.bench.speed.subprocess.run", begun)
        patch.setattr("logllm.bench.work.GEMM_SIZE", 256)
        return bench(tiny_run, [str(tiny_data.parent / "app.jsonl")], data=tiny_data)


def test_everything_is_counted_once(report, tiny_data) -> None:
    manifest = Prepared.load(tiny_data).manifest
    work, stages = report["work"], report["stages"]
    assert (work["sessions"], work["distinct_messages"]) == (
        manifest["sessions"],
        manifest["distinct_messages"],
    )
    assert work["distinct_sessions"] == manifest["distinct_sessions"] < work["sessions"]
    assert report["end_to_end"]["sessions"] == work["sessions"]
    assert report["end_to_end"]["lines"] == work["messages"] == manifest["lines"]
    assert {stages[name]["lines"] for name in ("read", "parse", "mask", "group", "all four")} == {
        manifest["lines"]
    }
    assert stages["decode"]["positions"] == work["distinct_positions"] < work["positions"]
    assert stages["decode"]["sessions"] == work["distinct_sessions"]
    assert stages["encode"]["messages"] == work["distinct_messages"]
    assert stages["score"]["sessions"] == work["sessions"]


def test_what_is_measured_is_there(report, tiny_recipe) -> None:
    for stage in report["stages"].values():
        assert stage["seconds"] > 0
    for name in ("encode", "decode"):
        stage = report["stages"][name]
        peak = stage["flops"] / stage["seconds"] / stage["share"]
        assert min(report["gemm"].values()) * 0.99 <= peak <= max(report["gemm"].values()) * 1.01
    assert report["formats"] == {"encoder": "float32", "decoder": "float32"}
    assert 0 < report["memory"]["loaded"] <= report["memory"]["peak"]
    assert report["start_seconds"] > 0
    assert [stage["trains"] for stage in report["training"]] == [
        list(stage.trains) for stage in tiny_recipe.train.stages
    ]
    assert all(stage["sessions_per_second"] > 0 for stage in report["training"])


def test_the_encoders_operations_are_those_that_torch_counts(tiny) -> None:
    model, tokenizer = tiny
    tokens = MessageTokens(["a message of some length"], tokenizer, max_tokens=100)
    base = model.encoder.model.get_base_model()
    base.set_attn_implementation("eager")
    model.encoder.model.merge_adapter()
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model.encoder.table(tokens, positions=100)
    pooler = 2 * base.pooler.dense.weight.numel()
    assert encoder_work(tokens).flops(model.encoder.model) == counted.get_total_flops() - pooler


def test_the_decoders_operations_are_those_that_torch_counts(tiny) -> None:
    """Eager attention computes what comes after a position, too, and masks it."""
    model, _ = tiny
    model.decoder.reads_trees = (
        False  # transformers' own passes, in which all positions pass all layers
    )
    base = model.decoder.model.get_base_model()
    base.set_attn_implementation("eager")
    model.decoder.model.merge_adapter()
    session = np.array([0, 1, 0])
    vectors = torch.zeros((2, model.encoder.width))
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model(collate([session], vectors=vectors))
    work = decoder_work([session], model.prompt)
    length = len(model.prompt.head) + 3 + len(model.prompt.question)
    assert (work.positions, work.contexts) == (length, length * (length + 1) // 2)
    beside = 2 * base.lm_head.weight.numel() + 2 * len(vectors) * model.projector.weight.numel()
    whole = Work(length, length * length).flops(model.decoder.model)
    assert counted.get_total_flops() - beside == whole


def test_adapters_and_heads_are_no_distinct_work(tiny) -> None:
    model, _ = tiny
    # Two layers: query, key and value (half as wide), output, and three of the feed-forward part.
    assert linear_weights(model.decoder.model) == 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 96)
    assert linear_weights(model.encoder.model) == 2 * (4 * 32 * 32 + 2 * 32 * 64)


def test_positions_are_those_of_a_tree(tiny) -> None:
    """By brute force: a position is the whole path to it."""
    model, _ = tiny
    rng = np.random.default_rng(0)
    sessions = [rng.integers(0, 3, size=rng.integers(1, 8)) for _ in range(60)]
    question = tuple(-1 - place for place in range(len(model.prompt.question)))
    head = tuple(range(100, 100 + len(model.prompt.head)))
    paths = [(*head, *session.tolist(), *question) for session in sessions]
    nodes = {path[: length + 1] for path in paths for length in range(len(path))}
    ends = set(paths)
    assert decoder_work(sessions, model.prompt) == Work(
        len(nodes), sum(map(len, nodes)), len(ends), sum(map(len, ends))
    )


def test_the_last_layer_is_wanted_at_the_ends_alone(tiny) -> None:
    """What is left out of a layer: queries, output, feed-forward and attention of all but the last
    position."""
    model, _ = tiny
    length = 10
    everything, wanted = (
        Work(length, 55, ends, 10 * ends).flops(model.decoder.model) for ends in (0, 1)
    )
    assert everything - wanted == 9 * 2 * (64 * 64 * 2 + 3 * 64 * 96) + 4 * 64 * (55 - 10)


def test_the_peak_is_that_of_a_product() -> None:
    """Two operations for each of the cubed size; what warms up is left out, and the share is of the
    median."""
    now = iter(np.cumsum([0, 9, 1, 1, 1, 2, 1, 2, 1, 2, 1, 2, 1, 4, 1, 4]).tolist())
    peak = gemm_peak(size=10, clock=lambda: next(now))
    assert peak == [2000.0, 1000.0, 1000.0, 1000.0, 1000.0, 500.0, 500.0]
    assert share(6000, seconds=12, peak=peak) == 0.5


def test_number_formats() -> None:
    assert number_format(torch.nn.Linear(2, 2)) == "float32"  # type: ignore[arg-type]
    assert number_format(torch.nn.Linear(2, 2).half()) == "float16"  # type: ignore[arg-type]


def test_a_watch_adds_only_its_own_work() -> None:
    now = iter([0.0, 1.0, 5.0, 7.0, 9.0, 9.5])
    watch = Watch(clock=lambda: next(now))
    assert list(watch.each(["a", "b"])) == ["a", "b"]
    assert watch.stage(items=7) == {"seconds": 3.5, "items": 7, "items_per_second": 2.0}


@pytest.mark.real
def test_training_is_timed_by_the_median_after_the_first_step(tiny_recipe, tiny_data) -> None:
    seconds = iter(np.cumsum([0, *([100, 2, 2, 9] * 4)]).tolist())
    found = training_speed(tiny_recipe, tiny_data, steps=3, clock=lambda: next(seconds))
    assert [stage["sessions_per_second"] for stage in found] == [tiny_recipe.train.batch / 2] * 4
