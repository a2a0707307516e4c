"""A log whose files are read by several processes, with the same records as from one reader."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection
from logllm.detect.spread.crew import Crew
from logllm.detect.spread.labour import FileRead, Job, Manner
from logllm.errors import DataError
from logllm.logs.first_lines import read_again
from logllm.logs.inputs.folders import session_names
from logllm.logs.lines import CutOff, NoLines, input_bytes, named_files
from logllm.logs.reader import Reader
from logllm.logs.records import RECORDS
from logllm.logs.redaction import Redactor, redacted_errors
from logllm.logs.tally import Tally
from logllm.progress import Progress


class SpreadReader:
    """Records of files, each read by one of several processes.

    It gives what `logllm.logs.reader.Reader` gives, in the same frames: files in their order,
    records and messages numbered throughout.
    """

    def __init__(
        self,
        settings: PrepareSection,
        crew: Crew,
        *,
        today: date,
        batch_lines: int,
        redact: bool,
    ) -> None:
        """Check the settings; the arguments are those of `Reader`, and `crew` is the processes.

        Raises:
            RecipeError: a pattern is no regular expression, or a group is missing.
            DataError: the settings have several formats.
        """
        if settings.services:
            names = ", ".join(service.name for service in settings.services)
            raise DataError(
                f"--ray reads logs of one format, and these are of several ({names}): judge each by"
                " itself"
            )
        Reader(settings, today=today)  # raises what reading would raise elsewhere
        self.settings = settings
        """How it reads."""
        self.today = today
        """The day that gives times without a year their year."""
        self._crew = crew
        redactor = Redactor() if redact or settings.redact else None
        self.manner = Manner(settings, today, batch_lines, redactor)
        """How each file is read."""
        self.tally = Tally(settings.format, named=self.named, redact=self.redacts)
        """What was read so far, and what was not."""
        self.files: list[str] = []
        """Names of the inputs as they may be written; a record's `file` is an index into them."""

    @property
    def redacts(self) -> bool:
        """Whether nothing secret may be written of what it reads."""
        return self.manner.redactor is not None

    def described(self, name: str) -> FormatSection:
        """The format that a file is read by: the settings', whichever file."""
        return self.settings.format

    def named(self, name: str) -> str:
        """A name, such as a file's, as it may be written."""
        redactor = self.manner.redactor
        return name if redactor is None else redactor.name(name)

    def close(self) -> None:
        """Do nothing: files end by themselves."""

    def read(
        self, sources: Sequence[str | Path], *, progress: Progress | None = None
    ) -> Iterator[pl.DataFrame]:
        """Records (`logllm.logs.records.RECORDS`) of files and globs; see `Reader.read`.

        Raises:
            WrongFormat: most lines are not in the format.
            DataError: an input cannot be read, or only once, or holds no lines.
        """
        with redacted_errors() if self.redacts else nullcontext():
            names = named_files(sources)
            if pipes := [name for name in names if not read_again(name)]:
                raise DataError(
                    f"--ray reads files, and {pipes[0]} can be read only once: write it to a file"
                    " first"
                )
            self.files = list(map(self.named, names))
            yield from self._records(names, progress=progress)

    def _records(self, names: list[str], *, progress: Progress | None) -> Iterator[pl.DataFrame]:
        """Records of files."""
        # Where a file, or its folder, is the session, its name is the key of all its records.
        sessions = self.settings.sessions
        of_files = session_names(names, by=sessions.by) if sessions.by_file else [None] * len(names)
        total, read, count, without = input_bytes(names), 0, 0, 0
        zones: set[str] = set()
        files = self._crew.each(Job("read", (name, self.manner)) for name in names)
        for place, file in enumerate(files):
            self.tally.join(file.tallied)
            zones |= file.zones
            read += input_bytes(names[place : place + 1])
            if progress is not None:
                progress(read, total)

            # Numbers count on from file to file.
            before = count
            for records in _with_texts(file):
                yield self._placed(records, place, after=count, session=of_files[place])
                count += records.height
            without += count == before
            if file.fault is not None:
                raise CutOff(file.fault)
        if not self.tally.counts["lines"]:
            raise NoLines(f"{', '.join(names)} holds no lines")
        self.tally.check(self.files)
        self.tally.zones(zones, zone=self.settings.format.time_zone)
        self.tally.counts["files_without_records"] = without

    def _placed(
        self,
        records: pl.DataFrame,
        place: int,
        *,
        after: int,
        session: str | None,
    ) -> pl.DataFrame:
        """Records of a file, numbered on from those before, with its place among all files.

        Where files name sessions, the file's session is the key of its records.
        """
        # One list for all records: the file's session, as it may be written.
        keys = records["keys"]
        if session is not None:
            named = pl.Series([[session]])
            redactor = self.manner.redactor
            if redactor is not None:
                named = redactor.names(named, field=self.settings.sessions.key_field)
            keys = named.new_from_index(0, records.height)
        first = after + 1
        numbers = pl.int_range(first, first + records.height, dtype=pl.UInt64, eager=True)
        file = pl.lit(place, dtype=pl.UInt32)
        numbered = records.with_columns(record=numbers, file=file, keys=keys)
        return numbered.select(RECORDS.keys())


def _with_texts(file: FileRead) -> Iterator[pl.DataFrame]:
    """The frames of a file with its messages in place of their numbers."""
    # The other process has numbered its messages by itself: here they are known by their texts.
    for frame in file.frames:
        texts = file.messages.gather(frame["message"])
        yield frame.with_columns(texts.alias("message"))
