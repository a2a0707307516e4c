"""What is needed to put sessions together while their log is being written.

That is a clock that no single record moves, and where the open sessions begin.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import polars as pl

_SEVERAL = 3
"""Records in a row that must be as late for the clock to go there."""
_AHEAD = timedelta(minutes=1)
"""How far the clocks of machines may differ: a record of a later time does not move the clock."""


class Clock:
    """The latest time that a log has reached.

    A steady clock, as live logs have it, is moved by no single record: it goes to a time only when
    three records in a row are at least as late, and never far beyond the present.

    >>> day = datetime(2026, 11, 3, tzinfo=UTC)
    >>> times = pl.Series([day, datetime(2099, 1, 1, tzinfo=UTC), None, day + timedelta(seconds=9)])
    >>> clock = Clock(steady=True)
    >>> (clock.at(times) == clock.at(times)).all(), clock.now == day.timestamp() * 1_000_000
    (True, True)
    """

    def __init__(self, *, steady: bool) -> None:
        """Begin before the first time."""
        self.now: int | None = None
        """Microseconds since 1970; None: no time has come."""
        self._steady = steady
        self._last = pl.Series([], dtype=pl.Int64)  # the latest times, for the next ones' sake

    def at(self, times: pl.Series) -> pl.Series:
        """The clock at each of the next records, i64.

        Before the first time of all it is that time. At a record that is later than a steady clock
        it is the record's own time.
        """
        # A time in the future, as of a machine whose clock is wrong, moves no steady clock.
        micros = times.cast(pl.Int64)
        if self._steady:
            latest = datetime.now(UTC) + _AHEAD
            latest_micros = int(latest.timestamp() * 1_000_000)
            not_ahead = pl.when(micros <= latest_micros).then(micros)
            micros = pl.select(not_ahead).to_series()

        # Where a clock has been moved to, and where it stands for the record itself: a steady one
        # follows a single late record only for that record.
        clock = micros.cum_max().forward_fill()
        moved = self._confirmed(micros) if self._steady else clock
        if self.now is not None:
            moved = moved.clip(lower_bound=self.now).fill_null(self.now)
            clock = moved
            if self._steady:
                later = pl.max_horizontal(micros, moved)
                clock = pl.select(later).to_series()
        elif clock.null_count() < len(clock):
            clock = clock.backward_fill()
        self.now = moved[-1] if len(moved) else self.now
        return clock

    def _confirmed(self, micros: pl.Series) -> pl.Series:
        """At each record the latest time that several times in a row have reached."""
        # The least of any three in a row is what all three have reached. The last two times of the
        # frame before count with these, so that frames may be cut anywhere.
        timed = pl.concat([self._last, micros.drop_nulls()])
        new = len(timed) - len(self._last)
        reached = timed.rolling_min(_SEVERAL).cum_max().tail(new)
        self._last = timed.tail(_SEVERAL - 1)
        rows = micros.is_not_null().arg_true()
        untimed = pl.Series([None], dtype=pl.Int64).new_from_index(0, len(micros))
        return untimed.scatter(rows, reached).forward_fill()


def lowest(firsts: Iterable[pl.DataFrame]) -> dict[int, int]:
    """The lowest line of each file.

    >>> both = pl.DataFrame({"file": [0, 1], "line": [7, 3]})
    >>> lowest([both, pl.DataFrame({"file": [0], "line": [5]})])
    {0: 5, 1: 3}

    Args:
        firsts: frames with `file` and `line`.
    """
    frames = list(firsts)
    if not frames:
        return {}
    by_file = pl.concat(frames).group_by("file", maintain_order=True)
    rows = by_file.agg(pl.col("line").min())
    return dict(rows.iter_rows())
