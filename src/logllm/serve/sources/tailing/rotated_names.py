"""What a log's earlier files are called, and which of them is the older."""

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from logllm.logs.archives import FAULTS
from logllm.serve.sources.tailing.file_bytes import NoFile, OpenFile, open_file
from logllm.serve.sources.tailing.marks import HEAD, TAIL, Mark

_PACKED = re.compile(r"\.(?:gz|bz2|xz|zst)$")
_WHICH = r"(?P<which>\d[\d.T:_+Z-]*|old|bak|backup|prev|previous|last|orig|save)"
_AFTER = re.compile(rf"(?P<name>.+?)[.\-_~]{_WHICH}")
"""`app.log.1`, `app.log-20261127`, `app.log.old`"""
_INSIDE = re.compile(rf"(?P<name>.+?)[.\-_]{_WHICH}(?P<extension>\.[A-Za-z]\w*)")
"""`app.1.log`, `app-2026-11-27.log`"""
_PIECE = 1 << 20
_TOGETHER = 2 * 10**9
"""Nanoseconds between two files that were packed one after the other in one go, at most."""
_SHORT = 3
"""Digits of a number that counts files; what has more is a date."""


class Rotated(NamedTuple):
    """The name of an earlier file of a log."""

    log: str
    """The name of the log itself."""
    which: str
    """What tells it from the others: `1`, `20261127`, `old`."""
    inside: bool
    """Whether that stands before the extension, where a name of its own may have it too:
    `node-1.log`."""


class Entry(NamedTuple):
    """A file of a log, as a folder lists it."""

    name: str
    device: int
    inode: int
    size: int
    changed: int
    """When it was last written to, in ns."""
    which: str
    """As `Rotated.which`; empty: the log itself."""


@lru_cache(1 << 16)
def rotated(name: str) -> Rotated | None:
    """Which log a file is an earlier one of, told by its name; none: it has no such name.

    >>> rotated("app.log.2.gz"), rotated("app.log")
    (Rotated(log='app.log', which='2', inside=False), None)
    >>> rotated("app-2026-11-27.log")
    Rotated(log='app.log', which='2026-11-27', inside=True)
    """
    name = _PACKED.sub("", name)
    if after := _AFTER.fullmatch(name):
        return Rotated(after["name"], after["which"], inside=False)
    if inside := _INSIDE.fullmatch(name):
        return Rotated(inside["name"] + inside["extension"], inside["which"], inside=True)
    return None


def earlier(name: str, log: str) -> bool:
    """Whether a name is that of an earlier file of a log, and cannot be the name of a log itself.

    >>> earlier("app.log.1", "app.log"), earlier("app-1.log", "app.log")
    (True, False)
    """
    form = rotated(name)
    return form is not None and form.log == log and not form.inside


def listing(path: str) -> list[Entry]:
    """The files of a log, oldest first, the one that its path names last.

    Where the path is a link the folder of what it points to is looked at too. A file beside which
    its compressed form is being made is there once.

    Raises:
        OSError: the folder cannot be looked at.
    """
    # A link may bring the current file in a second time, under its own name.
    entries = _seen(path)
    current = entries.pop(path, None)
    if current is None:
        return list(in_order(_once(entries.values())))
    number = (current.device, current.inode)
    others = []
    for entry in entries.values():
        if (entry.device, entry.inode) != number:
            others.append(entry)
    return [*in_order(_once(others)), current]


