"""Ours next to the published way (plain_path.py), in one process, on the same machine, in turn.

    python benchmarks/side_by_side.py score RUN LOG --out score-hdfs.json
    python benchmarks/side_by_side.py verdicts RUN LOG --out verdicts-hdfs.json
    python benchmarks/side_by_side.py train RUN DATA --out train-hdfs.json

`score`: ours judges the whole log, from file to verdicts, by a detector that has met no message;
the plain path seeded slices of its sessions, scaled by count to all of them, its own reading,
masking and grouping added. After each whole log of ours comes a slice. The published way gives
verdicts alone, and so does ours where the ratio is taken; how long ours takes when it names the
lines, too (the evidence), is measured in the same rounds. `--plain` names another run for the plain
path, to compare a smaller model with the published way at full depth. `verdicts`: the plain path
over every distinct session, and how many verdicts are the same. `train`: the last stage of the
run's recipe, step by step in turn over the same sessions.

Both sides have torch's current number of threads; models are loaded before. What is written is one
JSON object.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from plain_path import Answer, PlainModel, Sessions, read_sessions

from logllm.bench.work import gemm_peak
from logllm.config.prepare import PrepareSection
from logllm.datasets.prepared import Prepared
from logllm.detect.detector import Detector
from logllm.detect.verdict import json_lines
from logllm.model.checkpoint import surroundings
from logllm.model.encoder import MessageTokens
from logllm.model.logllm import assemble
from logllm.runs.manifest import read_manifest, read_recipe
from logllm.storage import write_atomic
from logllm.training.fit import Examples, accelerate, deterministic
from logllm.training.loop import Loop, Step
from logllm.training.sampler import TrainingSet

MICRO_BATCHES = (16, 32)
"""Of these the plain path takes what is fastest here (the scripts: 32)."""
WARM_UP = 2
"""First training steps, which are not counted."""

Verdicts = dict[str, tuple[float, bool]]
"""Score and verdict of each session."""


class OwnWay(Protocol):
    """Our verdicts of a log, and the seconds that they took."""

    def __call__(self, log: Path, *, evidence: bool = False) -> tuple[Verdicts, float]:
        """Judge a log, and name the lines where evidence is wanted."""


def ours(run: Path, log: Path, *, engine: str, evidence: bool = False) -> tuple[Verdicts, float]:
    """Verdicts of a whole log, and the seconds from the file to them as lines of JSON."""
    detector = Detector.load(run, engine=engine)
    detector.method  # noqa: B018 - loads it
    found: Verdicts = {}
    started = time.perf_counter()
    for frame in detector.read([log], evidence=evidence).frames():
        sum(map(len, json_lines(frame.drop("messages"))))
        found |= {
            session: (score, anomalous)
            for session, score, anomalous in frame.select(
                "session", "score", "anomalous"
            ).iter_rows()
        }
    return found, time.perf_counter() - started


def score(
    own_way: OwnWay, log: Path, *, plain_run: Path, slices: int, sessions: int
) -> dict[str, Any]:
    """Seconds of both for the whole log, slice by slice in turn.

    Args:
        own_way: ours, as `ours` with a run and an engine given.
        log: what is judged.
        plain_run: the run of the published way.
        slices: how many slices of the published way there are.
        sessions: how many sessions a slice has.
    """
    plain = PlainModel(plain_run)
    grouped, plain_lines = read_plainly(log, plain_run)
    picked = random.Random(0).sample(  # noqa: S311
        list(grouped), min(slices * sessions, len(grouped) - len(grouped) % slices)
    )
    parts = [picked[at::slices] for at in range(slices)]
    plain.answers_of([grouped[name] for name in parts[0][:2]], micro_batch=2)  # warms up
    tried = {
        size: plain.answers_of([grouped[name] for name in parts[0]], micro_batch=size)[1]
        for size in MICRO_BATCHES
    }
    micro_batch = min(tried, key=lambda size: tried[size])
    peak = gemm_peak()
    found = []
    for part in parts:
        verdicts, our_seconds = own_way(log)
        _, seconds_with_evidence = own_way(log, evidence=True)
        answers, seconds = plain.answers_of(
            [grouped[name] for name in part], micro_batch=micro_batch
        )
        scaled = plain_lines + seconds * len(grouped) / len(part)
        same = _compared(
            {name: verdicts[name] for name in part},
            dict(zip(part, answers, strict=True)),
            threshold=plain.threshold,
        )
        found.append(
            {
                "ours": our_seconds,
                "ours_with_evidence": seconds_with_evidence,
                "plain": scaled,
                "plain_slice": seconds,
                "ratio": scaled / our_seconds,
                "ratio_with_evidence": scaled / seconds_with_evidence,
                **same,
            }
        )
        _say(
            f"slice of {len(part)}: ours {our_seconds:.1f} s (with evidence"
            f" {seconds_with_evidence:.1f} s), plain {seconds:.1f} s, for all"
            f" {scaled:.0f} s: {scaled / our_seconds:.1f}x"
        )
    return {
        "sessions": len(grouped),
        "distinct_sessions": len({tuple(session) for session in grouped.values()}),
        "slice": len(parts[0]),
        "micro_batch": micro_batch,
        "plain_lines_seconds": plain_lines,
        "gemm": [statistics.median(rates) for rates in (peak, gemm_peak())],
        "ratio": _spread([part["ratio"] for part in found]),
        "ratio_with_evidence": _spread([part["ratio_with_evidence"] for part in found]),
        "slices": found,
    }


def verdicts(run: Path, log: Path, *, engine: str, micro_batch: int) -> dict[str, Any]:
    """Verdicts of both on every distinct session.

    A distinct session counts as often as it occurs, too.
    """
    grouped, _ = read_plainly(log, run)
    judged, _ = ours(run, log, engine=engine)
    plain = PlainModel(run)
    distinct = {tuple(messages): name for name, messages in grouped.items()}
    by_length = sorted(distinct, key=len)
    answers: dict[tuple[str, ...], Answer] = {}
    for start in range(0, len(by_length), micro_batch):
        some = by_length[start : start + micro_batch]
        answers |= dict(zip(some, plain.answer([list(session) for session in some]), strict=True))
        _say(f"{len(answers):,} of {len(distinct):,} distinct sessions")
    once = {name: answers[key] for key, name in distinct.items()}
    alone = _compared({name: judged[name] for name in once}, once, threshold=plain.threshold)
    each = {name: answers[tuple(messages)] for name, messages in grouped.items()}
    return {"distinct": alone, "all": _compared(judged, each, threshold=plain.threshold)}


def train(run: Path, data: Path, *, steps: int, precision: str) -> dict[str, Any]:
    """Sessions a second of both in the last stage."""
    prepared, recipe = Prepared.load(data), read_recipe(run)
    recipe = recipe.model_copy(
        update={"train": recipe.train.model_copy(update={"precision": precision})}
    )
    batch = recipe.train.batch
    stage = recipe.train.stages[-1].model_copy(
        update={"max_sessions": batch * (steps + WARM_UP), "epochs": None}
    )
    section = recipe.train.model_copy(update={"stages": (stage,)})
    sessions, labels, _, alerts = Examples.of(prepared)
    messages = prepared.messages.to_list()
    plain = PlainModel(run, trainable=True)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=stage.lr)
    seconds: list[tuple[float, float]] = []
    with deterministic(section.seed), tempfile.TemporaryDirectory() as scratch:
        model, tokenizer = assemble(recipe.model)
        tokens = MessageTokens(messages, tokenizer, max_tokens=recipe.model.encoder.max_tokens)
        training = TrainingSet(sessions, labels, tokens, alerts)
        loop = Loop(
            model, training, section=section, run=Path(scratch), accelerator=accelerate(recipe)
        )
        since = time.perf_counter()

        def watch(step: Step) -> None:
            nonlocal since
            taken = time.perf_counter() - since
            rows = loop.orders[0][(step.step - 1) * batch : step.step * batch]
            plainly = plain.step(
                [[messages[place] for place in sessions[row]] for row in rows],
                labels[rows].tolist(),
                optimizer=optimizer,
            )
            seconds.append((taken, plainly))
            _say(f"step {step.step} of {step.steps}: ours {taken:.1f} s, plain {plainly:.1f} s")
            since = time.perf_counter()

        loop.train(encode_positions=recipe.detect.tokens_on(model.device.type), watch=watch)
    counted = seconds[WARM_UP:]
    return {
        "trains": list(stage.trains),
        "steps": steps,
        "batch": batch,
        "ours_sessions_per_second": batch / statistics.median(our for our, _ in counted),
        "plain_sessions_per_second": batch / statistics.median(plainly for _, plainly in counted),
        "ratio": _spread([plainly / our for our, plainly in counted]),
    }


def read_plainly(log: Path, run: Path) -> tuple[Sessions, float]:
    """A log's sessions by the plain path, and the seconds it took."""
    settings = PrepareSection.read(
        read_manifest(run)["data"]["prepare"], source="the run's manifest"
    )
    started = time.perf_counter()
    grouped = read_sessions(log, settings)
    return grouped, time.perf_counter() - started


