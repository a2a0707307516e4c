"""Logs of several kinds at once: which file is read by which format, and sessions for them all."""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.prepare import ServiceSection
from logllm.config.sessions import SessionSection
from logllm.errors import DataError
from logllm.formats.fit import fit_of
from logllm.formats.recognition import recognise
from logllm.logs.fields import read_fields
from logllm.logs.first_lines import first_lines
from logllm.logs.joining import whole_rows
from logllm.logs.times import parse_times
from logllm.sessions.proposal import Proposal, propose, sample_fields, window_size

_FITS = 0.5  # of a file's first lines belong to a record
_GLANCE = 300  # lines of a further file of a service
_RECORDS = 100  # in a window of time, about
_LENGTHS = (1, 5, 10, 30, 60, 300, 900, 3600, 86_400)  # seconds
_WINDOWS = 20  # that a short log should give at least
_NAMED = 3  # files in a sentence
_ARCHIVE = re.compile(r"\.(?:gz|bz2|xz|zst)$")
_ENDING = re.compile(r"\.(?:log|txt|jsonl?|ndjson|csv|out|err)$")
_NUMBERS = re.compile(r"[-_.]*\d[\d:T_.-]*")


class Kind(NamedTuple):
    """Files of one service, which are read by one format."""

    service: ServiceSection
    """Their name and format."""
    files: list[str]
    """Their names."""
    notes: tuple[str, ...]
    """What a person should know of the format."""
    text: pl.Series
    """The first lines of the first file."""
    lines: int | None
    """How many lines that file has; none: not known."""


class Together(NamedTuple):
    """Sessions of several services."""

    sessions: SessionSection
    """How their records become sessions."""
    services: tuple[ServiceSection, ...]
    """The services, each with its own grouping where sessions are by key."""
    reason: str
    """Why."""


def service_name(file: str) -> str:
    """What files of one service have in common in their names: all but dates, numbers and endings.

    >>> service_name("logs/app.log.2.gz"), service_name("postgresql-2024-07-03_000000.log")
    ('app', 'postgresql')
    >>> service_name("db1.log"), service_name("2024.log")
    ('db', '2024')
    """
    # `postgresql-2024-07-03_000000.log`: the ending first, or the date would not stand at the end.
    # `postgresql-2024-07-03.log.2.gz`: archive, ending, numbers, and the ending that was before
    # them.
    name = _ARCHIVE.sub("", Path(file).name)
    without_ending = _ENDING.sub("", name)
    without_numbers = _NUMBERS.sub("", without_ending)
    bare = _ENDING.sub("", without_numbers)
    return bare.strip("-_.") or without_ending


def kinds(files: Sequence[str], *, today: date, zone: str | None = None) -> list[Kind]:
    """Files by service and format, in the order of the first file of each.

    The first file of a service is looked at as a log of its own; a further one is of the same kind
    where that format fits it. A file without lines is of the kind before it. `zone` is that of
    times that name none.

    Raises:
        DataError: a file cannot be read.
    """
    made: list[Kind] = []
    for file in files:
        # A file that says nothing yet, such as one that was just rotated, tells no format.
        if made and not Path(file).stat().st_size:
            made[-1].files.append(file)
            continue
        text, _, lines = first_lines([file])
        name = service_name(file)
        same = [kind for kind in made if kind.service.name == name]
        fitting = (kind for kind in same if _fits(text, kind.service.format, today=today))
        kind = next(fitting, None)
        if kind is None:
            recognition = recognise(text, today=today, zone=zone)
            # Two formats under one name: the second one is called by its file's name.
            unique = Path(file).name if same else name
            service = ServiceSection(name=unique, format=recognition.format)
            kind = Kind(service, [], recognition.notes, text, lines)
            made.append(kind)
        kind.files.append(file)
    return made


def in_words(several: Sequence[Kind]) -> tuple[str, ...]:
    """What was taken for which file, a sentence each."""
    sentences: list[str] = []
    for kind in several:
        files = _files(kind.files)
        sentences += [f"{files}: {note}" for note in kind.notes]
    return tuple(sentences)


