"""Records of lines that are pushed as they come, of one source."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from logllm.logs.calendar.years import Years
from logllm.logs.inside.other_kinds import kinds
from logllm.logs.joining import in_pieces, made_whole
from logllm.logs.lines import Lines, lines_of
from logllm.logs.reader import Reader
from logllm.logs.records import RECORDS, Records
from logllm.logs.times import with_years

_END = -1
"""In place of the bytes read: a mark after the lines that were pushed at once."""


class Pushed:
    """Records of lines that are pushed as they come.

    The lines go through the steps that a file's go through. A record that may go on is held back
    until the next one begins, or until `rest`.
    """

    def __init__(self, reader: Reader, *, file: int, name: str) -> None:
        """Nothing pushed yet; `Reader.pushed` is the way here."""
        described = reader.settings.format
        self._reader = reader
        self._file = file
        self._years = Years(today=reader.today)
        nothing = lines_of(pl.Series("text", [], dtype=pl.String)).frame
        self._end = Lines(nothing, name, file, _END, 0, 0)
        self._waiting: deque[Lines] = deque()
        counts = reader.tally.counts
        self._whole = made_whole(self._next(), described, counts=counts)
        # Where no line goes on with another nothing is held back.
        goes_on = any(kind.continuation for kind in kinds(described.innermost))
        joins = described.inside is not None or goes_on
        self._joining = reader.continuations() if joins else None
        self._in_pieces = in_pieces(described)
        self._last = 0
        self._last_record = 0

    def push(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Records (`logllm.logs.records.RECORDS`) that these lines complete.

        Args:
            frame: `line` (u64, rising) and `text`.
        """
        if not frame.height:
            return pl.DataFrame(schema=RECORDS)
        self._last = int(frame["line"][-1])
        self._waiting.append(replace(self._end, frame=frame, read=0, paused=True))
        # The steps of a file's lines, up to the mark: a file would end here, a source only pauses.
        given = []
        for lines in self._whole:
            if lines.read == _END:
                break
            parsed = self._reader.parsed(lines)
            joined = parsed if self._joining is None else self._joining.push(parsed)
            given.append(self._given(lines, joined))
        return pl.concat(given) if given else pl.DataFrame(schema=RECORDS)

    @property
    def low(self) -> int:
        """The first line that is not in a record yet, or one before it where that is not known."""
        # What is held back may still grow, and so is in no record.
        held = None if self._joining is None else self._joining.first_held
        after = self._last_record if self._in_pieces else self._last + 1
        return after if held is None else min(held, after)

    def rest(self) -> pl.DataFrame | None:
        """The record that was held back, if any: nothing goes on with it any more."""
        held = None if self._joining is None else self._joining.flush()
        return None if held is None else self._given(self._end, held)

    def _given(self, lines: Lines, parsed: Records) -> pl.DataFrame:
        """Records masked, with their years, counted."""
        masked = self._reader.masked(parsed) if parsed.records.height else parsed
        zone = self._reader.settings.format.time_zone
        times = with_years(masked.records["time"], self._years, zone=zone)
        if masked.records.height:
            self._last_record = int(masked.records["line"][-1])
        dated = Records(masked.records.with_columns(times.alias("time")), masked.rejects)
        return self._reader.counted(lines, dated, file=self._file)

    def _next(self) -> Iterator[Lines]:
        """What was pushed, and after it a mark that it was all."""
        while True:
            yield self._waiting.popleft() if self._waiting else self._end