def _seen(path: str) -> dict[str, Entry]:
    """The files of a log by their names, each once."""
    log = Path(path)
    places = {log.parent: log.name}
    target = log.resolve()
    places.setdefault(target.parent, target.name)
    entries: dict[tuple[int, int], Entry] = {}
    for folder, name in places.items():
        for entry in _earlier_files(folder, name):
            entries.setdefault((entry.device, entry.inode), entry)
    by_name = {entry.name: entry for entry in entries.values()}
    current = _entry(path, "")
    return by_name | ({path: current} if current else {})


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Earlier files of a log, oldest first.

    Their numbers or dates say the order; times of the last change say whether the higher number is
    the older file (logrotate) or the newer one (log4j). Where numbers and times disagree for more
    than a third, as dates do that begin with the day, the times alone say it. A packed file may be
    as old as its packing: that it is younger than one that is not packed, or packed in the same
    moment as another, says nothing.
    """
    # By numbers, not text: app.log.10 comes after app.log.9.
    by_name = sorted(entries, key=lambda entry: _numbers(entry.which))
    telling = [pair for pair in pairwise(by_name) if _times_tell(*pair)]
    rising = sum(first.changed < second.changed for first, second in telling)
    falling = sum(first.changed > second.changed for first, second in telling)
    # 27.11.2026 sorts before 28.01.2020 by its numbers, and its file is newer.
    disagree = min(rising, falling) > len(by_name) / 3
    several_kinds = len(set(map(_kind, by_name))) > 1
    if disagree or several_kinds:
        return sorted(by_name, key=lambda entry: entry.changed)
    counted = all(_kind(entry) == "number" for entry in by_name)
    backwards = falling > rising or (falling == rising and counted)
    return by_name[::-1] if backwards else by_name


def _times_tell(first: Entry, second: Entry) -> bool:
    """Whether the times of two files say which of them was written first."""
    # A plain file is as old as its last line. A packed one may have been packed long after that.
    older, younger = sorted((first, second), key=lambda entry: entry.changed)
    if not _PACKED.search(younger.name):
        return True
    together = younger.changed - older.changed < _TOGETHER
    return bool(_PACKED.search(older.name)) and not together


def files_after(entry: Entry, entries: Sequence[Entry]) -> list[Entry]:
    """The files after one of them."""
    return list(entries[entries.index(entry) + 1 :])


def _numbers(which: str) -> tuple[int, ...]:
    """The numbers in what tells files apart."""
    return tuple(int(digits) for digits in re.findall(r"\d+", which))


def _kind(entry: Entry) -> str:
    """How a name tells files apart: by a number that counts them, or by a date."""
    is_word = not entry.which[0].isdigit()
    return "number" if is_word or len(entry.which) <= _SHORT else "date"


def _earlier_files(folder: Path, log: str) -> Iterable[Entry]:
    """The earlier files of a log that a folder holds."""
    # A folder may hold a hundred thousand files: most are passed over by how their name begins.
    own = rotated(log)
    stem = (own.log if own else log).partition(".")[0]
    for item in os.scandir(folder):
        if not item.name.startswith(stem):  # of many files in a folder
            continue
        form = rotated(item.name)
        # `app.log.gz` beside `app.log`: its packed form, the newest of the earlier ones.
        if form is None and item.name != log and _PACKED.sub("", item.name) == log:
            form = Rotated(log, "0", inside=False)
        if form is None:
            continue
        # A log that is itself called app.log.1.gz goes on as app.log.2.gz.
        moves_up = own is not None and own.log == form.log and _counts(own) and _counts(form)
        if form.log != log and not moves_up:
            continue
        entry = _entry(item.path, form.which)
        if entry is not None:
            yield entry


def _counts(form: Rotated) -> bool:
    return not form.inside and len(form.which) <= _SHORT


def entry_of(path: str, which: str = "") -> Entry:
    """A file as an entry.

    Raises:
        NoFile: it is a folder, a pipe, a device.
        OSError: it is not there, or may not be looked at.
    """
    status = os.stat(path)  # noqa: PTH116 - many files are asked about, many times a second
    if not stat.S_ISREG(status.st_mode):
        raise NoFile(None, "is no regular file", path)
    return Entry(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, which)


def _entry(path: str, which: str) -> Entry | None:
    """A regular file as an entry; none: it is something else, or gone."""
    try:
        return entry_of(path, which)
    except OSError:
        return None


def _once(entries: Iterable[Entry]) -> Sequence[Entry]:
    """Files without the compressed form of one that is there as well."""
    by_name = {entry.name: entry for entry in entries}
    alone = []
    for name, entry in by_name.items():
        plain = by_name.get(_PACKED.sub("", name))
        if not _twin(entry, plain):
            alone.append(entry)
    return alone


def _twin(entry: Entry, plain: Entry | None) -> bool:
    """Whether a file is another's compressed form, whole or still in the making."""
    if plain is None or plain is entry:
        return False
    # Told by content: app.log.1.gz may be of yesterday, and app.log.1 of today.
    heads = []
    for name in (entry.name, plain.name):
        try:
            file = open_file(name)
        except OSError:
            return False
        try:
            heads.append(file.read_at(0, HEAD))
        except FAULTS:  # not enough of it is written yet to be unpacked
            return True
        finally:
            file.close()
    return heads[1].startswith(heads[0])


