"""What is assumed of a log's times, for people."""

import re
from collections.abc import Iterator

import polars as pl

from logllm.config.format import FormatSection
from logllm.logs.calendar.timeline import newest_first
from logllm.logs.calendar.years import DAYLESS, YEARLESS
from logllm.logs.calendar.zones import zone_notes
from logllm.logs.inside.envelopes import opened
from logllm.logs.joining import whole_rows
from logllm.logs.times import written_times, zone_names

_FEW = 500  # times are looked at one way of writing after the other
_ZONED = re.compile(r"%:{0,2}#?z|%Z|epoch")
_ISO_ZONE = r"\d(?:\.\d+)?\s*(?:[A-Za-z]+|(?:UTC|GMT)?[+-]\d\d?:?(?:\d\d)?)(?:\[[\w/+-]+\])?$"


def time_notes(text: pl.Series, described: FormatSection) -> Iterator[str]:
    """What a person should know of the times of some lines, a sentence each.

    Args:
        text: successive lines.
        described: their format.
    """
    if not described.time_formats:
        remedy = "; --time FIELD --time-format says where one is" if described.kind not in ("plain", "pattern") else ""
        yield f"no time was found: sessions and parts go by the order of the lines{remedy}"
        return
    text, described = whole_rows(text, described)
    fields = opened(text.alias("text").to_frame(), described).fields
    written = pl.Series([], dtype=pl.String) if fields.time is None else fields.time.filter(fields.message.is_not_null())
    written = written.drop_nulls().str.strip_chars()
    times = written_times(written, described.time_formats, zone=described.time_zone)
    written, times = written.filter(times.is_not_null()), times.drop_nulls()
    if not len(times):
        return
    yield from _of_dates(written, times)
    if newest_first(times):
        yield "the log is written newest first: it is held in memory whole and turned, so that sessions are in order of time"
    if described.time_zone is None:
        yield from zone_notes(zone_names(written, described.time_formats), zone=None)
        yield from _of_no_zone(written, described)


def _of_dates(written: pl.Series, times: pl.Series) -> Iterator[str]:
    """What is assumed of times without a day or a year."""
    years = times.dt.year()
    for missing, limit in (("day", DAYLESS + 1), ("year", YEARLESS + 1)):
        lacking = written.filter(years <= limit)
        if len(lacking):
            latest = "the last day is taken for today" if missing == "day" else "the years are the latest with which no time lies ahead"
            yield f"times have no {missing}, such as {lacking[0]}: their order tells it, a step back leads into the next one; {latest}"
            return


def _of_no_zone(written: pl.Series, described: FormatSection) -> Iterator[str]:
    """What is assumed of times without a zone."""
    left = written.head(_FEW)
    for form in described.time_formats:
        of_form = written_times(left, [form], zone=None).is_not_null()
        own = left.filter(of_form)
        if form == "iso":
            own = own.filter(~own.str.contains(_ISO_ZONE))
        zoneless = own.clear() if _ZONED.search(form) else own
        if len(zoneless):
            yield f"times have no zone, such as {zoneless[0]}: taken as UTC; prepare --time-zone gives them another"
            return
        left = left.filter(~of_form)
