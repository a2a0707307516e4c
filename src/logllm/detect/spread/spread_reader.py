"""A log whose files, and parts of them, several processes read, with one reader's records."""

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
from logllm.logs.first_lines import first_lines, read_again
from logllm.logs.inputs.folders import session_names
from logllm.logs.inputs.refusals import nothing_in
from logllm.logs.inputs.spans import SPAN, WHOLE, Span, line_by_line, oldest_first, spans
from logllm.logs.lines import CutOff, NoLines, input_bytes, lines_of, named_files
from logllm.logs.reader import Reader
from logllm.logs.records import RECORDS
from logllm.logs.redaction import Redactor, redacted_errors
from logllm.logs.tally import Tally
from logllm.progress import Progress


class SpreadReader:
    """Records of files, each read by one of several processes, or part by part by all of them.

    It gives what `logllm.logs.reader.Reader` gives, in the same frames: files in their order,
    lines, records and messages numbered throughout.
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
        self.span = SPAN
        """About so many bytes of a file are a part, where files can be read in parts."""
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
        parts = [(place, span) for place, name in enumerate(names) for span in self._spans(name)]
        manner = self.manner
        jobs = (Job("read", (names[at], manner._replace(span=span))) for at, span in parts)
        total, finished, count, lines = input_bytes(names), 0, 0, 0
        zones: set[str] = set()
        with_records: set[int] = set()
        for (place, span), part in zip(parts, self._crew.each(jobs), strict=True):
            self.tally.join(part.tallied.after(lines))
            zones |= part.zones
            read = finished + (span.end or input_bytes([names[place]]))
            if progress is not None:
                progress(read, total)

            # Records count on from file to file, lines from part to part of a file.
            for records in _with_texts(part, after=lines):
                if records.height:
                    with_records.add(place)
                yield self._placed(records, place, after=count, session=of_files[place])
                count += records.height
            if part.fault is not None:
                raise CutOff(part.fault)
            lines += part.tallied.counts["lines"]
            if span.end is None:
                finished, lines = read, 0
        if not self.tally.counts["lines"]:
            raise NoLines(nothing_in(names))
        self.tally.check(self.files)
        self.tally.zones(zones, zone=self.settings.format.time_zone)
        self.tally.counts["files_without_records"] = len(names) - len(with_records)

    def _spans(self, name: str) -> list[Span]:
        """The parts of a file that processes read side by side; often it is one."""
        if not line_by_line(self.settings.format):
            return [WHOLE]
        parts = spans(name, size=self.span)
        # A file that is written newest first is turned, which takes all of it.
        if len(parts) > 1:
            first = lines_of(first_lines([name]).text)
            times = Reader(self.settings, today=self.today).parsed(first).records["time"]
            return parts if oldest_first(times) else [WHOLE]
        return parts

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


def _with_texts(part: FileRead, *, after: int) -> Iterator[pl.DataFrame]:
    """The frames of a file's part with its messages in place of their numbers.

    `after` is how many lines of the file come before it.
    """
    # The other process has numbered its messages by itself: here they are known by their texts.
    line = pl.col("line") + after
    for frame in part.frames:
        texts = part.messages.gather(frame["message"])
        yield frame.with_columns(line, texts.alias("message"))
