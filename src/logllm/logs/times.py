"""Written times to UTC microseconds, whole columns at once."""

import re
from collections.abc import Sequence
from datetime import date

import polars as pl

from logllm.errors import RecipeError, first_line
from logllm.logs.calendar.years import DAYLESS, YEARLESS, Years
from logllm.logs.calendar.zones import local_to_utc, zone_minutes

UTC_MICROSECONDS = pl.Datetime("us", "UTC")
"""The type of every time in a frame."""

_ISO = (
    r"^(\d{4}-\d\d-\d\d)[Tt \t](\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?\s*"
    r"(?:([A-Za-z]{1,5})|(?:UTC|GMT)?([+-])(\d\d?):?(\d\d)?)?(?:\[[\w/+-]+\])?$"
)
_EPOCHS = {"epoch": 1_000_000.0, "epoch_ms": 1_000.0, "epoch_us": 1.0, "epoch_ns": 0.001}
"""Ways to count since 1970, and how many microseconds one of their units has."""
_YEAR = re.compile(r"%[-_0]?[YyGgsDFxcC+]")
_DAY = re.compile(r"%[-_0]?[dejsDFxcvUW+]")
_CLOCK = re.compile(r"%[-_0]?[HIklTRrX]")
_ZONE = re.compile(r"%:{0,2}#?z")
_WEEKDAY = re.compile(r"%[aA],? ?")
_OF_CODE = {
    "%Z": r"([A-Za-z]{1,5}|(?:UTC|GMT)?[+-]\d\d?(?::?\d\d)?)",
    "%a": "[A-Za-z]+",
    "%b": "[A-Za-z]+",
    "%p": "[A-Za-z]+",
}
_MERIDIEM = ("AM", "PM")
# Seconds beyond the year 5138: an `epoch` of that size is one in milliseconds
_MILLISECONDS_FROM = 1e11
_LAST_SECOND = 253_402_300_799  # of the year 9999


def check_time_format(form: str, *, what: str) -> None:
    """Whether a time's format is one, and says which day or at least which hour.

    Raises:
        RecipeError: it is not; the message begins with `what`.
    """
    if form == "iso" or form in _EPOCHS:
        return
    if "%" not in form:
        raise RecipeError(
            f"{what}: time_format {form!r} is none of iso, {', '.join(_EPOCHS)}, nor has it"
            " strftime codes such as %Y-%m-%d %H:%M:%S"
        )
    if not _DAY.search(form) and (_YEAR.search(form) or not _CLOCK.search(form)):
        raise RecipeError(f"{what}: time_format {form!r} says no day (%d and %m or %b, or %j)")
    try:
        written_times(pl.Series(["0"]), [form], zone=None)
    except pl.exceptions.ComputeError as exc:  # an hour without minutes
        reason = first_line(exc).removeprefix("Invalid format string: ")
        raise RecipeError(f"{what}: time_format {form!r} is none: {reason}") from None


def round_the_year(form: str) -> bool:
    """Whether times in a format come again each year or each day.

    Only their order then tells which year or day they are of.

    >>> round_the_year("%b %d %H:%M:%S"), round_the_year("%H:%M:%S"), round_the_year("iso")
    (True, True, False)
    """
    return "%" in form and not _YEAR.search(form)


def parse_times(
    values: pl.Series, formats: Sequence[str], *, today: date, zone: str | None = None
) -> pl.Series:
    """Times as written to UTC; null where no format fits.

    Args:
        values: Times as text, in their order.
        formats: `iso`, `epoch`, `epoch_ms`, `epoch_us`, `epoch_ns` or strftime codes; the first
            that fits counts.
        today: No time without a year lies later than the end of tomorrow
            (`logllm.logs.calendar.years`).
        zone: Of times that name none, or one of several meanings (`logllm.logs.calendar.zones`);
            none: UTC.

    >>> written = pl.Series(["Dec 31 23:59:58"])
    >>> parse_times(written, ["%b %d %H:%M:%S"], today=date(2024, 3, 1)).item().isoformat()
    '2023-12-31T23:59:58+00:00'
    """
    times = written_times(values, formats, zone=zone)
    return with_years(times, Years(today=today), zone=zone)


def with_years(times: pl.Series, years: Years, *, zone: str | None) -> pl.Series:
    """Times as `written_times` gives them, with the years that those lack."""
    given = years.given(times)
    # Only now do times of one zone mean moments: a year decides whether it is summer there.
    if zone is None or given is times:
        return given
    lacked_year = (times.dt.year() <= YEARLESS + 1).fill_null(False)
    on_clocks = given.dt.replace_time_zone(None)
    return local_to_utc(on_clocks, zone=zone).zip_with(lacked_year, given)


