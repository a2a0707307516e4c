"""A log and its verdicts, brought together again."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.counting import plural
from logllm.datasets.services_reader import reader_of
from logllm.detect.evidence.written_lines import WrittenLines
from logllm.errors import DataError, first_line
from logllm.formats.recognition import advised
from logllm.logs.lines import named_files
from logllm.logs.tally import WrongFormat
from logllm.progress import Progress
from logllm.sessions.message_table import MessageTable
from logllm.sessions.sessionizer import Sessionizer, base_name

_SCHEMA = {
    "session": pl.String(),
    "score": pl.Float64(),
    "anomalous": pl.Boolean(),
    "model": pl.String(),
    "files": pl.List(pl.String()),
}
"""What is read of a verdict."""


class JudgedLog(NamedTuple):
    """Sessions of a log, and what a run said of them."""

    sessions: pl.DataFrame
    """Columns of sessions, and `name` (without the number of a piece), `score`, `anomalous`."""
    messages: pl.Series
    """The message table."""
    files: list[str]
    """The inputs' names."""
    written: WrittenLines
    """What stands in their lines."""


def read_verdicts(path: Path, *, model: str) -> pl.DataFrame:
    """Verdicts as a frame: `session`, `score`, `anomalous`, `model` and `files`.

    `files` is null where there was one input.

    Args:
        path: what `logllm detect RUN LOG --out PATH` wrote.
        model: what verdicts call the run.

    Raises:
        DataError: the file cannot be read, or holds no verdicts or those of another run.
    """
    try:
        verdicts = pl.read_ndjson(path, schema=_SCHEMA)
    except OSError as exc:
        raise DataError(f"{path}: {exc.strerror or first_line(exc)}") from exc
    except pl.exceptions.PolarsError as exc:
        raise DataError(f"{path}: {_NO_VERDICTS}") from exc
    # A file of other JSON lines has none of these fields.
    if verdicts["session"].null_count() or verdicts["score"].null_count() or not verdicts.height:
        raise DataError(f"{path}: {_NO_VERDICTS}")
    others = verdicts.filter(pl.col("model") != model)["model"]
    if len(others):
        raise DataError(
            f"the verdicts in {path} are of {others[0]}, and the run is {model}: name the run that"
            " gave them, or judge the log by this one; what `detect` has learnt without a run is"
            " kept by `logllm prepare` and `logllm train novelty`"
        )
    return verdicts.unique("session", keep="last", maintain_order=True)


_NO_VERDICTS = (
    "no verdicts, one JSON object a line, as `logllm detect RUN LOG --out verdicts.jsonl` writes"
    " them"
)


def files_of(verdicts: pl.DataFrame, path: Path) -> list[str]:
    """The files of the log that was judged, as its verdicts name them.

    Raises:
        DataError: they name none, or a file is not here.
    """
    of_lines = verdicts["files"].explode().drop_nulls()
    names = of_lines.unique(maintain_order=True).to_list()
    if not names or not all(Path(name).is_file() for name in names):
        raise DataError(
            f"{path} does not say which log it is of: name the log that was judged after it"
        )
    return names


def read_judged(
    logs: Sequence[str | Path],
    verdicts: pl.DataFrame,
    *,
    settings: PrepareSection,
    redacted: bool,
    progress: Progress | None,
) -> JudgedLog:
    """Read a log again, by the settings of the run that has judged it.

    Args:
        logs: its files.
        verdicts: those that `read_verdicts` gave.
        settings: the run's.
        redacted: take what is secret out of the lines that are shown.
        progress: told the bytes read and all there are (0: not known).

    Raises:
        DataError: it cannot be read, or no verdict is of one of its sessions.
    """
    # The same format and the same grouping as when it was judged: so sessions have the same names.
    names = named_files(logs)
    reader = reader_of(settings, names, today=datetime.now(UTC).date())
    sessionizer = Sessionizer(settings.sessions)
    table = MessageTable()
    frames: list[pl.DataFrame] = []
    try:
        for batch in reader.read(names, progress=progress):
            records = table.numbered(batch)
            frames.append(sessionizer.push(records))
    except WrongFormat as exc:
        raise advised(exc, today=reader.today) from None
    # A session that was judged twice, such as a late one, has its last verdict and its last lines.
    sessions = pl.concat([*frames, sessionizer.flush()])
    sessions = sessions.unique("session", keep="last", maintain_order=True)

    # Labels come from the person, not from the log.
    named = sessions.drop("anomalous").with_columns(name=base_name())
    judged = named.join(verdicts.drop("files"), on="session", maintain_order="left")
    if not judged.height:
        raise DataError(
            f"no verdict is of a session of {', '.join(names)}: they name sessions like"
            f" {verdicts['session'][0]}, and the log holds {plural(sessions.height, 'session')}:"
            " name the log that was judged"
        )
    # Lines are read once more from the files, for the person who labels.
    inputs = [(name, reader.described(name)) for name in names]
    hide = redacted or settings.redact
    written = WrittenLines(inputs, key_field=settings.sessions.key_field, redacted=hide)
    return JudgedLog(judged, table.messages, reader.files, written)
