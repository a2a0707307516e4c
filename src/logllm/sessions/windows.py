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

    The last, short window of a file is kept; where windows overlap, only the first one that reaches
    the end is. With services merged by time (`merged`), all files count as one.
    """

    clock: int | None = None
    """Always None: windows of records go by no clock."""

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
        """Windows that these records fill or whose file ends.

        The first window of all starts with the first record, whatever its number.
        """
        if self._merged or not records.height:
            return self._filled(records)
        sessions: list[pl.DataFrame | None] = []
        # A file's last window ends with it, so that the rows of each file are taken by themselves.
        file_change = records["file"].rle_id()
        if file_change[-1] == 0:
            of_files = [records]
        else:
            numbered = records.with_columns(change=file_change)
            of_files = numbered.partition_by("change", include_key=False)
        for of_file in of_files:
            file = of_file["file"][0]
            if self._file not in (None, file):
                sessions.append(self.flush())
            self._file = file
            sessions.append(self._filled(of_file))
        closed = [rows for rows in sessions if rows is not None and rows.height]
        return pl.concat(closed) if closed else None

    def _filled(self, records: pl.DataFrame) -> pl.DataFrame:
        """Windows that records of one file fill."""
        if not self._covered and not self._rows.height and records.height:
            self._next = records["record"][0]
            self._covered = self._next - 1
        self._rows = pl.concat([self._rows, records])
        # Windows that the rows fill: one for the first `size` of them, one more for each `step`.
        beyond_first = self._rows.height - self._size
        windows = max(0, beyond_first // self._step + 1)
        sessions = self._windows(windows)
        if windows:
            advance = windows * self._step
            last_begins = self._next + advance - self._step
            self._covered = last_begins + self._size - 1
            self._next += advance
            self._rows = self._rows.slice(advance)
        return sessions

    def flush(self, before: datetime | None = None) -> pl.DataFrame | None:
        """The short window of what is left; with `before`, only if the last record is older."""
        last = self._next + self._rows.height - 1
        if before is not None:
            last_time = self._rows["time"][-1] if self._rows.height else None
            if last_time is None or last_time >= before:
                return None
        sessions: pl.DataFrame | None = None
        if last > self._covered:
            sessions = self._windows(1, cut="end")
        self._next, self._covered = last + 1, last
        self._rows = self._rows.clear()
        return sessions

    @property
    def open_count(self) -> int:
        """Whether a window has begun: 1, or 0."""
        return int(self._rows.height > 0)

    def open(self, since: int) -> pl.DataFrame:
        """Rows of the window that is not full, if it has a record after number `since`.

        It stays open. Where windows overlap, it is the first one that is not full.
        """
        last = self._next + self._rows.height - 1
        has_news = self._rows.height and last > max(since, self._covered)
        rows = self._windows(1 if has_news else 0)
        return rows.drop("cut")

    def lows(self) -> dict[int, int]:
        """The first line of each file that a window holds which is not full."""
        return lowest([self._rows])

    def quiet(self, *, last: int, first: int) -> pl.DataFrame | None:
        """Close the window that is not full early, if it began up to record number `first`."""
        begun = self._rows["record"][0] if self._rows.height else None
        if begun is None or begun > first:
            return None
        rows = self.flush()
        if rows is None:
            return None
        # Closed for its age, not cut by the end of the input.
        not_cut = pl.lit(None, dtype=pl.String)
        return rows.with_columns(closed=pl.lit("early"), cut=not_cut)

    def renumber(self, numbers: pl.Series) -> None:
        """Replace the number of each message by the one at its place in a series."""
        renumbered = numbers.gather(self._rows["message"])
        self._rows = self._rows.with_columns(message=renumbered)

    def _windows(self, windows: int, *, cut: str | None = None) -> pl.DataFrame:
        """The next so many windows, of the rows there are."""
        last_begins = (windows - 1) * self._step
        reach = last_begins + self._size if windows else 0
        rows = self._rows.head(reach)

        # With size 100 and step 40 a record is in up to three windows: that which begins last
        # before it, and those that begin 40 and 80 records earlier. A copy of the rows for each.
        place = pl.int_range(pl.len(), dtype=pl.Int64)
        group = pl.col("group")
        begins = group * self._step
        in_group = pl.col("place") - begins < self._size
        is_window = (group >= 0) & (group < windows)
        most_windows = -(-self._size // self._step)
        overlapping: list[pl.DataFrame] = []
        for back in range(most_windows):
            window = place // self._step - back
            copied = rows.with_columns(group=window, place=place)
            overlapping.append(copied.filter(is_window & in_group))
        rows = overlapping[0]
        if len(overlapping) > 1:
            rows = pl.concat(overlapping).sort("group", "place")

        # A window is named by its size and the number of its first record.
        first = self._next + begins
        name = pl.format(f"{self._size}@{{}}", first)
        where_cut = pl.lit(cut, dtype=pl.String)
        return rows.with_columns(group=first, session=name, cut=where_cut)


class TimeWindows:
    """Windows of `size` seconds, one every `step`, from multiples of `step` since 1970.

    Empty ones are skipped. A window closes when a record at or after its end comes; a record all of
    whose windows are closed is late and counted, and one without a time is in no window.
    Overlapping windows with the same first record add a number to their ids: the one that begins
    last has the bare id, the one before it `-1`, and so on.
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
        if self._began is None:
            micros = timed["time"].cast(pl.Int64)
            self._began = int(micros[0])
        placed = self._placed(timed.with_columns(clock.alias("clock")))
        # A record that is in no window came too late for all of its own.
        in_windows = placed["record"].n_unique()
        self.counts["late"] += timed.height - in_windows
        self._rows = pl.concat([self._rows, placed])
        if self._clock.now is None:
            return None
        ends = pl.col("group") + self._size
        return self._close(ends <= self._clock.now, latest=None)

    @property
    def clock(self) -> int | None:
        """The log's clock, in microseconds since 1970; None: no time has come."""
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
        """Rows of the open windows that have had a record after number `since`.

        They stay open.
        """
        latest = pl.col("record").max().over("group")
        changed = self._rows.filter(latest > since)
        return self._named(changed.sort("group", "record"))

    def lows(self) -> dict[int, int]:
        """The first line of each file that an open window holds."""
        return lowest([self._rows])

    def quiet(self, *, last: int, first: int) -> pl.DataFrame | None:
        """Close windows with no record after number `last`, or with one up to number `first`."""
        record = pl.col("record")
        is_quiet = record.max().over("group") <= last
        is_old = record.min().over("group") <= first
        closing = self._rows.select(is_quiet | is_old).to_series()
        if not closing.any():
            return None
        last_begins = int(self._rows.filter(closing)["group"].max())  # type: ignore[arg-type]
        reached = last_begins + self._size
        now = self._clock.now or 0
        # What is written in the future stays apart: it moves no clock.
        if reached <= now + self._size:
            self.clock = max(reached, now)
        return self._close(closing, latest=None)

    def renumber(self, numbers: pl.Series) -> None:
        """Replace the number of each message by the one at its place in a series."""
        renumbered = numbers.gather(self._rows["message"])
        self._rows = self._rows.with_columns(message=renumbered)

    def flush(self, before: datetime | None = None) -> pl.DataFrame | None:
        """All open windows; with `before`, those that end by then."""
        # How far the log's clock is then said to have come, in microseconds since 1970.
        if before is not None:
            micros = pl.Series([before]).dt.epoch("us")
            reached = int(micros.item())
        elif self._rows.height:
            last_begins = int(self._rows["group"].max())  # type: ignore[arg-type]
            reached = last_begins + self._size
        elif self._clock.now is not None:
            reached = self._clock.now
        else:
            return None
        latest = self._clock.now if before is None else None
        now = max(reached, self._clock.now or reached)
        self._clock.now = now
        ends = pl.col("group") + self._size
        return self._close(ends <= now, latest=latest)

    def _placed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows once for each of their windows that was open; `group` is the window's start."""
        time = pl.col("time").cast(pl.Int64)
        # As in windows of records: a copy of the rows for each window that may hold them. Those
        # whose window the clock has passed are late for it.
        group = pl.col("group")
        ends = group + self._size
        in_group = time - group < self._size
        is_open = pl.col("clock") < ends
        most_windows = -(-self._size // self._step)
        placed: list[pl.DataFrame] = []
        for back in range(most_windows):
            step = time.floordiv(self._step) - back
            copied = rows.with_columns(group=step * self._step)
            placed.append(copied.filter(in_group & is_open))
        return placed[0] if len(placed) == 1 else pl.concat(placed)

    def _close(self, closing: pl.Expr | pl.Series, *, latest: int | None) -> pl.DataFrame:
        """Rows of the windows that close, ordered by their start.

        Those are cut that begin before the first record. Where no more records come, `latest` is
        the last time of all, and windows that end after it are cut, too.
        """
        rows = self._rows.filter(closing).sort("group", "record")
        self._rows = self._rows.filter(~closing)
        group = pl.col("group")
        begins_before = group < self._began
        ends_after = pl.lit(False) if latest is None else group + self._size > latest
        cut = cut_at(begins_before, ends_after)
        return self._named(rows).with_columns(cut=cut)

    def _named(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of windows with the names of these."""
        # A window is named by its first record; of those that share it, the one that begins last
        # before that record has the bare name.
        first_time = pl.col("time").first().over("group")
        first_record = pl.col("record").first().over("group")
        steps = first_time.cast(pl.Int64).floordiv(self._step)
        time_earlier = steps * self._step - pl.col("group")
        earlier = time_earlier.floordiv(self._step)
        name = pl.format(f"{self._seconds}@{{}}", first_record)
        numbered = pl.format("{}-{}", name, earlier)
        session = pl.when(earlier > 0).then(numbered).otherwise(name)
        return rows.with_columns(session=session)
