"""The small tier learns, and the shipped run knows: real small models on PostgreSQL's logs and on a
part of the HDFS sample (minutes)."""

import lzma
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from logllm.config.recipe import Recipe
from logllm.datasets.prepare import prepare
from logllm.datasets.published.packaged import PACKAGED
from logllm.datasets.settings import choose
from logllm.detect.detector import Detector
from logllm.evaluate.evaluation import evaluate
from logllm.runs.manifest import shipped_run

pytestmark = [pytest.mark.real, pytest.mark.alone]

NOTHING: dict = {"format": {}, "sessions": {}, "split": {}, "mask": {}}


@pytest.fixture(autouse=True)
def _all_threads():
    import os

    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(1)


def learned(data, out, *, sessions: int) -> dict:
    """Train a short version of the recipe `small`, and judge it."""
    from logllm.methods.train import train

    lengths = [
        f"train.stages.{stage}.max_sessions={length}"
        for stage, length in enumerate((16, 160, sessions))
    ]
    recipe = Recipe.load("small", overrides=lengths)
    train(recipe, data, out=out)
    return evaluate(Detector.load(out), data)


def a_part(folder, *, lines: int):
    """The first lines of the application under load in the PostgreSQL set's training log, which is
    its last day, prepared."""
    packaged = PACKAGED["postgres"]
    text = lzma.decompress(packaged.log("train").read_bytes()).decode().splitlines(keepends=True)
    before = next(number for number, line in enumerate(text) if line.startswith(text[-1][:10]))
    (folder / "part.log").write_text("".join(text[before : before + lines]))
    labels = pl.read_csv(packaged.labels("train")).with_columns(pl.col("line") - before)
    labels.filter(pl.col("line").is_between(1, lines)).write_csv(folder / "labels.csv")
    settings = choose("postgresql", recipe=None, overrides=NOTHING)
    prepare([folder / "part.log"], folder / "data", settings=settings, labels=folder / "labels.csv")
    return folder / "data"


@pytest.mark.parametrize(("log", "f1", "mean"), [("test", 0.95, 0.98), ("changed", 0.88, 0.95)])
def test_the_shipped_run_judges_servers_it_has_not_seen(tmp_path, log, f1, mean) -> None:
    """As the model card says: another run of the server, and one of other settings, prefix and
    names."""
    command = [
        sys.executable,
        "-m",
        "logllm",
        "prepare",
        "postgres",
        "--test-raw",
        log,
        "--out",
        str(tmp_path / "data"),
    ]
    subprocess.run(command, check=True)
    report = evaluate(Detector.load(shipped_run()), tmp_path / "data")
    assert report["f1"] >= f1, report
    assert report["average_precision"] >= mean, report


def test_learns_a_part_of_the_hdfs_sample(tmp_path, shared) -> None:
    """A third of the sessions; the figures of the whole are in the README."""
    hdfs = shared / "hdfs"
    labels = pl.read_csv(hdfs / "anomaly_label.csv")
    kept = labels.filter(pl.Series(np.arange(len(labels)) % 3 == 0))
    kept.write_csv(tmp_path / "labels.csv")
    settings = choose("hdfs", recipe=None, overrides=NOTHING)
    manifest = prepare(
        [hdfs / "HDFS_2pct.log.gz"],
        tmp_path / "data",
        settings=settings,
        labels=tmp_path / "labels.csv",
    )
    assert manifest["unlabelled"] == 11_501 - len(kept)
    assert learned(tmp_path / "data", tmp_path / "run", sessions=800)["average_precision"] >= 0.7


def test_the_small_tiers_logits_are_those_of_a_whole_prompt(tmp_path) -> None:
    """The spliced prompt against the decoder reading the same vectors, one session, nothing
    padded."""
    import torch

    from logllm.model.encoder import MessageTokens
    from logllm.model.logllm import assemble, collate

    torch.manual_seed(0)
    model, tokenizer = assemble(Recipe.load("small").model)
    tokens = MessageTokens(["Receiving block <*>", "Deleting block <*>"], tokenizer, max_tokens=100)
    sessions = [np.array([0, 0, 1]), np.array([1])]
    with torch.no_grad():
        together = model(collate(sessions, tokens=tokens))
        alone = torch.cat([model(collate([session], tokens=tokens)) for session in sessions])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-3)


def weights_bytes(model) -> int:
    """Bytes that the base models' weights take, what bitsandbytes keeps beside its 4 bits
    included."""
    import itertools

    total = 0
    for part in (model.encoder, model.decoder):
        held = {
            value.data_ptr(): value
            for name, value in part.named_parameters()
            if "lora_" not in name
        }
        total += sum(value.numel() * value.element_size() for value in held.values())
        states = [getattr(value, "quant_state", None) for value in held.values()]
        beside = itertools.chain.from_iterable(
            (state.absmax, state.code) for state in states if state is not None
        )
        total += sum(value.numel() * value.element_size() for value in beside)
    return total


def test_the_small_tier_trains_in_4_bits(tmp_path) -> None:
    """A few steps of each stage on the CPU: the weights are small, and the loss falls."""
    import json

    from logllm.methods.train import train
    from logllm.model.logllm import assemble

    pytest.importorskip("bitsandbytes", reason="needs the extra qlora")
    lengths = [
        f"train.stages.{stage}.max_sessions={length}" for stage, length in enumerate((32, 32, 160))
    ]
    whole, _ = assemble(Recipe.load("small").model)
    recipe = Recipe.load(
        "small", overrides=[*lengths, "model.encoder.quantize=nf4", "model.decoder.quantize=nf4"]
    )
    model, _ = assemble(recipe.model)
    assert weights_bytes(model) <= 0.4 * weights_bytes(whole)
    train(recipe, a_part(tmp_path, lines=1500), out=tmp_path / "run")
    losses = [
        json.loads(line)["loss"]
        for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()
    ]
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])
    verdicts = Detector.load(tmp_path / "run").detect(
        (tmp_path / "part.log").read_text().splitlines()[:200]
    )
    assert all(0 <= verdict.score <= 1 for verdict in verdicts)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's count of resident memory")
def test_loading_4_bits_leaves_nothing_behind() -> None:
    """A process that holds the small tier in 4 bits grows by less than half of what float32
    adds."""
    pytest.importorskip("bitsandbytes", reason="needs the extra qlora")
    program = (
        "import gc, sys, bitsandbytes, peft, transformers\n"
        "from transformers import AutoModel, AutoModelForCausalLM\n"
        "from logllm.config.recipe import Recipe\n"
        "from logllm.model.logllm import assemble\n"
        "from logllm.training.memory import resident\n"
        "before = resident()\n"
        "model = assemble(Recipe.load('small', overrides=sys.argv[1:]).model)\n"
        "gc.collect()\n"
        "print(resident() - before)"
    )
    grown = [
        int(
            subprocess.run(
                [sys.executable, "-c", program, *settings],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for settings in ([], ["model.encoder.quantize=nf4", "model.decoder.quantize=nf4"])
    ]
    assert grown[1] < 0.5 * grown[0], grown
