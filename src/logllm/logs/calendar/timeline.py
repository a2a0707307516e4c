"""Records in the order of time: files that are written newest first are turned."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import polars as pl

from logllm.logs.calendar.years import Years, lack, steps_back
from logllm.logs.lines import Counts, Lines
from logllm.logs.records import Records
from logllm.logs.times import with_years

LOOKED_AT = 50
"""Times at a file's start by which it is told whether it is written newest first."""
_FEWEST = 4  # steps back
_STEADY = 0.9  # of the steps from one time to another go back


class Order:
    """Records of one file, the oldest first.

    Files whose first times go back steadily, such as exports of Cloud consoles and what `sort -r`
    gives, are held until they end, in memory whole, and turned. What lines a record goes on with
    has joined it before.
    """

    def __init__(self) -> None:
        """Nothing read yet."""
        self.turned = False
        """Whether the file is written newest first, as far as is known."""
        self._told = False
        self._waiting: list[pl.DataFrame] = []

    def push(self, records: pl.DataFrame, *, paused: bool = False) -> pl.DataFrame:
        """Records that may be given on.

        Args:
            records: the next ones, with a column `time`.
            paused: nobody knows when more will come, so that nothing waits.
        """
        if self._told and not self.turned:
            return records
        self._waiting.append(records)
        times = 0
        if not self._told:
            times = sum(len(frame) - frame["time"].null_count() for frame in self._waiting)
        # Fifty times tell; so does a pause, since nobody knows when the next line will come.
        if not self._told and (paused or times >= LOOKED_AT):
            self._told = True
            self.turned = times >= LOOKED_AT and newest_first(self._times())
        if self.turned or not self._told:
            return records.clear()
        return self._all()

    def flush(self) -> pl.DataFrame | None:
        """What has waited until the file ended."""
        if not self._waiting:
            return None
        # A short file ends before there is enough to tell from: then all of it decides.
        if not self._told:
            self._told, self.turned = True, newest_first(self._times())
        records = self._all()
        return records.reverse() if self.turned else records

    def _times(self) -> pl.Series:
        return pl.concat([frame["time"] for frame in self._waiting])

    def _all(self) -> pl.DataFrame:
        """All that has waited, which waits no longer."""
        waiting, self._waiting = self._waiting, []
        return pl.concat(waiting)


def newest_first(times: pl.Series) -> bool:
    """Whether the first of some times go back steadily.

    >>> from datetime import datetime
    >>> days = pl.Series([datetime(2024, 1, day) for day in (9, 8, 8, 7, 6, 5)])
    >>> newest_first(days), newest_first(days.reverse())
    (True, False)
    """
    steps = steps_back(times.drop_nulls().head(LOOKED_AT))
    back = int(steps.sum())
    return back >= _FEWEST and back >= _STEADY * len(steps)


def in_time(
    parsed: Iterator[tuple[Lines, Records]],
    *,
    years: Callable[[Lines], Years],
    zone: str | None,
    counts: Counts,
) -> Iterator[tuple[Lines, Records]]:
    """Batches of files with their records in the order of time, each with its year.

    Args:
        parsed: batches as they were parsed.
        years: gives the years of a file, of which the first batch is given; asked for where a time
            lacks its.
        zone: of times that name none.
        counts: where `turned` records and times that had to be of an earlier year (`moved_years`)
            are counted.
    """
    file: _InTime | None = None
    last: Lines | None = None
    try:
        for lines, (records, rejects) in parsed:
            # Each file has an order and years of its own, and what waited in one comes before the
            # next.
            if file is None or last is None or lines.index != last.index:
                if file is not None and last is not None:
                    yield from file.rest(last)
                file = _InTime(partial(years, lines), zone=zone, counts=counts)
            in_order = file.order.push(records, paused=lines.paused)
            yield lines, Records(file.given(in_order), rejects)
            last = lines
    except Exception:
        # What waited for the order to be known comes before the fault that ends the file.
        if file is not None and last is not None:
            yield from file.rest(last)
        raise
    if file is not None and last is not None:
        yield from file.rest(last)


class _InTime:
    """Records of one file in the order of time, with their years."""

    def __init__(self, years: Callable[[], Years], *, zone: str | None, counts: Counts) -> None:
        """Nothing read yet; the arguments are those of `in_time`."""
        self.order = Order()
        self._looked_for = years
        self._years: Years | None = None
        self._zone, self._counts = zone, counts

    def given(self, records: pl.DataFrame) -> pl.DataFrame:
        """Records with their years."""
        if not lack(records["time"]):
            return records
        if self._years is None:
            self._years = self._looked_for()
        moved = self._years.moved
        times = with_years(records["time"], self._years, zone=self._zone)
        self._counts["moved_years"] += self._years.moved - moved
        return records.with_columns(times.alias("time"))

    def rest(self, last: Lines) -> Iterator[tuple[Lines, Records]]:
        """What has waited for the file to end, as lines that bring nothing else to count."""
        waited = self.order.flush()
        if waited is None:
            return
        if self.order.turned:
            self._counts["turned"] += waited.height
        nothing = last.frame.clear()
        rejects = nothing.with_columns(anomalous=pl.lit(None, dtype=pl.Boolean))
        yield replace(last.counted(), frame=nothing), Records(self.given(waited), rejects)
