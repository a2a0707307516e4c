"""Sessions that are keys: all records that name the same block, request or user."""

from datetime import datetime

import polars as pl

from logllm.config.sessions import SessionSection
from logllm.sessions.live import Clock, lowest
from logllm.sessions.message_table import NUMBERED, Schema

_SECOND = 1_000_000
_OF_RECORDS = {name: kind for name, kind in NUMBERED.items() if name != "keys"}
_ROWS: Schema = {
    **_OF_RECORDS,
    "session": pl.String,
    "row": pl.Int64,
    "clock": pl.Int64,
}
_OPEN: Schema = {
    "session": pl.String,
    "group": pl.Int64,
    "row": pl.Int64,
    "clock": pl.Int64,
    "time": NUMBERED["time"],
    "begun": pl.UInt64,
    "record": pl.UInt64,
}
"""Open sessions and where they last were; `begun` and `record` are the numbers of their first and
last record."""


class KeySessions:
    """One session a key.

    A record with several keys belongs to each of them; one without a key is counted. Sessions close
    when the input ends, or early: when the log's clock (the latest time read so far) has gone
    `idle` seconds beyond the session's last record, or when there are more than `max_open_sessions`
    and it is the one that has waited longest. A key that comes back after its session closed starts
    another session of the same name.
    """

    def __init__(self, settings: SessionSection, *, live: bool = False) -> None:
        self.counts = {"keyless": 0, "closed_early": 0}
        self._clocks = Clock(steady=live)
        self._live = live
        self._idle = None if settings.idle is None else settings.idle * _SECOND
        self._most_open = settings.max_open_sessions
        # Rows that are in no session yet; a key is a number of four bytes there.
        self._new: list[pl.DataFrame] = []
        self._names = pl.Categorical(pl.Categories.random())
        # Rows of open sessions, in their order; `group` is the session's first row.
        self._held: list[pl.DataFrame] = []
        # The open sessions of held rows and where they last were.
        self._open = pl.DataFrame(schema=_OPEN)
        self._open_at_most = 0
        self._row = 0

    def push(self, records: pl.DataFrame) -> pl.DataFrame | None:
        """Sessions that close early, the one that has waited longest first."""
        rows = self._rows(records)
        self._new.append(rows)
        self._open_at_most += rows["session"].n_unique()
        if self._idle is None and not self._live and self._few_open():
            return None
        return self._settle()

    @property
    def clock(self) -> int | None:
        """The log's clock, in microseconds since 1970; None: no time has come."""
        return self._clocks.now

    @clock.setter
    def clock(self, now: int | None) -> None:
        self._clocks.now = now

    @property
    def open_count(self) -> int:
        """How many sessions are open."""
        return self._open.height

    def open(self, since: int) -> pl.DataFrame:
        """Rows of the open sessions that have had a record after number `since`.

        They stay open.
        """
        groups = self._open.filter(pl.col("record") > since)["group"]
        has_news = pl.col("group").is_in(groups.implode())
        rows = [frame.filter(has_news) for frame in self._held]
        return pl.concat(rows) if rows else pl.DataFrame(schema=_ROWS | {"group": pl.Int64})

    def lows(self) -> dict[int, int]:
        """The first line of each file that an open session holds."""
        first_line = pl.col("line").min()
        firsts = [frame.group_by("file").agg(first_line) for frame in self._held]
        return lowest(firsts)

    def quiet(self, *, last: int, first: int) -> pl.DataFrame | None:
        """Close sessions with no record after number `last`.

        Those with a record up to number `first` close early.
        """
        # Those that have had nothing for so long have ended; the old ones could have gone on.
        ended = pl.col("record") <= last
        old = pl.col("begun") <= first
        closes = ended | old
        closing = self._open.filter(closes)
        self._open = self._open.filter(~closes)
        self._open_at_most = self._open.height
        early = closing.filter(~ended)["group"]
        self.counts["closed_early"] += len(early)
        return self._closed(closing["group"], early=early)

    def renumber(self, numbers: pl.Series) -> None:
        """Give messages other numbers: those at their places in a series."""
        renumbered: list[pl.DataFrame] = []
        for frame in self._held:
            of_rows = numbers.gather(frame["message"])
            renumbered.append(frame.with_columns(message=of_rows))
        self._held = renumbered

    def flush(self, before: datetime | None = None) -> pl.DataFrame | None:
        """Close all open sessions, ordered by their first record.

        With `before`, only those whose last time is older close, and early.
        """
        # The usual end of a whole log: nothing was ever closed, so that no row has been placed yet.
        # A key then is its session, and one grouping by name takes the place of all the placing.
        nothing_placed = not self._open.height and self._idle is None
        if before is None and nothing_placed and self._few_open():
            self._open_at_most = 0
            return self._taken().with_columns(group="session")

        settled = self._settle()
        if before is None:
            older = pl.repeat(True, self._open.height, eager=True)
        else:
            older = (self._open["time"] < before).fill_null(False)
        closing = self._open.filter(older)
        self._open = self._open.filter(~older)
        self._open_at_most = self._open.height
        early = None if before is None else closing["group"]
        ended = self._closed(closing["group"], early=early)
        closed = [rows for rows in (settled, ended) if rows is not None]
        return pl.concat(closed) if closed else None

    def _few_open(self) -> bool:
        """Whether there is room for all sessions.

        They are counted only when the sum over the frames says that there may not be.
        """
        if self._open_at_most > self._most_open:
            names = [self._open["session"].cast(self._names)]
            names += [rows["session"] for rows in self._new]
            self._open_at_most = pl.concat(names).n_unique()
        return self._open_at_most <= self._most_open

    def _rows(self, records: pl.DataFrame) -> pl.DataFrame:
        """Records once a key, with the log's clock where sessions may be idle."""
        if self._idle is None:
            rows = records
        else:
            rows = records.with_columns(clock=self._clocked(records["time"]))
        named = rows.filter(pl.col("keys").list.len() > 0)
        self.counts["keyless"] += rows.height - named.height
        # A block's name, such as `blk_-1608999687919862906`, may stand in a hundred rows that wait.
        by_key = named.explode("keys").rename({"keys": "session"})
        return by_key.with_columns(pl.col("session").cast(self._names))

    def _clocked(self, times: pl.Series) -> pl.Series:
        """The log's clock at each record.

        Open sessions that came before the first time of all get that time.
        """
        begun = self._clocks.now is not None
        clock = self._clocks.at(times)
        has_time = clock.null_count() < len(clock)
        if has_time and not begun:
            with_first_time = pl.col("clock").fill_null(clock[0])
            self._open = self._open.with_columns(with_first_time)
        return clock

    def _taken(self) -> pl.DataFrame:
        """Hand over the new rows: from now on there are none."""
        new, self._new = self._new, []
        self._names = pl.Categorical(pl.Categories.random())  # lets go of the keys so far
        return pl.concat(new) if new else pl.DataFrame(schema=_ROWS)

    def _settle(self) -> pl.DataFrame | None:
        """Put the new rows into sessions; close those that are idle or too many."""
        rows = self._taken()
        next_row = self._row + rows.height
        numbers = pl.int_range(self._row, next_row, dtype=pl.Int64, eager=True)
        rows = rows.with_columns(row=numbers)
        if "clock" not in rows.columns:
            rows = rows.with_columns(clock=None)
        self._row = next_row

        # `_place` gives two series for each of the frames that it had to divide the rows into.
        closed: list[pl.Series] = []
        if rows.height:
            rows = rows.select(_ROWS.keys())
            closed = self._place(rows.cast(_ROWS))  # type: ignore[arg-type]
        nothing = pl.Series([], dtype=pl.Int64)
        excess = pl.concat([nothing, *closed[::2]])
        idle = pl.concat([nothing, *closed[1::2]])

        # What has been silent by the clock of the last row: no later row of its own says so.
        if self._idle is not None and self._clocks.now is not None:
            silent = pl.col("clock") < self._clocks.now - self._idle
            idle = pl.concat([idle, self._open.filter(silent)["group"]])
            self._open = self._open.filter(~silent.fill_null(False))
        self._open_at_most = self._open.height
        # Where the input ends, a session that is idle could have gone on; live it has ended.
        groups = pl.concat([excess, idle])
        early = excess if self._live else groups
        self.counts["closed_early"] += len(early)
        return self._closed(groups, early=early)

    def _place(self, rows: pl.DataFrame) -> list[pl.Series]:
        """Put rows into sessions.

        Which sessions have waited longest is known for all rows at once only where no key of these
        rows is among them; else each half is placed by itself, down to a single row. So the
        sessions do not depend on how the input is cut into frames.

        Returns:
            The groups that closed, by turns for want of room and for idleness.
        """
        keys = rows.select("session").unique()
        new_keys = keys.join(self._open, on="session", how="anti")
        total = self._open.height + new_keys.height
        too_many = max(0, total - self._most_open)
        excess = self._open.sort("row").head(too_many)
        awaited = excess.join(keys, on="session", how="semi") if excess.height else excess
        if keys.height > self._most_open or awaited.height:
            half = rows.height // 2
            of_first_half = self._place(rows.head(half))
            return of_first_half + self._place(rows.slice(half))
        if excess.height:
            self._open = self._open.join(excess, on="group", how="anti", maintain_order="left")

        # A row opens a session where its key is not open, or has been silent for too long.
        before = self._open.select("session", known="group", seen="clock")
        placed = rows.join(before, on="session", how="left", maintain_order="left")
        is_first = pl.int_range(pl.len()).over("session").eq(0)
        opens = is_first & pl.col("known").is_null()
        if self._idle is not None:
            clock = pl.col("clock")
            clock_before = clock.shift(1).over("session")
            waited = clock - clock_before.fill_null(pl.col("seen"))
            was_idle = waited > self._idle
            opens = opens | was_idle.fill_null(False)

        # The number of that row names the session; the rows after it with the same key take it on.
        placed = placed.with_columns(group=pl.when(opens).then("row"))
        taken_on = pl.col("group").forward_fill().over("session")
        placed = placed.with_columns(taken_on.fill_null(pl.col("known")))
        placed = placed.drop("known", "seen")
        self._held.append(placed)

        # Where each session now is. Of those of one key only the last is open still; the others
        # closed in between, by idleness.
        now = placed.with_columns(begun="record").select(_OPEN.keys())
        states = pl.concat([self._open, now])
        by_group = states.group_by("group", maintain_order=True)
        first_begun = pl.col("begun").first()
        last = pl.exclude("group", "begun").last()
        latest = by_group.agg(first_begun, last).select(_OPEN.keys())
        self._open = latest.unique("session", keep="last", maintain_order=True)
        left = latest.join(self._open, on="group", how="anti", maintain_order="left")
        return [excess["group"], left["group"]]

    def _closed(self, groups: pl.Series, *, early: pl.Series | None) -> pl.DataFrame | None:
        """Rows of the groups that close, those in `early` marked as closed early.

        Groups are in the order of their last rows, or of their first ones without `early`.
        """
        if not len(groups):
            return None
        first: int = groups.min()  # type: ignore[assignment]
        rows: list[pl.DataFrame] = []
        staying: list[pl.DataFrame] = []
        for frame in self._held:
            # Older than all that close: what stays open long is not looked through each time.
            if frame["row"][-1] < first:
                staying.append(frame)
                continue
            closing = frame["group"].is_in(groups.implode())
            rows.append(frame.filter(closing))
            staying.append(frame.filter(~closing))
        self._held = _merged(staying)
        if early is None:
            order = pl.col("group")
            unfinished = pl.lit(False)
        else:
            order = pl.col("row").last().over("group")
            unfinished = pl.col("group").is_in(early.implode())
        sessions = pl.concat(rows).sort(order, maintain_order=True)
        closed = pl.when(unfinished).then(pl.lit("early"))
        return sessions.with_columns(closed=closed)


def _merged(frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """The same rows in few frames, each more than twice as long as the one after it."""
    merged: list[pl.DataFrame] = []
    for frame in frames:
        if frame.height:
            merged.append(frame)
        # As digits carry in a binary counter: with n rows there are at most log2(n) frames to look
        # in.
        while len(merged) > 1 and merged[-2].height <= 2 * merged[-1].height:
            joined = pl.concat(merged[-2:], rechunk=True)
            merged[-2:] = [joined]
    return merged
