"""What a base model is known by: one hash over its files, remembered as long as the files stay as they are."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from typing import Any

from logllm.storage import cache, sha256

_MEMORY = "hashes.json"
_MOST = 1000
"""Files remembered; the one longest known goes first."""


def fingerprint(folder: Path, *, full: bool = False) -> str:
    """SHA-256 over the names and contents of a model's weight files and configuration.

    A file's hash is remembered in the cache, and taken from there while its size, its time of change and its inode are the same.

    Args:
        folder: the model's.
        full: read every file, whatever is remembered.
    """
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), folder / "config.json", *folder.glob("tokenizer.json")]):
        digest.update(f"{file.name} {remembered_sha256(file, full=full)}\n".encode())
    return digest.hexdigest()


def remembered_sha256(file: Path, *, full: bool = False) -> str:
    """A file's SHA-256 in hexadecimal digits, read only where it is not known or the file has changed.

    Nothing depends on the memory: where it is damaged, or cannot be read or written, files are read. Several processes may use it at
    once; of two that write at the same time one may be forgotten.

    Args:
        file: what is asked for.
        full: read the file in any case.

    Raises:
        DataError: the file cannot be read.
    """
    name, state = str(file.resolve()), _state(file)
    remembered = _recall()
    if not full and state is not None and remembered.get(name, {}).get("state") == state:
        digest = remembered[name].get("sha256")
        if isinstance(digest, str):
            return digest
    digest = sha256(file)
    if state is not None and _state(file) == state:  # nobody wrote to it meanwhile
        _remember(name, {"state": state, "sha256": digest})
    return digest


def _state(file: Path) -> list[int] | None:
    """What changes when a file does: size, time, inode and device; none where the file system does not tell."""
    try:
        status = file.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev]


def _recall() -> dict[str, dict[str, Any]]:
    """All that is remembered, by the files' full names."""
    try:
        remembered = json.loads((cache() / _MEMORY).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(remembered, dict):
        return {}
    return {name: entry for name, entry in remembered.items() if isinstance(entry, dict)}


def _remember(name: str, entry: dict[str, Any]) -> None:
    """Write one more file down, whole or not at all."""
    remembered = _recall()
    remembered.pop(name, None)
    remembered[name] = entry
    lines = json.dumps(dict(list(remembered.items())[-_MOST:]), indent=1)
    path = cache() / _MEMORY
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}.tmp")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(lines, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
