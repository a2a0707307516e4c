"""What detection is asked to do: which run judges which logs, read by which format."""

import os
import shlex
import stat
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from glob import has_magic
from pathlib import Path
from typing import Any, NamedTuple

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection, ServiceSection
from logllm.datasets.services import assigned
from logllm.datasets.settings import Suited, choose, in_zone, suited
from logllm.errors import DataError
from logllm.formats.description import load_format
from logllm.formats.postgres_prefix import POSTGRES
from logllm.formats.recognition import AUTO
from logllm.logs.archives import Bytes
from logllm.logs.first_lines import read_again
from logllm.logs.inputs.folders import passed_over
from logllm.logs.inputs.urls import is_url
from logllm.logs.lines import STDIN, named_files
from logllm.runs.manifest import RECIPE, SHIPPED, find_run, read_manifest, shipped_run
from logllm.storage import MANIFEST

_WINDOW = 10
"""Lines of a window where no sessions are known: short windows say where something is, and make
many."""


class Task(NamedTuple):
    """What `Detector.load` and `Detector.read` are to be called with."""

    run: Path | None
    """The run; None: novelty, learnt from good logs or from the logs themselves."""
    logs: list[str]
    """The inputs."""
    format: FormatSection | tuple[ServiceSection, ...] | None = None
    """The format of the logs, or the formats of each service; None: that of the run's data."""
    stdin: Bytes | None = None
    """What `-` reads; None: standard input itself."""
    said: str = ""
    """What a person is told about it."""
    settings: PrepareSection | None = None
    """How logs are read that no run knows; None: as the run's data were."""
    good: tuple[str, ...] = ()
    """Good logs that these are judged against."""
    endless: bool = False
    """Whether the input may never end."""

    @property
    def ranked(self) -> bool:
        """Whether sessions are ranked, not judged: neither a run nor a good log is there."""
        return self.settings is not None and not self.good


def task(
    arguments: Sequence[str],
    *,
    format: str | None = None,
    zone: str | None = None,
    good: Sequence[str] = (),
    grouping: Mapping[str, Any] | None = None,
) -> Task:
    """Tell run and logs apart.

    The first argument is the run if it is a run's folder, or `postgres` for the run that comes with
    logllm. Without a run, logs are judged against good ones if those are given; else the run that
    comes with logllm judges logs of PostgreSQL, and all others are ranked.

    Args:
        arguments: Logs, and before them a run where one is named.
        format: A built-in format, a TOML file, or `auto`; None: the run's own, without a run
            `auto`.
        zone: The zone of times that name none, or a name of several meanings.
        good: Logs to judge against.
        grouping: What the user says of sessions (`logllm.datasets.settings.session_options`).

    Raises:
        DataError: no log is named, the first argument is not here, the log is of a kind that the
            named run cannot judge, or the sessions to be ranked are of an input that may never end.
        ModelError: the folder is no run, or there is no shipped one.
        RecipeError: there is no such format.
    """
    name = arguments[0]
    # `postgres` may also be a folder of the user's, which then is meant.
    first = Path(name)
    named = name == SHIPPED and not first.exists()
    own = named or is_run(first)
    is_log = name == STDIN or is_url(name) or first.exists() or has_magic(name)
    if own:
        read_manifest(find_run(first))
        if len(arguments) == 1:
            raise DataError(
                f"{first} is a run: name the logs to judge after it, or - for standard input"
            )
    elif not is_log:
        raise DataError(
            f"there is no file or folder {first}: name a log that is there, or a run (a folder"
            " that `logllm train` wrote) and logs"
        )
    # A run has its own grouping, and its own idea of what is good.
    if own and (good or grouping):
        option = "--against" if good else "a grouping of sessions"
        raise DataError(
            f"{name} is a run, which already says how to judge: leave out {option}, or the run"
        )
    logs = list(arguments[1:] if own else arguments)
    if good:
        return _against(logs, good, format=format, grouping=grouping, zone=zone)
    run = find_run(first)
    # A run reads logs as its own data was read: nothing has to be looked at first.
    if own and not named and format is None:
        return Task(run, logs, said="\n".join(passed_over(logs)))
    if format is not None and format != AUTO:
        asked = _Asked(load_format(format), None, f"read as {format}", logs)
    else:
        asked = _seen(logs, only_postgres=named or not own, zone=zone)
    of_postgres = not isinstance(asked.format, FormatSection) or _of_postgres(asked.format)
    # No run was named, and the one that comes with logllm does not fit.
    if not own and (grouping or not of_postgres):
        return _ranked(asked, grouping=grouping, zone=zone)
    if named and not of_postgres:
        raise DataError(_not_postgres(logs, asked))
    run = run if own else shipped_run()
    judge = "the run" if own and not named else "the run that comes with logllm"
    said = f"{asked.said}\njudged by {judge}"
    return Task(run, asked.logs, asked.format, asked.stdin, said)


