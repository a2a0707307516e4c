"""Years of times that are written without one, and days of times of day.

Both are told from the order of the lines.

A time without a year is read in the year 8, one without a day on the first day of the year 4; those
of a file are then carried on from line to line:

* A step back of more than a third of a year (of a day) begins the next one. Smaller ones are lines
  that came late, such as those of several processes or of a relay that had to wait.
* A step forward of more than eleven twelfths is a line of the last one that came late: of December
  in January, of before midnight after it.
* The years are the latest with which no time lies beyond the end of tomorrow and each Feb 29 is in
  a leap year. The last day of the times of day is today.
* Where other lines of the file say their year or day, the first year is the one nearest to such a
  time beside the first that says none, and so is the first day.
"""

from datetime import date, timedelta
from itertools import chain
from time import monotonic

import polars as pl

YEARLESS = 8
"""The year, a leap year, in which times without one are read."""
DAYLESS = 4
"""The year on whose first day times without a day are read."""

_DAY = 86_400_000_000  # microseconds
_YEAR = 366 * _DAY
_MEAN_YEAR = 31_556_952_000_000
_BACK, _FORWARD = (
    1 / 3,
    11 / 12,
)  # of a year or day: steps that lead into the next or back into the last one
_FEB_29 = 59  # days from the start of a leap year
_SEARCHED = 40  # years, so that Feb 29 of several may all be in leap years
_EPOCH = date(1970, 1, 1)
_DAYLESS_START = (date(DAYLESS, 1, 1) - _EPOCH).days * _DAY
_YEARLESS_START = (date(YEARLESS, 1, 1) - _EPOCH).days * _DAY
_YEARLESS_END = _YEARLESS_START + _YEAR + _DAY  # a zone may shift times by a day


class _Turns:
    """How often times have gone round their year or day."""

    def __init__(self, length: int) -> None:
        """Nothing seen yet of cycles of so many microseconds."""
        # With a third and eleven twelfths of a year: a step from November back to February is 9
        # months, more than a third, and so begins the next year.
        self._back = -int(_BACK * length)
        self._forward = int(_FORWARD * length)
        self._place: int | None = None
        self._turn = 0

    def of(self, places: pl.Series) -> pl.Series:
        """The turn of each of the next times, whose places in their year or day are given."""
        before = places[0] if self._place is None else self._place
        # From December to January the place jumps back by most of a year: the next one. Forward as
        # far: a line that came late, of the one before.
        steps = places - places.shift(1, fill_value=before)
        next_one = (steps < self._back).cast(pl.Int64)
        last_one = (steps > self._forward).cast(pl.Int64)
        turned = next_one - last_one
        turns = turned.cum_sum() + self._turn
        self._place, self._turn = places[-1], turns[-1]
        return turns


class _Beside:
    """The first time without a year or a day, and one beside it that says all."""

    def __init__(self, length: int, start: int) -> None:
        """Nothing seen yet of times that repeat after `length`, and are read from `start` on."""
        self._length, self._start = length, start
        self._place: int | None = None
        self._whole: int | None = None

    def look(self, micros: pl.Series, own: pl.Series) -> None:
        """Look at the next times.

        Of those that say all, the one before the first that does not is taken, else the one after.
        """
        if self._place is not None and self._whole is not None:
            return
        # Some lines say their year, others not: one that does is the place to count from.
        whole = (micros >= _YEARLESS_END).fill_null(False)
        if self._place is None and own.any():
            first = own.arg_max() or 0
            self._place = micros[first] - self._start
            before = micros.head(first).filter(whole.head(first))
            self._whole = before[-1] if len(before) else self._whole
        wholes = micros.filter(whole)
        if len(wholes) and (self._place is None or self._whole is None):
            self._whole = wholes[-1] if self._place is None else wholes[0]

    @property
    def turn(self) -> int | None:
        """Years since the year 0, or days since 1970, of the first.

        None where no time says all.
        """
        if self._place is None or self._whole is None:
            return None
        if self._length == _DAY:
            return round((self._whole - self._place) / _DAY)
        # Of the year that the whole time is about in and those beside it, the one in which the
        # first time lies nearest to it.
        year = _EPOCH.year + self._whole // _MEAN_YEAR
        years = pl.Series([year - 1, year, year + 1])
        places = pl.repeat(self._place, len(years), eager=True)
        away = (_micros(years, places) - self._whole).abs()
        return int(years[away.arg_min() or 0])


