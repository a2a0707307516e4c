"""Logs of several kinds at once.

Which file is read by which format, and what sessions suit them all.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection, ServiceSection
from logllm.config.sessions import SessionSection
from logllm.errors import DataError
from logllm.formats.fit import fit_of
from logllm.formats.recognition import recognise
from logllm.logs.archives import Bytes
from logllm.logs.fields import read_fields
from logllm.logs.first_lines import first_lines
from logllm.logs.joining import whole_rows
from logllm.logs.lines import input_bytes, named_files, session_names
from logllm.logs.reader import Reader
from logllm.logs.redaction import Redactor
from logllm.logs.tally import Tally
from logllm.logs.times import parse_times
from logllm.progress import Progress
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


class ServicesReader:
    """Records of logs of several kinds: each file is read by the format of its service.

    It gives what a `Reader` gives, a frame a batch of lines of one file. Where the settings say
    that records are `merged`, all are read first and given in the order of their times.
    """

    def __init__(
        self,
        settings: PrepareSection,
        names: Sequence[str],
        *,
        today: date,
        batch_lines: int = 100_000,
        redact: bool = False,
    ) -> None:
        """Check the settings and tell which file is of which service.

        The arguments are those of `Reader`, and `names` the files that will be read.

        Raises:
            RecipeError: a pattern is no regular expression, or a group is missing.
            DataError: a file is of no service, or cannot be read.
        """
        self.settings = settings
        """What it reads by."""
        self.today = today
        """The day that gives times without a year theirs."""
        self._services = assigned(names, settings.services, today=today)
        self._names: list[str] = []
        self._batch_lines = batch_lines
        self._redactor = Redactor() if redact or settings.redact else None
        self._readers: dict[str, Reader] = {}
        # One redactor for all: a name stands for the same thing in every service's lines.
        hide = self._redactor or False
        for service in settings.services:
            alone = _alone(settings, service)
            reader = Reader(alone, today=today, batch_lines=batch_lines, redact=hide)
            self._readers[service.name] = reader
        self.tally = Tally(settings.format, named=self.named, redact=self._redactor is not None)
        """What was read so far, and what was not."""
        self.files: list[str] = []
        """Names of the inputs as they may be written; a record's `file` is an index into them."""
        self.rejects = pl.Series("line", [], dtype=pl.UInt64)
        """Numbers of the lines that did not parse, of the batch that gave the latest frame."""

    def read(
        self, sources: Sequence[str | Path], *, progress: Progress | None = None
    ) -> Iterator[pl.DataFrame]:
        """Records of files (`logllm.logs.records.RECORDS`); see `Reader.read`.

        Raises:
            WrongFormat: most lines of a service are not in its format.
            DataError: an input cannot be read, or holds no lines.
        """
        names = named_files(sources)
        self.files += map(self.named, names)
        self._names = names
        batches = self._batches(names, progress=progress)
        frames = self._in_time(batches) if self.settings.sessions.merged else batches
        count = 0
        # Each reader numbers its own records from 1: numbered anew, they are one log's.
        for records in frames:
            numbers = pl.int_range(
                count + 1, count + 1 + records.height, dtype=pl.UInt64, eager=True
            )
            count += records.height
            yield records.with_columns(record=numbers)

    @property
    def labels(self) -> Mapping[str, int]:
        """How often lines carried each label so far."""
        return sum((Counter(reader.labels) for reader in self._readers.values()), Counter())

    @property
    def zones(self) -> set[str]:
        """Abbreviations of zones that times have named so far."""
        return set().union(*(reader.zones for reader in self._readers.values()))

    @property
    def redacts(self) -> bool:
        """Whether nothing secret may be written of what it reads."""
        return self._redactor is not None

    def described(self, name: str) -> FormatSection:
        """The format that a file is read by: its service's."""
        service = self._services.get(name)
        return self.settings.format if service is None else service.format

    def close(self) -> None:
        """Files end by themselves."""

    def named(self, name: str) -> str:
        """A name, such as a file's, as it may be written."""
        return self._redactor.name(name) if self._redactor else name

    def keyed(self, keys: pl.Series) -> pl.Series:
        """Keys of sessions, or lists of them, as they may be written: equal ones stay equal."""
        if self._redactor is None:
            return keys
        return self._redactor.names(keys, field=self.settings.sessions.key_field)

    def _batches(self, names: list[str], *, progress: Progress | None) -> Iterator[pl.DataFrame]:
        """Records, file after file; successive files of one service are read as one log."""
        sessions = self.settings.sessions
        of_files = session_names(names, by=sessions.by) if sessions.by_file else None
        places = [place for place, name in enumerate(names) if name in self._services]
        service_of_place = {place: self._services[names[place]].name for place in places}
        total, before = input_bytes(names), 0
        for service, group in groupby(places, key=service_of_place.__getitem__):
            here = list(group)
            files = [names[place] for place in here]
            reader = self._readers[service]
            # A service may come again later: its reader then counts on from the files it has read.
            earlier, read_so_far = len(reader.files), before
            # It is used at once.
            told = None if progress is None else lambda read, _: progress(read_so_far + read, total)  # noqa: B023
            for records in reader.read(files, progress=told):
                self.tally.take([other.tally for other in self._readers.values()])
                self.rejects = reader.rejects
                if records.height:
                    place = here[records["file"][0] - earlier]
                    session = of_files[place] if of_files else None
                    yield self._placed(records, place, session=session)
            self.tally.take([other.tally for other in self._readers.values()])
            before += input_bytes(files)

    def _placed(self, records: pl.DataFrame, place: int, *, session: str | None) -> pl.DataFrame:
        """Records of a file with its place among all, and their keys as all services' are called."""
        service = self._services[self._names[place]]
        # `SERVICE/KEY`, so that process 7 of one is not process 7 of another; a file names its
        # session.
        keys = records["keys"]
        if session is not None:
            keys = self.keyed(pl.Series([[session]])).new_from_index(0, records.height)
        elif service.apart:
            keys = keys.list.eval(pl.lit(f"{service.name}/") + pl.element())
        return records.with_columns(file=pl.lit(place, dtype=pl.UInt32), keys=keys)

    def _in_time(self, batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """All records in the order of their times.

        One without a time follows the one before it in its file.
        """
        records = pl.concat(list(batches))
        clock = pl.col("time").forward_fill().over("file")
        in_order = records.sort(clock, maintain_order=True, nulls_last=False)
        yield from in_order.iter_slices(self._batch_lines)


def reader_of(
    settings: PrepareSection,
    names: Sequence[str],
    *,
    today: date,
    stdin: Bytes | None = None,
) -> "Reader | ServicesReader":
    """What reads a log by settings: of several services each file by its own."""
    if not settings.services:
        return Reader(settings, today=today, stdin=stdin)
    return ServicesReader(settings, names, today=today)


def _alone(settings: PrepareSection, service: ServiceSection) -> PrepareSection:
    """Settings by which a service's files are read as a log of their own."""
    sessions, own = settings.sessions, service.format.sessions
    if sessions.by == own.by == "key":
        sessions = own
    if sessions.by_file:
        sessions = SessionSection()  # all files together say what those are called
    return settings.model_copy(
        update={"format": service.format, "services": (), "sessions": sessions}
    )


def service_name(file: str) -> str:
    """What files of one service have in common in their names: all but dates, numbers and endings.

    >>> [service_name(file) for file in ("logs/app.log.2.gz", "postgresql-2024-07-03_000000.log", "db1.log", "2024.log")]
    ['app', 'postgresql', 'db', '2024']
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
        start = first_lines([file])
        name = service_name(file)
        # Two formats under one name: the second one is called by its file's name.
        same = [kind for kind in made if kind.service.name == name]
        fitting = (kind for kind in same if _fits(start.text, kind.service.format, today=today))
        kind = next(fitting, None)
        if kind is None:
            recognition = recognise(start.text, today=today, zone=zone)
            unique = name if not same else Path(file).name
            service = ServiceSection(name=unique, format=recognition.format)
            kind = Kind(service, [], recognition.notes, start.text, start.lines)
            made.append(kind)
        kind.files.append(file)
    return made


def in_words(several: Sequence[Kind]) -> tuple[str, ...]:
    """What was taken for which file, a sentence each."""
    return tuple(f"{_files(kind.files)}: {note}" for kind in several for note in kind.notes)


def together(several: Sequence[Kind], *, today: date) -> Together:
    """Sessions for logs of several kinds, judged by their first lines.

    Where each has a key they are by key, each by its own. Else windows: of time where all have
    times, so that a window holds what all services said in it, else of lines, which end with their
    file.
    """
    proposals: list[Proposal] = []
    for kind in several:
        rows, described = whole_rows(kind.text, kind.service.format)
        proposals.append(propose(sample_fields(rows, described), described, lines=kind.lines))
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
    size = min(window_size(kind.lines) for kind in several)
    reason = (
        f"windows of {size} lines, each of one file: no time was found in {_files(without.files)}, "
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

    Of its name if the format fits, else the one whose format fits best, else that of its name.

    Raises:
        DataError: no service has the name of a file or a format that fits it, or it cannot be read.
    """
    chosen: dict[str, ServiceSection] = {}
    for file in files:
        if not services or (chosen and not Path(file).stat().st_size):
            continue
        text = first_lines([file]).text.head(_GLANCE)
        name = service_name(file)
        fits = [(fit_of(text, service.format, today=today), service) for service in services]
        # The name decides where its format fits; else the format that matches most lines; else,
        # as a log that says nothing yet fits none, the name alone.
        candidates = [
            (service.name == name, fit.matched, service)
            for fit, service in fits
            if fit.share > _FITS
        ]
        if not candidates:
            candidates = [
                (True, fit.matched, service) for fit, service in fits if service.name == name
            ]
        if not candidates:
            known = ", ".join(f"{service.name} ({service.format.name})" for service in services)
            raise DataError(
                f"{file} is in the format of none of the services that the data was prepared from:"
                f" {known}"
            )
        _, _, best = max(candidates, key=lambda candidate: candidate[:2])
        chosen[file] = best
    return chosen


def _fits(text: pl.Series, described: FormatSection, *, today: date) -> bool:
    """Whether a further file is of a format."""
    return fit_of(text.head(_GLANCE), described, today=today).share > _FITS


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
    return min(sizes, key=lambda size: abs(math.log(max(rate, 1e-9) * size / _RECORDS)))


def _files(files: Sequence[str]) -> str:
    """Files in a sentence."""
    more = f" and {len(files) - _NAMED:,} more" if len(files) > _NAMED else ""
    return ", ".join(Path(file).name for file in files[:_NAMED]) + more