def together(several: Sequence[Kind], *, today: date) -> Together:
    """Sessions for logs of several kinds, judged by their first lines.

    Where each service has a key, sessions are by key, each service's by its own. Else they are
    windows: of time where all services have times, so that a window holds what all of them said in
    it; else of lines, which end with their file.
    """
    proposals: list[Proposal] = []
    for kind in several:
        rows, described = whole_rows(kind.text, kind.service.format)
        fields = sample_fields(rows, described)
        proposals.append(propose(fields, described, lines=kind.lines))
    if all(proposal.sessions.by == "key" for proposal in proposals):
        return _by_own_keys(several, proposals)

    # Windows of time need the times of all; else each file is cut into windows of lines.
    services = tuple(kind.service for kind in several)
    if all(service.format.time is not None for service in services):
        size = _seconds(several, today=today)
        sessions = SessionSection(by="time", size=size, merged=True)
        reason = (
            f"windows of {size} seconds of all files, their records merged by time: not all have"
            " a key"
        )
        return Together(sessions, services, reason)
    without = next(kind for kind in several if kind.service.format.time is None)
    timeless = _files(without.files)
    size = min(window_size(kind.lines) for kind in several)
    reason = (
        f"windows of {size} lines, each of one file: no time was found in {timeless}, "
        "so that files cannot be merged; parts are drawn at random"
    )
    return Together(SessionSection(size=size), services, reason)


def _by_own_keys(several: Sequence[Kind], proposals: Sequence[Proposal]) -> Together:
    """Sessions by key, each service's by its own."""
    services: list[ServiceSection] = []
    reasons: list[str] = []
    for kind, proposal in zip(several, proposals, strict=True):
        described = kind.service.format.model_copy(update={"sessions": proposal.sessions})
        services.append(kind.service.model_copy(update={"format": described}))
        reasons.append(f"{kind.service.name}: {proposal.reason}")
    reason = f"{'; '.join(reasons)}; sessions are called SERVICE/KEY"
    return Together(proposals[0].sessions, tuple(services), reason)


def assigned(
    files: Sequence[str], services: Sequence[ServiceSection], *, today: date
) -> Mapping[str, ServiceSection]:
    """Which file is of which service.

    It is the service of the file's name if that one's format fits; else the service whose format
    fits best; else, where no format fits, the service of the name.

    Raises:
        DataError: no service has the name of a file or a format that fits it, or it cannot be read.
    """
    chosen: dict[str, ServiceSection] = {}
    for file in files:
        if not services or (chosen and not Path(file).stat().st_size):
            continue
        text = first_lines([file]).text.head(_GLANCE)
        name = service_name(file)
        fitting: list[tuple[bool, float, ServiceSection]] = []
        of_name: list[tuple[bool, float, ServiceSection]] = []
        for service in services:
            fit = fit_of(text, service.format, today=today)
            has_name = service.name == name
            if fit.share > _FITS:
                fitting.append((has_name, fit.matched, service))
            if has_name:
                of_name.append((has_name, fit.matched, service))
        # The name decides where its format fits; else the format that matches most lines; else,
        # as a log that says nothing yet fits none, the name alone.
        candidates = fitting or of_name
        if not candidates:
            names = ", ".join(f"{service.name} ({service.format.name})" for service in services)
            raise DataError(
                f"{file} is in the format of none of the services that the data was prepared from:"
                f" {names}"
            )
        _, _, best = max(candidates, key=lambda candidate: candidate[:2])
        chosen[file] = best
    return chosen


def _fits(text: pl.Series, described: FormatSection, *, today: date) -> bool:
    """Whether a further file is of a format."""
    fit = fit_of(text.head(_GLANCE), described, today=today)
    return fit.share > _FITS


def _seconds(several: Sequence[Kind], *, today: date) -> int:
    """A length of windows that hold about a hundred records, some twenty of them in a short log."""
    # Records a second of all services together, and from when to when their samples reach.
    rate, begin, end = 0.0, math.inf, -math.inf
    for kind in several:
        rows, described = whole_rows(kind.text, kind.service.format)
        written = read_fields(rows, described).time
        texts = rows if written is None else written
        times = parse_times(texts, described.time_format, today=today).drop_nulls()
        seconds = times.to_physical() / 1e6
        if len(seconds) > 1:
            first, last = float(seconds.min()), float(seconds.max())  # type: ignore[arg-type]
            begin, end = min(begin, first), max(end, last)
            rate += len(seconds) / max(1.0, last - first)

    # Of the lengths that give a short log twenty windows that which holds nearest to a hundred
    # records; distance is taken of the logarithms: 50 and 200 are as far away.
    most = max(1.0, (end - begin) / _WINDOWS) if rate else _LENGTHS[-1]
    sizes = [size for size in _LENGTHS if size <= most]

    def distance(size: int) -> float:
        records = max(rate, 1e-9) * size
        return abs(math.log(records / _RECORDS))

    return min(sizes, key=distance)


def _files(files: Sequence[str]) -> str:
    """Files in a sentence."""
    names = ", ".join(Path(file).name for file in files[:_NAMED])
    if len(files) > _NAMED:
        names += f" and {len(files) - _NAMED:,} more"
    return names
