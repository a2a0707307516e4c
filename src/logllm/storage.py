"""Files and folders that are whole or not there; locks; hashes."""

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
from threading import get_ident
from typing import Any

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
    "verdicts": "a report of verdicts",
}
"""What a folder of logllm's holds, by its manifest's `kind`; a bundle's manifest is that of its
run."""
_HASHES = "hashes.json"
"""File in the cache of the hashes that are remembered."""
_MOST_HASHES = 1000
"""Files whose hashes are remembered; the one longest known goes first."""


def cache() -> Path:
    """The folder of what is fetched or made once.

    The variable `LOGLLM_CACHE` names it; else it is `logllm` in the user's cache.
    """
    chosen = os.environ.get("LOGLLM_CACHE")
    if chosen:
        return Path(chosen)
    of_user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(of_user) / "logllm"


def write_atomic(path: Path, content: bytes | Callable[[Path], None]) -> None:
    """Write a file under a temporary name beside it, flush it to disk, and rename it.

    Its permissions are those of a file that is plainly opened under the umask, whoever writes it.

    Args:
        path: The file; an existing one is replaced.
        content: The bytes, or what writes them to the path it is given.

    Raises:
        DataError: the place is full, not writable, or not there; nothing is left behind.
    """
    # To disk before it has its name: after a loss of power the name would stand for an empty file.
    # In the same folder: only within one file system is a rename all or nothing.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with explained(path):
            if isinstance(content, bytes):
                temporary.write_bytes(content)
            else:
                content(temporary)
                honour_umask(temporary)
            flush(temporary)
            temporary.replace(path)
            flush(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write one JSON object, as `write_atomic` does."""
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def check_replaceable(folder: Path, *, force: bool, kind: str = "data") -> None:
    """Whether a folder may be made here.

    Args:
        folder: The place.
        force: Replace a folder of the same kind.
        kind: What is to be made, and the one thing that is replaced (`KINDS`).

    Raises:
        DataError: something is here and `force` is off, or it is of another kind or no folder of
            logllm's: these are never replaced.
    """
    with explained(folder):
        # Only what logllm wrote is ever removed.
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return
        present = _kind(folder)
    if present is None:
        raise DataError(f"{folder} is not a folder that logllm wrote; choose another place")
    if present != kind:
        raise DataError(
            f"{folder} holds {KINDS[present]}, which is not replaced by {KINDS[kind]}; choose"
            " another place"
        )
    if not force:
        raise DataError(f"{folder} exists; choose another place, or replace it with --force")


@contextmanager
def new_folder(folder: Path, *, force: bool, kind: str = "data") -> Iterator[Path]:
    """A folder to fill, which appears under its name only when all went well.

    With `force` it replaces an older one of its `kind`: that folder stays the folder it is, whoever
    is in it or links to it, and what it holds is replaced. What is new has the permissions that the
    umask gives, whichever library wrote it.

    Raises:
        DataError: see `check_replaceable`; or the place is full or not writable, and then nothing
            is left behind.
    """
    # Before the work and after it: somebody else may have made the folder meanwhile.
    check_replaceable(folder, force=force, kind=kind)
    with explained(folder):
        place = folder.resolve()
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    aside = place.with_name(f".{place.name}.{os.getpid()}.old")
    try:
        with explained(folder):
            temporary.mkdir(parents=True)
            yield temporary
            honour_umask(temporary)
            flush(temporary)
            # Hours may have passed, and somebody else may have written there.
            check_replaceable(folder, force=force, kind=kind)
            if place.exists():
                _refill(place, temporary, aside=aside)
            else:
                temporary.replace(place)
            flush(place.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def locked(lock: Path, *, before_waiting: Callable[[], None] | None = None) -> Iterator[bool]:
    """Hold a file that one process at a time can hold, inside a `with` block.

    The system ends the hold when the process ends, however it ends. If it has begun commands that
    share its open files, the hold ends with the last of them.

    Args:
        lock: the file; it stays.
        before_waiting: called where another process holds the file, which is then waited for; none:
            nothing is waited for.

    Returns:
        Whether the file is held.

    Raises:
        DataError: the file cannot be made.
    """
    from filelock import FileLock, Timeout  # which takes longer to import than to lock

    hold = FileLock(lock, on_acquired=lambda handle: os.set_inheritable(handle, True))
    with explained(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            hold.acquire(blocking=False)
        except Timeout:
            if before_waiting is not None:
                before_waiting()
                hold.acquire()
    try:
        yield hold.is_locked
    finally:
        hold.release()


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


def remembered_sha256(file: Path, *, full: bool = False) -> str:
    """A file's SHA-256 in hexadecimal digits, remembered in the cache while the file is the same.

    Nothing depends on the memory: if it is damaged, or cannot be read or written, files are read.
    Several processes may use it at once; of two that write at the same time, one may be forgotten.

    Args:
        file: what is asked for.
        full: read the file in any case.

    Raises:
        DataError: the file cannot be read.
    """
    name, state = str(file.resolve()), _state(file)
    try:
        remembered = json.loads((cache() / _HASHES).read_bytes())[name]
        digest = remembered["sha256"]
        if not full and remembered["state"] == state and isinstance(digest, str):
            return digest
    except (OSError, ValueError, LookupError, TypeError):
        pass  # what cannot be read says nothing
    digest = sha256(file)
    if state is not None and _state(file) == state:  # nobody wrote to it meanwhile
        _remember(name, {"state": state, "sha256": digest})
    return digest


def fingerprint(folder: Path, *, full: bool = False) -> str:
    """What a base model is known by: a SHA-256 in hexadecimal digits.

    It is taken over the names and contents of its weight files, its configuration and its
    tokenizer. A file's hash is remembered in the cache, and taken from there while the file's size,
    time of change and inode are the same.

    Args:
        folder: the model's.
        full: read every file, whatever is remembered.
    """
    digest = hashlib.sha256()
    # What decides what it computes; its card and its licence do not.
    files = [*folder.glob("*.safetensors"), folder / "config.json", *folder.glob("tokenizer.json")]
    for file in sorted(files):
        of_file = remembered_sha256(file, full=full)
        digest.update(f"{file.name} {of_file}\n".encode())
    return digest.hexdigest()


def honour_umask(path: Path) -> None:
    """Give a file, or a folder and all it holds, the permissions that `open` and `mkdir` give here.

    Some libraries write under a temporary name that only its owner may read, and rename it:
    safetensors does, and with it PEFT and transformers. A run that one user trained could then not
    serve under another. What plain creation gives is looked up with a probe beside the path: to
    read the umask itself one must set it, for every thread at once.
    """
    probe = path.parent / f".{secrets.token_hex(8)}.probe"
    try:
        probe.mkdir()
        inner = probe / "file"
        inner.touch()
        of_folders = stat.S_IMODE(probe.stat().st_mode)
        of_files = stat.S_IMODE(inner.stat().st_mode)
    finally:
        shutil.rmtree(probe, ignore_errors=True)

    inside = path.rglob("*") if path.is_dir() else []
    for written in [path, *inside]:
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
        # Libraries written in Rust wrap the system's error in a text: "... (os error 28)".
        wrapped = re.search(r"\(os error (\d+)\)", str(exc))
        number = exc.errno if isinstance(exc, OSError) else wrapped and int(wrapped[1])
        is_full = number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(exc)
        if is_full:
            raise DataError(
                f"the disk that holds {path} is full: free some space or choose another place"
            ) from exc
        if isinstance(exc, OSError):
            raise DataError(f"{path} cannot be written: {exc.strerror or exc}") from exc
        if number is not None:
            raise DataError(f"{path} cannot be written: {os.strerror(number)}") from exc
        raise


def _kind(folder: Path) -> str | None:
    """What a folder holds (`KINDS`); none if it has no manifest of logllm's."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(manifest, dict) or "version" not in manifest:
        return None
    kind = "bundle" if "bundle" in manifest else manifest.get("kind")
    return kind if isinstance(kind, str) and kind in KINDS else None


def _refill(folder: Path, fresh: Path, *, aside: Path) -> None:
    """Put what a fresh folder holds in place of what a folder holds, which goes aside.

    If that fails, what the folder held comes back.
    """
    # The folder itself stays, since somebody may stand in it; what it holds is exchanged.
    aside.mkdir()
    _move(folder, aside, manifest_first=True)
    try:
        _move(fresh, folder, manifest_first=False)
    except OSError:
        _move(aside, folder, manifest_first=False)
        raise
    flush(folder)


def _move(source: Path, target: Path, *, manifest_first: bool) -> None:
    """Move all that a folder holds, or nothing.

    The manifest, which vouches for the rest, is the first to go and the last to come.
    """
    moved: list[tuple[Path, Path]] = []
    try:
        # A folder without its manifest is known to be unfinished, whenever the machine stops.
        in_order = sorted(
            source.iterdir(), key=lambda path: (path.name == MANIFEST) != manifest_first
        )
        for path in in_order:
            place = path.replace(target / path.name)
            moved.append((path, place))
    except OSError:
        for before, after in moved:
            after.replace(before)
        raise


def flush(*paths: Path) -> None:
    """Flush files and folders to disk; of a folder its list of names, not what the files hold."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _state(file: Path) -> list[int] | None:
    """What changes when a file does: size, time, inode and device.

    It is none if the file system does not tell.
    """
    try:
        status = file.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev]


def _remember(name: str, entry: dict[str, Any]) -> None:
    """Remember one more file's hash, whole or not at all; damaged entries of others are dropped."""
    path = cache() / _HASHES
    remembered: dict[str, Any] = {}
    with suppress(OSError, ValueError, AttributeError):
        written = json.loads(path.read_bytes())
        for other, entry_of_other in written.items():
            if isinstance(entry_of_other, dict) and other != name:
                remembered[other] = entry_of_other
    # Last, and so the latest: of too many the first ones go. A model that nobody has loaded for
    # long is hashed once more when it is.
    remembered[name] = entry
    latest = list(remembered.items())[-_MOST_HASHES:]
    lines = json.dumps(dict(latest), indent=1)
    # Threads and processes may write at the same time: each has a file of its own until the end.
    owner = f"{os.getpid()}-{get_ident()}"
    temporary = path.with_name(f".{path.name}.{owner}.tmp")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(lines, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
