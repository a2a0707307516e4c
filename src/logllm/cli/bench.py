"""`logllm bench`: how fast a run judges a log, and how close to the machine's limit."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from logllm.cli.console import Tell, duration, emit, result, shares, size, table
from logllm.cli.detect import EngineOption
from logllm.counting import plural

_Run = Annotated[Path, typer.Argument(help="Folder that `logllm train` wrote.")]
_Inputs = Annotated[list[str], typer.Argument(help="Files or globs; each is read several times.")]
_Data = Annotated[
    Path | None,
    typer.Option(help="Folder that `logllm prepare` wrote; training on it is timed as well."),
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the figures on standard output.")]


def bench(
    run: _Run,
    inputs: _Inputs,
    data: _Data = None,
    engine: EngineOption = None,
    as_json: _AsJson = False,
) -> None:
    """Measure speed and memory of every stage from lines to verdicts.

    It also says how much of the machine's peak each stage uses.
    """
    from logllm.bench.speed import bench as measure

    with shares() as progress:
        report = measure(run, inputs, data=data, engine=engine, progress=progress)
    if as_json:
        emit(report)
    draw(report, aside=as_json)


def draw(report: dict[str, Any], *, aside: bool) -> None:
    """The figures as tables, and in a few words.

    Args:
        report: of a benchmark.
        aside: standard output has it as JSON, and this goes to standard error.
    """
    stages = [_stage(name, stage) for name, stage in report["stages"].items()]
    inputs = ", ".join(report["inputs"])
    columns = ("stage", "time", "speed", "of the peak")
    table(f"{report['run']} on {inputs}", columns, stages, asked=not aside)
    # Training is timed only where data for it are named.
    training: list[tuple[str, str]] = []
    for stage in report.get("training", ()):
        trained = " + ".join(stage["trains"])
        training.append((trained, f"{stage['sessions_per_second']:,.1f}"))
    if training:
        table("training", ("stage", "sessions/s"), training, asked=not aside)
    tell = partial(result, aside=aside)
    _tell_whole(report["end_to_end"], report["work"], tell=tell)
    _tell_start(report, tell=tell)
    _tell_machine(report, tell=tell)


def _tell_whole(whole: dict[str, Any], work: dict[str, int], *, tell: Tell) -> None:
    """Say how long a log takes from file to verdicts, and how much of it is distinct."""
    lines, sessions = plural(whole["lines"], "line"), plural(whole["sessions"], "session")
    tell(f"from file to verdicts {duration(whole['seconds'])}: {lines}, {sessions}")
    # Equal sessions and messages are scored once: how much of the work that saves.
    shares: list[str] = []
    for what in ("sessions", "messages", "positions"):
        distinct = work[f"distinct_{what}"]
        shares.append(f"{distinct:,} of {work[what]:,} {what}")
    tell(f"distinct: {', '.join(shares)}")


def _tell_start(report: dict[str, Any], *, tell: Tell) -> None:
    """Say how long a process takes before it judges, and how much memory it needs."""
    loading = duration(report["load_seconds"])
    start = report["start_seconds"]
    fresh = "" if start is None else f", a fresh process judges ten lines in {duration(start)}"
    tell(f"model loaded in {loading}{fresh}")
    peak, loaded = size(report["memory"]["peak"]), size(report["memory"]["loaded"])
    tell(f"memory {peak} at the peak, {loaded} with the model loaded")


def _tell_machine(report: dict[str, Any], *, tell: Tell) -> None:
    """Say what the machine can do, and in which number formats the networks were."""
    # The machine may have slowed down meanwhile: shares of a peak hold for a steady one only.
    peaks = ", ".join(f"{rate / 1e9:,.0f}" for rate in report["gemm"].values())
    threads = plural(report["threads"], "thread")
    speed = f"{peaks} GFLOP/s on {threads}"
    formats = ", ".join(f"{network} in {kind}" for network, kind in report["formats"].items())
    machine = f"the machine's peak in float32 before, during, after: {speed}"
    tell(f"{machine}; {formats}; engine {report['engine']}")


def _stage(name: str, stage: dict[str, Any]) -> tuple[str, ...]:
    """A stage's row."""
    return name, f"{stage['seconds']:,.2f} s", speeds(stage), share_of_peak(stage)


def speeds(stage: dict[str, Any]) -> str:
    """A stage's work a second, such as lines or sessions."""
    shown: list[str] = []
    for name, value in stage.items():
        if name.endswith("_per_second"):
            unit = name.removesuffix("_per_second")
            # Tenths say something of a slow stage alone.
            digits = 1 if value < 100 else 0
            shown.append(f"{value:,.{digits}f} {unit}/s")
    return ", ".join(shown)


def share_of_peak(stage: dict[str, Any]) -> str:
    """What part of the machine's peak a stage reached on distinct work."""
    return f"{stage['share']:.2f}" if "share" in stage else ""
