"""Files and folders that are either whole or not there."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polars.exceptions import PolarsError
from safetensors import SafetensorError

from logllm.errors import DataError

MANIFEST = "manifest.json"
"""The file that says what a folder holds; written last."""
KINDS = {
    "data": "prepared data",
    "folds": "folds",
    "run": "a run",
    "bundle": "an exported run",
    "baseline": "a baseline",
    "report": "a report",
}
"""What a folder of logllm's holds, by its manifest's `kind`; a bundle's manifest is that of its run."""


def cache() -> Path:
    """The folder of what is fetched or made once: `LOGLLM_CACHE`, else `logllm` in the user's cache."""
    chosen = os.environ.get("LOGLLM_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "logllm"


def write_atomic(path: Path, content: bytes | Callable[[Path], None]) -> None:
    """Write a file under a temporary name beside it, flush it to disk, and rename it.

    Its permissions are those of a file that is plainly opened under the umask, whoever writes it.

    Args:
        path: The file; an existing one is replaced.
        content: The bytes, or what writes them to the path it is given.

    Raises:
        DataError: the place is full, not writable, or not there; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with explained(path):
            if isinstance(content, bytes):
                temporary.write_bytes(content)
            else:
                content(temporary)
                honour_umask(temporary)
            _flush(temporary)
            temporary.replace(path)
            _flush(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write one JSON object, as `write_atomic` does."""
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def sha256(path: Path) -> str:
    """A file's SHA-256 in hexadecimal digits.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise DataError(f"{path} cannot be read: {exc.strerror}") from exc


def check_replaceable(folder: Path, *, force: bool, kind: str = "data") -> None:
    """Whether a folder may be made here.

    Args:
        folder: The place.
        force: Replace a folder of the same kind.
        kind: What is to be made, and the one thing that is replaced (`KINDS`).

    Raises:
        DataError: something is here and `force` is off, or it is of another kind or no folder of logllm's: these are never replaced.
    """
    with explained(folder):
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return
        held = _kind(folder)
    if held is None:
        raise DataError(f"{folder} is not a folder that logllm wrote; choose another place")
    if held != kind:
        raise DataError(f"{folder} holds {KINDS[held]}, which is not replaced by {KINDS[kind]}; choose another place")
    if not force:
        raise DataError(f"{folder} exists; choose another place, or replace it with --force")


@contextmanager
def new_folder(folder: Path, *, force: bool, kind: str = "data") -> Iterator[Path]:
    """A folder to fill that appears under its name only when all went well; with `force` it replaces an older one of its `kind`.

    A folder that is there stays the folder it is, whoever is in it or links to it: what it holds is replaced. What is new has the
    permissions that the umask gives, whichever library wrote it.

    Raises:
        DataError: see `check_replaceable`; or the place is full or not writable, and then nothing is left behind.
    """
    check_replaceable(folder, force=force, kind=kind)
    with explained(folder):
        place = folder.resolve()
    temporary, aside = (place.with_name(f".{place.name}.{os.getpid()}.{ending}") for ending in ("tmp", "old"))
    try:
        with explained(folder):
            temporary.mkdir(parents=True)
            yield temporary
            honour_umask(temporary)
            _flush(temporary)
            check_replaceable(folder, force=force, kind=kind)
            if place.exists():
                _refill(place, temporary, aside=aside)
            else:
                temporary.replace(place)
            _flush(place.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def honour_umask(path: Path) -> None:
    """Give a file, or a folder and all it holds, the permissions that `open` and `mkdir` give here.

    Some libraries write under a temporary name that only its owner may read, and rename it: safetensors
    does, and with it PEFT and transformers. A run that one user trained could then not serve under
    another. What plain creation gives is looked up with a probe beside the path: to read the umask
    itself one must set it, for every thread at once.
    """
    probe = path.parent / f".{secrets.token_hex(8)}.probe"
    try:
        probe.mkdir()
        inner = probe / "file"
        inner.touch()
        of_folders, of_files = (stat.S_IMODE(made.stat().st_mode) for made in (probe, inner))
    finally:
        shutil.rmtree(probe, ignore_errors=True)

    for written in [path, *(path.rglob("*") if path.is_dir() else [])]:
        wanted = of_folders if written.is_dir() else of_files
        if not written.is_symlink() and stat.S_IMODE(written.stat().st_mode) != wanted:
            written.chmod(wanted)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says about a write into an error that says what to do.

    Raises:
        DataError: instead of an OSError, also where Polars or safetensors wraps one.
    """
    try:
        yield
    except (OSError, PolarsError, SafetensorError) as exc:
        wrapped = re.search(r"\(os error (\d+)\)", str(exc))  # how libraries written in Rust say it
        number = exc.errno if isinstance(exc, OSError) else wrapped and int(wrapped[1])
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(exc):
            raise DataError(f"the disk that holds {path} is full: free some space or choose another place") from exc
        if isinstance(exc, OSError):
            raise DataError(f"{path} cannot be written: {exc.strerror or exc}") from exc
        if number is not None:
            raise DataError(f"{path} cannot be written: {os.strerror(number)}") from exc
        raise


def _kind(folder: Path) -> str | None:
    """What a folder holds (`KINDS`); nothing where it has no manifest of logllm's."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(manifest, dict) or "version" not in manifest:
        return None
    kind = "bundle" if "bundle" in manifest else manifest.get("kind")
    return kind if isinstance(kind, str) and kind in KINDS else None


def _refill(folder: Path, fresh: Path, *, aside: Path) -> None:
    """Put what a fresh folder holds in place of what a folder holds, which goes aside; where that fails, it comes back."""
    aside.mkdir()
    _move(folder, aside, manifest_first=True)
    try:
        _move(fresh, folder, manifest_first=False)
    except OSError:
        _move(aside, folder, manifest_first=False)
        raise
    _flush(folder)


def _move(source: Path, target: Path, *, manifest_first: bool) -> None:
    """Move all that a folder holds, or nothing; the manifest, which vouches for the rest, is the first to go and the last to come."""
    moved: list[tuple[Path, Path]] = []
    try:
        for path in sorted(source.iterdir(), key=lambda path: (path.name == MANIFEST) != manifest_first):
            moved.append((path, path.replace(target / path.name)))
    except OSError:
        for before, after in moved:
            after.replace(before)
        raise


def flush_all(folder: Path) -> None:
    """Flush all that a folder holds to disk."""
    for path in (folder, *folder.rglob("*")):
        _flush(path)


def _flush(path: Path) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