class _Asked(NamedTuple):
    """Formats that were named or found."""

    format: FormatSection | tuple[ServiceSection, ...]
    stdin: Bytes | None
    said: str
    logs: list[str]
    kinds: tuple[str, ...] = ()
    """Files and the names of their formats, where none is PostgreSQL's."""
    services: tuple[ServiceSection, ...] = ()
    """The formats of each service, where none is PostgreSQL's."""
    sessions: str = ""
    """Why sessions are what they are."""


def _seen(logs: list[str], *, only_postgres: bool, zone: str | None) -> _Asked:
    """The formats that fit the first lines of logs.

    With `only_postgres`, of several kinds of log only those of PostgreSQL are read.
    """
    today = datetime.now(UTC).date()
    log = suited(logs, today=today, zone=zone)
    notes = tuple(passed_over(logs))
    if not log.services:
        said = "\n".join(log.notes)
        return _Asked(log.format, log.stdin, said, logs, sessions=log.sessions)
    if not only_postgres:
        return _Asked(log.services, None, "\n".join(log.notes), logs)
    # The files that a run of PostgreSQL's cannot judge are left out, and said.
    # The service that a file is of says whether the run can judge it.
    readable: list[str] = []
    others: list[str] = []
    for file, service in assigned(named_files(logs), log.services, today=today).items():
        if _of_postgres(service.format):
            readable.append(file)
        else:
            others.append(f"{file} ({service.format.name})")
    if not readable:
        said = "\n".join(log.notes)
        return _Asked(log.format, None, said, logs, tuple(others), log.services, log.sessions)
    over = (
        "skipped, since the run that comes with logllm knows only PostgreSQL logs:"
        f" {', '.join(others)}"
    )
    read = suited(readable, today=today, zone=zone)
    said = "\n".join((*read.notes, *notes, over))
    return _Asked(read.services or read.format, None, said, readable)


def _against(
    logs: list[str],
    good: Sequence[str],
    *,
    format: str | None,
    grouping: Mapping[str, Any] | None,
    zone: str | None,
) -> Task:
    """Logs to be judged against good ones, all read as the good ones show."""
    names = named_files(good)
    # Good logs are read twice: to recognize their format, and to learn from them.
    if pipes := [name for name in names if not read_again(name)]:
        raise DataError(f"--against {pipes[0]}: it can be read only once; name a file")
    if format is not None and format != AUTO:
        log = Suited(load_format(format), (f"read as {format}",), "", None)
    else:
        log = suited(names, today=datetime.now(UTC).date(), zone=zone)
    # What a person is told: what was passed over, how the logs are read, and what judges.
    settings = _settings(log.format, log.services, grouping=grouping, zone=zone)
    judge = f"judged against {', '.join(good)}, without labels"
    grouped = _grouped(settings, "" if grouping else log.sessions)
    told = "\n".join([*passed_over(logs), *log.notes, grouped, judge])
    return Task(None, logs, said=told, settings=settings, good=tuple(good), endless=_endless(logs))


