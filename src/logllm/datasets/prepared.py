"""Prepared data: what `prepare` wrote, verified."""

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.errors import DataError, first_line
from logllm.storage import MANIFEST, new_folder, sha256, write_atomic, write_json

Manifest = dict[str, Any]
"""What `manifest.json` says: see `logllm.datasets.prepare.prepare`."""

DATA_VERSION = 1
"""Version of the folder's layout."""
PARTS = ("train", "validation", "test")
"""Names of the parts."""
_ROW_GROUP = 100_000


class Prepared:
    """Train, validation and test sessions, their message table, and how they came about."""

    def __init__(self, folder: Path, *, manifest: Manifest, settings: PrepareSection) -> None:
        self.folder = folder
        """Where the data lies."""
        self.manifest = manifest
        """Counts, hashes and settings (`prepare`)."""
        self.settings = settings
        """What the data was prepared with."""
        self.messages: pl.Series = pl.read_parquet(folder / "messages.parquet")["message"]
        """Every distinct masked message; sessions refer to them by place."""

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Prepared data, every file compared with its hash in the manifest.

        Raises:
            DataError: not prepared data, of another version, or changed since.
        """
        # The manifest first: nothing else is read of a folder that is of another kind or version.
        folder = Path(folder)
        path = folder / MANIFEST
        if not path.is_file():
            raise DataError(
                f"{folder} is not prepared data (it has no {MANIFEST}): make it with logllm prepare"
            )
        try:
            manifest = json.loads(path.read_bytes())
        except OSError as exc:
            raise DataError(f"{path} cannot be read: {exc.strerror}") from exc
        except ValueError as exc:
            raise DataError(
                f"{path} is damaged: {first_line(exc)}; prepare the log again into another folder"
            ) from exc
        if not isinstance(manifest, dict) or manifest.get("kind") != "data":
            raise DataError(f"{folder} is not prepared data: its {MANIFEST} is of another kind")
        if manifest.get("version") != DATA_VERSION:
            raise DataError(
                f"{folder} has version {manifest.get('version')} of the layout, this logllm reads"
                f" {DATA_VERSION}: prepare it again"
            )
        # All files before any is used: a part that somebody replaced would give figures of nothing.
        for name, recorded in manifest["files"].items():
            if not (folder / name).is_file():
                raise DataError(f"{folder} has no {name}: prepare it again")
            if sha256(folder / name) != recorded["sha256"]:
                raise DataError(
                    f"{folder / name} has changed since it was prepared (its sha256 is another):"
                    " prepare it again"
                )
        settings = PrepareSection.read(manifest["settings"], source=str(path))
        return cls(folder, manifest=manifest, settings=settings)

    def part(self, name: str) -> pl.DataFrame:
        """The sessions of one part (`sessions.sessionizer.SESSIONS`), in the order of the log.

        The column `cut` is there only in data that was prepared with it.

        Raises:
            DataError: there is no such part.
        """
        if name not in PARTS:
            raise DataError(f"there is no part {name!r}: the parts are {', '.join(PARTS)}")
        return pl.read_parquet(self.folder / f"{name}.parquet")

    def labelled(self, name: str) -> pl.DataFrame:
        """As `part`, for those who need labels.

        Raises:
            DataError: there is no such part, or its sessions have no labels.
        """
        part = self.part(name)
        if part["anomalous"].null_count():
            raise DataError(
                f"{self.folder} was prepared without labels: prepare it again with --labels"
                " FILE.csv, a label for each session, or --label FIELD where the log's lines carry"
                " them"
            )
        return part


def part_figures(sessions: pl.DataFrame) -> dict[str, int]:
    """Counts of some sessions, as a manifest has them."""
    count = sessions.height
    anomalous = int(sessions["anomalous"].sum() or 0)
    distinct = sessions["messages"].n_unique() if count else 0
    return {"sessions": count, "anomalous": anomalous, "distinct_sessions": distinct}


def write_prepared(
    out: Path, frames: Mapping[str, pl.DataFrame], *, manifest: Manifest, force: bool
) -> None:
    """Write a folder of prepared data.

    The manifest, which gains the files' hashes and the fingerprint, is last.

    Args:
        out: the folder to make.
        frames: `train`, `validation`, `test`, and `messages` with the column `message`.
        manifest: what is said of them.
        force: replace prepared data that is there.

    Raises:
        DataError: the folder exists, or cannot be written.
    """
    with new_folder(out, force=force) as folder:
        # The manifest comes last: a folder without one is not whole.
        manifest["files"] = {}
        for name, frame in frames.items():
            path = folder / f"{name}.parquet"
            write = partial(frame.write_parquet, row_group_size=_ROW_GROUP)
            write_atomic(path, write)
            size = path.stat().st_size
            manifest["files"][path.name] = {"sha256": sha256(path), "bytes": size}
        # Over what the frames hold, not over the files: another release of Parquet writes other
        # bytes.
        manifest["fingerprint"] = fingerprint(frames)
        write_json(folder / MANIFEST, manifest)


def fingerprint(frames: Mapping[str, pl.DataFrame]) -> str:
    """SHA-256 over what frames hold but for the column `cut`.

    It is the same for the same sessions, however Parquet lays them out.

    >>> first = {"a": pl.DataFrame({"x": [[1], []]})}
    >>> second = {"a": pl.DataFrame({"x": [[], [1]]})}
    >>> fingerprint(first) == fingerprint(second)
    False
    """
    digest = hashlib.sha256()
    for name, frame in frames.items():
        # Whether a session was cut is a guess that later versions may make otherwise.
        for column in frame.drop("cut", strict=False).iter_columns():
            digest.update(f"{name} {column.name} {column.dtype} {len(column)}\n".encode())
            _update(digest, column)
    return digest.hexdigest()


def _update(digest: "hashlib._Hash", column: pl.Series) -> None:
    """Add a column: where it is null, how long its lists and texts are, and what they hold."""
    # A null and an empty value are not the same, though both hold nothing.
    value = column.alias("value").to_frame()
    is_null = pl.col("value").is_null()
    nulls = value.select(is_null.cast(pl.UInt8)).to_series()
    digest.update(nulls.to_numpy().tobytes())
    # Lengths before contents: `["ab", "c"]` and `["a", "bc"]` hold the same letters.
    if isinstance(column.dtype, pl.List):
        lengths = column.list.len()
        digest.update(lengths.fill_null(0).to_numpy().tobytes())
        _update(digest, column.filter(lengths > 0).explode())
    elif column.dtype == pl.String:
        length = pl.col("value").str.len_bytes()
        lengths = value.select(length.fill_null(0)).to_series()
        digest.update(lengths.to_numpy().tobytes())
        text = column.str.join("").item() or ""
        digest.update(text.encode())
    else:
        numbers = column.to_physical().cast(pl.Int64)
        digest.update(numbers.fill_null(0).to_numpy().tobytes())
