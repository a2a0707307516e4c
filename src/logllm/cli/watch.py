"""`logllm watch`: verdicts on logs that are being written, into a store."""

import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from logllm.cli.alerts import AlertOption, AlertsOption, PageOption, alert_settings, delivering
from logllm.cli.console import duration, note
from logllm.counting import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from logllm.config.alerts import AlertsFile
    from logllm.config.watch import WatchFile
    from logllm.detect.detector import Detector
    from logllm.detect.judge import Judge
    from logllm.serve.feedback.following import Following
    from logllm.serve.status import Metrics
    from logllm.serve.surroundings import Watched
    from logllm.serve.watch import Watch

_STATUS_EVERY = 1.0
"""Seconds between two looks at how far things are, on a terminal; else a line comes once in so many
of them."""
_WITHOUT_TERMINAL = 60
_NEWS = 20
"""Kinds of message that are listed when a watch ends."""
LearnOption = Annotated[
    bool,
    typer.Option(
        "--learn",
        help=(
            "Learn from normal sessions while watching; only for runs of method novelty. The run"
            " itself is not changed."
        ),
    ),
]


# What is watched, and where verdicts go.
_Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN] SOURCE...",
        help=(
            "A run (a folder that `logllm train` wrote), then files and globs, - for standard "
            "input, journald:, syslog://HOST:PORT, otlp://HOST:PORT, or "
            "kafka://HOST:PORT/TOPIC. Without a run, the one that comes with logllm judges "
            "PostgreSQL logs."
        ),
    ),
]
_Config = Annotated[
    Path | None,
    typer.Option(
        help="TOML file with one or more sources, instead of arguments and other options."
    ),
]
_Store = Annotated[
    str,
    typer.Option(
        help="Where verdicts go: a file, sqlite:///PATH, or postgresql://USER@HOST/DATABASE."
    ),
]

# Where a log begins, and when a session of it is over.
_Begin = Annotated[
    Literal["start", "end", "stored"],
    typer.Option(
        "--from",
        help=(
            "Where to begin with a log that is new to the store: at its first line, after its last,"
            " or not at all."
        ),
    ),
]
_Idle = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=(
            "Seconds without a line after which a session is over. Default: as long as sessions"
            " paused in training."
        ),
    ),
]
_MaxOpenAge = Annotated[
    int, typer.Option(min=1, help="Seconds after which a session is closed although it may go on.")
]

# How a source is read; with several of them `--config` says it of each.
_Format = Annotated[
    str | None,
    typer.Option(
        help="Format of the log, instead of the run's: a built-in one, a TOML file, or auto."
    ),
]
_TimeZone = Annotated[
    str | None,
    typer.Option(help="Time zone of times that name none, or only an ambiguous abbreviation."),
]
_Stream = Annotated[
    str | None, typer.Option(help="Name of the source in the store. Default: the argument itself.")
]
_Token = Annotated[
    str | None,
    typer.Option(envvar="LOGLLM_OTLP_TOKEN", help="Token that senders of OTLP must send."),
]

# What is kept, and what is shown meanwhile.
_Redact = Annotated[
    bool,
    typer.Option(
        "--redact", help="Remove addresses, tokens, passwords and other secrets from the store."
    ),
]
_RetainDays = Annotated[int, typer.Option(min=1, help="Number of days to keep verdicts.")]
_Metrics = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="Port on this machine where Prometheus finds metrics."),
]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show how the first lines are read, and store nothing.")
]
_Engine = Annotated[
    str | None,
    typer.Option(help="Engine that scores, instead of the recipe's: exact, bf16, or auto."),
]