def written_times(values: pl.Series, formats: Sequence[str], *, zone: str | None) -> pl.Series:
    """Times as written to UTC.

    Those without a year or a day are as `logllm.logs.calendar.years` has them, still on the clocks
    of `zone`.
    """
    times = pl.Series(values.name, [None], dtype=UTC_MICROSECONDS).new_from_index(0, len(values))
    for form in formats:
        # Only what no format before has read is tried.
        if times.null_count() == values.null_count():
            break
        if times.null_count() == len(times):
            times = _parsed(values, form, zone=zone)
        else:
            is_read = times.is_not_null()
            parsed = _parsed(values.set(is_read, None), form, zone=zone)
            times = times.zip_with(is_read, parsed)
    return times.alias(values.name)


def zone_names(values: pl.Series, formats: Sequence[str]) -> list[str]:
    """Abbreviations of zones that written times name.

    >>> zone_names(pl.Series(["2024-01-02 03:04:05 IST", "2024-01-02 03:04:05Z", None]), ["iso"])
    ['IST', 'Z']
    """
    # Before they are read: names with several meanings are said, whichever is taken.
    names: list[pl.Series] = []
    for form in formats:
        if form == "iso":
            names.append(values.str.strip_chars().str.extract(_ISO, 4))
        elif "%Z" in form:
            names.append(_spaced(values).str.extract(_zoned_pattern(form), 2))
    if not names:
        return []
    distinct = pl.concat(names).drop_nulls().unique().sort().to_list()
    return [name for name in distinct if name.isalpha() and name not in _MERIDIEM]


def _parsed(values: pl.Series, form: str, *, zone: str | None) -> pl.Series:
    """Times in one format."""
    if form == "iso":
        return _iso(values, zone=zone)
    if form in _EPOCHS:
        return _epoch(values, micros=_EPOCHS[form], seconds=form == "epoch")
    # Milliseconds as a number of their own: `1:2:35:7` is 35.007 seconds.
    if form.endswith(":%f"):
        values = values.str.replace(r":(\d)$", ":0$1")
        values = values.str.replace(r":(\d\d)$", ":0$1")
        values = values.str.replace(r":(\d{3})$", ".$1")
        form = form.removesuffix(":%f") + ".%f"
    # Polars reads a fraction behind a point alone.
    if ":%f" in form:
        values = values.str.replace(r"(:\d\d:\d\d):(\d+)", "$1.$2")
        form = form.replace(":%f", ".%f")
    if ",%f" in form:
        values = values.str.replace(r",(\d+)", ".$1")
        form = form.replace(",%f", ".%f")
    form = form.replace(".%f", "%.f")  # as Python writes it
    values = _spaced(values)
    # A zone's name is taken out and looked up: strptime knows offsets, and no names.
    minutes = None
    if "%Z" in form:
        pattern = _zoned_pattern(form)
        minutes = _offsets(values.str.extract(pattern, 2), zone=zone)
        values = values.str.replace(pattern, "$1$3")
        form = re.sub(r" ?%Z", "", form)
    if not _YEAR.search(form):
        return _round_the_year(values, form, minutes=minutes)
    if _ZONE.search(form):
        return values.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
    naive = values.str.to_datetime(form, strict=False, time_unit="us")
    return _to_utc(naive, minutes, zone=zone)


def _spaced(values: pl.Series) -> pl.Series:
    """Times with single blanks, as their formats have them."""
    if not values.str.contains(r"\s\s|[^\S ]").any():
        return values
    return values.str.replace_all(r"\s+", " ")


def _round_the_year(values: pl.Series, form: str, *, minutes: pl.Series | None) -> pl.Series:
    """Times without a year, or without a day."""
    # The day of the week is another one in the year that stands for all.
    if _WEEKDAY.search(form):
        values = values.str.replace(r"^(\W*)[A-Za-z]+,? ?", "$1")
        form = _WEEKDAY.sub("", form)
    # `Dec 31 23:59:58` is read as `0008 Dec 31 23:59:58`, `23:59:58` as of 0004-01-01.
    before, codes = f"{DAYLESS:04d}-01-01", "%Y-%m-%d"
    if _DAY.search(form):
        before, codes = f"{YEARLESS:04d}", "%Y"
    values, form = f"{before} " + values, f"{codes} {form}"
    if _ZONE.search(form):
        return values.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
    naive = values.str.to_datetime(form, strict=False, time_unit="us")
    offsets = None if minutes is None else minutes.fill_null(0)
    return _to_utc(naive, offsets, zone=None)


