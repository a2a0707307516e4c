"""`logllm train`: a recipe and prepared data become a run."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logllm.cli.console import Tell, counts, duration, emit, note, result, shares, size, table
from logllm.cli.target import (
    AlertsPerDay,
    TargetPrecision,
    TargetRecall,
    TopShare,
    check_targets,
    targets,
)
from logllm.counting import plural
from logllm.training.processes import writes

if TYPE_CHECKING:
    from logllm.config.recipe import Recipe
    from logllm.training.loop import Step
    from logllm.training.plan import Plan

_QUIET = 20.0
"""Seconds between lines of progress where standard error is no terminal."""


_Data = Annotated[Path, typer.Option(help="Folder that `logllm prepare` wrote.")]
_Out = Annotated[Path, typer.Option(help="Folder of the run.")]
_Recipe = Annotated[
    str,
    typer.Argument(
        help=(
            "A packaged recipe (`logllm show recipe`), a TOML file, or a method (`logllm show"
            " methods`)."
        )
    ),
]
_Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting: train.seed=7. Repeatable.")
]
_Resume = Annotated[
    bool, typer.Option("--resume", help="Continue a training that was interrupted.")
]
_Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Start over: replace a run in the folder as soon as the new training can begin.",
    ),
]
_Check = Annotated[
    bool, typer.Option("--check", help="Check recipe, data and models, print the plan and exit.")
]
_AsJson = Annotated[
    bool, typer.Option("--json", help="Print the manifest, or the plan, on standard output.")
]


def train(
    data: _Data,
    out: _Out,
    recipe: _Recipe = "small",
    settings: _Settings = None,
    precision: TargetPrecision = None,
    recall: TargetRecall = None,
    alerts: AlertsPerDay = None,
    share: TopShare = None,
    resume: _Resume = False,
    force: _Force = False,
    check: _Check = False,
    as_json: _AsJson = False,
) -> None:
    """Train LogLLM or a simpler method on prepared data; the result is a run."""
    from logllm.methods.registry import recipe_for

    # A target is a setting like any other; here it has an option of its own.
    overrides = list(settings or [])
    for name, value in targets(precision, recall, alerts, share).items():
        overrides.append(f"target.{name}={value}")
    chosen = recipe_for(recipe, overrides=overrides)
    if check:
        check_targets(chosen, data)
        # Only a network has stages; other methods learn in one go.
        tell_plan = _check if chosen.train.stages else _check_simple
        tell_plan(chosen, data, as_json=as_json)
        return
    from logllm.methods.train import train as run

    with shares() as progress, counts("training") as bar:
        manifest = run(
            chosen, data, out=out, resume=resume, force=force, watch=_watch(bar), progress=progress
        )
    if writes():  # of several processes one speaks
        _tell(manifest, as_json=as_json, out=out, data=data)


def _tell(manifest: dict[str, Any], *, as_json: bool, out: Path, data: Path) -> None:
    """Say what training came to, and what to do next."""
    if as_json:
        emit(manifest)
    _summary(manifest)
    # A run that was trained by an earlier release, and is done, does not say.
    labelled = manifest.get("labelled", True)
    note(
        f"next: logllm evaluate {out} --data {data}"
        if labelled
        else f"next: logllm detect {out} LOG"
    )


def _summary(manifest: dict[str, Any]) -> None:
    """Say what training came to."""
    threshold = manifest["threshold"]
    chosen = f"threshold {threshold['value']:.4f} ({threshold['how']})"
    note(f"trained in {duration(manifest['seconds'])}; {chosen}")


def _check_simple(recipe: "Recipe", data: Path, *, as_json: bool) -> None:
    """Print what a method without stages would learn from."""
    from logllm.methods.train import checked

    data_counts = checked(recipe, data)
    if as_json:
        emit(data_counts)
    labels = "without labels"
    if data_counts["anomalous"] is not None:
        labels = f"{data_counts['anomalous']:,} anomalous"
    sessions = plural(data_counts["sessions"], "train session")
    messages = plural(data_counts["distinct_messages"], "distinct message")
    learnt = f"method {data_counts['method']}: {sessions}, {labels}, {messages}"
    result(learnt, aside=as_json)


def _check(recipe: "Recipe", data: Path, *, as_json: bool) -> None:
    """Print what training would do."""
    from dataclasses import asdict

    from logllm.training.plan import plan

    with shares() as progress:
        planned = plan(recipe, data, progress=progress)
    if as_json:
        emit({**asdict(planned), "seconds": planned.seconds, "peak": planned.peak})
    # Beside JSON, tables are talk.
    _show_stages(recipe.name, planned, asked=not as_json)
    _show_memory(planned, asked=not as_json)
    _tell_plan(planned, tell=partial(result, aside=as_json))


def _tell_plan(planned: "Plan", *, tell: Tell) -> None:
    """Say on how much it trains, how long that takes, and what of it is an estimate."""
    sessions = plural(planned.sessions, "train session")
    messages = plural(planned.distinct_messages, "distinct message")
    tell(f"{sessions}, {planned.anomalous:,} anomalous, {messages}")
    time_taken = "time not known"
    if planned.seconds:
        threads = plural(planned.threads, "thread")
        about = f"about {duration(planned.seconds)} on {threads}"
        time_taken = f"{about} (timed here, one pass a stage)"
    at_once = plural(planned.micro_batch, "session")
    tell(f"{planned.parameters:,} parameters in all; {at_once} a pass; {time_taken}")
    # Models that are not here have no weights to measure, only published shapes.
    if planned.assumed:
        names = ", ".join(planned.assumed)
        tell(
            f"weights not here: {names}; sizes derived from the published shapes, lengths of"
            " messages estimated"
        )


def _show_stages(name: str, planned: "Plan", *, asked: bool) -> None:
    """Show what each stage trains, on how much, and how long that takes."""
    rows: list[tuple[Any, ...]] = []
    for number, stage in enumerate(planned.stages, start=1):
        trained = " + ".join(stage.trains)
        counts = [f"{count:,}" for count in (stage.parameters, stage.sessions, stage.steps)]
        time_taken = "?" if stage.seconds is None else duration(stage.seconds)
        rows.append((number, trained, *counts, time_taken))
    columns = ("stage", "trains", "parameters", "sessions", "steps", "time")
    table(f"recipe {name}", columns, rows, asked=asked)


def _show_memory(planned: "Plan", *, asked: bool) -> None:
    """Show the memory that each stage's worst step needs."""
    columns = ("weights", "adapters", "optimiser", "activations", "unused")
    rows: list[tuple[Any, ...]] = []
    for number, stage in enumerate(planned.stages, start=1):
        # The program itself, its libraries among it, needs the same in every stage.
        sizes = [getattr(stage.memory, name) for name in columns]
        sizes += [planned.program, stage.memory.total + planned.program]
        rows.append((number, *map(_megabytes, sizes)))
    table(
        "memory at a stage's worst step, in MB",
        ("stage", *columns[:-1], "gaps", "program", "all"),
        rows,
        asked=asked,
    )
    needed = (
        f"{size(planned.peak)} of memory in all: derived from shapes and the longest sessions, the"
        " allocator's gaps estimated"
    )
    result(needed, aside=not asked)


def _megabytes(count: int | None) -> str:
    return "?" if count is None else f"{count / 1e6:,.0f}"


def _watch(bar: Callable[..., None]) -> "Callable[[Step], None]":
    """What shows loss, speed and the time left, given each step of a training.

    It shows them in the bar, or as a line now and then where there is no terminal.
    """
    started = last_line = time.monotonic()
    first: int | None = None

    def watch(step: "Step") -> None:
        nonlocal last_line, first
        # A training that goes on begins in the middle: speed is of what was done here.
        first = step.sessions if first is None else first
        now = time.monotonic()
        speed = (step.sessions - first) / max(now - started, 1e-9)
        place = f"stage {step.stage + 1} step {step.step}/{step.steps}"
        text = f"{place} loss {step.loss:.3f} {speed:.1f} sessions/s"
        bar(step.sessions, step.total, text)
        # A file gets a line now and then, and in any case the last one of a stage.
        if not sys.stderr.isatty() and (now - last_line > _QUIET or step.step == step.steps):
            last_line = now
            left = duration((step.total - step.sessions) / speed) if speed else "?"
            note(f"training {text}, {left} left")

    return watch
