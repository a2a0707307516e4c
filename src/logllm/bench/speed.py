"""How fast a run judges a log, stage by stage and end to end, next to what the machine can do."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import polars as pl

from logllm.bench.stages import Watch, line_stages, model_stages, saved, session_stages
from logllm.bench.work import number_format
from logllm.config.prepare import PrepareSection
from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.detect.detector import Detector
from logllm.detect.verdict import json_lines
from logllm.errors import DataError, ModelError
from logllm.logs.lines import read_lines
from logllm.logs.redaction import redact_text
from logllm.methods.both import Both
from logllm.methods.logllm import LogLLMMethod
from logllm.model.checkpoint import surroundings
from logllm.model.encoder import MessageTokens
from logllm.model.fast.scorer import Scorer
from logllm.model.logllm import assemble
from logllm.progress import Report
from logllm.runs.manifest import find_run, read_manifest, read_recipe
from logllm.training.fit import Examples, accelerate, check_examples, deterministic, micro_batch_of
from logllm.training.loop import Loop, Step
from logllm.training.memory import most_resident, resident
from logllm.training.sampler import TrainingSet

FIRST_LINES = 10
"""Lines that a fresh process judges to show how long a start takes."""
STEPS = 5
"""Optimiser steps a stage that training is timed over."""
_WARM_UP = 1


def bench(
    run: Path,
    sources: Sequence[str],
    *,
    data: Path | None = None,
    engine: str | None = None,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Measure a run on a log.

    First the whole way from files to verdicts as `detect` goes it, the model loaded before; then
    every stage by itself; the machine's peak before, between and after several passes of the
    models' stages. A log is read four times and its distinct sessions are scored five times.

    Args:
        run: a folder that `train` wrote.
        sources: files and globs; not standard input, which can be read only once.
        data: prepared data to time training on.
        engine: another engine than the run's own.
        progress: told what is being measured and the share of all that is done.

    Returns:
        `start_seconds` (a fresh process, ten lines), `load_seconds`, `end_to_end`, `memory` (bytes:
        with the model loaded, and the most up to the last verdict), `gemm` (operations a second),
        `work` (all and distinct), `stages`, `training`, and what they were measured with.

    Raises:
        DataError: standard input, or whatever `detect` would raise.
        ModelError: not a finished run.
    """
    if "-" in sources:
        raise DataError("a measurement reads its input several times: name files, not -")
    tell = progress or (lambda doing, share: None)
    run = find_run(run)
    prepare = read_manifest(run)["data"]["prepare"]
    settings = PrepareSection.read(prepare, source="the run's manifest")
    tell("from files to verdicts", 0.0)
    detector, report = _end_to_end(run, sources, engine=engine)
    tell("reading, parsing, masking, grouping", 0.4)
    report |= _stages(detector, sources, settings=settings, tell=tell)
    if data is not None:
        tell("training", 0.85)
        report["training"] = training_speed(read_recipe(run), data)
    # A fresh process, as a person starts one: loading Python, the libraries and the run count.
    tell("starting afresh", 0.95)
    report["start_seconds"] = _start_seconds(run, sources, encoding=settings.format.encoding)
    tell("done", 1.0)
    names = [Path(source).name for source in sources]
    # The name of a file may hold a customer's.
    if settings.redact:
        names = list(map(redact_text, names))
    return {"run": run.resolve().name, "inputs": names, **report, **surroundings()}


def _end_to_end(
    run: Path, sources: Sequence[str], *, engine: str | None
) -> tuple[Detector, dict[str, Any]]:
    """From files to verdicts as lines of JSON, the model loaded before."""
    loading, judging = Watch(), Watch()
    detector = loading.timed(lambda: Detector.load(run, engine=engine))
    loaded = resident()
    sessions = 0
    reading = detector.read(sources)

    # To write verdicts as text counts: `detect` does it, too.
    def write(verdicts: pl.DataFrame) -> int:
        return sum(map(len, json_lines(verdicts)))

    for frame in judging.each(reading.frames()):
        judging.timed(write, frame.drop("messages"))
        sessions += frame.height
    whole = judging.stage(lines=reading.counts["lines"], sessions=sessions)
    memory = {"loaded": loaded, "peak": most_resident()}
    return detector, {"load_seconds": loading.seconds, "end_to_end": whole, "memory": memory}


def scorer_of(detector: Detector) -> Scorer:
    """What scores in a run of LogLLM.

    Raises:
        ModelError: the run is another method's, whose stages are not known here.
    """
    # Of several minds the network is one.
    method = detector.method
    if isinstance(method, Both):
        method = method.logllm
    if not isinstance(method, LogLLMMethod) or method.scorer is None:
        raise ModelError(
            f"{detector.model} is a run of method {detector.recipe.method}: only LogLLM's runs are"
            " measured stage by stage"
        )
    return method.scorer


