"""`logllm detect`: verdicts on logs, one JSON object a session on standard output."""

import sys
import time
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TextIO

import typer

from logllm.cli import detect_options as option
from logllm.cli.console import counts, duration, note, tell_counts
from logllm.cli.cut import tell_cut
from logllm.cli.detect_checks import (
    check_out,
    check_unlabelled,
    tell_foreign,
    tell_none_judged,
)
from logllm.cli.incidents import tell_incidents
from logllm.cli.page import put_aside, write_page
from logllm.cli.unusual import tell_drift, tell_new_kinds, tell_unusual
from logllm.counting import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from logllm.detect.detector import Detector
    from logllm.detect.page.written import PutAside
    from logllm.detect.reading import Reading
    from logllm.detect.which_run import Task
    from logllm.progress import Progress

EngineOption = Annotated[
    str | None,
    typer.Option(
        help=(
            "exact, bf16, or auto: bf16 for 64 or more sessions if the run allows rounding and "
            "this processor is faster with it. Default: the recipe's."
        )
    ),
]
"""Which engine scores; for every verb that scores."""


VerifyOption = Annotated[
    bool,
    typer.Option(
        "--verify", help="Hash the base models in full, even if their files look unchanged."
    ),
]
"""For every verb that loads a run."""


class Wanted(NamedTuple):
    """Which verdicts are written, and where."""

    only_anomalous: bool
    limit: int | None
    out: Path | None
    hidden: bool
    """Whether no verdict is written."""
    summary: bool
    """Whether what was wrong is said."""
    new_kinds: bool
    top_share: float | None
    redact: bool
    report: Path | None
    """A page of all that was judged, or a folder with one."""
    force: bool
    ranked: bool
    """Whether sessions are ranked: the strangest are written first."""


def detect(
    inputs: option.Inputs,
    against: option.Against = None,
    new_kinds: option.NewKinds = False,
    top_share: option.TopShare = None,
    format: option.Format = None,
    time_zone: option.TimeZone = None,
    threshold: option.Threshold = None,
    only_anomalous: option.OnlyAnomalous = False,
    out: option.Out = None,
    report: option.Report = None,
    force: option.Force = False,
    limit: option.Limit = None,
    summary: option.Summary = None,
    fail: option.Fail = False,
    redact: option.Redact = False,
    engine: EngineOption = None,
    no_cache: option.NoCache = False,
    verify: VerifyOption = False,
    ray: option.Ray = None,
    key: option.Key = None,
    key_field: option.KeyField = None,
    session_by: option.SessionBy = None,
    window: option.Window = None,
) -> None:
    """Judge every session of one or more logs; with - verdicts appear while lines arrive."""
    from logllm.datasets.options import session_options

    check_out(out, report=report, force=force)
    started = time.perf_counter()
    grouping = session_options(
        window=window, step=None, key=key, key_field=key_field, by=session_by
    )
    task = _task_of(
        inputs,
        format=format,
        redact=redact,
        good=against or [],
        grouping=grouping,
        zone=time_zone,
    )
    check_unlabelled(
        task,
        new_kinds=new_kinds,
        top_share=top_share,
        threshold=threshold,
        only_anomalous=only_anomalous,
    )
    wanted = Wanted(
        only_anomalous,
        limit,
        out,
        hidden=option.hides_verdicts(
            summary, selected=only_anomalous or bool(limit or out), endless=task.endless
        ),
        summary=sys.stdout.isatty() if summary is None else summary,
        new_kinds=new_kinds,
        top_share=top_share,
        redact=redact,
        report=report,
        force=force,
        ranked=task.ranked,
    )
    with counts("reading and scoring") as bar:
        show_share = lambda doing, share: bar(round(100 * share), 100, f"({doing})")  # noqa: E731
        # Under Ray the run is loaded elsewhere, and one whose scores are kept is loaded here only
        # when it has to score.
        load = partial(
            _load,
            progress=show_share,
            cache=ray is not None or not no_cache,
            engine=engine,
            verify=verify,
            time_zone=time_zone,
        )
        detector = _spread(_detector(task, load, threshold=threshold, progress=bar), ray)
        result = _result(detector, task, wanted=wanted, progress=bar)
    result.tell(fail=fail, seconds=time.perf_counter() - started)
    if fail and result.judged.anomalous:
        raise typer.Exit(1)