def watch(
    inputs: _Inputs = None,
    config: _Config = None,
    store: _Store = "logllm.db",
    begin: _Begin = "end",
    idle: _Idle = None,
    max_open_age: _MaxOpenAge = 86_400,
    format: _Format = None,
    time_zone: _TimeZone = None,
    stream: _Stream = None,
    token: _Token = None,
    redact: _Redact = False,
    learn: LearnOption = False,
    retain_days: _RetainDays = 90,
    metrics: _Metrics = None,
    alerts: AlertsOption = None,
    alert: AlertOption = None,
    public_url: PageOption = None,
    dry_run: _DryRun = False,
    engine: _Engine = None,
) -> None:
    """Judge a log while it is written, and store the verdicts.

    Continues where it was stopped or killed.
    """
    from logllm.config.watch import SourceSection, WatchFile
    from logllm.extras import require

    require("watch", to="watch logs")
    if config is not None:
        wanted = from_file(config, inputs, kind=WatchFile)
    else:
        run, sources = _what_to_watch(inputs or [])
        section = SourceSection.read(
            {
                "source": sources,
                "stream": stream,
                "format": format,
                "time_zone": time_zone,
                "token": token,
            },
            source="the command line",
        )
        wanted = _wanted(
            run=run,
            store=store,
            sources=(section,),
            begin=begin,
            idle=idle,
            max_open_age=max_open_age,
            redact=redact,
            learn=learn,
            retain_days=retain_days,
        )
    wanted = with_alerts(wanted, alert_settings(alerts, alert, page=public_url), named=alerts)
    following = following_of(wanted, engine=engine)
    detector = following.first()
    watched = sources_of(wanted, detector)
    if dry_run:
        _tried(watched)
    else:
        _watch(wanted, detector, watched, newer=following.newer_judge, metrics=metrics)


def told_apart(inputs: list[str]) -> tuple[str | None, list[str]]:
    """The run, if one is named, and the sources."""
    from logllm.detect.which_run import is_run
    from logllm.runs.manifest import SHIPPED

    # `app` may be a run or a folder of logs: what lies in it tells.
    named = bool(inputs) and (inputs[0] == SHIPPED or is_run(Path(inputs[0])))
    return (inputs[0], inputs[1:]) if named else (None, inputs)


def _what_to_watch(inputs: list[str]) -> tuple[str | None, list[str]]:
    """The run, if one is named, and the sources.

    Raises:
        DataError: no source is named.
    """
    from logllm.errors import DataError

    run, sources = told_apart(inputs)
    if not sources:
        raise DataError(
            "no source: name files, - for standard input, journald:, syslog://, otlp://, or"
            " kafka:// after the run"
        )
    return run, sources


def _wanted(**settings: Any) -> "WatchFile":
    """What is watched, checked."""
    from logllm.config.watch import WatchFile
    from logllm.runs.manifest import SHIPPED

    settings["run"] = settings["run"] or SHIPPED
    return WatchFile.read(settings, source="the command line")


