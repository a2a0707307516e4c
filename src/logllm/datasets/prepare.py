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
from logllm.counting import agreeing, plural
from logllm.datasets.one_log import Grouped, RawLog, file_entry, grouped
from logllm.datasets.prepared import DATA_VERSION, PARTS, Manifest, part_figures, write_prepared
from logllm.datasets.public import compared, differences
from logllm.datasets.services import reader_of
from logllm.datasets.settings import for_format
from logllm.datasets.splits import last_share, random_share, without_overlap
from logllm.errors import DataError
from logllm.logs.archives import Bytes
from logllm.logs.calendar.zones import zone_notes
from logllm.logs.lines import named_files
from logllm.logs.tally import shortened
from logllm.progress import Progress
from logllm.sessions.message_table import MessageTable
from logllm.storage import check_replaceable

_TEST = "test:{}"  # a test log may have sessions of the same names
_GOES_BACK = (
    "the test part begins before the train part ends: give files oldest first (a glob gives them by"
    " name, app.log before app.log.1), or sort the log by time"
)
_MANY_RECORDS = 1000  # from which on masks are judged by how many distinct messages there are
_HANDFUL = 5
_NEARLY_ALL = 0.5
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
    """The paper's counts of this data set, to compare with (`logllm.datasets.public.compared`)."""


