"""Bytes to records: lines read, made whole, parsed and masked, by a format that is given."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection
from logllm.logs.archives import Bytes
from logllm.logs.arriving import Arriving
from logllm.logs.calendar.timeline import Order, in_time
from logllm.logs.calendar.years import Years
from logllm.logs.first_lines import FirstLines, first_lines, read_again
from logllm.logs.inputs.folders import session_names
from logllm.logs.inputs.spans import Span, span_lines
from logllm.logs.inside.interleaved import Interleaved
from logllm.logs.inside.other_kinds import kinds
from logllm.logs.joining import Continuations, JoiningRecords, by_file, made_whole
from logllm.logs.lines import (
    STDIN,
    Lines,
    input_bytes,
    lines_of,
    named_files,
    read_lines,
)
from logllm.logs.long_messages import with_early_ends
from logllm.logs.masking import codes, mask, rules
from logllm.logs.masks.own_keys import ODD, with_keys_masked
from logllm.logs.masks.short_traces import with_short_traces
from logllm.logs.records import RECORDS, Parser, Records
from logllm.logs.redaction import Redactor, redact, redacted_errors
from logllm.logs.tally import Tally
from logllm.logs.times import round_the_year
from logllm.progress import Progress

if TYPE_CHECKING:
    from logllm.logs.inputs.pushed_lines import Pushed

_AT_ONCE = 2
_FEW = 1000


class Reader:
    """Records of a log, masked, a frame a batch of lines."""

    def __init__(
        self,
        settings: PrepareSection,
        *,
        today: date,
        batch_lines: int = 100_000,
        stdin: Bytes | None = None,
        redact: bool | Redactor = False,
    ) -> None:
        """Check the settings.

        Args:
            settings: Format, masks and where keys are.
            today: Gives times without a year theirs.
            batch_lines: Most lines read at once.
            stdin: What `-` reads; none: the process's standard input.
            redact: Nothing secret in keys, rejects, names of files and errors, though the settings
                do not ask for it; messages stay as they are, since a model must read what it was
                trained on. A redactor: by this one, so that equal keys of several readers stay
                equal.

        Raises:
            RecipeError: a pattern is no regular expression, or a group is missing.
        """
        self.settings = settings
        """What it reads by."""
        self.today = today
        """The day that gives times without a year theirs."""
        self._parser = Parser(settings.format, sessions=settings.sessions)
        self._batch_lines = batch_lines
        self._stdin = stdin
        self._redactor: Redactor | None = None
        if isinstance(redact, Redactor):
            self._redactor = redact
        elif redact or settings.redact:
            self._redactor = Redactor()
        self._first: FirstLines | None = None
        self._records = 0
        self._with_records: set[int] = set()
        self.tally = Tally(settings.format, named=self.named, redact=self._redactor is not None)
        """What was read so far, and what was not."""
        # The session of each file's records, where files name them.
        self._of_files: list[str | None] = []
        self.files: list[str] = []
        """Names of the inputs as they may be written; a record's `file` is an index into them."""
        self.rejects = pl.Series("line", [], dtype=pl.UInt64)
        """Numbers of the lines that did not parse, of the batch that gave the latest frame."""
        # Counts of messages of a batch, taken up later: batches are masked beside others.
        self._reworked: deque[tuple[str, int]] = deque()
        rules(settings.mask)
        codes(settings.mask)

    def read(
        self,
        sources: Sequence[str | Path],
        *,
        progress: Progress | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Records (`logllm.logs.records.RECORDS`), a frame a batch of lines.

        A second call goes on counting where the first one ended.

        Args:
            sources: Files, globs, or `-` for standard input, read one after the other.
            progress: Told the bytes read so far, compressed ones counted compressed, and those
                there are (0: not known).

        Raises:
            WrongFormat: most lines are not in the format.
            DataError: an input cannot be read, or holds no lines.
        """
        with redacted_errors() if self._redactor else nullcontext():
            yield from self.frames(sources, progress=progress)
            self.tally.check(self.files)
            self.tally.zones(self._parser.zones, zone=self.settings.format.time_zone)
            self.tally.counts["files_without_records"] = len(self.files) - len(self._with_records)

    def frames(
        self, sources: Sequence[str | Path], *, progress: Progress | None
    ) -> Iterator[pl.DataFrame]:
        """What `read` gives, whatever share of the log is in the format.

        The log is not looked at as a whole, and so is never refused.
        """
        earlier = len(self.files)
        names = named_files(sources)
        self.files += map(self.named, names)
        sessions = self.settings.sessions
        if sessions.by_file:
            self._of_files += session_names(names, by=sessions.by)
        else:
            self._of_files += [None] * len(names)
        # Of standard input nobody knows how long it is.
        total = 0 if STDIN in names else input_bytes(names)
        if STDIN in names and self._round_the_year():
            self._first = first_lines([STDIN], stdin=self._stdin)
        described, counts = self.settings.format, self.tally.counts
        parsed_batches = self._parsed(names)
        zone = described.time_zone
        ordered = in_time(parsed_batches, years=self._years, zone=zone, counts=counts)
        for lines, parsed in ordered:
            if progress is not None:
                progress(lines.read, total)
            yield self.counted(lines, parsed, file=earlier + lines.index)

    def of_span(self, name: str, span: Span) -> Iterator[pl.DataFrame]:
        """Records of a part of a file whose format is read line by line; its lines count from 1.

        Args:
            name: The file's.
            span: The part.

        Raises:
            DataError: the file cannot be read.
        """
        self.files.append(self.named(name))
        self._of_files.append(None)
        encoding, most = self.settings.format.encoding, self._batch_lines
        batches = span_lines(name, span, encoding=encoding, batch_lines=most)
        for lines, records in ahead(lambda lines: self.masked(self.parsed(lines)), batches):
            yield self.counted(lines, records, file=len(self.files) - 1)

    def pushed(self, name: str) -> "Pushed":
        """Records of lines that are pushed as they come, of one source with an order of its own.

        Args:
            name: The source's.
        """
        from logllm.logs.inputs.pushed_lines import Pushed

        session = None
        if self.settings.sessions.by_file:
            (session,) = session_names([name], by="file")
        self.files.append(self.named(name))
        self._of_files.append(session)
        return Pushed(self, file=len(self.files) - 1, name=name)

    @property
    def labels(self) -> Mapping[str, int]:
        """How often lines carried each label so far."""
        return self._parser.labels

    @property
    def redacts(self) -> bool:
        """Whether nothing secret may be written of what it reads."""
        return self._redactor is not None

    def described(self, name: str) -> FormatSection:
        """The format that a file is read by: the settings', whichever file."""
        return self.settings.format

    def close(self) -> None:
        """Read no further from lines that come when they come."""
        if isinstance(self._stdin, Arriving):
            self._stdin.close()

    def named(self, name: str) -> str:
        """A name, such as a file's, as it may be written."""
        return self._redactor.name(name) if self._redactor else name

    def keyed(self, keys: pl.Series) -> pl.Series:
        """Keys of sessions, or lists of them, as they may be written: equal ones stay equal."""
        if self._redactor is None:
            return keys
        return self._redactor.names(keys, field=self.settings.sessions.key_field)

    def _parsed(self, names: Sequence[str]) -> Iterator[tuple[Lines, Records]]:
        """Every batch of some files with its records, masked."""
        described = self.settings.format
        stdin = self._stdin if self._first is None else self._first.stdin
        most = self._batch_lines
        batches = read_lines(names, encoding=described.encoding, batch_lines=most, stdin=stdin)
        whole = made_whole(batches, described, counts=self.tally.counts)
        alone = all(kind.continuation is None for kind in kinds(described.innermost))
        if described.inside is None and alone:
            yield from ahead(lambda lines: self.masked(self._parser.parse(lines)), whole)
            return
        # What goes on with a record is masked with it, and so only when it has joined it.
        parsed = ahead(self._parser.parse, whole)
        for lines, records in by_file(self.continuations, parsed):
            yield lines, self.masked(records)

    def continuations(self) -> JoiningRecords:
        """Joins what goes on with a record."""
        described, counts = self.settings.format, self.tally.counts
        if described.inside is not None:
            return Interleaved(described.innermost, counts)
        return Continuations(described, counts)

    @property
    def zones(self) -> set[str]:
        """Abbreviations of zones that times have named so far."""
        return self._parser.zones

    def _round_the_year(self) -> bool:
        """Whether times may lack a year or a day, which then comes from all of them together."""
        described = self.settings.format
        return any(map(round_the_year, described.time_formats))

    def _years(self, lines: Lines) -> Years:
        """The years of a file's times, looked at ahead where they go round.

        All of a file is looked at; of what can be read only once, its first lines.
        """
        years, described = Years(today=self.today), self.settings.format
        if not self._round_the_year():
            return years
        # The year turns somewhere in the file: how often can only be told at its end.
        batches: Iterable[Lines] = ()
        if read_again(lines.file):
            batches = read_lines(
                [lines.file], encoding=described.encoding, batch_lines=self._batch_lines
            )
        elif self._first is not None and lines.file == STDIN:
            batches = [lines_of(self._first.text)]
        order = Order()
        for batch in made_whole(batches, described, counts=Counter()):
            years.look(order.push(self._parser.times(batch))["time"])
        if (rest := order.flush()) is not None:
            years.look(rest["time"])
        return years

    def parsed(self, lines: Lines) -> Records:
        """Records of some whole lines; nothing has joined them yet."""
        return self._parser.parse(lines)

    def counted(self, lines: Lines, parsed: Records, *, file: int) -> pl.DataFrame:
        """Records (`logllm.logs.records.RECORDS`) of the next lines, which count.

        Args:
            lines: The lines.
            parsed: What they hold, masked.
            file: The file's place in `files`.
        """
        self.tally.add(lines, parsed)
        self.tally.counts["of_other_kinds"] = self._parser.of_other_kinds
        self.rejects = parsed.rejects["line"]
        while self._reworked:
            name, count = self._reworked.popleft()
            if count:
                self.tally.counts[name] = self.tally.counts.get(name, 0) + count
        return self._placed(parsed.records, file=file)

    def masked(self, parsed: Records) -> Records:
        """Records with their messages masked, and redacted before that where it is asked for.

        It may run beside others. Where few messages are distinct only those are worked on.
        """
        messages, settings = parsed.records["message"], self.settings.mask
        # Sessions by an id: a message that holds its own is no other one, whatever its letters.
        if self.settings.sessions.by == "key" and settings.rules == "paper":
            keys = parsed.records["keys"].explode().unique()
            odd = keys.filter(keys.str.contains(ODD))
            if len(odd):
                messages = with_keys_masked(parsed.records, odd, settings=self.settings)
        # Masking is slow and most logs repeat themselves: distinct messages once, then looked up.
        # Where hardly any is the same as another, looking up would be in vain.
        of_first = messages.head(_FEW).n_unique()
        many = 2 * of_first > min(_FEW, len(messages))
        rows = messages.alias("message").to_frame()
        distinct = rows if many else rows.unique(maintain_order=True)
        shown = redact(distinct["message"]) if self.settings.redact else distinct["message"]
        short = with_short_traces(shown) if settings.traces == "short" else shown
        masked = mask(short, settings)
        early = with_early_ends(masked) if settings.ends == "early" else masked
        distinct = distinct.with_columns(masked=early)
        own = settings.traces == "short" or settings.ends == "early"
        if own:
            distinct = distinct.with_columns(shortened=short != shown, reordered=early != masked)
        if not many:
            distinct = rows.join(distinct, on="message", how="left", maintain_order="left")
        if own:
            self._reworked.append(("shortened_traces", int(distinct["shortened"].sum())))
            self._reworked.append(("reordered_messages", int(distinct["reordered"].sum())))
        masked_messages = distinct["masked"].alias("message")
        return Records(parsed.records.with_columns(masked_messages), parsed.rejects)

    def _placed(self, records: pl.DataFrame, *, file: int) -> pl.DataFrame:
        """Records with their numbers and their file's, the keys as they may be written."""
        first = self._records + 1
        self._records += records.height
        session = self._of_files[file]
        if records.height:
            self._with_records.add(file)
        # A file that is a session is the only key of its records.
        keys = records["keys"]
        if session is not None:
            keys = pl.Series([[session]]).new_from_index(0, records.height)
        numbers = pl.int_range(first, first + records.height, dtype=pl.UInt64)
        placed = records.with_columns(
            record=numbers, file=pl.lit(file, dtype=pl.UInt32), keys=self.keyed(keys)
        )
        return placed.select(RECORDS.keys())


def ahead(
    work: Callable[[Lines], Records],
    batches: Iterable[Lines],
) -> Iterator[tuple[Lines, Records]]:
    """Batches with what is made of them, in order; two are worked on while the next is read.

    Where the source pauses nothing is held back for the next batch, and what came before a fault
    comes before it here too.
    """
    waiting: deque[tuple[Lines, Future[Records]]] = deque()
    source, more = iter(batches), True
    fault: Exception | None = None
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while more or waiting:
            paused = not more
            if more:
                try:
                    lines = next(source)
                except StopIteration:
                    more = False
                except Exception as exc:  # noqa: BLE001 - raised when all before it has been given
                    more, fault = False, exc
                else:
                    waiting.append((lines, pool.submit(work, lines)))
                    paused = lines.paused
            while len(waiting) > (0 if paused else _AT_ONCE):
                done, made = waiting.popleft()
                yield done, made.result()
    if fault is not None:
        raise fault
