"""A raw log and its labels to train, validation and test parts."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import polars as pl

from logllm import __version__
from logllm.config.prepare import PrepareSection
from logllm.data.archives import Bytes
from logllm.data.catalog import compared, differences
from logllm.data.files import MANIFEST, check_replaceable, new_folder, sha256, write_atomic
from logllm.data.labels import read_labels, with_labels
from logllm.data.lines import STDIN, input_bytes, named_files
from logllm.data.prepared import DATA_VERSION, PARTS, fingerprint
from logllm.data.reader import Reader
from logllm.data.sessions import Sessionizer, sessionizer
from logllm.data.splits import last_share, number_of, random_share, without_overlap
from logllm.errors import DataError

Progress = Callable[[int, int], None]
Manifest = dict[str, Any]
"""What `manifest.json` says: see `prepare`."""

_ROW_GROUP = 100_000


class Options(TypedDict, total=False):
    """What `prepare` can be told beside what it needs."""

    labels: Path | None
    """A CSV file with a label a session; none: the lines carry labels."""
    force: bool
    """Replace prepared data that is there."""
    progress: Progress | None
    """Told the bytes read so far and those there are (0: not known)."""
    source: Mapping[str, Any] | None
    """Where the raw log was fetched from, for the manifest."""
    stdin: Bytes | None
    """What `-` reads; none: the process's standard input."""
    paper: Mapping[str, int] | None
    """The paper's counts of this data set, to compare with (`logllm.data.catalog.compared`)."""


def prepare(raw: Sequence[str | Path], out: Path, *, settings: PrepareSection, **options: Unpack[Options]) -> Manifest:
    """Read a raw log, divide its sessions, and write them with the message table and a manifest.

    Args:
        raw: Files, globs or `-`, oldest first.
        out: The folder to make.
        settings: Format, masks, sessions and split.
        options: `labels`, `force`, `progress`, `source`, `stdin`, `paper`; see `Options`.

    Returns:
        The manifest: `lines, rejected, sessions, anomalous, distinct_messages, distinct_sessions` of the whole data, further counts,
        `parts` with `sessions, anomalous, distinct_sessions` each, `first_rejects`, `warnings`, `settings`, `raw`, `labels`, `files`,
        `fingerprint`, `logllm`, `version`; `source` and `paper` where they were given.

    Raises:
        DataError: the log, the labels or the place to write to are not as they must be.
        RecipeError: a pattern in the settings is no regular expression.
    """
    labels, force = options.get("labels"), options.get("force", False)
    check_replaceable(out, force=force)
    names = named_files(raw)
    table = None if labels is None else read_labels(labels, settings.format.label_file)
    reader = Reader(settings, today=datetime.now(UTC).date(), stdin=options.get("stdin"))
    batches = _reported(reader, names, progress=options.get("progress"))
    by_records = settings.split.by == "time" and settings.sessions.by != "key"
    sessionizers, pieces = _cut_then_windowed(batches, settings) if by_records else _grouped(batches, settings)
    sessions = pl.concat(pieces)
    if not sessions.height:
        raise DataError(_why_no_sessions(settings, sessions=sessionizers[0], records=reader.counts["lines"] - reader.counts["rejected"]))
    counts = _counts(reader, sessionizers)
    if 2 * counts.get("late", 0) > reader.counts["lines"] - reader.counts["rejected"]:
        raise DataError(f"{counts['late']:,} records come after their window has closed: sort the log by time, or use windows by count")
    if table is not None and labels is not None:
        table = table.with_columns(reader.keyed(table["name"]))
        sessions, counts["labels_unused"] = with_labels(sessions, table, source=labels)
    counts["unlabelled"] = sessions["anomalous"].null_count()
    parts = _parts(sessions, settings, cut=pieces[0].height if by_records else None)
    divided = sessions.height if counts["unlabelled"] == sessions.height else sessions.height - counts["unlabelled"]
    counts["overlapping"] = divided - sum(part.height for part in parts.values())
    manifest: Manifest = {
        "kind": "data",
        "version": DATA_VERSION,
        "logllm": __version__,
        **counts,
        **_figures(sessions),
        "distinct_messages": len(reader.messages),
        "parts": {name: _figures(part) for name, part in parts.items()},
        "first_rejects": reader.first_rejects,
        "warnings": _warnings(parts, counts, settings=settings),
        "settings": settings.model_dump(mode="json"),
        "raw": [_named(name, shown=reader.named(Path(name).name)) for name in names],
        "labels": None if labels is None else _named(str(labels), shown=reader.named(labels.name)),
    }
    if source := options.get("source"):
        manifest["source"] = dict(source)
    if paper := options.get("paper"):
        manifest["paper"] = compared(manifest, paper)
        manifest["warnings"] += differences(manifest["paper"])
    _write(out, {**parts, "messages": reader.messages.messages.to_frame("message")}, manifest=manifest, force=force)
    return manifest


def _reported(reader: Reader, names: list[str], *, progress: Progress | None) -> Iterator[pl.DataFrame]:
    """The reader's records, with its progress told."""
    total = 0 if STDIN in names else input_bytes(names)
    for records in reader.read(names):
        if progress is not None:
            progress(reader.bytes_read, total)
        yield records


def _counts(reader: Reader, sessionizers: list[Sessionizer]) -> dict[str, int]:
    """What reader and sessionizers counted, in one."""
    total = Counter(reader.counts)
    for each in sessionizers:
        total.update(each.counts | {"long_sessions": each.grouping.long, "cut_messages": each.grouping.messages_cut})
    return dict(total)


