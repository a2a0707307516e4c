"""Raw logs to compact records: what `prepare` and `detect` both read by."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.counting import plural
from logllm.data.archives import Bytes
from logllm.data.grouping import RECORDS
from logllm.data.joining import Blocks, Continuations, Joining, Partials, by_file
from logllm.data.lines import Lines, named_files, read_lines
from logllm.data.masking import mask, rules
from logllm.data.messages import MessageTable
from logllm.data.recognition import fitting
from logllm.data.records import Parser, Records
from logllm.data.redaction import Redactor, redact, redact_text, redacted_errors
from logllm.data.rows import Rows, header
from logllm.errors import DataError

_SHOWN_REJECTS = 3
_SHOWN_CHARACTERS = 120
_SAMPLE = 1000
_AT_ONCE = 2


class Reader:
    """Lines parsed, masked and numbered, and everything counted that a person should know of."""

    def __init__(
        self, settings: PrepareSection, *, today: date, batch_lines: int = 100_000, stdin: Bytes | None = None, redact: bool = False
    ) -> None:
        """Check the settings.

        Args:
            settings: Format, masks and where keys are.
            today: Gives times without a year theirs.
            batch_lines: Most lines read at once.
            stdin: What `-` reads; none: the process's standard input.
            redact: Nothing secret in keys, rejects, names of files and errors, though the settings do not ask for it; messages stay
                as they are, since a model must read what it was trained on.

        Raises:
            RecipeError: a pattern is no regular expression, or a group is missing.
        """
        self.messages = MessageTable()
        """Every distinct masked message so far; several readers may share one."""
        names = (
            "lines",
            "rejected",
            "empty",
            "files_without_records",
            "rejected_alerts",
            "replaced_characters",
            "cut_lines",
            "timeless",
            "continued",
        )
        self.counts = dict.fromkeys(names, 0)
        """Plain counts so far; `timeless` are records of a format with times that have none, `empty` rejects that hold nothing, `continued`
        lines that joined the one before."""
        self.first_rejects: list[dict[str, object]] = []
        """The first three lines that did not parse: `file`, `line`, `text` (shortened)."""
        self.files: list[str] = []
        """Names of the inputs as they may be written; a record's `file` is an index into them."""
        self.rejects = pl.Series("line", [], dtype=pl.UInt64)
        """Numbers of the lines that did not parse, of the batch that gave the latest frame."""
        self.bytes_read = 0
        """Bytes read so far of all inputs, compressed ones counted compressed."""
        self._settings = settings
        self._today = today
        self._parser = Parser(settings.format, sessions=settings.sessions, today=today)
        self._parsers: dict[int, Parser] = {}  # of files that name their columns themselves
        self._batch_lines = batch_lines
        self._stdin = stdin
        self._redactor = Redactor() if redact or settings.redact else None
        self._record = 0
        self._with_records: set[int] = set()
        self._sample = pl.Series("text", [], dtype=pl.String)
        rules(settings.mask)

    def read(self, sources: Sequence[str | Path]) -> Iterator[pl.DataFrame]:
        """Compact records (`logllm.data.grouping.RECORDS`), a frame a batch of lines; consecutive calls go on counting.

        Raises:
            DataError: an input cannot be read, holds no lines, or is mostly not in the format.
        """
        with redacted_errors(on=self._redactor is not None):
            earlier = len(self.files)
            names = named_files(sources)
            self.files += map(self.named, names)
            for lines, records in self._all(names):
                yield self._records(lines, records, file=earlier + lines.index)
            self._check_rejects()
            self.counts["files_without_records"] = len(self.files) - len(self._with_records)

    def named(self, name: str) -> str:
        """A name, such as a file's, as it may be written."""
        return self._redactor.name(name) if self._redactor else name

    def keyed(self, keys: pl.Series) -> pl.Series:
        """Keys of sessions, or lists of them, as they may be written: the same key always gives the same."""
        return self._redactor.names(keys, field=self._settings.sessions.key_field) if self._redactor else keys

    def _all(self, names: Sequence[str]) -> Iterator[tuple[Lines, Records]]:
        """Every batch of some files with its records, masked."""
        described = self._settings.format
        batches = read_lines(names, encoding=described.encoding, batch_lines=self._batch_lines, stdin=self._stdin)
        if described.kind in ("csv", "export"):
            batches = self._whole(batches)
        if (partial := described.partial) is not None:
            pieces = by_file(lambda: Partials(partial, self.counts), ((lines, lines.frame) for lines in batches))
            batches = (replace(lines, frame=whole) for lines, whole in pieces)
        if (pattern := described.continuation) is None:
            yield from ahead(lambda lines: self._masked(self._parsed(lines)), batches)
        else:
            apart = ahead(self._parsed, batches)
            joined = by_file(lambda: Continuations(pattern, self.counts), apart)
            yield from ((lines, self._masked(records)) for lines, records in joined)

    def _whole(self, batches: Iterable[Lines]) -> Iterator[Lines]:
        """Lines joined to rows or blocks; a file's first row names its columns unless the format does."""
        described = self._settings.format
        headless = described.kind == "export" or described.columns
        last = None

        def joining() -> Joining[pl.DataFrame]:
            return Blocks(self.counts) if described.kind == "export" else Rows(described.separator, self.counts)

        for lines, rows in by_file(joining, ((lines, lines.frame) for lines in batches)):
            if not headless and rows.height and lines.index != last:
                last = lines.index
                columns = header(rows["text"][0], described.separator)
                self._parsers[last] = Parser(
                    described.model_copy(update={"columns": columns}), sessions=self._settings.sessions, today=self._today
                )
                self.counts["lines"] += 1
                rows = rows.slice(1)
            yield replace(lines, frame=rows)

    def _records(self, lines: Lines, parsed: Records, *, file: int) -> pl.DataFrame:
        """Compact records of one batch, counted."""
        records, rejects = parsed
        if not len(self._sample):
            self._sample = lines.frame["text"].head(_SAMPLE)
        self.bytes_read = lines.read
        self.counts["lines"] += lines.frame.height
        self.counts["replaced_characters"] += lines.replaced
        self.counts["cut_lines"] += lines.cut
        self.rejects = rejects["line"]
        joined = int(rejects["text"].str.count_matches("\n", literal=True).sum() or 0) if self._settings.format.kind == "csv" else 0
        self.counts["rejected"] += rejects.height + joined
        self.counts["continued"] -= joined
        some = rejects.filter(pl.col("text").str.contains(r"\S"))
        self.counts["empty"] += rejects.height - some.height
        self.counts["rejected_alerts"] += int(rejects["anomalous"].sum() or 0)
        if self._settings.format.time is not None:
            self.counts["timeless"] += records["time"].null_count()
        for line, text, _ in some.head(_SHOWN_REJECTS - len(self.first_rejects)).iter_rows():
            text = redact_text(text) if self._redactor else text  # before it is cut: half a secret is not recognised
            self.first_rejects.append({"file": self.named(Path(lines.file).name), "line": line, "text": shortened(text)})
        numbers = pl.int_range(self._record + 1, self._record + 1 + records.height, dtype=pl.UInt64, eager=True)
        self._record += records.height
        self._with_records |= {file} if records.height else set()
        return records.select(
            record=numbers,
            file=pl.lit(file, dtype=pl.UInt32),
            line="line",
            time="time",
            keys=self.keyed(records["keys"]),
            message=self.messages.push(records["message"]),
            anomalous="anomalous",
        ).select(RECORDS.keys())

    def _parsed(self, lines: Lines) -> Records:
        """One batch's records and rejects; may run beside others."""
        return self._parsers.get(lines.index, self._parser).parse(lines.frame)

    def _masked(self, parsed: Records) -> Records:
        """Records with their messages masked; may run beside others."""
        records, rejects = parsed
        return Records(records.with_columns(self._mask(records["message"]).alias("message")), rejects)

    def _mask(self, messages: pl.Series) -> pl.Series:
        """Masked messages, redacted before; where few are distinct only those are worked on."""
        if messages.head(_SAMPLE).n_unique() * 2 > min(_SAMPLE, len(messages)):
            return mask(redact(messages) if self._settings.redact else messages, self._settings.mask)
        rows = messages.alias("message").to_frame()
        distinct = rows.unique(maintain_order=True)
        shown = redact(distinct["message"]) if self._settings.redact else distinct["message"]
        distinct = distinct.with_columns(masked=mask(shown, self._settings.mask))
        return rows.join(distinct, on="message", how="left", maintain_order="left")["masked"]

    def _check_rejects(self) -> None:
        """More than half rejected means the wrong format, or no log at all."""
        lines = self.counts["lines"] - self.counts["continued"] - self.counts["empty"]  # which say nothing of the format
        rejected = self.counts["rejected"] - self.counts["empty"]
        if not lines:
            raise DataError(f"{', '.join(self.files)} holds empty lines only")
        if 2 * rejected <= lines:
            return
        first = self.first_rejects[0]
        others = fitting(self._sample, instead_of=self._settings.format.name, today=self._today)[:2]
        remedy = f"it fits {' or '.join(others)}" if others else "describe it in a TOML file (logllm show formats), or use plain"
        if self._settings.format.kind == "plain":
            remedy = "this is no text: unpack or convert it first, or name its --encoding"
        raise DataError(
            f"{rejected:,} of {plural(lines, 'line')} {'is' if rejected == 1 else 'are'} not in the format {self._settings.format.name}, "
            f"such as line {first['line']} of "
            f"{first['file']}: {first['text']}; {remedy}"
        )


def ahead(work: Callable[[Lines], Records], batches: Iterable[Lines]) -> Iterator[tuple[Lines, Records]]:
    """Batches with what is made of them, in order; Polars lets two be worked on while the next is read.

    Where the source pauses nothing is held back for the next batch, and what came before a fault comes before it here too.
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
                except Exception as exc:  # noqa: BLE001 - whatever it is, it is raised when all before it has been given
                    more, fault = False, exc
                else:
                    waiting.append((lines, pool.submit(work, lines)))
                    paused = lines.paused
            while len(waiting) > (0 if paused else _AT_ONCE):
                done, made = waiting.popleft()
                yield done, made.result()
    if fault is not None:
        raise fault


def shortened(text: str) -> str:
    r"""A line as it may stand in a message: short, and without characters that would move a cursor.

    >>> shortened("a\tb\x1b[2J")
    'a b�[2J'
    """
    shown = text[:_SHOWN_CHARACTERS] + ("…" if len(text) > _SHOWN_CHARACTERS else "")
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in shown)
