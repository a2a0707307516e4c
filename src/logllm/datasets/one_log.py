"""One raw log on its way into prepared data: read, labelled, grouped."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.counting import agreeing, plural
from logllm.datasets.interval_labels import intervals, with_interval_labels, without_zone
from logllm.datasets.labels import by_interval, by_line, check_words, read_labels, with_labels
from logllm.datasets.line_labels import LineLabels
from logllm.datasets.services_reader import ServicesReader
from logllm.datasets.splits import number_of
from logllm.errors import DataError
from logllm.formats.recognition import advised
from logllm.logs.first_lines import read_again
from logllm.logs.reader import Reader
from logllm.logs.tally import WrongFormat
from logllm.progress import Progress
from logllm.sessions.ends import marked
from logllm.sessions.message_table import MessageTable
from logllm.sessions.sessionizer import Sessionizer

_LATE = "{record comes after its|records come after their} window has closed"


@dataclass(frozen=True)
class RawLog:
    """Files that are one log, and where its labels are."""

    names: list[str]
    """Files, or `-`, oldest first."""
    labels: Path | None = None
    """A CSV file with a label a session or a line; none: the lines carry labels."""


class Grouped(NamedTuple):
    """A log's sessions."""

    sessions: pl.DataFrame
    """All of them, labelled as far as labels go."""
    counts: dict[str, int]
    """What was read and what was not, in plain counts."""
    cut: int | None
    """The place of the first window of the last records, where the log was cut before it was
    windowed."""


def grouped(
    log: RawLog,
    reader: Reader | ServicesReader,
    *,
    messages: MessageTable,
    cut: bool,
    progress: Progress | None = None,
) -> Grouped:
    """Read a log and make sessions of it.

    Args:
        log: Files and labels.
        reader: Reads them, by settings for format, grouping and split; it has read nothing before.
        messages: Numbers their messages.
        cut: Window the last records, the split's share for testing, apart from the first, so that
            no window reaches across.
        progress: Told the bytes read so far and those there are (0: not known).

    Raises:
        DataError: the log or its labels cannot be read, there is no session, most records are late,
            or not one label is of this log.
    """
    settings = reader.settings
    labels = None if log.labels is None else read_labels(log.labels, settings.format.label_file)
    marks = LineLabels(labels) if labels is not None and by_line(labels) else None
    if marks is not None and len(log.names) > 1:
        raise DataError(
            f"labels {log.labels} are by line, of one file; {len(log.names)} files were given: make"
            " one of them, or label sessions"
        )
    spans = None
    if labels is not None and log.labels is not None and by_interval(labels):
        spans = intervals(labels, settings.format, source=log.labels, today=reader.today)

    # From lines to sessions, all of it lazily: a frame of records at a time goes through.
    records = _advised(reader, log.names, progress=progress)
    # Labels by line are of one file, and one file is read by one reader.
    if marks is not None and isinstance(reader, Reader):
        records = marks.given(records, reader)
    batches = map(messages.numbered, records)
    sessionizers, pieces = (_cut_then_windowed if cut else _grouped)(batches, settings)
    # Only sessions by key are marked anew, and a log of those is not cut before it is grouped.
    span = sessionizers[0].span
    grouping = settings.sessions
    sessions = marked(pl.concat(pieces), messages.messages, settings=grouping, span=span)
    if log.labels is None:
        where = f"field {settings.format.label} of the lines"
        check_words(reader.labels, settings.format.normal, where=where, of_lines=True)
    # What was read must be worth training on, before labels are looked for in it.
    read = reader.tally.counts["lines"] - reader.tally.counts["rejected"]
    if not sessions.height:
        raise DataError(_why_no_sessions(settings, sessions=sessionizers[0], records=read))
    counts = _counts(reader, sessionizers)
    late = counts.get("late", 0)
    if 2 * late > read:
        sentence = agreeing(late, _LATE)
        raise DataError(f"{sentence}: sort the log by time, or use windows by count")
    if marks is not None:
        marks.check(log.labels)
        names = (*counts, *marks.counts)
        counts = {name: counts.get(name, 0) + marks.counts.get(name, 0) for name in names}
    elif spans is not None and labels is not None and log.labels is not None:
        sessions = with_interval_labels(sessions, spans, source=log.labels)
        counts["labels_without_zone"] = int(without_zone(labels))
    elif labels is not None and log.labels is not None:
        labels = labels.with_columns(reader.keyed(labels["name"]))
        sessions, counts["labels_unused"] = with_labels(sessions, labels, source=log.labels)
    counts["cut_sessions"] = sessions["cut"].count() * settings.sessions.by_key
    counts["unlabelled"] = sessions["anomalous"].null_count()
    return Grouped(sessions, counts, pieces[0].height if cut else None)


def file_entry(name: str, reader: Reader | ServicesReader) -> dict[str, Any]:
    """A file as the manifest names it: without its folder, which may be anywhere.

    Where secrets are redacted, its name is redacted as well.
    """
    # Only what can be read again is a file with a size: a pipe has none.
    size = Path(name).stat().st_size if read_again(name) else None
    return {"name": reader.named(Path(name).name), "bytes": size}


def _advised(
    reader: Reader | ServicesReader, names: list[str], *, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    """The reader's records; where they are in another format, the error says in which."""
    try:
        yield from reader.read(names, progress=progress)
    except WrongFormat as exc:
        raise advised(exc, today=reader.today) from None


def _counts(reader: Reader | ServicesReader, sessionizers: list[Sessionizer]) -> dict[str, int]:
    """What reader and sessionizers counted, in one."""
    total = Counter(reader.tally.counts)
    for sessionizer in sessionizers:
        of_long = {"long_sessions": sessionizer.long, "cut_messages": sessionizer.messages_cut}
        total.update(sessionizer.counts | of_long)
    return dict(total)


def _grouped(
    batches: Iterable[pl.DataFrame], settings: PrepareSection
) -> tuple[list[Sessionizer], list[pl.DataFrame]]:
    """All sessions of the records."""
    sessionizer = Sessionizer(settings.sessions)
    pieces = [sessionizer.push(records) for records in batches]
    return [sessionizer], [*pieces, sessionizer.flush()]


def _cut_then_windowed(
    batches: Iterable[pl.DataFrame], settings: PrepareSection
) -> tuple[list[Sessionizer], list[pl.DataFrame]]:
    """Windows of the first records and windows of the last: none reaches across the split."""
    # Where the test part begins is known only when all records are there.
    records = pl.concat(list(batches))
    cut = records.height - number_of(records.height, settings.split.test)
    sessionizers = [Sessionizer(settings.sessions), Sessionizer(settings.sessions)]
    sides = (records.head(cut), records.slice(cut))
    pieces: list[pl.DataFrame] = []
    # The split comes first: a window that reaches across would be learnt and tested.
    for sessionizer, side in zip(sessionizers, sides, strict=True):
        closed, left = sessionizer.push(side), sessionizer.flush()
        pieces.append(pl.concat([closed, left]))
    return sessionizers, pieces


def _why_no_sessions(settings: PrepareSection, *, sessions: Sessionizer, records: int) -> str:
    """The error for records of which not one is in a session."""
    if sessions.counts.get("keyless"):
        sought = settings.sessions.key_pattern or settings.sessions.key_field
        return (
            f"none of the {plural(records, 'record')} names a key ({sought}): another key, or"
            " windows (--window)"
        )
    return (
        f"none of the {plural(records, 'record')} has a time: windows by count (--window), or a"
        " format that says where times are"
    )
