"""What the product does on a GPU, in at most ten minutes on an H100: one JSON line a figure.

    python benchmarks/gpu.py --log HDFS.log.gz --labels anomaly_label.csv --out FOLDER
        [--only STEP ...]

Nothing is fetched. Needed are the small tier's models (in the cache, or in LOGLLM_WEIGHTS) and the
extra `qlora`; the paper's models are written to FOLDER in their real shapes with random weights: of
quality they say nothing, of time and memory all. Each step has a limit of its own, and one that
fails says so in its line and stops no other. Lines go to FOLDER/figures.jsonl, and to stdout.

| step | figure |
|---|---|
| `tests` | `make test-gpu`: tests passed, failed, seconds |
| `parity` | small tier in float32: scores and verdicts beside the processor's |
| `small` | seconds of the whole commands `train small` and, the second time, `detect` |
| `training` | 8B in 4 bits, last stage: sessions/s, ours and the published way's; memory |
| `scoring` | 8B in 4 bits: seconds for the log's distinct sessions; `detect` the second time |
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from logllm.bench.work import finish
from logllm.config.detect import DetectSection
from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.metrics import sigmoid
from logllm.model.base.published import configuration
from logllm.model.base.weights import locate
from logllm.model.checkpoint import load_run
from logllm.model.encoder import MessageTokens
from logllm.model.fast.light import load_network
from logllm.model.fast.scorer import Engine, Scorer
from logllm.model.logllm import IGNORED, LogLLM, assemble
from logllm.runs.manifest import read_manifest, read_recipe
from logllm.sessions.message_table import Rows, distinct, rows_of
from logllm.training.fit import Examples, accelerate, deterministic, micro_batch_of
from logllm.training.loop import Loop, Step
from logllm.training.plan import plan
from logllm.training.sampler import TrainingSet

GPU = torch.device("cuda")
STEPS = 6
"""Optimiser steps that training is timed over."""
WARM_UP = 2
"""First ones, which are not counted."""
PUBLISHED_MICRO_BATCH = 4
COMPARED = 256
"""Distinct sessions whose scores are compared with the processor's."""
PAPER = {"encoder": "google-bert/bert-base-uncased", "decoder": "meta-llama/Meta-Llama-3-8B"}
SMALL = {"encoder": "all-MiniLM-L6-v2", "decoder": "SmolLM2-135M-Instruct"}
"""Models whose tokenizers stand in for those of the paper's: about as many tokens, of fewer
kinds."""
SHORT = (
    "train.stages.0.max_sessions=64",
    'train.stages.1={trains=["encoder","projector"],lr=5e-5,max_sessions=64}',
    'train.stages.2={trains=["encoder","projector","decoder"],lr=5e-5,max_sessions=64}',
)
"""Settings by which the paper's stages take a few steps."""


class Figure(dict[str, Any]):
    """What one line says."""


@dataclass(frozen=True)
class Place:
    """Where a measurement's files are."""

    log: Path
    labels: Path
    out: Path

    @property
    def data(self) -> Path:
        """The log, prepared."""
        return self.out / "data"

    @property
    def paper(self) -> list[str]:
        """Settings of a recipe by which the paper's models are those that were written here."""
        models = {part: self.out / "models" / part for part in PAPER}
        return [
            f"model.{part}.weights={json.dumps(str(folder))}" for part, folder in models.items()
        ]


def logllm(*words: object, limit: int) -> float:
    """Seconds that a whole command of ours takes.

    Raises:
        RuntimeError: it fails, or takes longer than the limit; the text is the last that it said.
    """
    command = [sys.executable, "-m", "logllm", *map(str, words)]
    started = time.perf_counter()
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired as exc:
        raise RuntimeError(f"{words[0]} took longer than {limit} s") from exc
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {done.stderr.strip()[-400:]}")
    return time.perf_counter() - started


