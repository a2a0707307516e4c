"""A file on a server to a file here, going on where an earlier process stopped."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from logllm.datasets.transfer import BLOCK, REMEDY, Transfer
from logllm.errors import DataError
from logllm.storage import explained, write_atomic


def download(transfer: Transfer, part: Path, *, md5: str | None = None) -> None:
    """Fetch a whole file, going on where an earlier process stopped.

    Args:
        transfer: The file, not yet begun.
        part: Where to put it; beside it, `<part>.json` says what it is a part of.
        md5: What its MD5 must be.

    Raises:
        DataError: see `Transfer.read`; or the MD5 is another, and then the part is deleted; or the disk is full.
    """
    about = _about(part)
    with explained(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        known = _part_of(about)
        same = known.get("url") == transfer.url and transfer.size in (None, known.get("size"))
        if same and part.is_file() and part.stat().st_size <= (known.get("size") or part.stat().st_size):
            transfer.size = known.get("size")
            transfer.resume(part, version=known.get("version"))
        else:
            part.unlink(missing_ok=True)
    try:
        transfer.open()
        with explained(part):
            write_atomic(about, json.dumps({"url": transfer.url, "size": transfer.size, "version": transfer.version}).encode())
            with part.open("ab") as file:
                while block := transfer.read(BLOCK):
                    file.write(block)
        if md5 is not None:
            check_md5(transfer, md5)
    finally:
        transfer.close()
        if transfer.changed:
            forget(part)


def check_md5(transfer: Transfer, md5: str) -> None:
    """Whether all that was transferred is what was published.

    Raises:
        DataError: it is not; the transfer then counts as changed.
    """
    if transfer.md5 != md5:
        transfer.changed = True
        raise DataError(
            f"{transfer.url} is damaged: its {transfer.at:,} bytes have the MD5 {transfer.md5}, published is {md5}; nothing of it has been "
            f"kept: run it again, or {REMEDY}"
        )


def forget(part: Path) -> None:
    """Delete what has been fetched of a file, and what is said of it."""
    part.unlink(missing_ok=True)
    _about(part).unlink(missing_ok=True)


def _about(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _part_of(about: Path) -> dict[str, Any]:
    """What a part is a part of, as written beside it; nothing where that cannot be read."""
    with suppress(OSError, ValueError):
        found = json.loads(about.read_bytes())
        return found if isinstance(found, dict) else {}
    return {}
