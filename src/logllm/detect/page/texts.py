"""Lines as a page shows them.

They are shown as they are written where they can be read again, without secrets where that is
wanted.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from logllm.detect.evidence.written_lines import tells
from logllm.detect.page.written import Place, PutAside, said_in, written_lines
from logllm.logs.inside.traces import title
from logllm.logs.redaction import redact
from logllm.logs.tally import printable

if TYPE_CHECKING:
    from logllm.detect.reading import Reading

_LONGEST = 1_500
"""Characters of a text that are shown."""


class Wanted(NamedTuple):
    """A record that is to be shown."""

    place: Place
    """Its first line."""
    masked: str
    """Its masked message."""
    further: tuple[int, ...] = ()
    """Numbers of its further lines."""


class Text(NamedTuple):
    """What is shown of a record."""

    text: str
    """The text, of several lines where the record has them."""
    masked: bool
    """Whether it is the masked message, because what is written cannot be read again, or must not
    be shown."""
    left_out: int
    """How many characters after it are not shown."""


class Texts:
    """What is shown of records."""

    def __init__(
        self,
        wanted: Iterable[Wanted],
        reading: "Reading",
        *,
        logs: Sequence[str],
        redacted: bool,
        aside: PutAside | None,
    ) -> None:
        """Read the records again.

        Args:
            wanted: the records; where two have the same place, the later one counts.
            reading: has read the log.
            logs: the inputs, as they were given.
            redacted: whether what is secret is to be taken out.
            aside: what `-` has read, where it was put aside.
        """
        # Of two records at one place the later one stays.
        settings = reading.settings
        records = {record.place: record for record in wanted}
        lines: dict[Place, str] = {}
        if tells(settings.format, key_field=settings.sessions.key_field, redacted=redacted):
            # All lines of all records at once: each file is read once.
            numbers: list[Place] = []
            for (file, line), record in records.items():
                numbers += [(file, number) for number in (line, *record.further)]
            lines = written_lines(numbers, logs, reading=reading, aside=aside)
        # The first line of each record, if it was read again, and what it says behind its time.
        first = {place: lines[place] for place in records if place in lines}
        masked = {place: record.masked for place, record in records.items()}
        said = said_in(first, settings.format)

        # What could not be read again is shown as the model read it.
        self._masked = records.keys() - first.keys()
        whole: dict[Place, str] = {}
        short: dict[Place, str] = {}
        for place, record in records.items():
            whole[place] = _whole(record, lines) if place in first else masked[place]
            short[place] = title(said.get(place) or masked[place], masked[place])
        self._whole = _without_secrets(whole) if redacted else whole
        self._short = _without_secrets(short) if redacted else short

    @property
    def any_masked(self) -> bool:
        """Whether some records could not be read again."""
        return bool(self._masked)

    def whole(self, place: Place) -> Text:
        """All that is written in a record."""
        text = self._whole[place]
        left_out = max(0, len(text) - _LONGEST)
        return Text(_shown(text), place in self._masked, left_out)

    def said(self, place: Place) -> str:
        """What a record says, in one line, without what stands before its message."""
        text = self._short[place]
        rest = "…" if len(text) > _LONGEST else ""
        return _shown(text) + rest


def _whole(record: Wanted, lines: Mapping[Place, str]) -> str:
    """The lines of a record."""
    file, first = record.place
    numbers = (first, *record.further)
    written = [lines[file, line] for line in numbers if (file, line) in lines]
    return "\n".join(written).rstrip()


def _without_secrets(texts: Mapping[Place, str]) -> dict[Place, str]:
    """Texts that may be shown; they are cut afterwards, since half a secret is not recognised."""
    as_read = pl.Series(list(texts.values()), dtype=pl.String)
    return dict(zip(texts, redact(as_read), strict=True))


def _shown(text: str) -> str:
    """The beginning of a text, its lines without characters that would move a cursor."""
    lines = text[:_LONGEST].split("\n")
    return "\n".join(map(printable, lines))
