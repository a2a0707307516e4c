"""A raw log and its labels to train, validation and test parts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import polars as pl

from logllm import __version__
from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection
from logllm.datasets.data_warnings import mask_warnings, part_warnings
from logllm.datasets.one_log import Grouped, RawLog, file_entry, grouped
from logllm.datasets.prepared import DATA_VERSION, PARTS, Manifest, part_figures, write_prepared
from logllm.datasets.published.public import compared, differences
from logllm.datasets.services_reader import ServicesReader, reader_of
from logllm.datasets.settings import for_format
from logllm.datasets.splits import last_share, random_share, without_overlap
from logllm.errors import DataError
from logllm.formats.time_notes import unread_times
from logllm.logs.archives import Bytes
from logllm.logs.calendar.zones import zone_notes
from logllm.logs.lines import named_files
from logllm.logs.reader import Reader
from logllm.logs.redaction import redact_text
from logllm.progress import Progress
from logllm.sessions.message_table import MessageTable
from logllm.storage import check_replaceable

_TEST = "test:{}"  # a test log may have sessions of the same names
_GOES_BACK = (
    "the test part begins before the train part ends: give files oldest first (a glob gives them by"
    " name, app.log before app.log.1), or sort the log by time"
)
_REJECTS = 3  # shown in the manifest
# The share of a part's sessions that may lie across the cut: what many processes write is never
# quite in order.
_FEW = 0.01


class Options(TypedDict, total=False):
    """What `prepare` can be told beside what it needs."""

    labels: Path | None
    """A CSV file with a label a session or a line; none: the lines carry labels."""
    test_raw: Sequence[str | Path]
    """Another log, the whole of which is the test part: files, globs or `-`, oldest first."""
    test_labels: Path | None
    """The labels of that log."""
    test_format: FormatSection | None
    """Its format; none: that of the settings."""
    force: bool
    """Replace prepared data that is there."""
    progress: Progress | None
    """Told the bytes read so far and those there are (0: not known)."""
    source: Mapping[str, Any] | None
    """Where the raw log was fetched from, for the manifest."""
    stdin: Bytes | None
    """What `-` reads; none: the process's standard input."""
    paper: Mapping[str, int] | None
    """The paper's counts of this data set, to compare with (`published.public.compared`)."""


def prepare(
    raw: str | Path | Sequence[str | Path],
    out: Path,
    *,
    settings: PrepareSection,
    **options: Unpack[Options],
) -> Manifest:
    """Read a raw log, divide its sessions, and write them with the message table and a manifest.

    Args:
        raw: Files, globs or `-`, oldest first.
        out: The folder to make.
        settings: Format, masks, sessions and split.
        options: `labels`, `test_raw`, `test_labels`, `test_format`, `force`, `progress`, `source`,
            `stdin`, `paper`; see `Options`.

    Returns:
        The manifest: `lines, rejected, sessions, anomalous, distinct_messages, distinct_sessions`
        of the whole data, further counts, `parts` with `sessions, anomalous, distinct_sessions`
        each, `first_rejects`, `warnings`, `settings`, `raw`, `labels`, `files`, `fingerprint`,
        `logllm`, `version`; `test_raw`, `test_labels`, `test_format`, `source` and `paper` where
        they were given.

    Raises:
        DataError: the log, the labels or the place to write to are not as they must be.
        RecipeError: a pattern in the settings is no regular expression.
    """
    force = options.get("force", False)
    today = datetime.now(UTC).date()
    check_replaceable(out, force=force)
    logs = _logs(raw, options, settings=settings)

    # One message table for all logs: the same message has one number in train and in test.
    messages = MessageTable()
    stdin, progress = options.get("stdin"), options.get("progress")
    cut = len(logs) == 1 and _by_records(settings)
    readers: list[Reader | ServicesReader] = []
    for log, how in logs:
        readers.append(reader_of(how, log.names, today=today, stdin=stdin))
    groups: list[Grouped] = []
    for (log, _), reader in zip(logs, readers, strict=True):
        group = grouped(log, reader, messages=messages, cut=cut, progress=progress)
        groups.append(_renamed(group) if groups else group)

    parts = _parts(groups, settings)
    sessions = pl.concat([group.sessions for group in groups])
    counts = _counts(groups, parts)

    # What a person should know, and what the data was made of and how.
    warnings = part_warnings(parts, counts, settings=settings)
    warnings += mask_warnings(messages.messages, counts)
    rejects: list[Any] = []
    for reader in readers:
        rejects += reader.tally.first_rejects
        warnings += _time_warnings(reader)
    manifest: Manifest = {
        "kind": "data",
        "version": DATA_VERSION,
        "logllm": __version__,
        **counts,
        **part_figures(sessions),
        "distinct_messages": len(messages.messages),
        "parts": {name: part_figures(part) for name, part in parts.items()},
        "first_rejects": rejects[:_REJECTS],
        "warnings": warnings,
        "settings": settings.model_dump(mode="json"),
    }
    manifest.update(_whence(logs, readers))
    if len(logs) > 1:
        share = settings.split.test
        unused = f"the test part is another log: the share of {share:g} for testing is not used"
        warnings.insert(0, unused)
    elif settings.split.by == "time" and _goes_back(parts["train"], parts["test"]):
        warnings.append(_GOES_BACK)
    source, paper = options.get("source"), options.get("paper")
    if source:
        manifest["source"] = dict(source)
    if paper:
        manifest["paper"] = compared(manifest, paper)
        warnings += differences(manifest["paper"])
    frames = {**parts, "messages": messages.messages.to_frame("message")}
    write_prepared(out, frames, manifest=manifest, force=force)
    return manifest