def _stages(
    detector: Detector, sources: Sequence[str], *, settings: PrepareSection, tell: Report
) -> dict[str, Any]:
    """Every stage by itself, and the machine's peak."""
    recipe, scorer = detector.recipe, scorer_of(detector)
    engine, tokenizer = scorer.engine, scorer.tokenizer
    # From lines to sessions.
    at_once = recipe.detect.read_lines
    lines = line_stages(sources, settings, batch_lines=at_once)
    grouped, sessions, messages = session_stages(sources, settings, batch_lines=at_once)
    # From messages and sessions to logits.
    tell("encoding and decoding", 0.45)
    longest = recipe.model.encoder.max_tokens
    modelled, peaks = model_stages(engine, tokenizer, data=(sessions, messages), max_tokens=longest)
    tell("scoring", 0.65)
    scoring = Watch()
    # A scorer of its own: the detector's has scored these sessions, and remembers them.
    anew = Scorer(engine, tokenizer, max_tokens=longest)
    scoring.timed(anew.score, sessions, messages)
    stages = {**lines, **grouped, **modelled, "score": scoring.stage(sessions=len(sessions))}
    # What the figures depend on besides the log.
    model = engine.model
    formats = {"encoder": number_format(model.encoder), "decoder": number_format(model.decoder)}
    middle = statistics.median(peaks)
    gemm = {"lowest": min(peaks), "median": middle, "highest": max(peaks)}
    work = saved(sessions, messages, model=model)
    return {
        "gemm": gemm,
        "engine": recipe.detect.engine,
        "formats": formats,
        "work": work,
        "stages": stages,
    }


def training_speed(
    recipe: Recipe,
    data: Path,
    *,
    steps: int = STEPS,
    clock: Callable[[], float] = time.perf_counter,
) -> list[dict[str, Any]]:
    """Sessions a second that each stage of a recipe trains on.

    It is the median of a few steps after the first.

    Args:
        recipe: what to train; each stage is cut to a few steps, and nothing is kept.
        data: a folder that `prepare` wrote.
        steps: of each stage.
        clock: gives seconds.
    """
    batch = recipe.train.batch
    prepared = Prepared.load(data)
    # A few steps a stage: the first one, which sets memory up, is left out of the median.
    limit = {"max_sessions": batch * (steps + _WARM_UP), "epochs": None}
    short = [stage.model_copy(update=limit) for stage in recipe.train.stages]
    section = recipe.train.model_copy(update={"stages": tuple(short)})
    examples = Examples.of(prepared)
    check_examples(recipe, examples)
    sessions, labels, _, alerts = examples
    seconds: list[list[float]] = [[] for _ in short]
    # The loop writes checkpoints as it goes, as in a training.
    with deterministic(section.seed), tempfile.TemporaryDirectory() as scratch:
        accelerator = accelerate(recipe)
        model, tokenizer = assemble(recipe.model)
        model.to(accelerator.device)
        texts, longest = prepared.messages.to_list(), recipe.model.encoder.max_tokens
        tokens = MessageTokens(texts, tokenizer, max_tokens=longest)
        training = TrainingSet(sessions, labels, tokens, alerts)
        loop = Loop(model, training, section=section, run=Path(scratch), accelerator=accelerator)
        loop.count = micro_batch_of(recipe, examples, accelerator=accelerator)
        since = clock()

        def watch(step: Step) -> None:
            nonlocal since
            now = clock()
            seconds[step.stage].append(now - since)
            since = now

        loop.train(encode_positions=recipe.detect.tokens_on(model.device.type), watch=watch)
    figures: list[dict[str, Any]] = []
    for stage, durations in zip(short, seconds, strict=True):
        speed = batch / statistics.median(durations[_WARM_UP:])
        figures.append({"trains": list(stage.trains), "steps": steps, "sessions_per_second": speed})
    return figures


def _start_seconds(
    run: Path, sources: Sequence[str], *, encoding: Literal["utf-8", "latin-1"]
) -> float | None:
    """Seconds from the start of a process to its verdict on the log's first lines.

    It is none if these lines alone cannot be judged.
    """
    batches = read_lines(sources, encoding=encoding, batch_lines=FIRST_LINES)
    batch = next(islice(batches, 1))
    first = "\n".join(batch.frame["text"]) + "\n"
    # Through a pipe: no copy of a log is left anywhere.
    command = [sys.executable, "-m", "logllm", "detect", "--no-cache", str(run), "-"]
    started = time.perf_counter()
    nowhere = subprocess.DEVNULL
    lines = first.encode(encoding)
    done = subprocess.run(command, input=lines, check=False, stdout=nowhere, stderr=nowhere)
    seconds = time.perf_counter() - started
    return seconds if done.returncode == 0 else None
