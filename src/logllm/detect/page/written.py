"""Lines as they are written in a log, read once more when verdicts on them are there."""

import os
from collections.abc import Collection, Mapping, Sequence
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Protocol
from weakref import finalize

import polars as pl

from logllm.config.format import FormatSection
from logllm.detect.evidence.whole_records import reaching, whole_records
from logllm.detect.evidence.written_lines import tells
from logllm.logs.archives import Bytes, arrives
from logllm.logs.fields import read_fields
from logllm.logs.first_lines import read_again
from logllm.logs.inside.traces import title
from logllm.logs.lines import STDIN, lines_at, named_files

if TYPE_CHECKING:
    from logllm.detect.reading import Reading

Place = tuple[str | None, int]
"""A file (None where there is only one input) and a line's number."""

_MOST = 1 << 30
"""How many bytes of standard input are put aside at most."""


class Placed(Protocol):
    """A message and where it stands."""

    @property
    def message(self) -> str:
        """The masked message."""

    @property
    def line(self) -> int:
        """The number of its first line."""

    @property
    def file(self) -> str | None:
        """That line's file; None where there is one input."""


class PutAside:
    """Standard input that is put aside while it is read, so that lines can be looked up later.

    It goes into a file without a name. What is beyond 1 GiB is read, but not put aside.
    """

    def __init__(self, stream: Bytes) -> None:
        """Begin with nothing read."""
        self.arriving = arrives(stream)
        """Whether a short read means a pause (`logllm.logs.archives.arrives`)."""
        self._stream = stream
        # It is closed, and so is gone, when this object is gone.
        self._file = TemporaryFile()  # noqa: SIM115
        finalize(self, self._file.close)
        self._size = 0

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes."""
        block = self._stream.read(size)
        if self._size <= _MOST:
            self._size += len(block)
            self._file.write(block)
        return block

    def comes(self, wait: float) -> bool:
        """Whether there is more to read, or the end, within some seconds."""
        return self._stream.comes(wait) if arrives(self._stream) else True

    def again(self) -> Bytes | None:
        """What was read, from its beginning; None where it was too much."""
        if self._size > _MOST:
            return None
        self._file.seek(0, os.SEEK_SET)
        return self._file


def written_lines(
    places: Collection[Place],
    logs: Sequence[str],
    *,
    reading: "Reading",
    aside: PutAside | None = None,
) -> dict[Place, str]:
    """What is written in some lines; lines of inputs that can be read only once are left out.

    Args:
        places: of the lines.
        logs: the inputs, as they were given.
        reading: has read them.
        aside: what `-` has read, where it was put aside.
    """
    names = dict(zip(reading.files, named_files(logs), strict=False))
    numbers: dict[str | None, set[int]] = {}
    for file, line in places:
        numbers.setdefault(file, set()).add(line)
    written: dict[Place, str] = {}
    # Each file once, however many of its lines are wanted.
    for file, wanted in numbers.items():
        name = names[file or reading.files[0]]
        stdin: Bytes | None = None
        if aside is not None and name == STDIN:
            stdin = aside.again()
        if stdin is not None or read_again(name):
            encoding = reading.settings.format.encoding
            lines = lines_at(name, wanted, encoding=encoding, stdin=stdin)
            written |= {(file, number): text for number, text in lines.items()}
    return written


def said_in(lines: Mapping[Place, str], described: FormatSection) -> dict[Place, str]:
    """What lines say, without what stands before their messages.

    Lines of which this is not known are left out.

    Args:
        lines: as they are written.
        described: their format.
    """
    # Rows are known by their header, and blocks have several lines: one line by itself says
    # nothing.
    if described.kind in ("csv", "w3c", "export") or not lines:
        return {}
    texts = pl.Series(list(lines.values()), dtype=pl.String)
    messages = read_fields(texts, described).message
    pairs = zip(lines, messages, strict=True)
    return {place: text.partition("\n")[0] for place, text in pairs if text}


def written_titles(
    records: Sequence[Placed],
    logs: Sequence[str],
    *,
    reading: "Reading",
    redact: bool,
) -> dict[Place, str]:
    """What some records are called in one line: their first one as written, or an exception.

    Of JSON it is the message alone. Inputs that can be read only once have none. Nor have lines
    that do not tell which of their words are secret, if secrets are to be taken out.

    Args:
        records: the records.
        logs: the inputs, as they were given.
        reading: has read them.
        redact: whether what is secret will be taken out.
    """
    settings = reading.settings
    described = settings.format
    if not tells(described, key_field=settings.sessions.key_field, redacted=redact):
        return {}
    message_at = {(record.file, record.line): record.message for record in records}
    rows = [(file, line, message) for (file, line), message in message_at.items()]
    schema = {"file": pl.String, "line": pl.UInt64, "message": pl.String}
    places = pl.DataFrame(rows, schema=schema, orient="row")
    # One pass over each file, for further lines too.
    lines = written_lines(list(reaching(places).iter_rows()), logs, reading=reading)
    further = _further(places, lines, described=described)

    # A whole JSON line is mostly braces and fields that nobody asked about.
    first = {place: text for place, text in lines.items() if place in message_at}
    messages = said_in(first, described) if described.kind == "json" else {}
    titles: dict[Place, str] = {}
    for place, text in first.items():
        whole = messages.get(place) or text.strip()
        if place in further:
            whole = f"{whole}\n{further[place]}"
        titles[place] = title(whole, message_at[place])
    return titles


def _further(
    places: pl.DataFrame, lines: Mapping[Place, str], *, described: FormatSection
) -> dict[Place, str]:
    """The further lines of records that have some."""
    rows = [(file, line, text) for (file, line), text in lines.items()]
    schema = {"file": pl.String, "line": pl.UInt64, "text": pl.String}
    written = pl.DataFrame(rows, schema=schema, orient="row")
    further = whole_records(places, written=written, described=described)
    return {(file, line): text for file, line, text in further.iter_rows()}
