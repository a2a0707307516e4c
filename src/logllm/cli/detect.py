"""`logllm detect`: verdicts on logs, one JSON object a session on standard output."""

import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from logllm.cli.console import counts, duration, note, tell_counts
from logllm.errors import plural

if TYPE_CHECKING:
    import polars as pl

    from logllm.detect.task import Task

_INCIDENTS = 12

EngineOption = Annotated[str | None, typer.Option(help="exact, or bf16 where `logllm admit` admitted it; else the recipe's.")]
"""Which engine scores; for every verb that scores."""


def detect(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] LOG...",
            help="A folder that `logllm train` wrote, then files, globs, or - for standard input; gz, bz2, xz and zst are read as they are. "
            "Without a folder the model that comes with logllm judges logs of PostgreSQL.",
        ),
    ],
    format: Annotated[
        str | None, typer.Option(help="Read by this format instead of the run's: a built-in one, a TOML file, or auto.")
    ] = None,
    summary: Annotated[
        bool | None,
        typer.Option(
            "--summary/--no-summary", help="Say what was wrong, when and in which sessions; by default where a terminal shows the verdicts."
        ),
    ] = None,
    fail: Annotated[bool, typer.Option("--fail-on-anomaly", help="Exit with 1 when a session is anomalous.")] = False,
    redact: Annotated[bool, typer.Option("--redact", help="No addresses, tokens, passwords and other secrets in what is written.")] = False,
    engine: EngineOption = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Score every distinct session anew; neither read nor keep scores.")] = False,
) -> None:
    """Judge every session of one or more logs."""
    from logllm.detect.detector import Detector

    started, asked = time.perf_counter(), _asked(inputs, format=format, redact=redact)
    with counts("reading and scoring") as bar:
        told = lambda doing, share: bar(round(100 * share), 100, f"({doing})")  # noqa: E731
        detector = Detector.load(asked.run, progress=told, cache=not no_cache, engine=engine, format=asked.format)
        frames = detector.read(asked.logs, progress=bar, stdin=asked.stdin, messages=True, redact=redact)
        judged = _written(frames, kept=sys.stdout.isatty() if summary is None else summary)
    tell_counts(detector.counts, detector.first_rejects)
    _tell(judged, detector.table.messages, seconds=time.perf_counter() - started, redact=redact)
    if fail and judged.anomalous:
        raise typer.Exit(1)


def _asked(inputs: list[str], *, format: str | None, redact: bool) -> "Task":
    """What is to be done, with a word on what was found out about the logs."""
    from logllm.data.redaction import redact_text, redacted_errors
    from logllm.detect.task import task

    with redacted_errors(on=redact):
        asked = task(inputs, format=format)
    if asked.said:
        note(redact_text(asked.said) if redact else asked.said)
    return asked


class _Judged(NamedTuple):
    """What was written."""

    sessions: int
    anomalous: int
    frames: "list[pl.DataFrame]"


def _written(frames: "Iterator[pl.DataFrame]", *, kept: bool) -> _Judged:
    """Write verdicts as they come, and keep them if that is wanted."""
    from logllm.detect.verdict import json_lines

    sessions, anomalies, held = 0, 0, []
    for frame in frames:
        sys.stdout.writelines(json_lines(frame.drop("messages")))
        sessions += len(frame)
        anomalies += int(frame["anomalous"].sum())
        if kept:
            held.append(frame)
    sys.stdout.flush()
    return _Judged(sessions, anomalies, held)


def _tell(judged: _Judged, messages: "pl.Series", *, seconds: float, redact: bool) -> None:
    """Counts, and the verdicts that were kept as incidents; those of most sessions where there are many."""
    import polars as pl

    from logllm.data.reader import shortened
    from logllm.data.redaction import redact_text
    from logllm.detect.summary import summarise

    note(f"{plural(judged.sessions, 'session')}, {judged.anomalous:,} anomalous, in {duration(seconds)}")
    if not judged.frames or not judged.anomalous:
        return
    incidents = summarise(pl.concat(judged.frames, how="diagonal_relaxed"), messages)
    most = sorted(incidents, key=lambda incident: -incident.sessions)[:_INCIDENTS]
    note(f"\n{plural(len(incidents), 'incident')}{', the largest' if len(most) < len(incidents) else ''}:")
    for incident in (each for each in incidents if each in most):
        note(f"\n{_when(incident.start, incident.end)}: {plural(incident.sessions, 'session')}")
        for telling in incident.messages:
            note(f"  {telling.sessions:>5} x  {shortened(redact_text(telling.message) if redact else telling.message)}")
        note("  such as " + ", ".join(f"{session} ({score:.3f})" for session, score in incident.top))


def _when(start: datetime | None, end: datetime | None) -> str:
    """From when to when, in UTC."""
    if start is None or end is None:
        return "without times"
    same = start.date() == end.date()
    return f"{start:%Y-%m-%d %H:%M:%S} to {end:{'%H:%M:%S' if same else '%Y-%m-%d %H:%M:%S'}} UTC"
