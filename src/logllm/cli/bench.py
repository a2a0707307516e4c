"""`logllm bench`: how fast a run judges a log, and how close to the machine's limit."""

from pathlib import Path
from typing import Annotated, Any

import typer

from logllm.cli.console import duration, emit, note, shares, size, table
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
    """Measure speed and memory of every stage from lines to verdicts, and how much of the machine's peak it uses."""
    from logllm.bench.speed import bench as measure

    with shares() as progress:
        report = measure(run, inputs, data=data, engine=engine, progress=progress)
    if as_json:
        emit(report)
    draw(report)


def draw(report: dict[str, Any]) -> None:
    """The figures as tables, and in a few words."""
    stages = [_stage(name, stage) for name, stage in report["stages"].items()]
    table(
        f"{report['run']} on {', '.join(report['inputs'])}",
        ("stage", "time", "speed", "of the peak"),
        stages,
    )
    training = [
        (" + ".join(stage["trains"]), f"{stage['sessions_per_second']:,.1f}")
        for stage in report.get("training", ())
    ]
    if training:
        table("training", ("stage", "sessions/s"), training)
    whole, work, memory, start = (
        report[name] for name in ("end_to_end", "work", "memory", "start_seconds")
    )
    note(
        f"from file to verdicts {duration(whole['seconds'])}: {plural(whole['lines'], 'line')},"
        f" {plural(whole['sessions'], 'session')}"
    )
    # Equal sessions and messages are scored once: how much of the work that saves.
    distinct = (
        f"{work[f'distinct_{what}']:,} of {work[what]:,} {what}"
        for what in ("sessions", "messages", "positions")
    )
    note(f"distinct: {', '.join(distinct)}")
    starts = "" if start is None else f", a fresh process judges ten lines in {duration(start)}"
    note(f"model loaded in {duration(report['load_seconds'])}{starts}")
    note(
        f"memory {size(memory['peak'])} at the peak, {size(memory['loaded'])} with the model loaded"
    )
    # The machine may have slowed down meanwhile: shares of a peak hold for a steady one only.
    peaks = ", ".join(f"{rate / 1e9:,.0f}" for rate in report["gemm"].values())
    formats = ", ".join(f"{network} in {kind}" for network, kind in report["formats"].items())
    note(
        f"the machine's peak in float32 before, during, after: {peaks} GFLOP/s on"
        f" {plural(report['threads'], 'thread')}; {formats}; engine {report['engine']}"
    )


def _stage(name: str, stage: dict[str, Any]) -> tuple[str, ...]:
    """A stage's row."""
    return name, f"{stage['seconds']:,.2f} s", speeds(stage), share_of_peak(stage)


def speeds(stage: dict[str, Any]) -> str:
    """A stage's work a second, each kind of it."""
    shown: list[str] = []
    for name, value in stage.items():
        if name.endswith("_per_second"):
            digits = 1 if value < 100 else 0
            shown.append(f"{value:,.{digits}f} {name.removesuffix('_per_second')}/s")
    return ", ".join(shown)


def share_of_peak(stage: dict[str, Any]) -> str:
    """What part of the machine's peak a stage reached on distinct work."""
    return f"{stage['share']:.2f}" if "share" in stage else ""
