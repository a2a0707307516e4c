"""What a client sends to be judged, as records of a log."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.detect.evidence.whole_records import reaching, with_further
from logllm.detect.evidence.written_lines import shown, tells
from logllm.logs.reader import Reader
from logllm.logs.records import RECORDS, Records


class Given(NamedTuple):
    """Lines of one log, or of one session."""

    texts: Sequence[str]
    session: str | None = None
    """Its name; none: the lines say themselves which sessions they belong to."""
    bare: bool = False
    """They are messages alone, without what a line has before its message."""


def given(
    texts: Sequence[str],
    *,
    session: str | None = None,
    bare: bool = False,
) -> Given:
    r"""What a client sent: a text of several lines is several.

    >>> given(["one\r\n", "two\nthree"]).texts
    ['one', 'two', 'three']
    """
    whole = "\n".join(text.removesuffix("\n") for text in texts)
    # JSON may hold halves of characters, which no text has.
    sound = whole.encode("utf-8", "replace").decode()
    lines = [line.removesuffix("\r") for line in sound.split("\n")] if texts else []
    return Given(lines, session, bare)


def records_of(several: Sequence[Given], *, reader: Reader) -> pl.DataFrame:
    """Records (`logllm.logs.records.RECORDS`) of all; `file` is the place of what they are of."""
    # Numbers of lines begin anew in each session that was sent: `file` keeps them apart.
    frames = []
    for place, one in enumerate(several):
        frame = _one(one, reader=reader)
        frames.append(frame.with_columns(file=pl.lit(place)))
    together = pl.concat(frames)
    numbers = pl.int_range(1, together.height + 1, dtype=pl.UInt64)
    numbered = together.with_columns(record=numbers)
    return numbered.select(RECORDS.keys()).cast(RECORDS)  # type: ignore[arg-type]


def _one(one: Given, *, reader: Reader) -> pl.DataFrame:
    """The records of one log or session, each with its line."""
    texts = pl.DataFrame({"text": pl.Series(one.texts, dtype=pl.String)})
    numbered = texts.with_row_index("line", offset=1)
    lines = numbered.cast({"line": pl.UInt64})
    read = _bare if one.bare else _read
    pieces = read(lines, reader, name=one.session)
    records = pl.concat(pieces)
    if one.session is None:
        return records
    # The name that was sent is the one key, whatever the lines themselves name.
    return records.with_columns(keys=pl.concat_list(pl.lit(one.session)))


def _read(lines: pl.DataFrame, reader: Reader, *, name: str | None) -> Iterator[pl.DataFrame]:
    """Records of lines as they stand in a log."""
    pushed = reader.pushed(name or "-")
    yield pushed.push(lines)
    # The last record may wait for lines that belong to it: here nothing more comes.
    last = pushed.rest()
    if last is not None:
        yield last


def _bare(lines: pl.DataFrame, reader: Reader, *, name: str | None) -> Iterator[pl.DataFrame]:
    """Records of messages, whose key is the name of their session."""
    nothing = pl.DataFrame(schema={"line": pl.UInt64, "text": pl.String})
    # A message alone has nothing that a format could be tried on: it is masked as it is.
    key = pl.concat_list(pl.lit(name, dtype=pl.String))
    messages = lines.select("line", key.alias("keys"), message="text")
    masked = reader.masked(Records(messages, nothing)).records
    counts = reader.tally.counts
    counts["lines"] = counts.get("lines", 0) + lines.height
    lacking = {name: pl.lit(None, dtype=kind) for name, kind in RECORDS.items()}
    present = {"line": pl.col("line"), "message": pl.col("message")}
    yield masked.select(**(lacking | present))


class GivenTexts:
    """What was sent, for evidence: a line as it is written, or its message."""

    def __init__(
        self,
        several: Sequence[Given],
        *,
        settings: PrepareSection,
        redacted: bool,
    ) -> None:
        """The texts of all that is judged together.

        Args:
            several: what was sent.
            settings: how it is read.
            redacted: whether what is secret is taken out.
        """
        self.redacted = redacted
        """Whether what is secret is taken out of lines."""
        self.named = several[0].session is not None
        """Whether sessions were sent that have names."""
        self.files = ["-"] * len(several)
        """A name for each of what was sent, as for files."""
        self._format = settings.format
        by_field = settings.sessions.key_field
        # Where a whole line may hold what is to be hidden, none is shown, and evidence is the
        # message.
        tell = tells(settings.format, key_field=by_field, redacted=redacted)
        self._several = [one.texts if tell or one.bare else () for one in several]

    def texts(self, places: pl.DataFrame) -> pl.Series:
        """What is written in some records: `file`, `line`, and `message`, the masked message."""
        lines = reaching(places)
        texts = [self._text(file, line) for file, line in lines.iter_rows()]
        written = lines.with_columns(text=pl.Series(texts, dtype=pl.String))
        further = with_further(places, written=written, described=self._format)
        return shown(places, further, redacted=self.redacted)

    def _text(self, file: int, line: int) -> str | None:
        """One line."""
        lines = self._several[file]
        return lines[line - 1] if line <= len(lines) else None