def prepare(place: Place) -> None:
    """Prepare the log, where that has not been done."""
    if not place.data.is_dir():
        given = ("--raw", place.log, "--labels", place.labels, "--out", place.data)
        logllm("prepare", "--format", "hdfs", *given, limit=60)


def write_models(place: Place) -> None:
    """Make the paper's models with random weights, each with a tokenizer that is here."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    kinds: dict[str, Any] = {"encoder": AutoModel, "decoder": AutoModelForCausalLM}
    for part, kind in kinds.items():
        folder = place.out / "models" / part
        if (folder / "config.json").is_file():
            continue
        torch.manual_seed(0)
        with torch.device(device()):
            model = kind.from_config(configuration(PAPER[part]), dtype=torch.bfloat16)
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(locate(SMALL[part])).save_pretrained(folder)
        del model
        torch.cuda.empty_cache()


def device() -> torch.device:
    """The GPU, or the processor where this is only tried out."""
    return GPU if torch.cuda.is_available() else torch.device("cpu")


def tests(place: Place) -> Iterator[Figure]:
    """The tests of the tier gpu."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-rs", "-p", "no:cacheprovider"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=180)
    (place.out / "tests.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    said = (done.stdout.strip().splitlines() or [""])[-1]
    yield Figure(
        figure="tests",
        passed=done.returncode == 0,
        said=said,
        seconds=time.perf_counter() - started,
    )


def trained(place: Place, recipe: str, *settings: str, limit: int) -> tuple[Path, float]:
    """A run of a recipe, and the seconds that the whole command took.

    What is there is not trained again, and took none.
    """
    run = place.out / f"run-{recipe}"
    if (run / "manifest.json").is_file():
        return run, 0.0
    given = [word for setting in settings for word in ("--set", setting)]
    return run, logllm("train", recipe, "--data", place.data, "--out", run, *given, limit=limit)


def small(place: Place) -> Iterator[Figure]:
    """Whole commands of the small tier."""
    run, seconds = trained(place, "small", limit=150)
    yield Figure(figure="train small", seconds=seconds)
    for which in ("first", "second"):
        seconds = logllm("detect", "--no-cache", run, place.log, limit=60)
        yield Figure(figure=f"detect small, {which}", seconds=seconds)


def parity(place: Place) -> Iterator[Figure]:
    """Scores of the small tier in float32, on both."""
    run, _ = trained(place, "small", limit=150)
    manifest, recipe, prepared = read_manifest(run), read_recipe(run), Prepared.load(place.data)
    sessions = distinct(rows_of(prepared.part("test")["messages"])).sessions[:COMPARED]
    on_gpu = load_network(run, recipe=recipe, manifest=manifest)
    on_cpu = load_run(run)[:2]
    scores = []
    for network, tokenizer in (on_gpu, on_cpu):
        engine = Engine(network, section=DetectSection(engine="exact"))
        scorer = Scorer(engine, tokenizer, max_tokens=recipe.model.encoder.max_tokens)
        scores.append(sigmoid(scorer.score(sessions, prepared.messages)))
    threshold = manifest["threshold"]["value"]
    flips = int(((scores[0] >= threshold) != (scores[1] >= threshold)).sum())
    largest = float(np.abs(scores[0] - scores[1]).max())
    yield Figure(figure="parity", sessions=len(sessions), largest_difference=largest, flips=flips)


class Published:
    """The published way's training step on a network's own weights.

    Nothing shared, everything padded.

    Each message of each session is encoded, whether or not it was met before; prompts are padded on
    the left; the head runs at every position; four sessions are a pass, four passes a step.
    """

    def __init__(self, model: LogLLM, data: TrainingSet, *, lr: float) -> None:
        """Train the parameters that learn in `model`."""
        self.model, self.data = model, data
        learning = [value for value in model.parameters() if value.requires_grad]
        self.optimizer = torch.optim.AdamW(learning, lr=lr)

    def loss(self, rows: Rows) -> Tensor:
        """Cross-entropy over the answers' tokens of one pass."""
        model, prompt = self.model, self.model.prompt
        sessions = [self.data.sessions[row] for row in rows]
        ids, mask = self.data.tokens.tensors(np.concatenate(sessions))
        vectors = model.encoder(ids.to(model.device), mask.to(model.device))  # (b * s, d_enc)
        table = model.table(vectors)
        answers = [prompt.answers[int(self.data.labels[row])] for row in rows]
        firsts = np.cumsum([0, *map(len, sessions)])
        places = [np.arange(start, end) for start, end in pairwise(firsts)]
        prompts = prompt.rows(places, most=model.decoder.positions, endings=answers)

        # Whole prompts, answers included, each as long as the longest.
        longest = max(map(len, prompts))
        index, seen, targets = (np.full((len(prompts), longest), fill) for fill in (0, 0, IGNORED))
        words = np.array(prompt.words)
        for at, (row, answer) in enumerate(zip(prompts, answers, strict=True)):
            index[at, longest - len(row) :], seen[at, longest - len(row) :] = row, 1
            targets[at, -len(answer) :] = words[answer]
        where, visible, wanted = (
            torch.from_numpy(one).to(model.device) for one in (index, seen, targets)
        )
        embeddings = nn.functional.embedding(where, table)  # (b, p, d_dec)
        loss: Tensor = model.decoder.model(
            inputs_embeds=embeddings, attention_mask=visible, labels=wanted
        ).loss
        return loss

    def step(self, rows: Rows) -> float:
        """One step of the optimiser; the seconds it took."""
        finish(self.model.device)
        started = time.perf_counter()
        for start in range(0, len(rows), PUBLISHED_MICRO_BATCH):
            some = rows[start : start + PUBLISHED_MICRO_BATCH]
            (self.loss(some) * len(some) / len(rows)).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()
        finish(self.model.device)
        return time.perf_counter() - started


def side_by_side(recipe: Recipe, data: Path, *, steps: int) -> Figure:
    """Sessions a second of the last stage: ours and the published way, in turn on one network."""
    examples, accelerator = Examples.of(Prepared.load(data)), accelerate(recipe)
    stage = recipe.train.stages[-1]
    sessions = recipe.train.batch * (steps + WARM_UP)
    short = stage.model_copy(update={"max_sessions": sessions, "epochs": None})
    section = recipe.train.model_copy(update={"stages": (short,), "checkpoint_steps": 1_000})
    count = micro_batch_of(recipe, examples, accelerator=accelerator)
    seconds: list[tuple[float, float]] = []
    with deterministic(section.seed), tempfile.TemporaryDirectory() as scratch:
        model, tokenizer = assemble(recipe.model)
        model.to(accelerator.device)
        tokens = MessageTokens(
            examples.messages.to_list(), tokenizer, max_tokens=recipe.model.encoder.max_tokens
        )
        training = TrainingSet(examples.sessions, examples.labels, tokens, examples.alerts)
        loop = Loop(model, training, section=section, run=Path(scratch), accelerator=accelerator)
        loop.count = count
        model.trains(short.trains)
        published = Published(model, training, lr=short.lr)
        since = time.perf_counter()

        def watch(step: Step) -> None:
            nonlocal since
            finish(model.device)
            ours = time.perf_counter() - since
            rows = loop.orders[0][(step.step - 1) * section.batch : step.step * section.batch]
            seconds.append((ours, published.step(rows)))
            since = time.perf_counter()

        loop.train(encode_positions=recipe.detect.tokens_on(model.device.type), watch=watch)
    ours, theirs = ([pair[side] for pair in seconds[WARM_UP:]] for side in (0, 1))
    return Figure(
        figure="training, last stage",
        micro_batch=count,
        ours_per_second=section.batch / statistics.median(ours),
        published_per_second=section.batch / statistics.median(theirs),
        ratio=statistics.median(plain / own for own, plain in zip(ours, theirs, strict=True)),
    )


def training(place: Place) -> Iterator[Figure]:
    """The paper's recipe in 4 bits: how fast, and how much memory next to what was foretold."""
    write_models(place)
    recipe = Recipe.load("hdfs", overrides=[*place.paper, "train.micro_batch=auto", *SHORT])
    foretold = plan(recipe, place.data)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    yield side_by_side(recipe, place.data, steps=STEPS)
    if torch.cuda.is_available():  # of both ways: ours has the larger passes
        measured = torch.cuda.max_memory_allocated()
        needed = max(stage.memory.total for stage in foretold.stages)
        yield Figure(
            figure="memory",
            foretold=needed,
            measured=measured,
            ratio=needed / measured,
            seconds_foretold=foretold.seconds,
        )


def scoring(place: Place) -> Iterator[Figure]:
    """A run of the paper's recipe, trained for a few steps.

    Its scores of the whole log, and whole commands.
    """
    write_models(place)
    run, seconds = trained(place, "hdfs", *place.paper, "train.micro_batch=auto", *SHORT, limit=240)
    yield Figure(figure="train 8B, a few steps", seconds=seconds)
    recipe, prepared = read_recipe(run), Prepared.load(place.data)
    network, tokenizer = load_network(run, recipe=recipe, manifest=read_manifest(run))
    scorer = Scorer(
        Engine(network, section=recipe.detect),
        tokenizer,
        max_tokens=recipe.model.encoder.max_tokens,
    )
    sessions = rows_of(
        pl.concat([prepared.part(name) for name in ("train", "validation", "test")])["messages"]
    )
    scorer.score(sessions[:50], prepared.messages)  # warms up
    started = time.perf_counter()
    scorer.score(sessions, prepared.messages)
    taken = time.perf_counter() - started
    yield Figure(
        figure="scoring 8B",
        sessions=len(sessions),
        distinct=len(distinct(sessions).sessions),
        seconds=taken,
    )
    del network, scorer
    torch.cuda.empty_cache()
    for which in ("first", "second"):
        seconds = logllm("detect", "--no-cache", run, place.log, limit=120)
        yield Figure(figure=f"detect 8B, {which}", seconds=seconds)


STEPS_IN_ORDER: dict[str, Callable[[Place], Iterator[Figure]]] = {
    "tests": tests,
    "small": small,
    "parity": parity,
    "training": training,
    "scoring": scoring,
}


def measure(place: Place, steps: Sequence[str], *, seconds: float) -> Iterator[Figure]:
    """The figures of some steps, one after the other; none is begun when the time is over."""
    started = time.perf_counter()
    for name in steps:
        if time.perf_counter() - started > seconds:
            yield Figure(figure=name, failed="no time was left")
            continue
        try:
            yield from STEPS_IN_ORDER[name](place)
        # Whatever it was, the other steps are worth their figures
        except Exception as exc:  # noqa: BLE001
            yield Figure(figure=name, failed=f"{type(exc).__name__}: {exc}"[:500])


def main() -> None:
    """Measure, and write each figure as it comes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", type=Path, required=True, help="an HDFS log")
    parser.add_argument("--labels", type=Path, required=True, help="its anomaly_label.csv")
    parser.add_argument(
        "--out", type=Path, required=True, help="a folder for 25 GB of models, runs and figures"
    )
    parser.add_argument("--only", nargs="+", choices=STEPS_IN_ORDER, default=list(STEPS_IN_ORDER))
    parser.add_argument("--minutes", type=float, default=10, help="none is begun after so many")
    given = parser.parse_args()
    place = Place(given.log, given.labels, given.out)
    given.out.mkdir(parents=True, exist_ok=True)
    prepare(place)
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    with (given.out / "figures.jsonl").open("a", encoding="utf-8") as lines:
        for figure in measure(place, given.only, seconds=60 * given.minutes):
            line = json.dumps({**figure, "card": card, "at": time.time()})
            print(line, flush=True)
            lines.write(line + "\n")
            lines.flush()


if __name__ == "__main__":
    main()
