"""Bytes of a file on a server, whole although the connection breaks off.

Fetching goes on where an earlier process stopped.
"""

import hashlib
import json
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

from logllm import __version__
from logllm.errors import DataError
from logllm.progress import Progress
from logllm.storage import explained, write_atomic

REMEDY = (
    "fetch it by other means and set LOGLLM_DATASETS to its folder, or unpack it and name the log"
    " with --raw"
)
BLOCK = 1 << 20
"""Bytes read at once."""
_LATER = {408, 425, 429, 500, 502, 503, 504}
_HOPELESS = (
    socket.gaierror,
    ConnectionRefusedError,
    FileNotFoundError,
    ssl.SSLCertVerificationError,
)


@dataclass(frozen=True)
class Patience:
    """How long to go on with a server that does not answer as it should."""

    tries: int = 6
    """Connections in a row that give nothing before it is an error; one that gives bytes starts the
    count again."""
    timeout: float = 60.0
    """Seconds without a byte that break a connection off."""
    sleep: Callable[[float], None] = time.sleep
    """Waits 1, 2, 4, ... seconds, 30 at most, between the tries."""


class Transfer:
    """A stream that connects again where it broke off, and never gives a byte of another file.

    It asks for the rest alone (`Range`, with `If-Range` where the server names a version). A server
    that sends all of it again is heard from the start, and what it repeats is compared by hash with
    what it gave before. `http`, `https` and `file` addresses.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int | None = None,
        patience: Patience,
        progress: Progress | None = None,
    ) -> None:
        """Nothing is fetched yet.

        Args:
            url: Where the file is.
            size: Its bytes, where they are known beforehand; another size is an error.
            patience: When to give up.
            progress: Told about once a megabyte.
        """
        self.url = url
        self.size = size
        """Bytes of the whole file; none where the server does not say."""
        self.at = 0
        """Bytes given."""
        self.version: str | None = None
        """What the server calls this version of the file: a strong ETag, else when it was
        changed."""
        self.changed = False
        """Whether an error says that the file is not the one it was."""
        self.ended = False
        """Whether the last byte has been given."""
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._patience = patience
        self._progress = progress
        self._told = 0
        self._failures = 0
        self._gave = False
        self._ranges = True
        self._response: Any = None

    @property
    def md5(self) -> str:
        """MD5 of the bytes given so far."""
        return self._md5.hexdigest()

    def open(self) -> None:
        """Connect, so that `size` and `version` are known.

        Raises:
            DataError: no network, no such file, or another file than before.
        """
        while self._response is None and not self.ended:
            self._connect()

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, fewer if fewer are there yet; none at the end.

        Raises:
            DataError: the server stays away, refuses, changed the file or does not give what it
                announced.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(BLOCK), b""))
        fault: Exception | None
        while size and not self.ended:
            self.open()
            # Never more than is still missing: a server may send on what is of no file of ours.
            left = size if self.size is None else min(size, self.size - self.at)
            block, fault = b"", None
            try:
                block = b"" if self.ended else self._response.read1(left)
            except (
                IncompleteRead
            ) as exc:  # of a length that was not announced, a piece came before the fault
                block, fault = exc.partial, exc
            except (OSError, HTTPException) as exc:
                fault = exc
            if block:
                self._take(block)

            # A connection that ends before the announced length has broken off.
            ended_early = not block and self.size is not None and self.at < self.size
            if fault is not None or ended_early:
                self._broken(fault or EOFError("the connection ended"))
            elif self.at == self.size or (not block and self.size is None):
                self.ended = True
                self.close()
            if block:
                return block
        return b""

    def resume(self, file: Path, *, version: str | None) -> None:
        """Take what a file holds as given already, of the version that it was."""
        with file.open("rb") as stream:
            for block in iter(lambda: stream.read(BLOCK), b""):
                self._take(block)
        self.version = version
        self.ended = self.at == self.size

    def close(self) -> None:
        """Leave the server; reading on would connect again."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def _take(self, block: bytes) -> None:
        """Count what was given."""
        self._md5.update(block)
        self.at += len(block)
        self._gave = True
        # About once a megabyte: a bar that is drawn for each block costs more than the block.
        told_long_ago = self.at - self._told >= BLOCK
        if self._progress is not None and (told_long_ago or self.at == self.size):
            self._told = self.at
            self._progress(self.at, self.size or 0)

    def _connect(self) -> None:
        """Ask for what is missing, and see that it is of the same file."""
        headers = {"User-Agent": f"logllm/{__version__}", "Accept-Encoding": "identity"}
        # `If-Range` makes the server send all of it where the file is no longer that version.
        if self.at and self._ranges:
            headers["Range"] = f"bytes={self.at}-"
            if self.version is not None:
                headers["If-Range"] = self.version
        try:
            # The catalogue's address, or the user's own
            request = urllib.request.Request(self.url, headers=headers)  # noqa: S310
            seconds = self._patience.timeout
            self._response = urllib.request.urlopen(request, timeout=seconds)  # noqa: S310
        except HTTPError as exc:
            self._refused(exc)
        except (OSError, HTTPException) as exc:
            if not self.at and isinstance(exc, URLError) and isinstance(exc.reason, _HOPELESS):
                raise DataError(
                    f"{self.url} cannot be fetched ({exc.reason}): is there a network? Else"
                    f" {REMEDY}"
                ) from exc
            self._broken(exc)
        else:
            self._compare()

    def _refused(self, answer: HTTPError) -> None:
        """Whether an answer that is no file means the end, a pause, no ranges, or no hope."""
        answer.close()
        # 416: nothing lies behind what is here, which is whole if it is as long as the file.
        if answer.code == 416 and (total := _total(answer.headers)) is not None:
            self._check(total, answer.headers)
            self.ended = total == self.at
        if answer.code in _LATER:
            self._broken(answer)
        elif self.at and self._ranges:
            self._ranges = False  # asked next for all of it
        elif not self.ended:
            raise DataError(
                f"{self.url} cannot be fetched: the server answers {answer.code} {answer.reason};"
                f" {REMEDY}"
            ) from answer

    def _compare(self) -> None:
        """See that what the server sends goes on where it broke off."""
        headers = self._response.headers
        # 206 is what follows; anything else is the file from its start.
        if self._response.status != 206:
            self._check(_length(headers), headers)
            if self.at:
                self._repeat()
            return
        self._check(_total(headers), headers)
        if not headers.get("Content-Range", "").startswith(f"bytes {self.at}-"):
            self.close()
            raise DataError(
                f"{self.url} cannot be fetched: asked for the bytes from {self.at:,} on the server"
                f" sent others; {REMEDY}"
            )

    def _check(self, size: int | None, headers: Any) -> None:
        """Whether a response is of the file that it was before."""
        # A server that names no version and no size can only be believed.
        version = _version(headers)
        other_version = None not in (version, self.version) and version != self.version
        other_size = size is not None and (size < self.at or self.size not in (None, size))
        if other_version or other_size:
            self.changed = True
            self.close()
            announced = f"{size:,} bytes"
            if size is None or size == self.size:
                announced = "another version"
            expected = f"{self.at:,} have come already"
            if self.size is not None:
                expected = f"expected are {self.size:,}"
            raise DataError(
                f"{self.url} is not the file it should be: the server announces {announced},"
                f" {expected}; run it again, or {REMEDY}"
            )
        self.size = size if self.size is None else self.size
        self.version = version if self.version is None else self.version

    def _repeat(self) -> None:
        """Pass over what a server without ranges sends a second time; it must be what it was."""
        # Compared by hash, not byte by byte: what was given before is no longer here.
        seen, digest = 0, hashlib.md5(usedforsecurity=False)
        try:
            while seen < self.at:
                block = self._response.read1(min(BLOCK, self.at - seen))
                if not block:
                    break
                digest.update(block)
                seen += len(block)
        except (OSError, HTTPException) as exc:
            self._broken(exc)
            return
        if seen < self.at:
            self._broken(EOFError("the connection ended"))
        elif digest.digest() != self._md5.digest():
            self.changed = True
            self.close()
            raise DataError(
                f"{self.url} changed while it was fetched: its first {self.at:,} bytes are others"
                " now; run it again"
            )

    def _broken(self, fault: Exception) -> None:
        """Wait before the next try, or give up."""
        self.close()
        # One that gave bytes has not failed in vain: only tries that gave nothing count.
        self._failures = 0 if self._gave else self._failures + 1
        self._gave = False
        if self._failures >= self._patience.tries:
            size = "an unknown number of" if self.size is None else f"{self.size:,}"
            raise DataError(
                f"{self.url} breaks off: {self.at:,} of {size} bytes announced have come, and"
                f" {self._failures} tries in a row gave no more ({fault or type(fault).__name__});"
                f" run it again later, or {REMEDY}"
            ) from fault
        seconds = 2.0 ** max(0, self._failures - 1)
        self._patience.sleep(min(seconds, 30.0))