def from_file(config: Path, inputs: list[str] | None, *, kind: "type[WatchFile]") -> "WatchFile":
    """What a file says is watched.

    Raises:
        DataError: it cannot be read, or inputs are named beside it.
        RecipeError: it says something else than it may.
    """
    import tomllib

    from logllm.errors import DataError, RecipeError, first_line

    # Which of the two holds would be a guess.
    if inputs:
        raise DataError(
            f"{config} already says what to watch: leave {' '.join(inputs)} out, or --config"
        )
    try:
        settings = tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as exc:
        raise DataError(f"{config} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise RecipeError(f"{config} is not TOML: {first_line(exc)}") from exc
    return kind.read(settings, source=str(config))


def with_alerts(wanted: "WatchFile", settings: "AlertsFile", *, named: Path | None) -> "WatchFile":
    """What is watched, with who else is told of incidents.

    A file that is named says when sessions are one.
    """
    # The command line comes over what the file says.
    page = settings.public_url or wanted.public_url
    changes: dict[str, Any] = {"alerts": wanted.alerts + settings.alerts, "public_url": page}
    if named is not None:
        changes["incidents"] = settings.incidents
    return wanted.model_copy(update=changes)


def alerts_of(wanted: "WatchFile") -> "AlertsFile":
    """Who is told of incidents."""
    from logllm.config.alerts import AlertsFile

    return AlertsFile(alerts=wanted.alerts, public_url=wanted.public_url)


def following_of(wanted: "WatchFile", *, engine: str | None) -> "Following":
    """What gives the run that judges, and one that is promoted later."""
    from logllm.cli.console import shares
    from logllm.detect.detector import Detector
    from logllm.serve.feedback.following import Following

    def load(folder: Path) -> Detector:
        with shares() as progress:
            return Detector.load(folder, progress=progress, engine=engine)

    return Following(wanted.run, load=load, told=note)


def sources_of(wanted: "WatchFile", detector: "Detector") -> "list[Watched]":
    """The sources, with how their lines are read."""
    from logllm.runs.manifest import SHIPPED
    from logllm.serve.opening import watched
    from logllm.serve.store.address import address

    file = address(wanted.store).file
    # What came over the network and is not judged yet waits on disk, beside the store.
    spools = Path("logllm.spool") if file is None else file.with_name(file.name + ".spool")
    return [
        watched(
            section,
            settings=detector.settings,
            begin=wanted.begin,
            spools=spools,
            only_postgres=wanted.run == SHIPPED,
        )
        for section in wanted.sources
    ]


def _watch(
    wanted: "WatchFile",
    detector: "Detector",
    watched: "list[Watched]",
    *,
    newer: "Callable[[], Judge | None]",
    metrics: int | None,
) -> None:
    """Watch until told to stop."""
    from logllm.serve.status import Metrics
    from logllm.serve.store.verdict_store import Store
    from logllm.serve.watch import Watch

    with closing(Store.open(wanted.store)) as store, delivering(store, alerts_of(wanted)):
        running = Watch(watched, run=detector.run, how=wanted, store=store, told=note)
        # A run that passes its gate is taken up without a restart.
        running.newer = newer
        _stop_when_told(running)
        shown = Shown(Metrics(metrics) if metrics is not None else None)
        note(
            f"watching {', '.join(source.name for source in watched)} with {detector.model};"
            f" verdicts go to {store.name}"
        )
        if detector.settings.sessions.by_key:
            tell_idle(wanted, detector)
        try:
            running.run(status=shown.show)
        finally:
            shown.end()
    tell(running)


def tell_idle(wanted: "WatchFile", detector: "Detector") -> None:
    """Say when sessions end."""
    from logllm.serve.idle_time import idle_seconds

    idle = duration(idle_seconds(wanted, detector.run))
    note(f"a session ends when no line of it came for {idle} (--idle)")


def _stop_when_told(running: "Watch") -> None:
    """Stop after what is in hand when a signal comes."""

    def stop(number: int, frame: object) -> None:
        running.stopping = True

    # A second signal changes nothing; what was read is judged and stored first.
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, stop)


class Shown:
    """A line of status: on a terminal one that changes, else one a minute."""

    def __init__(self, metrics: "Metrics | None") -> None:
        from logllm.serve.status import Status

        self._status = Status()
        self._metrics = metrics
        self._terminal = sys.stderr.isatty()
        self._every = _STATUS_EVERY * (1 if self._terminal else _WITHOUT_TERMINAL)
        self._due = time.monotonic() + (0 if self._terminal else self._every)

    def show(self, now: "Watch") -> None:
        """Show how far it is, when it is time."""
        if self._metrics is not None:
            self._metrics.update(now)
        # Called after each batch, many times a second.
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._every
        text = self._status.line(now)
        if self._terminal:
            sys.stderr.write(f"\r\x1b[2K{text}")
            sys.stderr.flush()
        else:
            note(text)

    def end(self) -> None:
        """Leave the line."""
        if self._terminal:
            sys.stderr.write("\n")


def tell(running: "Watch") -> None:
    """What was read and judged."""
    from logllm.counting import counted_as

    for stream in running.streams:
        kinds = sorted(stream.counts.items())
        troubles = ", ".join(
            counted_as(count, name) for name, count in kinds if count and name != "lines"
        )
        note(
            f"{stream.name}: {plural(stream.lines, 'line')}"
            f" read{': ' + troubles if troubles else ''}"
        )
        note(f"{plural(stream.sessions, 'session')} closed, {stream.anomalous:,} anomalous")
        if stream.learner is not None:
            _tell_learnt(stream.learner.news)


def _tell_learnt(news: "Mapping[str, str]") -> None:
    """Which kinds of message were learnt, each by its first line."""
    from logllm.logs.tally import printable

    for line in list(news.values())[:_NEWS]:
        note(printable(f"learnt: {line}"))
    if len(news) > _NEWS:
        note(
            f"and {plural(len(news) - _NEWS, 'more kind')} of message: `logllm store learnt` lists"
            " them"
        )


def _tried(watched: "list[Watched]") -> None:
    """Say how the first lines of each source would be read."""
    from logllm.serve.trying import tried

    for source in watched:
        for words in tried(source):
            note(words)
