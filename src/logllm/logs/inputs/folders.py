"""The logs of folders, and sessions that are files or folders."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from os.path import commonpath
from pathlib import Path
from typing import NamedTuple

from logllm.logs.archives import CONTROLS, FAULTS, Counted, unpack
from logllm.logs.inputs.urls import is_url

_LOOKED_AT = 4096  # bytes at once
_PIECES = 4  # the first may be short
_FEW = 0.05  # of the bytes
_SHOWN = 3
_ARCHIVES = r"(?:\.(?:gz|bz2|xz|zst))?"
_ROTATED = re.compile(rf"(.*?)[.-](\d{{1,3}}){_ARCHIVES}")
_PLAIN = re.compile(rf"(.*?){_ARCHIVES}")


class Walked(NamedTuple):
    """What a folder holds."""

    files: list[str]
    """Its logs, those of the folders in it too."""
    passed_over: dict[str, str]
    """What was left out, and why."""

    @property
    def in_words(self) -> str:
        """What was left out, for people; empty where nothing was.

        >>> Walked([], {"a.db": "binary", "b.log": "empty"}).in_words
        '2 files passed over: a.db (binary), b.log (empty)'
        """
        count = len(self.passed_over)
        if not count:
            return ""
        shown = [f"{name} ({why})" for name, why in list(self.passed_over.items())[:_SHOWN]]
        more = f" and {count - _SHOWN:,} more" if count > _SHOWN else ""
        files = "file" if count == 1 else "files"
        return f"{count:,} {files} passed over: {', '.join(shown)}{more}"


def walked(folder: Path) -> Walked:
    """The logs of a folder and of the folders in it; hidden, empty and binary files are no logs.

    Files are in the order of their names, and those that were rotated oldest first: `app.log.2.gz`,
    `app.log.1`, `app.log`.

    Raises:
        OSError: the folder may not be looked at.
    """
    files: list[str] = []
    passed_over: dict[str, str] = {}
    # The oldest first: rotated files are then one log, in order of time.
    for path in sorted(folder.iterdir(), key=_age):
        if path.is_dir() and not path.name.startswith("."):
            inner = walked(path)
            files += inner.files
            passed_over |= inner.passed_over
        elif path.is_file():
            why = _no_log(path)
            if why is None:
                files.append(str(path))
            else:
                passed_over[str(path)] = why
    return Walked(files, passed_over)


def _age(path: Path) -> tuple[str, int, str]:
    """Orders files: rotated ones before the one that is written to, the highest number first."""
    if rotated := _ROTATED.fullmatch(path.name):
        return rotated[1], -int(rotated[2]), path.name
    plain = _PLAIN.fullmatch(path.name)
    return plain[1] if plain else path.name, 0, path.name


def _no_log(path: Path) -> str | None:
    """Why a file is no log; none where it may be one."""
    if path.name.startswith("."):
        return "hidden"
    try:
        with path.open("rb") as file:
            plain, _ = unpack(Counted(file))
            # Unpacked: an archive of a picture is no log, either.
            pieces = iter(lambda: plain.read(_LOOKED_AT), b"")
            start = b"".join(islice(pieces, _PIECES))
    except FAULTS as exc:
        return getattr(exc, "strerror", None) or "damaged"
    if not start.strip():
        return "empty"
    return "binary" if _binary(start) else None


def _binary(start: bytes) -> bool:
    r"""Whether bytes are no text, not in UTF-16 either.

    >>> _binary(b"a log\n"), _binary("a log".encode("utf-16"))
    (False, False)
    >>> _binary(b"\x7fELF\x02\x01\x01\0\0\0")
    True
    """
    halves = (start[::2], start[1::2])
    zeros = [half.count(0) / max(1, len(half)) for half in halves]
    # In UTF-16 one byte of each letter is zero: the other one is looked at.
    if max(zeros) > 0.5 and min(zeros) < _FEW:
        start = halves[zeros.index(min(zeros))]
    controls = len(start) - len(start.translate(None, CONTROLS))
    return controls > _FEW * len(start)


def passed_over(sources: Sequence[str | Path]) -> list[str]:
    """What folders hold that is no log, a sentence each."""
    folders = [Path(source) for source in sources if Path(source).is_dir()]
    return [words for folder in folders if (words := walked(folder).in_words)]


def session_names(files: Sequence[str], *, by: str) -> list[str]:
    """The name of each file's session: the file's own name, or that of the folder it lies in.

    Where two files, or two folders, have one name, all have as much of their paths as tells them
    apart: what lies beneath the folder that holds them all.

    >>> session_names(["logs/a/x.log", "logs/a/y.log", "logs/b/z.log"], by="folder")
    ['a', 'a', 'b']
    >>> session_names(["logs/a/x.log", "logs/b/x.log"], by="file")
    ['a/x.log', 'b/x.log']

    Args:
        files: names of files, or `-`.
        by: `file` or `folder`.
    """
    places = [
        Path("/" + file.partition("://")[2]) if is_url(file) else Path(file) for file in files
    ]
    if by == "folder":
        places = [place.resolve().parent for place in places]
    distinct = list(dict.fromkeys(places))
    most = max(Counter(place.name for place in distinct).values(), default=0)
    if most < 2:
        return [place.name for place in places]
    # `a/app.log` and `b/app.log` are two sessions: as much of the path as tells them apart.
    above = commonpath([place.resolve().parent for place in distinct])
    return [place.resolve().relative_to(above).as_posix() for place in places]