def _compared(judged: Verdicts, answers: dict[str, Any], *, threshold: float) -> dict[str, Any]:
    """How many verdicts of two ways are the same.

    The published way's are read from the logits of its first generated step, and from its words.
    """
    scores = {
        name: 1 / (1 + np.exp(answer.logits[0] - answer.logits[1]))
        for name, answer in answers.items()
    }
    equal = sum((scores[name] >= threshold) == judged[name][1] for name in judged)
    return {
        "sessions": len(judged),
        "verdicts_equal": equal / len(judged),
        "words_equal": (
            sum(answers[name].anomalous == judged[name][1] for name in judged) / len(judged)
        ),
        "largest_score_difference": float(
            max(abs(scores[name] - judged[name][0]) for name in judged)
        ),
    }


def _spread(ratios: Sequence[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("score", "verdicts", "train"))
    parser.add_argument("run", type=Path, help="folder that `logllm train` wrote")
    parser.add_argument(
        "input", type=Path, help="a log; for train a folder that `logllm prepare` wrote"
    )
    parser.add_argument(
        "--plain", type=Path, help="score: the run of the plain path (default: the same)"
    )
    parser.add_argument("--slices", type=int, default=5, help="score: slices of the plain path")
    parser.add_argument("--sessions", type=int, default=60, help="score: sessions of a slice")
    parser.add_argument("--micro-batch", type=int, default=16, help="verdicts: sessions a pass")
    parser.add_argument("--steps", type=int, default=8, help="train: optimiser steps that count")
    parser.add_argument("--engine", default="exact", help="score, verdicts: ours scores by it")
    parser.add_argument("--precision", default="no", help="train: ours trains in it (bf16)")
    parser.add_argument("--out", type=Path, required=True, help="where to write")
    given = parser.parse_args()
    if given.what == "score":
        found = score(
            partial(ours, given.run, engine=given.engine),
            given.input,
            plain_run=given.plain or given.run,
            slices=given.slices,
            sessions=given.sessions,
        )
    elif given.what == "verdicts":
        found = verdicts(given.run, given.input, engine=given.engine, micro_batch=given.micro_batch)
    else:
        found = train(given.run, given.input, steps=given.steps, precision=given.precision)
    about = {
        "kind": given.what,
        "run": given.run.resolve().name,
        "recipe": read_recipe(given.run).name,
        "input": given.input.name,
    }
    about |= {"precision": given.precision} if given.what == "train" else {"engine": given.engine}
    write_atomic(
        given.out, (json.dumps({**about, **found, **surroundings()}, indent=2) + "\n").encode()
    )


if __name__ == "__main__":
    main()