class Years:
    """Years and days of the times of one file, frame by frame; any chunking gives the same.

    >>> from datetime import datetime
    >>> naive = pl.Series([datetime(8, 11, 3), datetime(8, 2, 3), datetime(8, 11, 3)])
    >>> times = naive.dt.replace_time_zone("UTC")
    >>> years = Years(today=date(2026, 11, 26))
    >>> years.look(times)
    >>> years.given(times).dt.year().to_list()
    [2025, 2026, 2026]
    """

    def __init__(self, *, today: date) -> None:
        """Nothing looked at yet.

        Args:
            today: no time is later than the end of tomorrow; it goes on with the clock while lines
                arrive.
        """
        self.moved = 0
        """Times that had to be of an earlier year than the lines before them say, since they would
        lie in the future."""
        self._today, self._begun = today, monotonic()
        looked_at = {"yearly": pl.Boolean, "turn": pl.Int64, "leap": pl.Boolean, "place": pl.Int64}
        self._looked_at = pl.DataFrame(schema=looked_at)
        self._ahead = _Turns(_DAY), _Turns(_YEAR)
        self._turns = _Turns(_DAY), _Turns(_YEAR)
        self._beside = _Beside(_DAY, _DAYLESS_START), _Beside(_YEAR, _YEARLESS_START)
        self._first_year: int | None = None
        self._first_day = 0
        self._back = 0  # years that times are earlier than their turn says

    def look(self, times: pl.Series) -> None:
        """Look ahead at times, in their order; `given` then begins with the first of them."""
        micros = times.cast(pl.Int64)
        for yearly, start, own in _kinds(micros):
            self._beside[yearly].look(micros, own)
            if not own.any():
                continue
            places = micros.filter(own) - start
            turns = self._ahead[yearly].of(places)
            is_leap_day = pl.col("place") // _DAY == _FEB_29
            seen = pl.DataFrame({"turn": turns, "place": places})
            seen = seen.select(
                "turn", "place", leap=is_leap_day if yearly else False, yearly=bool(yearly)
            )
            # The latest place of each turn is enough to tell in which years all times are past.
            rows = pl.concat([self._looked_at, seen.select(self._looked_at.columns)])
            by_turn = rows.group_by("yearly", "turn", "leap")
            self._looked_at = by_turn.agg(pl.col("place").max())

    def given(self, times: pl.Series) -> pl.Series:
        """Times with their years and days; those that say them as they are."""
        if not lack(times):
            return times
        micros = times.cast(pl.Int64)
        if self._first_year is None:
            if not self._looked_at.height:
                self.look(times)
            self._anchor()
        for yearly, start, own in _kinds(micros):
            if own.any():
                places = micros.filter(own) - start
                # Turns count the years, or the days, since the first of these times.
                turns = self._turns[yearly].of(places)
                if yearly:
                    placed = self._in_years(places, turns)
                else:
                    placed = (turns + self._first_day) * _DAY + places
                micros = micros.scatter(own.arg_true(), placed)
        return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(times.name)

    def _anchor(self) -> None:
        """The year and the day that the first time is of."""
        now = self._now()
        days = self._looked_at.filter(~pl.col("yearly"))["turn"]
        of_day, of_year = (beside.turn for beside in self._beside)
        last_is_today = (now - _EPOCH).days - int(days.max() or 0)  # type: ignore[arg-type]
        self._first_day = last_is_today if of_day is None else of_day
        if of_year is not None:
            self._first_year = of_year
            return
        # From next year back: the first one with which nothing lies in the future; of these, the
        # first in which each Feb 29 is there.
        turns = self._looked_at.filter("yearly")
        years = range(now.year + 1, now.year - _SEARCHED, -1)
        past = (year for year in years if self._past(turns, year))
        latest = next(past, now.year)
        leap = turns.filter("leap")["turn"]
        with_leap_days = (year for year in chain([latest], past) if _leap(leap + year).all())
        self._first_year = next(with_leap_days, latest)

    def _past(self, turns: pl.DataFrame, first: int) -> bool:
        """Whether no time that was looked at is in the future, if the first is of a year."""
        times = _micros(turns["turn"] + first, turns["place"])
        return bool((times < self._end()).all())

    def _in_years(self, places: pl.Series, turns: pl.Series) -> pl.Series:
        """Times in their years.

        Where one would lie in the future, or be a Feb 29 in no leap year, it and all after it are
        of an earlier year.
        """
        years = turns + (self._first_year or 0)
        # The last leap year up to the year, where the time is of Feb 29.
        leap_year = years.zip_with(places // _DAY != _FEB_29, years // 4 * 4)

        # The last year in which the time is not in the future: next year, this one, or the last.
        end = self._end()
        next_year = pl.repeat(self._now().year + 1, len(places), dtype=pl.Int64, eager=True)
        last_year = next_year - (_micros(next_year, places) >= end).cast(pl.Int64)
        last_year -= (_micros(last_year, places) >= end).cast(pl.Int64)

        # What one time has to go back all after it go back, too: the order of lines stays.
        allowed = pl.min_horizontal(last_year, leap_year)
        beyond = pl.select(years - allowed).to_series()
        back = beyond.clip(lower_bound=self._back).cum_max()
        self.moved += int((back > back.shift(1, fill_value=self._back)).sum())
        self._back = back[-1]
        return _micros(years - back, places)

    def _now(self) -> date:
        """Today, as the clock has gone on."""
        return self._today + timedelta(seconds=monotonic() - self._begun)

    def _end(self) -> int:
        """The end of tomorrow."""
        days = (self._now() - _EPOCH).days
        return (days + 2) * _DAY


def lack(times: pl.Series) -> bool:
    """Whether any of some times lacks its year or its day."""
    earliest: int | None = times.cast(pl.Int64).min()  # type: ignore[assignment]
    return earliest is not None and earliest < _YEARLESS_END


def steps_back(times: pl.Series) -> pl.Series:
    """Which of the steps from one time to another go back.

    From the first days of a year or day to the last ones is a step back.
    """
    micros = times.cast(pl.Int64)
    steps = micros.diff()
    back = steps < 0
    for yearly, _, own in _kinds(micros):
        # Round the end of the cycle a long step forward is one back, and the other way round.
        longest = int(_BACK * (_YEAR if yearly else _DAY))
        round_the_end = (steps > longest) | (back & (steps > -longest))
        back = back.zip_with(~own, round_the_end)
    return back.filter(steps != 0)


def _kinds(micros: pl.Series) -> list[tuple[int, int, pl.Series]]:
    """Times of day (0) and times without a year (1).

    Where their cycle starts, and which they are.
    """
    between = (_DAYLESS_START + _YEARLESS_START) // 2
    of_day = (micros < between).fill_null(False)
    of_year = (micros.is_between(between, _YEARLESS_END, closed="left")).fill_null(False)
    return [(0, _DAYLESS_START, of_day), (1, _YEARLESS_START, of_year)]


def _leap(years: pl.Series) -> pl.Series:
    """Whether years have a Feb 29."""
    fourth, hundredth = years % 4 == 0, years % 100 != 0
    return fourth & (hundredth | (years % 400 == 0))


def _micros(years: pl.Series, places: pl.Series) -> pl.Series:
    """Microseconds since 1970 of places in years, given from the start of a leap year.

    A Feb 29 in a year that has none is null.

    >>> _micros(pl.Series([1970, 1971, 1971]), pl.Series([0, 60 * _DAY, 59 * _DAY])).to_list()
    [0, 36633600000000, None]
    """
    # Days before the year, of 365 each and one for each leap year; 719,162 lie before 1970.
    before = years - 1
    leap_days = before // 4 - before // 100 + before // 400
    days = before * 365 + leap_days - (_EPOCH.toordinal() - 1)
    # Places count in a leap year: after Feb 29 they are a day less in one without.
    day, leap = places // _DAY, _leap(years)
    days -= ((day > _FEB_29) & ~leap).cast(pl.Int64)
    micros = days * _DAY + places
    return micros.set((day == _FEB_29) & ~leap, None)
