"""Public data sets on this machine.

Each is fetched once and kept as compressed lines; where the paper uses a slice, the slice alone is.

`here` says what has been fetched, `announced` what fetching would cost, `fetch` does it. In the
cache lie:

    datasets/hdfs/hdfs.log.zst         the lines
    datasets/hdfs/anomaly_label.csv    labels of sessions, where they are a file of their own
    datasets/hdfs/source.json          where all of it came from
    datasets/HDFS_v1.zip.part          a zip archive being fetched; beside it `.part.json`
"""

import json
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, cast

import zstandard

from logllm.datasets.published.public import Dataset
from logllm.datasets.published.slices import Kept, Slice, keep
from logllm.datasets.published.transfer import (
    BLOCK,
    REMEDY,
    Patience,
    Transfer,
    check_md5,
    download,
    forget,
)
from logllm.errors import DataError
from logllm.logs.archives import Bytes, Counted, unpack
from logllm.progress import Progress
from logllm.storage import cache, explained, locked, new_folder, write_json

_ABOUT = "source.json"
_DAMAGE = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    tarfile.TarError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Source:
    """A data set that is here."""

    log: Path
    """Its lines, those of the slice alone."""
    labels: Path | None
    """Labels of its sessions; none: the lines carry them."""
    about: dict[str, Any]
    """`source.json`: `name, url, bytes, md5` (none where it was not read to its end),
    `published_md5, start, stop, lines, sha256` (of the lines), `files` (bytes of each), `date,
    terms, cite`."""


def here(dataset: Dataset) -> Source | None:
    """The data set if it has been fetched already.

    Raises:
        DataError: what is here is not what was fetched, or another slice.
    """
    folder = _folder(dataset)
    if not folder.exists():
        return None
    # Whatever is wrong with what is here, such as a file that somebody has cut, it is fetched anew.
    try:
        about = json.loads((folder / _ABOUT).read_bytes())
        sizes = {name: (folder / name).stat().st_size for name in about["files"]}
        same_slice = all(about[name] == value for name, value in _wanted(dataset).items())
        if sizes != about["files"] or not same_slice:
            raise ValueError(f"{_ABOUT} says {about['files']}, there are {sizes}")
    except (OSError, ValueError, LookupError, TypeError) as exc:
        raise DataError(
            f"{folder} does not hold {dataset.name} as it was fetched ({exc}): delete the folder"
            " and run it again"
        ) from exc
    return _source(dataset, about)


def announced(dataset: Dataset, *, patience: Patience | None = None) -> int | None:
    """Bytes that `fetch` would transfer, at most; none where the server does not say.

    Raises:
        DataError: no network, or no such file.
    """
    transfer = Transfer(address(dataset), size=dataset.bytes, patience=patience or Patience())
    transfer.open()
    transfer.close()
    if transfer.size is None:
        return None
    # What an interrupted fetch has left goes on from there.
    part = _part(dataset)
    fetched = part.stat().st_size if part.is_file() else 0
    return max(0, transfer.size - fetched)


def fetch(
    dataset: Dataset, *, progress: Progress | None = None, patience: Patience | None = None
) -> Source:
    """The data set from the cache, or fetched into it.

    A zip archive, whose list of files is at its end, goes to a part file that a later process goes
    on with. Other archives are read as they come and nothing is written but the slice; after it the
    rest is read only where there is a checksum to compare.

    Raises:
        DataError: it cannot be fetched, is damaged, or there is no room; or another process is
            fetching it.
    """
    folder = _folder(dataset)
    patience = patience or Patience()
    transfer = Transfer(address(dataset), size=dataset.bytes, patience=patience, progress=progress)
    with locked(folder.parent / f".{folder.name}.lock") as ours:
        if not ours:
            raise DataError(
                f"{folder.name} is being fetched into {folder.parent} by another process: wait"
                " for it"
            )
        source = here(dataset)
        if source is not None:
            return source
        # What a process left that was killed: no other one is at work here, as we hold the lock.
        for left in folder.parent.glob(f".{folder.name}.*.tmp"):
            shutil.rmtree(left, ignore_errors=True)
        try:
            with new_folder(folder, force=False) as fresh, _explained(transfer):
                take = _from_zip if dataset.kind == "zip" else _from_stream
                log = take(dataset, transfer, folder=fresh)
                sizes = {file.name: file.stat().st_size for file in sorted(fresh.iterdir())}
                about = _about(dataset, transfer) | {**log._asdict(), "files": sizes}
                write_json(fresh / _ABOUT, about)
        finally:
            transfer.close()
        # Only now: while the folder is not whole, a later process goes on with the part file.
        forget(_part(dataset))
        return _source(dataset, about)


