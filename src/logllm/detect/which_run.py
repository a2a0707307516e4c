"""What detection is asked to do: which run judges which logs, and by which format they are read."""

from collections.abc import Sequence
from datetime import UTC, datetime
from glob import has_magic
from pathlib import Path
from typing import NamedTuple

from logllm.config.format import FormatSection
from logllm.datasets.settings import suited
from logllm.errors import DataError
from logllm.formats.description import load_format
from logllm.formats.postgres_prefix import POSTGRES
from logllm.formats.recognition import AUTO
from logllm.logs.archives import Bytes
from logllm.logs.lines import STDIN
from logllm.runs.manifest import SHIPPED, find_run, read_manifest, shipped_run


class Task(NamedTuple):
    """What `Detector.load` and `Detector.read` are to be called with."""

    run: Path
    """The run."""
    logs: list[str]
    """The inputs."""
    format: FormatSection | None = None
    """How they are read; none: as the run's data were."""
    stdin: Bytes | None = None
    """What `-` reads; none: standard input itself."""
    said: str = ""
    """What a person should know of it."""


def task(arguments: Sequence[str], *, format: str | None = None) -> Task:
    """Tell run and logs apart: a folder that comes first is the run, or `postgres`, the one that comes with logllm and judges where none is named.

    Args:
        arguments: A run or none, and logs.
        format: A built-in format, a TOML file, or `auto`; none: the run's own, for the shipped run `auto`.

    Raises:
        DataError: no log is named, the first argument is not here, or the log is of a kind that the shipped run cannot judge.
        ModelError: the folder is no run, or there is no shipped one.
        RecipeError: there is no such format.
    """
    first = Path(arguments[0])
    named = arguments[0] == SHIPPED and not first.exists()
    own = first.is_dir() or named
    if own:
        read_manifest(find_run(first))
        if len(arguments) == 1:
            raise DataError(f"{first} is a run: name the logs to judge after it, or - for standard input")
    elif arguments[0] != STDIN and not first.exists() and not has_magic(arguments[0]):
        raise DataError(f"there is no {first}: name a run (a folder that `logllm train` wrote) and logs, or a PostgreSQL log alone")
    run, logs = (find_run(first), list(arguments[1:])) if own else (shipped_run(), list(arguments))
    if own and not named and format is None:
        return Task(run, logs)
    asked = _asked(format, logs)
    if (named or not own) and not asked.format.name.startswith(POSTGRES):
        raise DataError(
            f"{logs[0]}: {asked.said.splitlines()[0]}; the model that comes with logllm knows PostgreSQL's logs only. A model of your own: "
            f"`logllm prepare --raw {logs[0]} --labels LABELS.csv --out DATA`, then `logllm train small --data DATA --out RUN`"
        )
    judge = "the run" if own and not named else "the model that comes with logllm"
    return Task(run, logs, asked.format, asked.stdin, f"{asked.said}\njudged by {judge}")


class _Asked(NamedTuple):
    """A format that was named or found."""

    format: FormatSection
    stdin: Bytes | None
    said: str


def _asked(format: str | None, logs: Sequence[str]) -> _Asked:
    """The format of some logs: the one that is named, or the one that fits their first lines."""
    if format is not None and format != AUTO:
        return _Asked(load_format(format), None, f"read as {format}")
    log = suited(logs, today=datetime.now(UTC).date())
    return _Asked(log.format, log.stdin, "\n".join(log.notes))