def _grouped(batches: Iterator[pl.DataFrame], settings: PrepareSection) -> tuple[list[Sessionizer], list[pl.DataFrame]]:
    """All sessions of the records."""
    grouping = sessionizer(settings.sessions)
    pieces = [grouping.push(records) for records in batches]
    return [grouping], [*pieces, grouping.flush()]


def _cut_then_windowed(batches: Iterator[pl.DataFrame], settings: PrepareSection) -> tuple[list[Sessionizer], list[pl.DataFrame]]:
    """Windows of the first records and windows of the last, so that none reaches across the split."""
    records = pl.concat(list(batches))
    cut = records.height - number_of(records.height, settings.split.test)
    sessionizers = [sessionizer(settings.sessions), sessionizer(settings.sessions, first=cut + 1)]
    pieces = []
    for grouping, piece in zip(sessionizers, (records.head(cut), records.slice(cut)), strict=True):
        pieces.append(pl.concat([grouping.push(piece), grouping.flush()]))
    return sessionizers, pieces


def _parts(sessions: pl.DataFrame, settings: PrepareSection, *, cut: int | None) -> dict[str, pl.DataFrame]:
    """Labelled sessions divided, or all where none is labelled; `cut` is where a division that is already made lies."""
    labelled = sessions.with_row_index("place")
    if sessions["anomalous"].null_count() < sessions.height:
        labelled = labelled.filter(pl.col("anomalous").is_not_null())
    split = settings.split
    generator = np.random.default_rng(split.seed)
    if cut is not None:
        train, test = labelled.filter(pl.col("place") < cut), labelled.filter(pl.col("place") >= cut)
    elif split.by == "time":
        train, test = last_share(labelled, split.test)
    else:
        train, test = random_share(labelled, split.test, generator=generator)
    if split.by == "time":
        train, validation = last_share(train, split.validation)
    else:
        train, validation = random_share(train, split.validation, generator=generator)
    if cut is not None:
        train = without_overlap(train, validation)
    if not train.height:
        raise DataError(f"{labelled.height} sessions are too few to divide: none is left to train on; give more lines or smaller windows")
    return {name: part.drop("place") for name, part in zip(PARTS, (train, validation, test), strict=True)}


def _figures(sessions: pl.DataFrame) -> dict[str, int]:
    """Counts of some sessions."""
    return {
        "sessions": sessions.height,
        "anomalous": int(sessions["anomalous"].sum() or 0),
        "distinct_sessions": sessions["messages"].n_unique() if sessions.height else 0,
    }


def _warnings(parts: dict[str, pl.DataFrame], counts: dict[str, int], *, settings: PrepareSection) -> list[str]:
    """What a person should know before training on this."""
    warnings = []
    for name, share in (("train", 1.0), ("validation", settings.split.validation), ("test", settings.split.test)):
        kinds = parts[name]["anomalous"].unique().drop_nulls().to_list()
        if not parts[name].height and share:
            warnings.append(f"the {name} part is empty")
        elif len(kinds) == 1:
            warnings.append(f"the {name} part holds only {'anomalous' if kinds[0] else 'normal'} sessions")
    told = {
        "overlapping": "sessions of the train part reach into the validation part and are in no part: is the log in the order of time?",
        "rejected_alerts": "lines with an alert label did not parse and are in no session",
        "unlabelled": "sessions have no label and are in no part",
        "keyless": "records name no key and are in no session",
        "timeless": "records have no time that could be read",
        "late": "records came after their window had closed and are in no session; sort the log by time",
        "replaced_characters": "characters were no text and have been replaced",
        "cut_lines": "lines were too long and have been cut",
    }
    if all(part["anomalous"].null_count() == part.height for part in parts.values()):
        warnings.append("no session has a label, which training needs: --labels FILE.csv, or --label FIELD where lines carry them")
        del told["unlabelled"]
    warnings += [f"{counts[name]:,} {text}" for name, text in told.items() if counts.get(name)]
    if settings.split.by == "random" and (settings.sessions.step or settings.sessions.size) < settings.sessions.size:
        warnings.append("windows overlap and are divided at random: parts share lines")
    return warnings


def _why_no_sessions(settings: PrepareSection, *, sessions: Sessionizer, records: int) -> str:
    """The error for records of which not one is in a session."""
    if sessions.counts.get("keyless"):
        sought = settings.sessions.key_pattern or settings.sessions.key_field
        return f"none of the {records:,} records names a key ({sought}): another key, or windows (--window)"
    return f"none of the {records:,} records has a time: windows by count (--window), or a format that says where times are"


def _named(name: str, *, shown: str) -> dict[str, Any]:
    """A file as the manifest names it: without its folder, which may be anywhere."""
    return {"name": shown, "bytes": None if name == STDIN else Path(name).stat().st_size}


def _write(out: Path, frames: dict[str, pl.DataFrame], *, manifest: Manifest, force: bool) -> None:
    """Write the folder; the manifest, which gains the files' hashes, is last."""
    with new_folder(out, force=force) as folder:
        manifest["files"] = {}
        for name, frame in frames.items():
            path = folder / f"{name}.parquet"
            write_atomic(path, lambda place, frame=frame: frame.write_parquet(place, row_group_size=_ROW_GROUP))  # type: ignore[misc]
            manifest["files"][path.name] = {"sha256": sha256(path), "bytes": path.stat().st_size}
        manifest["fingerprint"] = fingerprint(frames)
        write_atomic(folder / MANIFEST, (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