def _result(
    detector: "Detector", task: "Task", *, wanted: Wanted, progress: "Progress"
) -> "Result":
    """Judge, and write verdicts as they come."""
    # The page shows lines of the log, and standard input cannot be read a second time.
    has_page = wanted.report is not None
    aside = put_aside(task) if has_page else None
    reading = detector.read(
        task.logs,
        progress=progress,
        stdin=aside or task.stdin,
        redact=wanted.redact,
        top_share=wanted.top_share,
        occurrences=wanted.new_kinds or has_page,
    )
    # Keeping verdicts takes memory; a log that never ends would take all of it.
    tells_drift = bool(task.good) and not task.endless
    judged = _written(reading, wanted, keep=wanted.summary or has_page or tells_drift)
    return Result(judged, reading, detector, task, wanted, aside)


class Result(NamedTuple):
    """What was judged, and all that is needed to tell of it."""

    judged: "_Judged"
    reading: "Reading"
    detector: "Detector"
    task: "Task"
    wanted: Wanted
    aside: "PutAside | None"
    """Standard input, where lines of it are to be looked up."""

    def tell(self, *, fail: bool, seconds: float) -> None:
        """Counts of what was read and of what was judged."""
        tell_counts(self.reading.counts, self.reading.rejects)
        sessions = plural(self.judged.sessions, "session")
        calls = (
            "ranked, not judged" if self.wanted.ranked else f"{self.judged.anomalous:,} anomalous"
        )
        note(f"{sessions}, {calls}, in {duration(seconds)}")
        tell_foreign(self.judged.new_words)
        if (crew := getattr(self.detector, "crew", None)) is not None:
            note(f"ray: {crew}")
            crew.close()
        if self.wanted.hidden:
            note("verdicts are not shown: --limit N shows some, --out FILE or a pipe takes all")
        if self.wanted.ranked and fail:
            note(
                "sessions are only ranked, so --fail-on-anomaly could never fail: give a good log"
                " with --against"
            )
        self._tell_more()
        if not self.judged.sessions:
            tell_none_judged(self.reading, self.task, fail=fail)

    def _tell_more(self) -> None:
        """What is new, and what was wrong or unusual."""
        logs, frames = self.task.logs, self.judged.frames
        redact = self.wanted.redact or self.reading.settings.redact
        # What is new comes first: it says how much the rest can be trusted.
        if self.task.good:
            tell_drift(frames, self.reading, self.detector)
        if self.wanted.new_kinds:
            tell_new_kinds(self.reading, self.detector, logs=logs, redact=redact)
        if self.wanted.summary and self.wanted.ranked:
            tell_unusual(frames, self.reading, self.detector, logs=logs, redact=redact)
        elif self.wanted.summary:
            _sum_up(self.judged, self.reading, logs=logs, redact=redact)
        if self.wanted.report is not None:
            write_page(
                self.wanted.report,
                frames,
                self.reading,
                self.detector,
                task=self.task,
                aside=self.aside,
                redact=redact,
                force=self.wanted.force,
            )


def _load(run: Path, **options: Any) -> "Detector":
    """A trained run."""
    from logllm.detect.detector import Detector

    return Detector.load(run, **options)


def _detector(
    task: "Task",
    load: "Callable[..., Detector]",
    *,
    threshold: float | None,
    progress: "Progress",
) -> "Detector":
    """What judges: a run, or without one novelty."""
    from logllm.detect.detector import Detector

    # A run carries settings of its own; novelty takes those that were found for the log.
    if task.settings is None:
        return load(task.run, format=task.format, threshold=threshold)
    # Without good logs there is nothing to judge by: a log's sessions are ranked among themselves.
    if not task.good:
        return Detector.ranking(settings=task.settings)
    return Detector.against(
        task.good,
        settings=task.settings,
        together=not task.endless,
        threshold=threshold,
        progress=progress,
    )