def prepare(
    raw: Sequence[str | Path], out: Path, *, settings: PrepareSection, **options: Unpack[Options]
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
    force, today = options.get("force", False), datetime.now(UTC).date()
    check_replaceable(out, force=force)
    logs = _logs(raw, options, settings=settings)

    # One message table for all logs: the same message has one number in train and in test.
    messages = MessageTable()
    stdin = options.get("stdin")
    readers = [reader_of(how, log.names, today=today, stdin=stdin) for log, how in logs]
    cut = len(logs) == 1 and _by_records(settings)
    groups: list[Grouped] = []
    for (log, _), reader in zip(logs, readers, strict=True):
        group = grouped(log, reader, messages=messages, cut=cut, progress=options.get("progress"))
        groups.append(_renamed(group) if groups else group)

    parts = _parts(groups, settings)
    sessions = pl.concat([group.sessions for group in groups])
    counts = _counts(groups, parts)

    rejects = [reject for reader in readers for reject in reader.tally.first_rejects]
    warnings = _warnings(parts, counts, settings=settings)
    warnings += _mask_warnings(messages.messages, counts)
    for reader in readers:
        warnings += zone_notes(reader.zones, zone=reader.settings.format.time_zone)
    manifest: Manifest = {
        "kind": "data",
        "version": DATA_VERSION,
        "logllm": __version__,
        **counts,
        **part_figures(sessions),
        "distinct_messages": len(messages.messages),
        "parts": {name: part_figures(part) for name, part in parts.items()},
        "first_rejects": rejects[:3],
        "warnings": warnings,
        "settings": settings.model_dump(mode="json"),
    }
    for name, (log, _), reader in zip(("", "test_"), logs, readers, strict=False):
        manifest[f"{name}raw"] = [file_entry(file, reader) for file in log.names]
        labels = str(log.labels) if log.labels else None
        manifest[f"{name}labels"] = file_entry(labels, reader) if labels else None
    if len(logs) > 1:
        manifest["test_format"] = logs[1][1].format.model_dump(mode="json")
        manifest["warnings"].insert(
            0,
            f"the test part is another log: the share of {settings.split.test:g} for testing is not"
            " used",
        )
    elif settings.split.by == "time" and _goes_back(
        parts["train"]["start"], parts["test"]["start"]
    ):
        manifest["warnings"].append(_GOES_BACK)
    if source := options.get("source"):
        manifest["source"] = dict(source)
    if paper := options.get("paper"):
        manifest["paper"] = compared(manifest, paper)
        manifest["warnings"] += differences(manifest["paper"])
    frames = {**parts, "messages": messages.messages.to_frame("message")}
    write_prepared(out, frames, manifest=manifest, force=force)
    return manifest


def _renamed(group: Grouped) -> Grouped:
    """A test log's sessions under names of their own."""
    session = pl.format(_TEST, "session")
    return group._replace(sessions=group.sessions.with_columns(session=session))


def _logs(
    raw: Sequence[str | Path], options: Options, *, settings: PrepareSection
) -> list[tuple[RawLog, PrepareSection]]:
    """The log, the test log where there is one, and how each is read."""
    logs = [(RawLog(named_files(raw), options.get("labels")), settings)]
    if test := options.get("test_raw"):
        described = options.get("test_format")
        # The second log may be of another format; its masks and its grouping are the first one's.
        how = settings if described in (None, settings.format) else for_format(settings, described)
        logs.append((RawLog(named_files(test), options.get("test_labels")), how))
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
    counts["overlapping"] = to_divide - sum(part.height for part in parts.values())
    return counts


def _goes_back(train: pl.Series, test: pl.Series) -> bool:
    """Whether sessions of the test part started before the last of the train part, but for a few."""
    # Not the very last and the very first: a few records out of order are no reason to complain.
    last = train.to_physical().quantile(1 - _FEW, "nearest")
    first = test.to_physical().quantile(_FEW, "nearest")
    return last is not None and first is not None and first < last


def _mask_warnings(messages: pl.Series, counts: Mapping[str, int]) -> list[str]:
    """Whether masks leave too little of a log to tell its lines apart, or too much."""
    # Of few records nothing can be said: each may well be another one.
    records, distinct = counts["lines"] - counts["rejected"], len(messages)
    if records < _MANY_RECORDS:
        return []
    if distinct <= _HANDFUL:
        return [
            f"{records:,} records are {plural(distinct, 'distinct message')}: what distinguishes "
            "them is masked, or in another field (--keep codes, --keep-rule NAME=REGEX, --mask "
            "off, or --message FIELD)"
        ]
    if distinct > _NEARLY_ALL * records:
        return [
            f"{distinct:,} of {records:,} records are distinct messages: nearly every line holds "
            f"something that varies and is not masked, such as {shortened(messages[-1])!r}; "
            "--mask-rule NAME=REGEX masks it"
        ]
    return []


def _warnings(
    parts: dict[str, pl.DataFrame], counts: dict[str, int], *, settings: PrepareSection
) -> list[str]:
    """What a person should know before training on this."""
    warnings: list[str] = []
    # A part that was not asked for may be empty.
    shares = {"train": 1.0, "validation": settings.split.validation, "test": settings.split.test}
    for name, share in shares.items():
        kinds = parts[name]["anomalous"].unique().drop_nulls().to_list()
        if not parts[name].height and share:
            warnings.append(f"the {name} part is empty")
        elif len(kinds) == 1:
            warnings.append(
                f"the {name} part holds only {'anomalous' if kinds[0] else 'normal'} sessions"
            )
    # A sentence for each count that is not 0, for one and for several.
    told = {
        "overlapping": (
            "{session of the train part reaches|sessions of the train part reach} into the "
            "validation part and {is|are} left out: is the log in order of time?"
        ),
        "labels_beyond": "{label is of a line|labels are of lines} that the log does not have",
        "labels_unused": (
            "{label is of a session|labels are of sessions} that the log does not hold"
        ),
        "labels_without_zone": (
            "{file of labels has times without a zone, which are read as UTC|files of labels have"
            " times without a zone, which are read as UTC}, as the log's are"
        ),
        "labels_joined": (
            "{label is of a line that goes|labels are of lines that go} on a record, and"
            " {counts|count} for it"
        ),
        "rejected_alerts": (
            "{line|lines} with an alert label did not parse and {is|are} in no session"
        ),
        "files_without_records": (
            "{file holds|files hold} no record in the format: prepare logs of another format"
            " separately"
        ),
        "empty": "of the rejected lines {is|are} empty",
        "unlabelled": "{session has|sessions have} no label and {is|are} in no part",
        "keyless": "{record names|records name} no key and {is|are} in no session",
        "timeless": "{record has|records have} no time that could be read",
        "turned": (
            "{record is|records are} in files written newest first, which were held in memory whole"
            " and turned"
        ),
        "moved_years": (
            "{time|times} without a year would lie in the future, and {was|were} put into an "
            "earlier year; given as a file, the log would be read to its end first"
        ),
        "late": (
            "{record|records} came after {its|their} window had closed and {is|are} in no session;"
            " sort the log by time"
        ),
        "replaced_characters": (
            "{character was|characters were} not text and {has|have} been replaced"
        ),
        "of_other_kinds": (
            "{line is|lines are} of another kind than the format, and {is a record|are records} of"
            " {its|their} own"
        ),
        "lines_with_colours": (
            "{line|lines} held codes of a terminal, such as colours, which have been taken out"
        ),
        "cut_lines": "{line was|lines were} too long and {has|have} been cut",
        "shortened_traces": (
            "{stack trace was|stack traces were} shortened to {its|their} exceptions and innermost"
            " calls"
        ),
        "reordered_messages": (
            "{long message has|long messages have} {its|their} last words behind the first ones,"
            " where a model reads them"
        ),
        "cut_sessions": (
            "{session|sessions} may have begun before the log or go on after it, and {counts as it"
            " is|count as they are}: the column cut says which"
        ),
        "cut_messages": (
            "{message has|messages have} been cut from the ends of long sessions: --long split"
            " keeps them"
        ),
    }
    # Said once, in words that say what to do, instead of as a count of all sessions.
    if all(part["anomalous"].null_count() == part.height for part in parts.values()):
        warnings.append(
            "no session has a label, but LogLLM and all figures need labels: --labels FILE.csv "
            "(session,label or line,label), or --label FIELD of lines"
        )
        del told["unlabelled"]
    warnings += [agreeing(counts[name], text) for name, text in told.items() if counts.get(name)]
    if settings.split.by == "random" and settings.sessions.overlapping:
        warnings.append("windows overlap and are split at random: parts share lines")
    return warnings
