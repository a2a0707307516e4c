"""Lines as a page shows them.

As they are written where they can be read again, without secrets where that is wanted.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from logllm.detect.evidence.written_lines import tells
from logllm.detect.page.written import Place, PutAside, said_in, written_lines
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
    """Its message, masked."""
    further: tuple[int, ...] = ()
    """Numbers of the lines that it goes on with."""


class Text(NamedTuple):
    """What is shown of a record."""

    text: str
    """It, of several lines where it has them."""
    masked: bool
    """Whether it is the masked message, since what is written cannot be read again, or may not be
    shown."""
    left_out: int
    """Characters after it that are not shown."""


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
        """Read them again.

        Args:
            wanted: the records; of two of one place the later one counts.
            reading: has read the log.
            logs: the inputs, as they were given.
            redacted: whether what is secret is to be taken out.
            aside: what `-` has read, where it was put aside.
        """
        settings = reading.settings
        records = {record.place: record for record in wanted}
        lines: dict[Place, str] = {}
        if tells(settings.format, key_field=settings.sessions.key_field, redacted=redacted):
            # All lines of all records at once: each file is read once.
            numbers: list[Place] = []
            for (file, line), record in records.items():
                numbers += [(file, number) for number in (line, *record.further)]
            lines = written_lines(numbers, logs, reading=reading, aside=aside)
        first = {place: lines[place] for place in records if place in lines}
        masked = {place: record.masked for place, record in records.items()}
        said = said_in(first, settings.format)

        # What could not be read again is shown as the model read it.
        self._masked = records.keys() - first.keys()
        whole: dict[Place, str] = {}
        short: dict[Place, str] = {}
        for place, record in records.items():
            whole[place] = _whole(record, lines) if place in first else masked[place]
            short[place] = said.get(place) or masked[place].partition("\n")[0]
        self._whole = _without_secrets(whole) if redacted else whole
        self._short = _without_secrets(short) if redacted else short

    @property
    def any_masked(self) -> bool:
        """Whether some could not be read again."""
        return bool(self._masked)

    def whole(self, place: Place) -> Text:
        """All that is written in a record."""
        text = self._whole[place]
        return Text(_shown(text), place in self._masked, max(0, len(text) - _LONGEST))

    def said(self, place: Place) -> str:
        """What a record says, in one line, without what stands before its message."""
        text = self._short[place]
        return _shown(text) + ("…" if len(text) > _LONGEST else "")


def _whole(record: Wanted, lines: Mapping[Place, str]) -> str:
    """The lines of a record."""
    file, first = record.place
    numbers = (first, *record.further)
    written = [lines[file, line] for line in numbers if (file, line) in lines]
    return "\n".join(written).rstrip()


def _without_secrets(texts: Mapping[Place, str]) -> dict[Place, str]:
    """Texts that may be shown; they are cut afterwards, since half a secret is not recognised."""
    redacted = redact(pl.Series(list(texts.values()), dtype=pl.String))
    return dict(zip(texts, redacted, strict=True))


def _shown(text: str) -> str:
    """The beginning of a text, in lines without what would move a cursor."""
    return "\n".join(map(printable, text[:_LONGEST].split("\n")))