def _spread(detector: "Detector", address: str | None) -> "Detector":
    """The same detector, whose work is shared among machines if that is asked for."""
    if address is None:
        return detector
    from logllm.detect.opened_run import OpenedRun
    from logllm.detect.spread.labour import Origin
    from logllm.detect.spread.ray_crew import ray_crew
    from logllm.detect.spread.spread_run import SpreadDetector

    # Each worker opens a run by itself; novelty has nothing on disk to open.
    run = detector.run
    origin = Origin.of(run) if isinstance(run, OpenedRun) else None
    crew = ray_crew(address, origin)
    return SpreadDetector.of(detector, crew)


def _sum_up(judged: "_Judged", reading: "Reading", *, logs: list[str], redact: bool) -> None:
    """What was wrong, and what the input may have cut, where verdicts were kept for it."""
    if judged.frames and judged.anomalous:
        tell_incidents(judged.frames, reading, logs=logs, redact=redact)
    if judged.frames:
        tell_cut(judged.frames, reading)


def _task_of(
    inputs: list[str],
    *,
    format: str | None,
    redact: bool,
    good: list[str],
    grouping: dict[str, Any],
    zone: str | None,
) -> "Task":
    """What is to be done, with a word on what was found out about the logs."""
    from logllm.detect.which_run import task as recognised
    from logllm.logs.redaction import redact_text, redacted_errors

    # Even an error about a line may quote what is secret in it.
    with redacted_errors() if redact else nullcontext():
        task = recognised(inputs, format=format, zone=zone, good=good, grouping=grouping)
    if task.said:
        note(redact_text(task.said) if redact else task.said)
    return task


class _Judged(NamedTuple):
    """What was written."""

    sessions: int
    anomalous: int
    new_shares: float
    """The sum over all sessions of the share of words that the run has never seen."""
    frames: "list[pl.DataFrame]"

    @property
    def new_words(self) -> float:
        """Which share of a session's words is new to the run, in the mean; 0: it does not say."""
        return self.new_shares / max(1, self.sessions)

    def and_of(self, frame: "pl.DataFrame", *, keep: bool) -> "_Judged":
        """The same with another frame of verdicts, which is kept if that is wanted."""
        new = float(frame["new_words"].sum()) if "new_words" in frame.columns else 0.0
        if keep:
            self.frames.append(frame)
        anomalous = int(frame["anomalous"].sum())
        return _Judged(
            self.sessions + len(frame),
            self.anomalous + anomalous,
            self.new_shares + new,
            self.frames,
        )


def _written(reading: "Reading", wanted: Wanted, *, keep: bool) -> _Judged:
    """Write verdicts as they come: to standard output, or into a file.

    The file is there only when it is whole.
    """
    if wanted.out is None:
        sink = sys.stdout
        with redirect_stdout(sys.stderr):  # Ray prints there that an actor has died
            return _write(reading, wanted, sink=sink, keep=keep)
    from logllm.storage import write_atomic

    # A run that was broken off must not leave half a file that looks like a whole one.
    judged: list[_Judged] = []

    def fill(place: Path) -> None:
        with place.open("w", encoding="utf-8") as sink:
            judged.append(_write(reading, wanted, sink=sink, keep=keep))

    write_atomic(wanted.out.resolve(), fill)
    return judged[0]


def _write(reading: "Reading", wanted: Wanted, *, sink: TextIO, keep: bool) -> _Judged:
    """Write verdicts as they come, and keep them if that is wanted."""
    from logllm.detect.verdict import json_lines

    judged = _Judged(0, 0, 0.0, [])
    # The limit is on what is written: all sessions are judged and counted.
    left = sys.maxsize if wanted.limit is None else wanted.limit
    for frame in reading.frames():
        shown = _shown(frame, wanted)
        if not wanted.hidden:
            sink.writelines(json_lines(shown.head(left).drop("messages")))
        # With `-` a verdict is to be seen when it is made, not when a buffer is full.
        sink.flush()
        left -= min(left, len(shown))
        judged = judged.and_of(frame, keep=keep)
    return judged


def _shown(frame: "pl.DataFrame", wanted: Wanted) -> "pl.DataFrame":
    """The verdicts that may be written, in the order in which they are."""
    if wanted.ranked:
        # A ranking comes in one frame, when the log has ended.
        return frame.sort("score", descending=True, maintain_order=True)
    return frame.filter("anomalous") if wanted.only_anomalous else frame