def _length(headers: Any) -> int | None:
    """The length that a whole answer announces."""
    written = headers.get("Content-Length", "")
    return int(written) if written.isdecimal() else None


def _total(headers: Any) -> int | None:
    """The length of the whole file that a part's answer announces."""
    match = re.search(r"/(\d+)$", headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _version(headers: Any) -> str | None:
    """A strong ETag, else the time of the last change; both serve as `If-Range`."""
    tag = headers.get("ETag", "W/")
    version = headers.get("Last-Modified") if tag.startswith("W/") else tag
    return None if version is None else str(version)


def download(transfer: Transfer, part: Path, *, md5: str | None = None) -> None:
    """Fetch a whole file, going on where an earlier process stopped.

    Args:
        transfer: The file, not yet begun.
        part: Where to put it; beside it, `<part>.json` says what it is a part of.
        md5: What its MD5 must be.

    Raises:
        DataError: see `Transfer.read`; or the MD5 is another, and then the part is deleted; or the
            disk is full.
    """
    about = _about(part)
    with explained(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        known = _part_of(about)
        # What is here is gone on with only if it is of the same file, and not longer than it.
        same = known.get("url") == transfer.url and transfer.size in (None, known.get("size"))
        fetched = part.stat().st_size if part.is_file() else None
        if same and fetched is not None and fetched <= (known.get("size") or fetched):
            transfer.size = known.get("size")
            transfer.resume(part, version=known.get("version"))
        else:
            part.unlink(missing_ok=True)
    try:
        transfer.open()
        with explained(part):
            origin = {"url": transfer.url, "size": transfer.size, "version": transfer.version}
            write_atomic(about, json.dumps(origin).encode())
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
            f"{transfer.url} is damaged: its {transfer.at:,} bytes have the MD5 {transfer.md5},"
            f" published is {md5}; nothing of it has been kept: run it again, or {REMEDY}"
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
        written = json.loads(about.read_bytes())
        return written if isinstance(written, dict) else {}
    return {}