def _to_utc(naive: pl.Series, minutes: pl.Series | None, *, zone: str | None) -> pl.Series:
    """Times on clocks that go so many minutes before those of Greenwich.

    A time whose minutes are null is on the clocks of `zone`.
    """
    if minutes is None or not minutes.count():
        return local_to_utc(naive, zone=zone)
    # A fixed offset is subtracted; a zone's rules know summer time.
    frame = pl.DataFrame({"naive": naive, "minutes": minutes})
    in_utc = pl.col("naive") - pl.duration(minutes="minutes")
    fixed = frame.select(in_utc).to_series().cast(pl.Datetime("us"))
    fixed = fixed.dt.replace_time_zone("UTC")
    if not minutes.null_count():
        return fixed
    return fixed.zip_with(minutes.is_not_null(), local_to_utc(naive, zone=zone))


def _zoned_pattern(form: str) -> str:
    r"""Pattern of a time in a format with a zone's name, in three groups.

    They are what is before the zone, the zone, and what is after it.

    >>> _zoned_pattern("%H:%M %Z %Y")
    '^(\\S+?:\\S+?) ?([A-Za-z]{1,5}|(?:UTC|GMT)?[+-]\\d\\d?(?::?\\d\\d)?)( \\S+?)$'
    """
    # Polars reads no names of zones: the name is cut out, and the rest is read without it.
    pieces = [piece for piece in re.split(r"(%[-_0#:.]?[A-Za-z])", form) if piece]
    pattern = ""
    for piece in pieces:
        if piece.startswith("%"):
            pattern += _OF_CODE.get(piece, r"\S+?")
        else:
            pattern += re.escape(piece).replace(r"\ ", " ")
    before, _, after = pattern.partition(_OF_CODE["%Z"])
    return f"^({before.rstrip(' ')}) ?{_OF_CODE['%Z']}({after})$"


def _offsets(zones: pl.Series, *, zone: str | None) -> pl.Series:
    """Minutes that zones as written are before Greenwich: names, or offsets."""
    parts = zones.str.extract_groups(r"^(?:UTC|GMT)?([+-])(\d\d?):?(\d\d)?$").struct.unnest()
    parts.columns = ["sign", "hours", "minutes"]
    # `+0530`, `+05:30` and `UTC+5` say it themselves; only names are looked up.
    written = parts.select(_written_minutes()).to_series()
    is_written = written.is_not_null()
    named = zone_minutes(zones.set(is_written, None), zone=zone)
    return written.zip_with(is_written, named)


def _written_minutes() -> pl.Expr:
    """Minutes of an offset in the columns `sign`, `hours`, `minutes`."""
    hours = pl.col("hours").cast(pl.Int64)
    minutes = pl.col("minutes").cast(pl.Int64).fill_null(0)
    offset = hours * 60 + minutes
    return pl.when(pl.col("sign") == "-").then(-offset).otherwise(offset)


def _epoch(values: pl.Series, *, micros: float, seconds: bool) -> pl.Series:
    """Counts since 1970, of units that are so many microseconds."""
    counted = values.cast(pl.Float64, strict=False) * micros
    # What is larger is no time of this unit: a count of milliseconds that a person called seconds.
    limit = (_MILLISECONDS_FROM if seconds else _LAST_SECOND) * 1e6
    fits = (counted.is_finite() & (counted.abs() < limit)).fill_null(False)
    nothing = pl.Series([None], dtype=pl.Float64)
    whole = counted.zip_with(fits, nothing).round().cast(pl.Int64)
    return whole.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _iso(values: pl.Series, *, zone: str | None) -> pl.Series:
    """Times by RFC 3339 and its usual relaxations.

    These are a space for the T, a comma before the fraction, hours alone or a name as the zone, and
    no zone.
    """
    stripped = pl.col("written").str.strip_chars()
    groups = values.alias("written").to_frame().select(stripped.str.extract_groups(_ISO))
    parts = groups.to_series().struct.unnest()
    parts.columns = ["day", "clock", "fraction", "zone", "sign", "hours", "minutes"]
    # Nine digits of a fraction are read, of which six count; `,5` is half a second.
    micros = pl.col("fraction").str.pad_end(9, "0").str.head(6).cast(pl.Int64).fill_null(0)
    written = pl.col("day") + " " + pl.col("clock")
    stamp = written.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="us")
    exact = (stamp + pl.duration(microseconds=micros)).cast(pl.Datetime("us"))
    read = parts.select(naive=exact, offsets=_written_minutes())
    naive, offsets = read["naive"].alias(values.name), read["offsets"]
    named = parts["zone"]
    if named.count():
        upper = named.str.to_uppercase()
        # AM or PM, taken for a zone, would be half a day wrong.
        is_meridiem = upper.is_in(_MERIDIEM).fill_null(False)
        naive = naive.set(is_meridiem, None)
        offsets = offsets.zip_with(named.is_null(), zone_minutes(named, zone=zone))
    return _to_utc(naive, offsets, zone=zone)
