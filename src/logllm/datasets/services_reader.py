"""Records of logs of several kinds: each file is read by the format of its service."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection, ServiceSection
from logllm.config.sessions import SessionSection
from logllm.datasets.services import assigned
from logllm.logs.archives import Bytes
from logllm.logs.inputs.folders import session_names
from logllm.logs.lines import input_bytes, named_files
from logllm.logs.reader import Reader
from logllm.logs.redaction import Redactor
from logllm.logs.tally import Tally
from logllm.progress import Progress


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
            first, count = count + 1, count + records.height
            numbers = pl.int_range(first, count + 1, dtype=pl.UInt64, eager=True)
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
        tallies = [reader.tally for reader in self._readers.values()]
        for service, group in groupby(places, key=service_of_place.__getitem__):
            here = list(group)
            files = [names[place] for place in here]
            reader = self._readers[service]
            # A service may come again later: its reader then counts on from the files it has read.
            earlier, read_so_far = len(reader.files), before
            of_all: Progress | None = None
            if progress is not None:
                # It is used at once, before the next service changes what it counts from.
                of_all = lambda read, _: progress(read_so_far + read, total)  # noqa: B023, E731
            for records in reader.read(files, progress=of_all):
                self.tally.take(tallies)
                self.rejects = reader.rejects
                if not records.height:
                    continue
                place = here[records["file"][0] - earlier]
                session = of_files[place] if of_files else None
                yield self._placed(records, place, session=session)
            self.tally.take(tallies)
            before += input_bytes(files)

    def _placed(self, records: pl.DataFrame, place: int, *, session: str | None) -> pl.DataFrame:
        """Records of a file with its place among all, and keys that name their service."""
        service = self._services[self._names[place]]
        # `SERVICE/KEY`, so that process 7 of one is not process 7 of another; a file names its
        # session.
        keys = records["keys"]
        if session is not None:
            one_key = self.keyed(pl.Series([[session]]))
            keys = one_key.new_from_index(0, records.height)
        elif service.apart:
            keys = keys.list.eval(pl.lit(f"{service.name}/") + pl.element())
        return records.with_columns(file=pl.lit(place, dtype=pl.UInt32), keys=keys)

    def _in_time(self, batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """All records in the order of their times.

        A record without a time follows the one before it in its file.
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
