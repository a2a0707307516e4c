"""Where the lines that were given stand, as a sparse index, and places made of it for the store."""

from array import array
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, NamedTuple
from zlib import crc32

from logllm.serve.sources.tailing.generation import Generation, Piece
from logllm.serve.sources.tailing.marks import TAIL, Mark

EVERY = 64
"""Lines from one entry of the index to the next."""
_MOST = 1 << 16


class Recorded(NamedTuple):
    """Lines of one file that followed each other, as the store has them."""

    mark: Mark
    """The point where they begin."""
    reached: Mark
    """The last known point of the file, by which the file is recognised again."""
    line: int
    """The number of the first."""
    changed: int
    """When the file had last been written to, in ns."""
    text: str | None
    """As `Generation.text`."""
    stop: int | None
    """Where they end in the file; none: they were not at their end."""

    def as_json(self) -> dict[str, Any]:
        """A JSON object."""
        rest = {"line": self.line, "changed": self.changed, "text": self.text, "stop": self.stop}
        point = {key: value for key, value in rest.items() if value is not None}
        # Of the later point only offset, length and checksum: the rest is the file's, as above.
        reached = list(self.reached[-3:])
        return self.mark._asdict() | point | {"reached": reached}

    @classmethod
    def of_json(cls, fields: Mapping[str, Any]) -> "Recorded":
        """What `as_json` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        types = Mark.__annotations__.items()
        mark = Mark(**{name: kind(fields[name]) for name, kind in types})
        offset, tail_bytes, tail = fields["reached"]
        reached = mark._replace(offset=int(offset), tail_bytes=int(tail_bytes), tail=int(tail))
        line = int(fields["line"])
        changed = int(fields["changed"])
        text, stop = fields.get("text"), fields.get("stop")
        return cls(mark, reached, line, changed, text, stop)


class Stretch:
    """Lines of one file that followed each other, and where some of them begin."""

    def __init__(self, generation: Generation, line: int) -> None:
        """Lines from where a file is read now, from a number on."""
        self.generation = generation
        self.stop: int | None = None
        mark = generation.mark
        self.lines = array("Q", [line])
        self._offsets = array("Q", [mark.offset])
        self._tail_bytes = array("H", [mark.tail_bytes])
        self._tails = array("L", [mark.tail])
        self._columns = (self.lines, self._offsets, self._tail_bytes, self._tails)

    def note(self, piece: Piece, first: int) -> None:
        """Enter lines that are given, the first by its number."""
        # Every 64th line is entered, with a checksum of the bytes before it, by which the point is
        # known again in another file.
        due = self.lines[-1] + EVERY
        context = piece.before + piece.raw
        shift = len(piece.before)
        for row in range(max(0, due - first), len(piece.ends), EVERY):
            start = int(piece.ends[row - 1]) if row else 0
            end_of_tail = start + shift
            tail = context[max(0, end_of_tail - TAIL) : end_of_tail]
            self._enter(first + row, piece.start + start, tail=tail)
        # A store that is away for hours stores nothing: the index gets coarser, not longer.
        if len(self.lines) > _MOST:
            for column in self._columns:
                del column[1::2]

    def _enter(self, line: int, offset: int, *, tail: bytes) -> None:
        self.lines.append(line)
        self._offsets.append(offset)
        self._tail_bytes.append(len(tail))
        self._tails.append(crc32(tail))

    def recorded(self, line: int) -> Recorded:
        """The last entry before a line, or that line's own."""
        # At most 63 lines before the one that is asked for: those are given once more.
        row = max(0, bisect_right(self.lines, line) - 1)
        bytes_before, checksum = self._tail_bytes[row], self._tails[row]
        known = self.generation.known_mark
        mark = known._replace(offset=self._offsets[row], tail_bytes=bytes_before, tail=checksum)
        return self._from(mark, self.lines[row])

    def here(self, line: int) -> Recorded:
        """Where its file is read now."""
        return self._from(self.generation.mark, line)

    def _from(self, mark: Mark, line: int) -> Recorded:
        """Its lines from a point and a number on."""
        file = self.generation
        return Recorded(mark, file.known_mark, line, file.changed, file.text, self.stop)

    def forget(self, low: int) -> None:
        """Let go of entries that no line from `low` on needs."""
        row = bisect_right(self.lines, low) - 1
        if row > 0:
            for column in self._columns:
                del column[:row]


class GivenLines:
    """All lines of a log that were given and may be asked for once more."""

    def __init__(self) -> None:
        self._stretches: list[Stretch] = []

    def begin(self, generation: Generation, line: int) -> None:
        """From here on lines come from this file, the next one with this number."""
        if self._stretches:
            # Where a file's lines end is known only when the next one's begin.
            previous = self._stretches[-1]
            previous.stop = previous.generation.offset
        self._stretches.append(Stretch(generation, line))

    def note(self, piece: Piece, first: int) -> None:
        """Enter lines that are given, the first by its number."""
        self._stretches[-1].note(piece, first)

    def from_line(self, line: int, last: int) -> list[Recorded]:
        """From where a line and all after it can be read again.

        `last` is the last that was given.
        """
        if not self._stretches:
            return []
        # All was given: reading goes on where it stands, without a line twice.
        if line > last:
            return [self._stretches[-1].here(last + 1)]

        # The file that holds the line, and all after it from their beginnings.
        after = bisect_right(self._stretches, line, key=lambda stretch: stretch.lines[0])
        first = max(0, after - 1)
        beginning = self._stretches[first].recorded(line)
        later = self._stretches[first + 1 :]
        further = [stretch.recorded(stretch.lines[0]) for stretch in later]
        return [beginning, *further]

    def forget(self, low: int) -> None:
        """Lines below `low` will not be asked for."""
        # A file all of whose lines are stored; the last one stays, for more may come of it.
        while len(self._stretches) > 1 and self._stretches[1].lines[0] <= low:
            del self._stretches[0]
        if self._stretches:
            self._stretches[0].forget(low)
