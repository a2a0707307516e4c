"""Written times to UTC microseconds, whole columns at once."""

import re
from collections.abc import Sequence
from datetime import date

import polars as pl

from logllm.errors import RecipeError

UTC_MICROSECONDS = pl.Datetime("us", "UTC")
"""The type of every time in a frame."""

_ISO = r"^(\d{4}-\d\d-\d\d)[Tt \t](\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?\s*(?:([A-Za-z]{1,5})|([+-])(\d\d):?(\d\d)?)?$"
_EPOCHS = {"epoch": 1.0, "epoch_ms": 1e3, "epoch_us": 1e6}
_ZONES = {  # by their hours, as RFC 5322 and PostgreSQL read them where a name has several; UTC, GMT and unknown ones are 0
    **{1: "WEST BST CET", 2: "CEST EET", 3: "EEST MSK", 9: "JST KST", 10: "AEST", 11: "AEDT", 12: "NZST", 13: "NZDT"},
    **{-3: "ADT", -4: "AST EDT", -5: "EST CDT", -6: "CST MDT", -7: "MST PDT", -8: "PST AKDT", -9: "AKST", -10: "HST"},
}
_MINUTES = {name: 60 * hours for hours, names in _ZONES.items() for name in names.split()}
_YEAR = re.compile(r"%[-_0]?[YyGgsDFxcC+]")
_DAY = re.compile(r"%[-_0]?[dejsDFxcvUW+]")
_MILLISECONDS_FROM = 1e11  # seconds beyond the year 5138: an `epoch` of that size is one in milliseconds
_LAST_SECOND = 253_402_300_799  # of the year 9999


def check_time_format(form: str, *, what: str) -> None:
    """Whether a time's format is one, and says which day.

    Raises:
        RecipeError: it is not; the message begins with `what`.
    """
    if form == "iso" or form in _EPOCHS:
        return
    if "%" not in form:
        raise RecipeError(
            f"{what}: time_format {form!r} is none of iso, {', '.join(_EPOCHS)}, nor has it strftime codes such as %Y-%m-%d %H:%M:%S"
        )
    if not _DAY.search(form):
        raise RecipeError(f"{what}: time_format {form!r} says no day (%d and %m or %b, or %j)")


def parse_times(values: pl.Series, formats: Sequence[str], *, today: date) -> pl.Series:
    """Times as written to UTC; null where no format fits.

    Args:
        values: Times as text.
        formats: `iso`, `epoch`, `epoch_ms`, `epoch_us` or strftime codes; the first that fits counts.
        today: Gives times without a year theirs: this year's, or last year's where that lies more than a day ahead.

    >>> parse_times(pl.Series(["Dec 31 23:59:58"]), ["%b %d %H:%M:%S"], today=date(2024, 3, 1)).item().isoformat()
    '2023-12-31T23:59:58+00:00'
    """
    times = pl.Series(values.name, [None] * len(values), dtype=UTC_MICROSECONDS)
    for form in formats:
        missing = values.is_not_null() & times.is_null()
        if not missing.any():
            break
        found = _parsed(values if missing.all() else values.set(~missing, None), form, today=today)
        times = found if missing.all() else times.zip_with(times.is_not_null(), found)
    return times


def _parsed(values: pl.Series, form: str, *, today: date) -> pl.Series:
    """Times in one format."""
    if form == "iso":
        return _iso(values)
    if form in _EPOCHS:
        return _epoch(values, a_second=_EPOCHS[form])
    if form.endswith(":%f"):  # milliseconds as a number of their own: `1:2:35:7` is 35.007 seconds
        values = values.str.replace(r":(\d)$", ":0$1").str.replace(r":(\d\d)$", ":0$1").str.replace(r":(\d{3})$", ".$1")
        form = form.removesuffix(":%f") + ".%f"
    if form.endswith(",%f"):
        values, form = values.str.replace(r",(\d+)$", ".$1"), form.removesuffix(",%f") + ".%f"
    form = form.replace(".%f", "%.f")  # as Python writes it
    if values.str.contains(r"\s\s|[^\S ]").any():
        values = values.str.replace_all(r"\s+", " ")
    if _YEAR.search(form):
        return _strftime(values, form)
    this_year, last_year = (_strftime(f"{year} " + values, f"%Y {form}") for year in (today.year, today.year - 1))
    tomorrows_end = pl.lit(today).cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.duration(days=2)
    return pl.select(
        pl.when(this_year.is_null() | (pl.lit(this_year) >= tomorrows_end)).then(last_year).otherwise(this_year).alias(values.name)
    ).to_series()


def _epoch(values: pl.Series, *, a_second: float) -> pl.Series:
    """Seconds since 1970, or units of which so many are a second."""
    seconds = values.cast(pl.Float64, strict=False) / a_second
    fits = seconds.is_finite() & (seconds.abs() < (_MILLISECONDS_FROM if a_second == 1 else _LAST_SECOND))
    whole = (seconds.zip_with(fits.fill_null(False), pl.Series([None], dtype=pl.Float64)) * 1e6).round().cast(pl.Int64)
    return whole.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _strftime(values: pl.Series, form: str) -> pl.Series:
    """Times in strftime codes; a zone in the text counts, UTC where there is none."""
    if re.search(r"%:{0,2}#?z", form):
        return values.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
    return values.str.to_datetime(form, strict=False, time_unit="us").dt.replace_time_zone("UTC")


def _iso(values: pl.Series) -> pl.Series:
    """RFC 3339 and its usual relaxations: a space for the T, a comma before the fraction, hours alone or a name as the zone, no zone."""
    parts = values.str.strip_chars().str.extract_groups(_ISO).struct.unnest()
    parts.columns = ["day", "clock", "fraction", "zone", "sign", "hours", "minutes"]
    micros = pl.col("fraction").str.pad_end(9, "0").str.head(6).cast(pl.Int64).fill_null(0)
    offset = (pl.col("hours").cast(pl.Int64) * 60 + pl.col("minutes").cast(pl.Int64).fill_null(0)).fill_null(0)
    offset = pl.when(pl.col("sign") == "-").then(-offset).otherwise(offset)
    if not parts["zone"].is_in(["Z", None], nulls_equal=True).all():
        offset += pl.col("zone").str.to_uppercase().replace_strict(_MINUTES, default=0, return_dtype=pl.Int64).fill_null(0)
    stamp = (pl.col("day") + " " + pl.col("clock")).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="us")
    time = stamp + pl.duration(microseconds=micros) - pl.duration(minutes=offset)
    return parts.select(time.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(values.name)).to_series()
