"""What is assumed of a log's times, for people."""

import re
from collections.abc import Iterator
from itertools import product

import polars as pl

from logllm.config.format import FormatSection
from logllm.errors import DataError
from logllm.formats.timed.time_shapes import timed_format
from logllm.logs.calendar.timeline import newest_first
from logllm.logs.calendar.years import DAYLESS, YEARLESS
from logllm.logs.calendar.zones import zone_notes
from logllm.logs.inside.envelopes import opened
from logllm.logs.joining import whole_rows
from logllm.logs.tally import shortened
from logllm.logs.times import check_time_format, written_times, zone_names

_FEW = 500  # times are looked at one way of writing after the other
_TWO_NUMBERS = re.compile("(%[dm])([/-])(%[dm])(?=[/-]%[Yy])")
_ZONED = re.compile(r"%:{0,2}#?z|%Z|epoch")
_DAYS = ("%d.%m.%y", "%d.%m.%Y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%Y", "%Y.%m.%d", "%y%m%d", "%Y%m%d")
_CLOCKS = ("%H:%M:%S", "%H.%M.%S", "%H-%M-%S", "%H%M%S", "%H:%M")
_GAPS = (" ", "-", "_", "T")
"""What is named to people is made of these, where recognition does not know how times are written.
A year of two digits goes first: four would read `26` as the year 26."""
_ISO_ZONE = r"\d(?:\.\d+)?\s*(?:[A-Za-z]+|(?:UTC|GMT)?[+-]\d\d?:?(?:\d\d)?)(?:\[[\w/+-]+\])?$"


def time_notes(text: pl.Series, described: FormatSection) -> Iterator[str]:
    """What a person should know of the times of some lines, a sentence each.

    Args:
        text: successive lines.
        described: their format.
    """
    if not described.time_formats:
        remedy = (
            "; --time FIELD --time-format says where one is"
            if described.kind not in ("plain", "pattern")
            else ""
        )
        yield f"no time was found: sessions and parts follow the order of the lines{remedy}"
        return
    written = _as_written(text, described)
    times = written_times(written, described.time_formats, zone=described.time_zone)
    written, times = written.filter(times.is_not_null()), times.drop_nulls()
    if not len(times):
        return
    yield from _of_dates(written, times)
    yield from _of_day_and_month(written, described)
    if newest_first(times):
        yield "the log is written newest first: it is read into memory whole and reversed"
    if described.time_zone is None:
        yield from zone_notes(zone_names(written, described.time_formats), zone=None)
        yield from _of_no_zone(written, described)


def check_times(text: pl.Series, described: FormatSection) -> None:
    """Whether times are written as the user said, who named their field or their way of writing.

    Args:
        text: successive lines.
        described: their format, with what the user said of its times.

    Raises:
        DataError: no time of the lines can be read so; the message names one of them, and what
            would read it.
        RecipeError: there is no such way of writing.
    """
    if not described.time_formats:
        raise DataError(
            "--time-format is not used, since no field of the log is read as its time: name the"
            " field with --time, or leave --time-format out"
        )
    for form in described.time_formats:
        check_time_format(form, what=f"format {described.name}")
    written = _as_written(text, described)
    if not len(written):
        raise DataError(
            f"none of the first {len(text):,} lines has a time in {described.time}: another field:"
            " --time FIELD"
        )
    if written_times(written, described.time_formats, zone=described.time_zone).count():
        return
    reading = _reading(written)
    remedy = "" if reading is None else f"; --time-format '{reading}' reads them"
    forms = " or ".join(described.time_formats)
    raise DataError(
        f"no time of the log is written as {forms}: times are such as"
        f" {shortened(written[0])}{remedy}"
    )


