"""`logllm detect`: verdicts on logs, one JSON object a session on standard output."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from logllm.cli.console import counts, duration, note, tell_counts

EngineOption = Annotated[str | None, typer.Option(help="exact, or bf16 where `logllm admit` admitted it; else the recipe's.")]
"""Which engine scores; for every verb that scores."""


def detect(
    run: Annotated[Path, typer.Argument(help="Folder that `logllm train` wrote.")],
    inputs: Annotated[list[str], typer.Argument(help="Files, globs, or - for standard input; gz, bz2, xz and zst are read as they are.")],
    fail: Annotated[bool, typer.Option("--fail-on-anomaly", help="Exit with 1 when a session is anomalous.")] = False,
    redact: Annotated[bool, typer.Option("--redact", help="No addresses, tokens, passwords and other secrets in what is written.")] = False,
    engine: EngineOption = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Score every distinct session anew; neither read nor keep scores.")] = False,
) -> None:
    """Judge every session of one or more logs."""
    from logllm.detect.detector import Detector
    from logllm.detect.verdict import json_lines

    sessions, anomalies, started = 0, 0, time.perf_counter()
    with counts("reading and scoring") as bar:
        told = lambda doing, share: bar(round(100 * share), 100, f"({doing})")  # noqa: E731
        detector = Detector.load(run, progress=told, cache=not no_cache, engine=engine)
        for frame in detector.read(inputs, progress=bar, redact=redact):
            sys.stdout.writelines(json_lines(frame))
            sessions += len(frame)
            anomalies += int(frame["anomalous"].sum())
    sys.stdout.flush()
    tell_counts(detector.counts, detector.first_rejects)
    note(f"{sessions:,} sessions, {anomalies:,} anomalous, in {duration(time.perf_counter() - started)}")
    if fail and anomalies:
        raise typer.Exit(1)
