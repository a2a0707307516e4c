"""What detection is asked to do: which run judges which logs, and by which format they are read."""

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from glob import has_magic
from pathlib import Path
from typing import NamedTuple

from logllm.config.format import FormatSection
from logllm.config.prepare import ServiceSection
from logllm.datasets.services import assigned
from logllm.datasets.settings import suited
from logllm.errors import DataError
from logllm.formats.description import load_format
from logllm.formats.postgres_prefix import POSTGRES
from logllm.formats.recognition import AUTO
from logllm.logs.archives import Bytes
from logllm.logs.lines import STDIN, named_files, passed_over
from logllm.runs.manifest import RECIPE, SHIPPED, find_run, read_manifest, shipped_run
from logllm.storage import MANIFEST


class Task(NamedTuple):
    """What `Detector.load` and `Detector.read` are to be called with."""

    run: Path
    """The run."""
    logs: list[str]
    """The inputs."""
    format: FormatSection | tuple[ServiceSection, ...] | None = None
    """How they are read, or those of each service; none: as the run's data were."""
    stdin: Bytes | None = None
    """What `-` reads; none: standard input itself."""
    said: str = ""
    """What a person should know of it."""


def task(arguments: Sequence[str], *, format: str | None = None, zone: str | None = None) -> Task:
    """Tell run and logs apart: a folder that comes first is the run, or `postgres`, the one that comes with logllm and judges where none is named.

    Args:
        arguments: A run or none, and logs.
        format: A built-in format, a TOML file, or `auto`; none: the run's own, for the shipped run `auto`.
        zone: Of times that name none, or one of several meanings.

    Raises:
        DataError: no log is named, the first argument is not here, or the log is of a kind that the shipped run cannot judge.
        ModelError: the folder is no run, or there is no shipped one.
        RecipeError: there is no such format.
    """
    first = Path(arguments[0])
    named = arguments[0] == SHIPPED and not first.exists()
    own = named or _is_run(first)
    if own:
        read_manifest(find_run(first))
        if len(arguments) == 1:
            raise DataError(f"{first} is a run: name the logs to judge after it, or - for standard input")
    elif arguments[0] != STDIN and not first.exists() and not has_magic(arguments[0]):
        raise DataError(f"there is no {first}: name a run (a folder that `logllm train` wrote) and logs, or a PostgreSQL log alone")
    run, logs = (find_run(first), list(arguments[1:])) if own else (shipped_run(), list(arguments))
    if own and not named and format is None:
        return Task(run, logs, said="\n".join(passed_over(logs)))
    if format is not None and format != AUTO:
        asked = _Asked(load_format(format), None, f"read as {format}", logs)
    else:
        asked = _seen(logs, only_postgres=named or not own, zone=zone)
    if (named or not own) and isinstance(asked.format, FormatSection) and not asked.format.innermost.name.startswith(POSTGRES):
        raise DataError(_not_postgres(logs, asked))
    judge = "the run" if own and not named else "the model that comes with logllm"
    return Task(run, asked.logs, asked.format, asked.stdin, f"{asked.said}\njudged by {judge}")


class _Asked(NamedTuple):
    """Formats that were named or found."""

    format: FormatSection | tuple[ServiceSection, ...]
    stdin: Bytes | None
    said: str
    logs: list[str]
    kinds: tuple[str, ...] = ()
    """Files and the names of their formats, where none is PostgreSQL's."""


def _seen(logs: list[str], *, only_postgres: bool, zone: str | None) -> _Asked:
    """The formats that fit the first lines of logs; of several kinds those of PostgreSQL's where nothing else can be judged."""
    today = datetime.now(UTC).date()
    log = suited(logs, today=today, zone=zone)
    notes = tuple(passed_over(logs))
    if not log.services:
        return _Asked(log.format, log.stdin, "\n".join(log.notes), logs)
    if not only_postgres:
        return _Asked(log.services, None, "\n".join(log.notes), logs)
    of_file = assigned(named_files(logs), log.services, today=today)
    readable = [file for file, service in of_file.items() if service.format.innermost.name.startswith(POSTGRES)]
    others = [f"{file} ({service.format.name})" for file, service in of_file.items() if file not in readable]
    if not readable:
        return _Asked(log.format, None, "\n".join(log.notes), logs, tuple(others))
    over = f"passed over, since the model that comes with logllm knows PostgreSQL's logs only: {', '.join(others)}"
    read = suited(readable, today=today, zone=zone)
    said = "\n".join((*read.notes, *notes, over))
    return _Asked(read.services or read.format, None, said, readable)


def _not_postgres(logs: list[str], asked: _Asked) -> str:
    """The error for logs that the shipped run cannot judge, with the commands that lead to one that can."""
    notes = [line for line in asked.said.splitlines() if line not in passed_over(logs)]
    what = ", ".join(asked.kinds) or f"{logs[0]}: {notes[0]}"
    raw = " ".join(f"--raw {shlex.quote(log)}" if log != STDIN else "--raw -" for log in logs)
    return (
        f"{what}; the model that comes with logllm knows PostgreSQL's logs only. A model of your own: "
        f"`logllm prepare {raw} --labels LABELS.csv --out DATA`, then `logllm train small --data DATA --out RUN`; "
        "without labels leave --labels out and train `novelty`"
    )


def _is_run(folder: Path) -> bool:
    """Whether a folder is a run or meant as one, and none of logs."""
    if not folder.is_dir():
        return False
    return (folder / MANIFEST).exists() or (folder / RECIPE).exists() or not any(folder.iterdir())
