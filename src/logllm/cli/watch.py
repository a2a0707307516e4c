"""`logllm watch`: verdicts on logs that are being written, into a store."""

import signal
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logllm.cli import watch_options as option
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


def watch(
    inputs: option.Inputs = None,
    config: option.Config = None,
    store: option.Store = "logllm.db",
    begin: option.Begin = "end",
    idle: option.Idle = None,
    max_open_age: option.MaxOpenAge = 86_400,
    format: option.Format = None,
    time_zone: option.TimeZone = None,
    stream: option.Stream = None,
    token: option.Token = None,
    redact: option.Redact = False,
    learn: option.Learn = False,
    retain_days: option.RetainDays = 90,
    metrics: option.Metrics = None,
    alerts: AlertsOption = None,
    alert: AlertOption = None,
    public_url: PageOption = None,
    dry_run: option.DryRun = False,
    engine: option.Engine = None,
) -> None:
    """Judge a log while it is written, and store the verdicts.

    It continues where it was stopped or killed.
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
    """The run, if the first input names one, and the sources.

    Raises:
        DataError: the first input is a file that is not here, so that it may be a mistyped run.
    """
    from logllm.detect.which_run import is_run
    from logllm.errors import DataError
    from logllm.runs.manifest import SHIPPED

    # `app` may be a run or a folder of logs: what lies in it tells.
    if not inputs:
        return None, inputs
    first, *others = inputs
    if first == SHIPPED or is_run(Path(first)):
        return first, others
    # A log that is not here yet is waited for. A mistyped run would be, too, while the run that
    # comes with logllm judges in its place.
    if _may_be_a_missing_run(first):
        raise DataError(
            f"there is no file or folder {first}: name what is there, or a run (a folder that"
            " `logllm train` wrote) and what to watch; to wait for a log of that name, name the"
            f" run before it, such as {SHIPPED}"
        )
    return None, inputs


def _may_be_a_missing_run(name: str) -> bool:
    """Whether an input is a plain file name that is not here: no address, pipe or glob."""
    from glob import has_magic

    from logllm.logs.lines import STDIN

    is_address = name.startswith("journald:") or "://" in name
    return not (name == STDIN or is_address or has_magic(name) or Path(name).exists())


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
    """What is watched, as the command line says it, checked."""
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
    """What is watched, with the destinations of alerts that the command line adds.

    If the command line names a file of alerts, that file says as well which sessions make one
    incident.
    """
    # The command line comes over what the file says.
    page = settings.public_url or wanted.public_url
    destinations = wanted.alerts + settings.alerts
    changes: dict[str, Any] = {"alerts": destinations, "public_url": page}
    if named is not None:
        changes["incidents"] = settings.incidents
    return wanted.model_copy(update=changes)


def alerts_of(wanted: "WatchFile") -> "AlertsFile":
    """Who is told of incidents, as a file of alerts would say it."""
    from logllm.config.alerts import AlertsFile

    return AlertsFile(alerts=wanted.alerts, public_url=wanted.public_url)


def following_of(wanted: "WatchFile", *, engine: str | None) -> "Following":
    """What gives the run that judges, and later one that is promoted in its place."""
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
    spools = Path("logllm.spool") if file is None else file.with_name(f"{file.name}.spool")
    opening = partial(
        watched,
        settings=detector.settings,
        begin=wanted.begin,
        spools=spools,
        only_postgres=wanted.run == SHIPPED,
    )
    return [opening(section) for section in wanted.sources]


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
        tell_watched(wanted, detector, watched, to=f"; verdicts go to {store.name}")
        try:
            running.run(status=shown.show)
        finally:
            shown.end()
    tell(running)


def tell_watched(
    wanted: "WatchFile", detector: "Detector", watched: "list[Watched]", *, to: str = ""
) -> None:
    """Say what is watched, and when sessions end.

    Args:
        wanted: What is watched, as it was asked for.
        detector: What judges.
        watched: The sources.
        to: Words on where verdicts go.
    """
    from logllm.serve.idle_time import idle_seconds

    names = ", ".join(source.name for source in watched)
    note(f"watching {names} with {detector.model}{to}")
    # Only a session by key has no end of its own: a window ends with its last record.
    if detector.settings.sessions.by_key:
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
        """Leave the line of status on the terminal, and begin a new one."""
        if self._terminal:
            sys.stderr.write("\n")


def tell(running: "Watch") -> None:
    """Say what was read, judged and learnt."""
    from logllm.counting import counted_as

    for stream in running.streams:
        troubles: list[str] = []
        for name, count in sorted(stream.counts.items()):
            if count and name != "lines":
                troubles.append(counted_as(count, name))
        lines = f"{stream.name}: {plural(stream.lines, 'line')} read"
        note(f"{lines}: {', '.join(troubles)}" if troubles else lines)
        sessions = plural(stream.sessions, "session")
        note(f"{sessions} closed, {stream.anomalous:,} anomalous")
        if stream.learner is not None:
            _tell_learnt(stream.learner.news)


def _tell_learnt(news: "Mapping[str, str]") -> None:
    """Say which kinds of message were learnt, each by its first line."""
    from logllm.logs.tally import printable

    # A new release may bring hundreds; the store lists them all.
    for line in list(news.values())[:_NEWS]:
        note(printable(f"learnt: {line}"))
    if len(news) > _NEWS:
        more = plural(len(news) - _NEWS, "more kind")
        note(f"and {more} of message: `logllm store learnt` lists them")


def _tried(watched: "list[Watched]") -> None:
    """Say how the first lines of each source would be read."""
    from logllm.serve.trying import tried

    for source in watched:
        for words in tried(source):
            note(words)