def _time_warnings(reader: Reader | ServicesReader) -> list[str]:
    """What a person should know of a log's times: those that are not read, and zones' names."""
    described = reader.settings.format
    sentences: list[str] = []
    # Services have a format each, and lines of several are among the first ones.
    if reader.tally.counts["timeless"] and isinstance(reader, Reader):
        unread = unread_times(reader.tally.tallied.sample, described)
        if unread is not None:
            sentences.append(redact_text(unread) if reader.settings.redact else unread)
    return sentences + zone_notes(reader.zones, zone=described.time_zone)


def _whence(
    logs: Sequence[tuple[RawLog, PrepareSection]], readers: Sequence[Reader | ServicesReader]
) -> dict[str, Any]:
    """What the manifest says of the files that were read, and of the test log's format."""
    entries: dict[str, Any] = {}
    for prefix, (log, _), reader in zip(("", "test_"), logs, readers, strict=False):
        entries[f"{prefix}raw"] = [file_entry(file, reader) for file in log.names]
        labels = str(log.labels) if log.labels else None
        entries[f"{prefix}labels"] = file_entry(labels, reader) if labels else None
    if len(logs) > 1:
        _, how_test = logs[1]
        entries["test_format"] = how_test.format.model_dump(mode="json")
    return entries


def _renamed(group: Grouped) -> Grouped:
    """A test log's sessions under names of their own."""
    session = pl.format(_TEST, "session")
    return group._replace(sessions=group.sessions.with_columns(session=session))


def _logs(
    raw: str | Path | Sequence[str | Path], options: Options, *, settings: PrepareSection
) -> list[tuple[RawLog, PrepareSection]]:
    """The log, the test log where there is one, and how each is read."""
    log = RawLog(named_files(raw), options.get("labels"))
    logs = [(log, settings)]
    test = options.get("test_raw")
    if test:
        described = options.get("test_format")
        # The second log may be of another format; its masks and its grouping are the first one's.
        how = settings
        if described is not None and described != settings.format:
            how = for_format(settings, described)
        test_log = RawLog(named_files(test), options.get("test_labels"))
        logs.append((test_log, how))
    return logs


def _by_records(settings: PrepareSection) -> bool:
    """Whether parts are divided between records, not between sessions."""
    return settings.split.by == "time" and not settings.sessions.by_key


def _to_divide(group: Grouped) -> pl.DataFrame:
    """A log's labelled sessions, or all where none is labelled."""
    sessions = group.sessions.with_row_index("place")
    labelled = sessions.filter(pl.col("anomalous").is_not_null())
    return labelled if labelled.height else sessions


def _parts(groups: Sequence[Grouped], settings: PrepareSection) -> dict[str, pl.DataFrame]:
    """Sessions divided; those of a second log are the test part."""
    labelled, *others = map(_to_divide, groups)
    split, cut = settings.split, groups[0].cut
    generator = np.random.default_rng(split.seed)
    # The test part first: from another log, behind the cut between records, or a share.
    if others:
        train, test = labelled, others[0]
    elif cut is not None:
        # Windows were made on both sides of the cut, so that none reaches across it.
        before_cut = pl.col("place") < cut
        train, test = labelled.filter(before_cut), labelled.filter(~before_cut)
    elif split.by == "time":
        train, test = last_share(labelled, split.test)
    else:
        train, test = random_share(labelled, split.test, generator=generator)
    if split.by == "time":
        train, validation = last_share(train, split.validation)
    else:
        train, validation = random_share(train, split.validation, generator=generator)
    if _by_records(settings):
        train = without_overlap(train, validation)
    if not train.height:
        raise DataError(
            f"too few sessions to split ( {labelled.height}): none is left to train on; give more"
            " lines or smaller windows"
        )
    parts = zip(PARTS, (train, validation, test), strict=True)
    return {name: part.drop("place") for name, part in parts}


def _counts(groups: Sequence[Grouped], parts: Mapping[str, pl.DataFrame]) -> dict[str, int]:
    """What was counted in all logs, and the sessions that are in no part."""
    counts: dict[str, int] = {}
    for group in groups:
        for name, count in group.counts.items():
            counts[name] = counts.get(name, 0) + count
    # What is in no part, though it could have been, reaches across a border.
    to_divide = sum(_to_divide(group).height for group in groups)
    divided = sum(part.height for part in parts.values())
    counts["overlapping"] = to_divide - divided
    return counts


def _goes_back(train: pl.DataFrame, test: pl.DataFrame) -> bool:
    """Whether more than a few test sessions started before the last train sessions."""
    # Not the very last and the very first: a few records out of order are no reason to complain.
    last = train["start"].to_physical().quantile(1 - _FEW, "nearest")
    first = test["start"].to_physical().quantile(_FEW, "nearest")
    return last is not None and first is not None and first < last