def unread_times(text: pl.Series, described: FormatSection) -> str | None:
    """What a person should do about times that are not written as the format says.

    Args:
        text: successive lines.
        described: their format.

    Returns:
        A sentence with the first such time, and what would read it; None where all are read.
    """
    written = _as_written(text, described).head(_FEW)
    times = written_times(written, described.time_formats, zone=described.time_zone)
    unread = written.filter(times.is_null())
    if not len(unread):
        return None
    reading = _reading(unread)
    example = f'times such as "{shortened(unread[0])}" could not be read'
    if reading is None:
        return f"{example}: say how they are written, with time_format in the format's file"
    remedy = f'time_format = ["{reading}"] in the format\'s file reads them'
    return f"{example}: {remedy}, and so does --time-format '{reading}'"


def _reading(written: pl.Series) -> str | None:
    """A way of writing in which most of some times can be read.

    >>> _reading(pl.Series(["03.11.26 08.00.00", "27.11.26 08.00.01"]))
    '%d.%m.%y %H.%M.%S'
    """
    written = written.head(_FEW)
    timed = timed_format(written)
    likely = () if timed is None else timed.time_format
    made = ("".join(pieces) for pieces in product(_DAYS, _GAPS, _CLOCKS))
    for form in (*likely, *made):
        # One way may read a few by chance.
        if 2 * written_times(written, [form], zone=None).count() > len(written):
            return form
    return None


def _as_written(text: pl.Series, described: FormatSection) -> pl.Series:
    """Times of the records that begin in some lines, as text."""
    text, described = whole_rows(text, described)
    lines = text.alias("text").to_frame()
    fields = opened(lines, described).fields
    if fields.time is None:
        return pl.Series([], dtype=pl.String)
    of_records = fields.time.filter(fields.message.is_not_null())
    return of_records.drop_nulls().str.strip_chars()


def _of_day_and_month(written: pl.Series, described: FormatSection) -> Iterator[str]:
    """What is guessed of days and months that no time tells apart."""
    for form in described.time_formats:
        match = _TWO_NUMBERS.match(form)
        if match is None:
            continue
        # 03/07/2024: tell what was guessed only where the other guess reads every time as well.
        other = f"{match[3]}{match[2]}{match[1]}{form[match.end() :]}"
        is_own = written_times(written, [form], zone=None).is_not_null()
        own = written.filter(is_own)
        by_other = written_times(own, [other], zone=None)
        if len(own) and by_other.count() == len(own):
            first = "the day" if match[1] == "%d" else "the month"
            yield (
                f"{first} is taken as the first number of times such as {own[0]}: --time-format"
                f" '{other}' reads them the other way"
            )


def _of_dates(written: pl.Series, times: pl.Series) -> Iterator[str]:
    """What is assumed of times without a day or a year."""
    years = times.dt.year()
    # Times without a day are read as of a day in a year that no log is of, those without a year
    # likewise: `DAYLESS` and `YEARLESS`.
    others_say_it = (years > YEARLESS + 1).any()
    for missing, limit, latest in (
        ("day", DAYLESS + 1, "the last day is taken to be today"),
        ("year", YEARLESS + 1, "the years are the latest with which no time lies ahead"),
    ):
        lacking = written.filter(years <= limit)
        if not len(lacking):
            continue
        if others_say_it:
            whence = "it is that of the times beside them that say one"
        else:
            whence = f"it is told from their order, where a step back begins the next one; {latest}"
        yield f"times have no {missing}, such as {lacking[0]}: {whence}"
        return


def _of_no_zone(written: pl.Series, described: FormatSection) -> Iterator[str]:
    """What is assumed of times without a zone."""
    left = written.head(_FEW)
    for form in described.time_formats:
        of_form = written_times(left, [form], zone=None).is_not_null()
        own = left.filter(of_form)
        if form == "iso":
            own = own.filter(~own.str.contains(_ISO_ZONE))
        names_a_zone = _ZONED.search(form) is not None
        if len(own) and not names_a_zone:
            yield f"times have no zone, such as {own[0]}: read as UTC; --time-zone says otherwise"
            return
        left = left.filter(~of_form)