def fitting(mark: Mark, entries: Sequence[Entry], *, since: int) -> Entry | None:
    """The file that holds what was read up to a point.

    It is the same file, or else a copy or its compressed form. Where several files hold it, since
    files may begin alike, it is the oldest that changed since the point was there, or else the
    newest.

    Args:
        mark: the point.
        entries: files, oldest first.
        since: when the file had changed when it was last seen, in ns.
    """
    # A file keeps its number through a change of its name; a copy or a packed form has another.
    number = mark[:2]
    same = [entry for entry in entries if (entry.device, entry.inode) == number]
    # Of an empty file nothing tells but that it is the same.
    if not mark.head_bytes:
        return same[0] if same else None
    later = [entry for entry in entries if entry.changed >= since]
    before = [entry for entry in reversed(entries) if entry.changed < since]
    candidates = [*same, *later, *before]
    return next((entry for entry in candidates if holds(entry, mark)), None)


def copied(entry: Entry, mark: Mark) -> bool:
    """Whether a file holds what was read up to a point, and nothing more."""

    def ends_there(file: OpenFile) -> bool:
        return mark.fits(file) and not file.read_at(mark.offset, 1)

    return _asked(entry, ends_there)


def holds(entry: Entry, mark: Mark) -> bool:
    """Whether a file holds what was read up to a point."""
    return _asked(entry, mark.fits)


def _asked(entry: Entry, question: Callable[[OpenFile], bool]) -> bool:
    """The answer to a question about a file's bytes; false where it cannot be read."""
    try:
        file = open_file(entry.name)
    except OSError:
        return False
    try:
        return question(file)
    except FAULTS:
        return False
    finally:
        file.close()


def shorter_copy(mark: Mark, entries: Sequence[Entry]) -> Entry | None:
    """The oldest copy of a file that ends before a point up to which the file was read."""
    if not mark.head_bytes:
        return None
    # Known by its beginning alone: it ends before the point.
    head = mark._replace(offset=0, tail_bytes=0, tail=0)
    shorter = (entry for entry in entries if entry.size < mark.offset)
    return next((entry for entry in shorter if holds(entry, head)), None)


def begins(entry: Entry, whole: OpenFile) -> bool:
    """Whether a file is the beginning of another, or all of it: a copy, still being made or not."""

    def is_beginning(file: OpenFile) -> bool:
        size = _plain_size(file)
        # Its first and its last bytes: all of a file of gigabytes would take seconds.
        start = min(size, HEAD)
        end = max(0, size - TAIL)
        same_head = file.read_at(0, start) == whole.read_at(0, start)
        if not same_head:
            return False
        last_bytes = size - end
        return file.read_at(end, last_bytes) == whole.read_at(end, last_bytes)

    return _asked(entry, is_beginning)


def _plain_size(file: OpenFile) -> int:
    """The size of a file, unpacked."""
    if not file.packed:
        return file.status().st_size
    size = 0
    while piece := file.read_at(size, _PIECE):
        size += len(piece)
    return size
