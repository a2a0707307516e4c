"""Which records are one window: of so many records, or of so many seconds."""

from datetime import datetime

import polars as pl

from logllm.config.sessions import SessionSection
from logllm.sessions.cut import cut_at
from logllm.sessions.live import Clock, lowest
from logllm.sessions.message_table import NUMBERED

_SECOND = 1_000_000


class CountWindows:
    """Windows of `size` records of one file, one every `step`.

    The last, short window of a file is kept; where windows overlap there is one such, the first
    that reaches the end. Of services merged by time (`merged`) all files are one.
    """

    clock: int | None = None
    """They go by no clock."""

    def __init__(self, settings: SessionSection, *, live: bool = False) -> None:
        self.counts: dict[str, int] = {}
        self._size = settings.size
        self._step = settings.step or settings.size
        self._rows = pl.DataFrame(schema=NUMBERED)
        self._next = 1  # the record that starts the next window
        self._covered = 0  # the last record that is in some window
        self._merged = settings.merged
        self._file: int | None = None

    def push(self, records: pl.DataFrame) -> pl.DataFrame | None:
        """Windows that these records fill or whose file ends; the first of all starts with the first record, whatever its number."""
        if self._merged or not records.height:
            return self._filled(records)
        sessions: list[pl.DataFrame | None] = []
        begins = records["file"].rle_id()
        for part in [records] if begins[-1] == 0 else records.with_columns(part=begins).partition_by("part", include_key=False):
            if self._file not in (None, part["file"][0]):
                sessions.append(self.flush())
            self._file = part["file"][0]
            sessions.append(self._filled(part))
        closed = [rows for rows in sessions if rows is not None and rows.height]
        return pl.concat(closed) if closed else None

    def _filled(self, records: pl.DataFrame) -> pl.DataFrame:
        """Windows that records of one file fill."""
        if not self._covered and not self._rows.height and records.height:
            self._next = records["record"][0]
            self._covered = self._next - 1
        self._rows = pl.concat([self._rows, records])
        last = self._next + self._rows.height - 1
        windows = max(0, (last - self._size + 1 - self._next) // self._step + 1)
        sessions = self._windows(windows)
        if windows:
            self._covered = self._next + (windows - 1) * self._step + self._size - 1
            self._next += windows * self._step
            self._rows = self._rows.slice(windows * self._step)
        return sessions

    def flush(self, before: datetime | None = None) -> pl.DataFrame | None:
        """The short window of what is left; with `before`, only if the last record is older."""
        last = self._next + self._rows.height - 1
        if before is not None and (not self._rows.height or not _older(self._rows["time"][-1], before)):
            return None
        sessions = self._windows(1, cut="end") if last > self._covered else None
        self._next, self._covered = last + 1, last
        self._rows = self._rows.clear()
        return sessions

    @property
    def open_count(self) -> int:
        """Whether a window has begun: 1, or 0."""
        return int(self._rows.height > 0)

    def open(self, since: int) -> pl.DataFrame:
        """Rows of the window that is not full, if it has a record after number `since`; it stays open.

        Of overlapping ones it is the first.
        """
        last = self._next + self._rows.height - 1
        there = self._rows.height and last > max(since, self._covered)
        return self._windows(1).drop("cut") if there else self._windows(0).drop("cut")

    def lows(self) -> dict[int, int]:
        """Of each file the first line of a window that is not full."""
        return lowest([self._rows])

    def quiet(self, *, last: int, first: int) -> pl.DataFrame | None:
        """Close the window early that is not full, if it began up to record number `first`."""
        begun = self._rows["record"][0] if self._rows.height else None
        if begun is None or begun > first:
            return None
        rows = self.flush()
        return None if rows is None else rows.with_columns(closed=pl.lit("early"), cut=pl.lit(None, dtype=pl.String))

    def renumber(self, numbers: pl.Series) -> None:
        """Give messages other numbers: those at their places in a series."""
        self._rows = self._rows.with_columns(message=numbers.gather(self._rows["message"]))

    def _windows(self, windows: int, *, cut: str | None = None) -> pl.DataFrame:
        """The next so many windows, of the rows there are."""
        rows = self._rows.head((windows - 1) * self._step + self._size) if windows else self._rows.clear()
        place = pl.int_range(pl.len(), dtype=pl.Int64)
        overlapping = [
            rows.with_columns(group=place // self._step - back, place=place).filter(
                (pl.col("group") >= 0) & (pl.col("group") < windows) & (pl.col("place") - pl.col("group") * self._step < self._size)
            )
            for back in range(-(-self._size // self._step))
        ]
        rows = overlapping[0] if len(overlapping) == 1 else pl.concat(overlapping).sort("group", "place")
        first = self._next + pl.col("group") * self._step
        return rows.with_columns(
            group=first,
            session=pl.format(f"{self._size}@{{}}", first),
            cut=pl.lit(cut, dtype=pl.String),
        )


class TimeWindows:
    """Windows of `size` seconds, one every `step`, from multiples of `step` since 1970; empty ones are skipped.

    A window closes when a record at or after its end comes; a record all of whose windows are closed is late and
    counted, one without a time is in none.
    Overlapping windows with the same first record add a number to their ids, `-1` for the latest but one and so on.
    """

    def __init__(self, settings: SessionSection, *, live: bool = False) -> None:
        self.counts = {"late": 0}
        self._clock = Clock(steady=live)
        self._seconds = settings.size
        self._size = settings.size * _SECOND
        self._step = (settings.step or settings.size) * _SECOND
        self._rows = pl.DataFrame(schema=NUMBERED | {"clock": pl.Int64, "group": pl.Int64})
        self._began: int | None = None  # the first time of all

    def push(self, records: pl.DataFrame) -> pl.DataFrame | None:
        """Windows that end before these records' latest time."""
        timed = records.filter(pl.col("time").is_not_null())
        if not timed.height:
            return None
        clock = self._clock.at(timed["time"])
        first = int(timed["time"].cast(pl.Int64)[0])
        self._began = first if self._began is None else self._began
        placed = self._placed(timed.with_columns(clock.alias("clock")))
        self.counts["late"] += timed.height - placed["record"].n_unique()
        self._rows = pl.concat([self._rows, placed])
        if self._clock.now is None:
            return None
        return self._close(pl.col("group") + self._size <= self._clock.now, latest=None)

    @property
    def clock(self) -> int | None:
        """The log's clock, in microseconds since 1970; none: no time has come."""
        return self._clock.now

    @clock.setter
    def clock(self, now: int | None) -> None:
        self._clock.now = now
        self._began = self._began if now is None else 0

    @property
    def open_count(self) -> int:
        """How many windows are open."""
        return self._rows["group"].n_unique()

    def open(self, since: int) -> pl.DataFrame:
        """Rows of the open windows that have had a record after number `since`, which stay open."""
        changed = pl.col("record").max().over("group") > since
        return self._named(self._rows.filter(changed).sort("group", "record"))

    def lows(self) -> dict[int, int]:
        """Of each file the first line that an open window holds."""
        return lowest([self._rows])

    def quiet(self, *, last: int, first: int) -> pl.DataFrame | None:
        """Close windows with no record after number `last`; those that began up to number `first` have had one a long time ago."""
        latest = pl.col("record").max().over("group")
        old = pl.col("record").min().over("group") <= first
        closing = self._rows.select((latest <= last) | old).to_series()
        if not closing.any():
            return None
        reached = int(self._rows.filter(closing)["group"].max()) + self._size  # type: ignore[arg-type]
        # What is written in the future stays apart: it moves no clock.
        if reached <= (self._clock.now or 0) + self._size:
            self.clock = max(reached, self._clock.now or 0)
        return self._close(closing, latest=None)

    def renumber(self, numbers: pl.Series) -> None:
        """Give messages other numbers: those at their places in a series."""
        self._rows = self._rows.with_columns(message=numbers.gather(self._rows["message"]))

    def flush(self, before: datetime | None = None) -> pl.DataFrame | None:
        """All open windows; with `before`, those that end by then."""
        if before is None:
            ends = self._rows["group"].max()
            reached = self._clock.now if ends is None else int(ends) + self._size  # type: ignore[arg-type]
        else:
            reached = int(pl.Series([before]).dt.epoch("us").item())
        if reached is None:
            return None
        latest = self._clock.now if before is None else None
        self._clock.now = max(reached, self._clock.now or reached)
        return self._close(pl.col("group") + self._size <= self._clock.now, latest=latest)

    def _placed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows once for each of their windows that was open; `group` is the window's start."""
        time = pl.col("time").cast(pl.Int64)
        placed = [
            rows.with_columns(group=(time.floordiv(self._step) - back) * self._step).filter(
                (time - pl.col("group") < self._size) & (pl.col("clock") < pl.col("group") + self._size)
            )
            for back in range(-(-self._size // self._step))
        ]
        return placed[0] if len(placed) == 1 else pl.concat(placed)

    def _close(self, closing: pl.Expr | pl.Series, *, latest: int | None) -> pl.DataFrame:
        """Sessions of the windows that close, by their start.

        Cut are those that begin before the first record, and those that end after the `latest`
        one, where no more come.
        """
        rows = self._rows.filter(closing).sort("group", "record")
        self._rows = self._rows.filter(~closing)
        begins_before = pl.col("group") < self._began
        ends_after = pl.lit(False) if latest is None else pl.col("group") + self._size > latest
        return self._named(rows).with_columns(cut=cut_at(begins_before, ends_after))

    def _named(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of windows with the names of these."""
        start = pl.col("time").first().over("group").cast(pl.Int64).floordiv(self._step) * self._step
        earlier = (start - pl.col("group")).floordiv(self._step)
        name = pl.format(f"{self._seconds}@{{}}", pl.col("record").first().over("group"))
        return rows.with_columns(session=pl.when(earlier > 0).then(pl.format("{}-{}", name, earlier)).otherwise(name))


def _older(time: datetime | None, before: datetime) -> bool:
    """Whether a record is known to be older."""
    return time is not None and time < before
