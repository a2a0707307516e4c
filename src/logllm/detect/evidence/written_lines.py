"""What is written in some lines of a log that has been read, as a person may be shown it."""

from collections import deque
from collections.abc import Iterator, Sequence

import polars as pl

from logllm.config.format import FormatSection
from logllm.detect.evidence.whole_records import reaching, shortened, with_further
from logllm.errors import LogLLMError
from logllm.logs.first_lines import read_again
from logllm.logs.lines import read_lines
from logllm.logs.redaction import redact
from logllm.logs.secrets import SECRET_FIELD

_FRAMES = 4
"""How many frames of lines, of at most 4 MiB each, are kept at hand of a file."""


class WrittenLines:
    """Lines of the inputs of one reading, as they are written.

    A file is read once more, and on from there where later lines are wanted. The masked message is
    shown instead for inputs that can be read only once, for lines that do not tell which of their
    words are secret where that matters, and where a line by itself says nothing (the first line of
    a JSON object that stands on several lines).
    """

    def __init__(
        self,
        inputs: Sequence[tuple[str, FormatSection]],
        *,
        key_field: str | None,
        redacted: bool,
    ) -> None:
        """Begin with nothing read.

        Args:
            inputs: the inputs' names, as they were given, and their formats.
            key_field: the field that names a record's session, if there is one.
            redacted: whether what is secret is taken out of lines.
        """
        # Asked of each input once: a pipe is gone, and of some formats nothing may be shown.
        self._files: list[_Again | None] = []
        self._formats = [described for _, described in inputs]
        for name, described in inputs:
            may_be_shown = tells(described, key_field=key_field, redacted=redacted)
            readable = read_again(name) and may_be_shown
            self._files.append(_Again(name, described) if readable else None)
        self.redacted = redacted
        """Whether what is secret is taken out of lines."""

    def texts(self, places: pl.DataFrame) -> pl.Series:
        """What is written in some records, their further lines too.

        Args:
            places: `file` (the input's place), `line`, and `message`, the masked message.
        """
        # Each file is read for all its lines at once.
        frames = [pl.DataFrame(schema=_WRITTEN)]
        for (file,), of_file in places.group_by("file"):
            # One pass over a file gives all its lines.
            again = self._files[file]
            if again is not None:
                wanted = reaching(of_file)["line"]
                own = pl.lit(file, dtype=pl.UInt32).alias("file")
                lines = again.at(wanted).select(own, "line", "text")
                described = self._formats[file]
                frames.append(with_further(of_file, written=lines, described=described))
        return shown(places, pl.concat(frames), redacted=self.redacted)


_WRITTEN = {"file": pl.UInt32, "line": pl.UInt64, "text": pl.String, "further": pl.String}
"""Lines as they are written, with the further lines of the records that they begin."""


def shown(places: pl.DataFrame, written: pl.DataFrame, *, redacted: bool) -> pl.Series:
    """What is written in some records, as a person may be shown it.

    Where nothing written tells anything, it is the masked message. A long line is cut at its end.

    Args:
        places: `file`, `line` and `message`, the masked message.
        written: `file`, `line` and `text`, as far as lines can be read, and `further`, the further
            lines of the record.
        redacted: take out what is secret.
    """
    rows = places.join(written, on=["file", "line"], how="left", maintain_order="left")
    text = pl.col("text").str.strip_chars()
    telling = text.str.contains(r"[\pL\pN]").fill_null(False)
    whole = pl.concat_str(text, pl.col("further"), separator="\n", ignore_nulls=True)
    either = pl.when(telling).then(whole).otherwise("message").alias("text")
    texts = rows.select(either)["text"]
    # Before it is cut: half a secret is not recognised.
    without = redact(texts) if redacted else texts
    return shortened(without).rename("text")


class _Again:
    """A file that is read once more."""

    def __init__(self, name: str, described: FormatSection) -> None:
        """Begin at the first line."""
        self._name = name
        self._encoding = described.encoding
        self._begin()

    def at(self, numbers: pl.Series) -> pl.DataFrame:
        """Some lines, `line` and `text`, as far as they can still be read."""
        wanted = numbers.unique().to_frame("line")
        lines = wanted["line"]
        first, last = int(lines.min()), int(lines.max())  # type: ignore[arg-type]
        # A file can only be read forwards: for a line before what is at hand it is begun anew.
        if self._frames and first < self._frames[0]["line"][0]:
            self._begin()
        there = [wanted.join(frame, on="line") for frame in self._frames]
        while not self._frames or self._frames[-1]["line"][-1] < last:
            frame = next(self._batches, None)
            if frame is None:
                break
            self._frames.append(frame)
            there.append(wanted.join(frame, on="line"))
        if there:
            return pl.concat(there)
        unreadable = pl.lit(None, dtype=pl.String)
        return wanted.with_columns(text=unreadable)

    def _begin(self) -> None:
        """Go back to the first line."""
        self._frames: deque[pl.DataFrame] = deque(maxlen=_FRAMES)
        self._batches = self._read()

    def _read(self) -> Iterator[pl.DataFrame]:
        """Frames of lines, up to a fault: a file may have been removed or changed meanwhile."""
        try:
            for lines in read_lines([self._name], encoding=self._encoding):
                yield lines.frame
        except LogLLMError:
            return


def tells(described: FormatSection, *, key_field: str | None, redacted: bool) -> bool:
    """Whether a line tells of one record, and, where that matters, which of its words are secret.

    A row of a table does not say what its columns are, and a key does not say that its name is one
    of a secret.

    >>> table = FormatSection(name="app", kind="csv")
    >>> tells(table, key_field=None, redacted=False), tells(table, key_field=None, redacted=True)
    (True, False)
    """
    if described.records is not None:
        return False
    if not redacted:
        return True
    # `7,10.0.0.3,hunter2` does not say that its third column is a password.
    tables = any(layer.kind in ("csv", "w3c") for layer in described.layers)
    return not tables and not (key_field and SECRET_FIELD.search(key_field))
