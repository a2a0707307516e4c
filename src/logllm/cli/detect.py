"""`logllm detect`: verdicts on logs, one JSON object a session on standard output."""

import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TextIO

import typer

from logllm.cli.console import counts, duration, note, tell_counts
from logllm.cli.cut import tell_cut
from logllm.cli.incidents import tell_incidents
from logllm.counting import plural

if TYPE_CHECKING:
    import polars as pl

    from logllm.detect.reading import Reading
    from logllm.detect.which_run import Task

EngineOption = Annotated[
    str | None,
    typer.Option(
        help="exact, bf16, or auto: bf16 for 64 sessions and more where the run may be rounded and this processor gains. Else the recipe's."
    ),
]
"""Which engine scores; for every verb that scores."""


VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Hash base models in full, even where size, time and place of their files are as before.")
]
"""For every verb that loads a run."""


class Wanted(NamedTuple):
    """Which verdicts are written, and where."""

    only_anomalous: bool
    limit: int | None
    out: Path | None
    kept: bool
    """Whether frames are kept to sum them up."""


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
    time_zone: Annotated[
        str | None,
        typer.Option(help="Zone of times that name none, or an abbreviation of several meanings: Europe/Berlin, +05:30."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Scores from here on are anomalous, instead of the run's own threshold.")
    ] = None,
    only_anomalous: Annotated[bool, typer.Option("--only-anomalous", help="Write the anomalous sessions alone.")] = False,
    out: Annotated[Path | None, typer.Option(help="File to write the verdicts to, instead of standard output.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Write at most so many verdicts; all sessions are judged.")] = None,
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
    verify: VerifyOption = False,
) -> None:
    """Judge every session of one or more logs; with - verdicts come while the lines do."""
    from logllm.detect.detector import Detector

    _check_out(out, force=force)
    started, asked = time.perf_counter(), _asked(inputs, format=format, zone=time_zone, redact=redact)
    wanted = Wanted(only_anomalous, limit, out, kept=sys.stdout.isatty() if summary is None else summary)
    with counts("reading and scoring") as bar:
        told = lambda doing, share: bar(round(100 * share), 100, f"({doing})")  # noqa: E731
        load = partial(Detector.load, progress=told, cache=not no_cache, engine=engine, verify=verify)
        detector = load(asked.run, format=asked.format, threshold=threshold, time_zone=time_zone)
        reading = detector.read(asked.logs, progress=bar, stdin=asked.stdin, redact=redact)
        judged = _written(reading, wanted)
    _tell(judged, reading, seconds=time.perf_counter() - started)
    _sum_up(judged, reading, logs=asked.logs, redact=redact)
    if fail and judged.anomalous:
        raise typer.Exit(1)


def _tell(judged: "_Judged", reading: "Reading", *, seconds: float) -> None:
    """Counts of what was read and of what was judged."""
    tell_counts(reading.counts, reading.rejects)
    sessions = plural(judged.sessions, "session")
    note(f"{sessions}, {judged.anomalous:,} anomalous, in {duration(seconds)}")


def _sum_up(judged: "_Judged", reading: "Reading", *, logs: list[str], redact: bool) -> None:
    """What was wrong, and what the input may have cut, where verdicts were kept for it."""
    if judged.frames and judged.anomalous:
        tell_incidents(judged.frames, reading, logs=logs, redact=redact)
    if judged.frames:
        tell_cut(judged.frames, reading)


def _check_out(out: Path | None, *, force: bool) -> None:
    """Whether verdicts may be written there, asked before minutes of scoring."""
    from logllm.errors import DataError

    if out is not None and out.is_dir():
        raise DataError(f"{out} is a folder: name a file for the verdicts")
    if out is not None and out.exists() and not out.is_file():
        raise DataError(f"{out} is no file that could be replaced: leave --out away and redirect standard output there")
    if out is not None and out.exists() and not force:
        raise DataError(f"{out} exists: name another file, or replace it with --force")


def _asked(inputs: list[str], *, format: str | None, zone: str | None, redact: bool) -> "Task":
    """What is to be done, with a word on what was found out about the logs."""
    from logllm.detect.which_run import task
    from logllm.logs.redaction import redact_text, redacted_errors

    with redacted_errors() if redact else nullcontext():
        asked = task(inputs, format=format, zone=zone)
    if asked.said:
        note(redact_text(asked.said) if redact else asked.said)
    return asked


class _Judged(NamedTuple):
    """What was written."""

    sessions: int
    anomalous: int
    frames: "list[pl.DataFrame]"


def _written(reading: "Reading", wanted: Wanted) -> _Judged:
    """Write verdicts as they come, to standard output or into a file that is there only when it is whole."""
    if wanted.out is None:
        return _write(reading, wanted, sink=sys.stdout)
    from logllm.storage import write_atomic

    found: list[_Judged] = []

    def fill(place: Path) -> None:
        with place.open("w", encoding="utf-8") as sink:
            found.append(_write(reading, wanted, sink=sink))

    write_atomic(wanted.out.resolve(), fill)
    return found[0]


def _write(reading: "Reading", wanted: Wanted, *, sink: TextIO) -> _Judged:
    """Write verdicts as they come, and keep them if that is wanted."""
    from logllm.detect.verdict import json_lines

    sessions, anomalies, held = 0, 0, []
    left = sys.maxsize if wanted.limit is None else wanted.limit
    for frame in reading.frames():
        shown = frame.filter("anomalous") if wanted.only_anomalous else frame
        sink.writelines(json_lines(shown.head(left).drop("messages")))
        sink.flush()
        left -= min(left, len(shown))
        sessions += len(frame)
        anomalies += int(frame["anomalous"].sum())
        if wanted.kept:
            held.append(frame)
    return _Judged(sessions, anomalies, held)
