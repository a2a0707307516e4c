"""Where an input begins and ends, and which sessions are cut there."""

from datetime import datetime
from typing import NamedTuple

import polars as pl


class Span(NamedTuple):
    """The stretch of a log that has been read."""

    first: int = 0
    """Number of the first record; 0: no record has come."""
    last: int = 0
    """Number of the last record."""
    began: datetime | None = None
    """The first time of all."""
    ended: datetime | None = None
    """The latest time."""

    def longer(self, records: pl.DataFrame) -> "Span":
        """The span with more records."""
        if not records.height:
            return self
        times = records["time"].drop_nulls()
        began, ended = self.began, self.ended
        # A log may have lines without a time, and times that go back: the latest is not the last.
        if len(times):
            latest: datetime = times.max()  # type: ignore[assignment]
            began = times[0] if began is None else began
            ended = latest if ended is None else max(ended, latest)
        numbers = records["record"]
        return Span(self.first or numbers[0], numbers[-1], began, ended)


def cut_at(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """What `cut` says of sessions that are cut at their start, at their end, or at both."""
    # Both ends are asked for first: else a session that is cut at both would count as "start".
    at_both = pl.when(start & end).then(pl.lit("both"))
    at_start = at_both.when(start).then(pl.lit("start"))
    return at_start.when(end).then(pl.lit("end"))