def _ranked(asked: _Asked, *, grouping: Mapping[str, Any] | None, zone: str | None) -> Task:
    """Logs of which nothing is known."""
    # The most unusual one is known when all have been seen.
    if _endless(asked.logs):
        raise DataError(
            "without a run sessions are ranked, which needs the whole log, and standard input or "
            "a pipe may never end: write it to a file first, or name a good log with --against"
        )
    first = asked.format
    described = first if isinstance(first, FormatSection) else first[0].format
    settings = _settings(described, asked.services, grouping=grouping, zone=zone)
    judge = (
        "no run knows this log, so its sessions are ranked, not judged; --against GOOD_LOG judges"
        " them"
    )
    grouped = _grouped(settings, "" if grouping else asked.sessions)
    told = "\n".join([asked.said, grouped, judge])
    return Task(None, asked.logs, stdin=asked.stdin, said=told, settings=settings)


def _settings(
    described: FormatSection,
    services: tuple[ServiceSection, ...],
    *,
    grouping: Mapping[str, Any] | None,
    zone: str | None,
) -> PrepareSection:
    """How logs are read that no run knows."""
    # Where only lines can be counted windows are short: a long one says little of where it is.
    sessions = described.sessions
    if not grouping and sessions.by == "count":
        grouping = {"by": "count", "size": _WINDOW, "step": _WINDOW}
    # Without a run nothing else has been decided: format, masks and split are the defaults.
    overrides: dict[str, Mapping[str, Any]] = {"format": {}, "split": {}, "mask": {}}
    overrides["sessions"] = grouping or {}
    settings = choose(described, overrides=overrides, services=services)
    return settings if zone is None else in_zone(settings, zone)


def _grouped(settings: PrepareSection, reason: str) -> str:
    """What a person is told of the sessions of logs that no run knows."""
    # Windows are what is left where no key suits: the person may know one.
    sessions = settings.sessions
    if not sessions.by_key:
        return (
            f"sessions: {sessions.in_words}; another grouping: --key, --key-field, --session-by or"
            " --window"
        )
    # A reason is a whole sentence that says so itself.
    return reason or f"sessions: {sessions.in_words}"


def _endless(logs: Sequence[str]) -> bool:
    """Whether an input may never end: a pipe, or standard input unless that is a file."""
    # Only standard input may be a file all the same: `logllm detect - < app.log`.
    pipes = [name for name in named_files(logs) if not read_again(name)]
    if pipes != [STDIN]:
        return bool(pipes)
    try:
        status = os.fstat(sys.stdin.fileno())
        return not stat.S_ISREG(status.st_mode)
    except (AttributeError, OSError, ValueError):  # it is closed, or no file of the system's
        return False


def _of_postgres(described: FormatSection) -> bool:
    """Whether a format is one of PostgreSQL's logs."""
    return described.innermost.name.startswith(POSTGRES)


def _not_postgres(logs: list[str], asked: _Asked) -> str:
    """The error for logs that the shipped run cannot judge.

    It names the commands that lead to a run that can.
    """
    notes = [line for line in asked.said.splitlines() if line not in passed_over(logs)]
    what = ", ".join(asked.kinds) or f"{logs[0]}: {notes[0]}"
    options = [f"--raw {shlex.quote(log)}" if log != STDIN else "--raw -" for log in logs]
    raw = " ".join(options)
    return (
        f"{what}; the run that comes with logllm knows only PostgreSQL logs. Train a run of your "
        f"own: `logllm prepare {raw} --labels LABELS.csv --out DATA`, then `logllm train small "
        "--data DATA --out RUN`; without labels, leave `postgres` out: sessions are then ranked, "
        "or judged --against a good log"
    )


def is_run(folder: Path) -> bool:
    """Whether a folder is a run or meant as one, and no folder of logs."""
    if not folder.is_dir():
        return False
    has_file_of_run = (folder / MANIFEST).exists() or (folder / RECIPE).exists()
    return has_file_of_run or not any(folder.iterdir())