def address(dataset: Dataset) -> str:
    """Where a data set is fetched from.

    It is `LOGLLM_DATASETS`, a folder or an address that has the archives, where that is set; else
    the data set's own server.
    """
    # For machines without a way out, and for tests.
    mirror = os.environ.get("LOGLLM_DATASETS")
    if not mirror:
        return dataset.url
    base = mirror if "://" in mirror else Path(mirror).resolve().as_uri()
    return f"{base.rstrip('/')}/{PurePosixPath(dataset.url).name}"


def _from_zip(dataset: Dataset, transfer: Transfer, *, folder: Path) -> Kept:
    """Fetch a zip archive and take its log and its labels."""
    part = _part(dataset)
    download(transfer, part, md5=dataset.md5)
    with zipfile.ZipFile(part) as archive:
        # An archive may have its files in a folder: they are known by their names alone.
        infos = archive.infolist()
        names = [info.filename for info in infos if not info.is_dir()]
        if dataset.labels is not None:
            labels = folder / dataset.labels
            labels_file = _member(names, dataset.labels)
            with archive.open(labels_file) as member, explained(labels), labels.open("wb") as sink:
                shutil.copyfileobj(member, sink)
        with archive.open(_member(names, dataset.log)) as log:
            return keep(log, folder / _log(dataset), lines=Slice(dataset.start, dataset.stop))


def _from_stream(dataset: Dataset, transfer: Transfer, *, folder: Path) -> Kept:
    """Take the slice of a log as its archive comes."""
    plain, _ = unpack(Counted(transfer))
    log = _untarred(plain, dataset.log) if dataset.kind == "tar" else plain
    kept = keep(log, folder / _log(dataset), lines=Slice(dataset.start, dataset.stop))
    # What lies behind the slice is read for the checksum's sake alone.
    if dataset.md5 is not None:
        while transfer.read(BLOCK):
            pass
        check_md5(transfer, dataset.md5)
    return kept


def _untarred(plain: Bytes, log: str) -> Bytes:
    """One file of a tar archive that is read once, from front to back."""
    # It ends with the stream.
    archive: Any = tarfile.open(fileobj=cast(Any, plain), mode="r|", bufsize=BLOCK)  # noqa: SIM115
    names: list[str] = []
    for info in archive:
        names.append(info.name)
        if info.isfile() and PurePosixPath(info.name).name == log:
            return cast(Bytes, archive.extractfile(info))
    raise _without(log, names)


def _member(names: Sequence[str], wanted: str) -> str:
    """The file of an archive that has a name, in whatever folder."""
    member = next((name for name in names if PurePosixPath(name).name == wanted), None)
    if member is None:
        raise _without(wanted, names)
    return member


def _without(wanted: str, names: Sequence[str]) -> DataError:
    return DataError(
        f"the archive holds no {wanted}: it holds {', '.join(names[:8]) or 'nothing'}; it is not"
        " the one expected"
    )


@contextmanager
def _explained(transfer: Transfer) -> Iterator[None]:
    """Say which archive is damaged."""
    try:
        yield
    except _DAMAGE as exc:
        size = "an unknown number of" if transfer.size is None else f"{transfer.size:,}"
        raise DataError(
            f"{transfer.url} is damaged or cut off ({exc}): {transfer.at:,} bytes of {size}"
            f" announced have been read; run it again, or {REMEDY}"
        ) from exc


def _wanted(dataset: Dataset) -> dict[str, Any]:
    """What must be the same for what is here to serve."""
    return {
        "name": dataset.name,
        "published_md5": dataset.md5,
        "start": dataset.start,
        "stop": dataset.stop,
    }


def _about(dataset: Dataset, transfer: Transfer) -> dict[str, Any]:
    """Where a data set came from."""
    # What is said of data names no place on a machine.
    url = dataset.url if transfer.url.startswith("file:") else transfer.url
    seen = {
        "url": url,
        "bytes": transfer.size,
        "bytes_read": transfer.at,
        "md5": transfer.md5 if transfer.ended else None,
    }
    published = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "terms": dataset.terms,
        "cite": dataset.cite,
    }
    return _wanted(dataset) | seen | published


def _source(dataset: Dataset, about: dict[str, Any]) -> Source:
    """The data set in its folder."""
    folder = _folder(dataset)
    labels = None if dataset.labels is None else folder / dataset.labels
    return Source(folder / _log(dataset), labels, about)


def _folder(dataset: Dataset) -> Path:
    return cache() / "datasets" / dataset.name


def _part(dataset: Dataset) -> Path:
    return cache() / "datasets" / f"{PurePosixPath(dataset.url).name}.part"


def _log(dataset: Dataset) -> str:
    return f"{dataset.name}.log.zst"
