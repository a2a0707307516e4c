"""Logs behind URLs, such as `s3://logs/app.log.gz`: any file system that fsspec knows."""

import re
from typing import Any, cast

from logllm.errors import DataError, first_line
from logllm.logs.archives import Bytes

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_MAGIC = re.compile(r"[*?[]")


def is_url(name: str) -> bool:
    r"""Whether an input is named by a URL; a drive's letter is no scheme.

    >>> is_url("s3://logs/app.log"), is_url("logs/app.log"), is_url("C:\\\\logs"), is_url("-")
    (True, False, False, False)
    """
    return _URL.match(name) is not None


def url_files(url: str) -> list[str]:
    """The files behind a URL: its own, those that a glob matches, or those of a folder, sorted.

    Raises:
        DataError: there is none, or the file system cannot be asked.
    """
    system, path = _system(url)
    try:
        if _MAGIC.search(path):
            paths = system.glob(path)
        elif system.isdir(path):
            paths = system.find(path)
        else:
            paths = [path] if system.exists(path) else []
        files = [
            system.unstrip_protocol(place) for place in sorted(paths) if not system.isdir(place)
        ]
    except Exception as exc:  # whatever a file system of others raises
        raise _unread(url, exc) from exc
    if not files:
        raise DataError(f"there is no file {url}")
    return files


def url_bytes(url: str) -> int:
    """Size of a file; 0 where it is not known.

    Raises:
        DataError: it cannot be asked for.
    """
    system, path = _system(url)
    try:
        return int(system.size(path) or 0)
    except Exception as exc:
        raise _unread(url, exc) from exc


def open_url(url: str) -> Any:
    """A file behind a URL, to be read once in a `with` block.

    Raises:
        DataError: it cannot be opened.
    """
    system, path = _system(url)
    try:
        return cast("Bytes", system.open(path, "rb"))
    except Exception as exc:
        raise _unread(url, exc) from exc


def _system(url: str) -> tuple[Any, str]:
    """A URL's file system, and where in it.

    Raises:
        DataError: there is none of that scheme, or its package is not installed.
    """
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
    except Exception as exc:
        raise _unread(url, exc) from exc
    return system, path


def _unread(url: str, exc: Exception) -> DataError:
    """The error of a URL that does not serve."""
    return DataError(f"{url} cannot be read: {first_line(exc)}")
