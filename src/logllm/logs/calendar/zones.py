"""Zones of written times: what their abbreviations mean, and local times to UTC."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache

import polars as pl

from logllm.errors import RecipeError

_TABLE = """
ACDT +10:30, ACST +9:30, ACWST +8:45, ADT -3 Atlantic Canada | +4 Arabia, AEDT +11, AEST +10
AFT +4:30, AKDT -8, AKST -9, ALMT +6
AMST -3, AMT -4 Amazon | +4 Armenia, ART -3, AST -4 Atlantic Canada | +3 Arabia, AWDT +9, AWST +8
AZT +4
BDT +6 Bangladesh | +8 Brunei, BNT +8, BOT -4, BRST -2, BRT -3
BST +1 British summer | +6 Bangladesh | +11 Bougainville, BTT +6
CAT +2, CCT +6:30, CDT -5 North America | -4 Cuba, CEST +2, CET +1, CHADT +13:45, CHAST +12:45
CHST +10, CLST -3, CLT -4, COT -5
CST -6 North America | +8 China | -5 Cuba, CVT -1, EAT +3, ECT -5 Ecuador | -4 Eastern Caribbean
EDT -4 North America | +11 Eastern Australia, EEST +3, EET +2
EST -5 North America | +10 Eastern Australia
FET +3, FJT +12, FKST -3, FKT -4, GALT -6, GFT -3, GMT 0, GST +4 Gulf | -2 South Georgia, GYT -4
HADT -9, HAST -10, HDT -9, HKT +8, HOVT +7, HST -10, ICT +7, IDT +3, IRDT +4:30, IRKT +8, IRST +3:30
IST +5:30 India | +2 Israel | +1 Ireland, JST +9, KGT +6, KRAT +7, KST +9, LHDT +11, LHST +10:30
LKT +5:30
MAGT +11, MART -9:30, MDT -6, MEST +2, MESZ +2, MET +1, MEZ +1, MMT +6:30, MSD +4, MSK +3
MST -7 North America | +8 Malaysia | +6:30 Myanmar, MUT +4, MVT +5, MYT +8
NCT +11, NDT -2:30, NOVT +7, NPT +5:45, NST -3:30, NZDT +13, NZST +12, OMST +6, ORAT +5
PDT -7, PET -5, PETT +12, PGT +10, PHST +8, PHT +8, PKT +5, PMDT -2, PMST -3
PST -8 North America | +8 Philippines, PYST -3, PYT -4 Paraguay | +8:30 North Korea, RET +4
SAKT +11, SAMT +4, SAST +2, SBT +11, SCT +4
SGT +8, SRT -3, SST -11 Samoa | +8 Singapore, TJT +5, TLT +9, TMT +5, TOT +13, TRT +3, UCT 0
ULAT +8, UTC 0, UYST -2, UYT -3, UZT +5
VET -4, VLAT +10, VOLT +3, VOST +6, WAST +2, WAT +1, WEST +1, WET 0, WIB +7, WIT +9, WITA +8
WST +8 Western Australia | +13 Samoa
YAKT +9, YEKT +5, Z 0, ZULU 0
"""
"""Abbreviations with their meanings, the one that is taken first, as RFC 5322, PostgreSQL and the
tz database read them.

Georgia's GET is left out: nothing has written it for years, and after many a time it is a request's
verb.
"""

_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d\d?)(?::?([0-5]\d))?")
_HOUR = timedelta(hours=1)
_YEARS = range(2010, 2027)  # of which a zone's own abbreviations are taken


def _minutes(offset: str) -> int:
    """Minutes east of Greenwich, from such as `+5:30`."""
    hours, _, minutes = offset.lstrip("+-").partition(":")
    sign = -1 if offset.startswith("-") else 1
    return sign * (60 * int(hours) + int(minutes or 0))


def _meanings(row: str) -> tuple[str, tuple[tuple[int, str], ...]]:
    """An abbreviation, and its minutes and places."""
    # `CST -6 North America | +8 China`: the name, and for each meaning an offset and a place.
    # `IST +5:30 India | +2 Israel | +1 Ireland`: the offset, and where it holds.
    name, _, rest = row.strip().partition(" ")
    meanings: list[tuple[int, str]] = []
    for meaning in rest.split("|"):
        offset, _, place = meaning.strip().partition(" ")
        meanings.append((_minutes(offset), place))
    return name, tuple(meanings)


ZONES: dict[str, tuple[tuple[int, str], ...]] = dict(
    _meanings(row) for row in re.split(r",|\n", _TABLE.strip())
)
"""Abbreviations of zones: for each meaning minutes east of Greenwich and a place, which is empty
where there is one meaning."""


def check_zone(zone: str, *, what: str) -> None:
    """Whether a zone is one that times can be read in: a name of the tz database or an offset.

    Raises:
        RecipeError: it is not; the message begins with `what`.
    """
    if fixed_minutes(zone) is not None:
        return
    try:
        pl.Series([datetime(2024, 1, 1)]).dt.replace_time_zone(zone)
    except pl.exceptions.ComputeError:
        raise RecipeError(
            f"{what}: there is no time zone {zone!r}: name one as the tz database does, such as"
            " Europe/Berlin, or an offset such as +05:30"
        ) from None


def fixed_minutes(zone: str) -> int | None:
    """Minutes east of Greenwich where a zone is an offset or UTC, else nothing.

    >>> fixed_minutes("+05:30"), fixed_minutes("-3"), fixed_minutes("UTC")
    (330, -180, 0)
    >>> fixed_minutes("Asia/Kolkata") is None
    True
    """
    if zone in ("UTC", "GMT", "Z"):
        return 0
    match = _OFFSET.fullmatch(zone)
    if match is None:
        return None
    minutes = 60 * int(match[2]) + int(match[3] or 0)
    return -minutes if match[1] == "-" else minutes


def zone_minutes(names: pl.Series, *, zone: str | None) -> pl.Series:
    """Minutes east of Greenwich that abbreviations mean.

    Null where there is no abbreviation, and where the rules of `zone` say what it means.

    >>> zone_minutes(pl.Series(["CEST", "IST", None, "XYZT"]), zone=None).to_list()
    [120, 330, None, 0]
    >>> zone_minutes(pl.Series(["CEST", "IST", "CST"]), zone="Asia/Jerusalem").to_list()
    [120, 120, None]

    Args:
        names: abbreviations in any case; null where a time has none.
        zone: gives those of several meanings and unknown ones theirs; none: the first of the table,
            and UTC.
    """
    upper = names.str.to_uppercase()
    distinct = [name for name in upper.unique() if name is not None]
    meant = {name: _meant(name, zone) for name in distinct}
    return upper.replace_strict(meant, default=None, return_dtype=pl.Int64)


def local_to_utc(times: pl.Series, *, zone: str | None) -> pl.Series:
    """Times on a zone's clocks, in a column without zone, to UTC; none: they are UTC already.

    Of an hour that comes twice the first is meant; in an hour that is left out the clocks go on as
    before.

    >>> times = pl.Series([datetime(2024, 7, 3, 9), datetime(2024, 3, 31, 2, 30)])
    >>> [f"{time:%H:%M}" for time in local_to_utc(times, zone="Europe/Berlin")]
    ['07:00', '01:30']
    """
    if zone is None:
        return times.dt.replace_time_zone("UTC")
    minutes = fixed_minutes(zone)
    if minutes is not None:
        in_utc = times - timedelta(minutes=minutes)
        return in_utc.dt.replace_time_zone("UTC")
    local = times.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    # In an hour that clocks leave out in spring the time is none: it is what it would have been
    # without the step.
    if local.null_count() > times.null_count():
        earlier = times - _HOUR
        hour_before = earlier.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        local = local.zip_with(local.is_not_null(), hour_before + _HOUR)
    return local.dt.convert_time_zone("UTC")


def unknown_zones(names: Iterable[str], *, zone: str | None) -> list[str]:
    """Abbreviations that no table has, where nothing else says what they mean."""
    if zone is not None:
        return []
    return sorted({name.upper() for name in names} - ZONES.keys())


def ambiguous_zones(names: Iterable[str], *, zone: str | None) -> list[str]:
    """Abbreviations of several meanings, where nothing else says which."""
    if zone is not None:
        return []
    distinct = {name.upper() for name in names}
    return sorted(name for name in distinct if len(ZONES.get(name, ())) > 1)


def zone_notes(names: Iterable[str], *, zone: str | None) -> list[str]:
    """What a person should know of the abbreviations in some times, a sentence each.

    >>> zone_notes(["CEST", "WST"], zone=None)  # doctest: +NORMALIZE_WHITESPACE
    ['times are in the zone WST, taken as +08:00 (Western Australia); it may also be +13:00 (Samoa):
    --time-zone says which']
    """
    notes = []
    for name in ambiguous_zones(names, zone=zone):
        taken, *others = map(_told, ZONES[name])
        other_meanings = " or ".join(others)
        notes.append(
            f"times are in the zone {name}, taken as {taken}; it may also be {other_meanings}:"
            " --time-zone says which"
        )
    for name in unknown_zones(names, zone=zone):
        notes.append(
            f"times are in the zone {name}, which is not known: taken as UTC; --time-zone says"
            " which it is"
        )
    return notes


def _meant(name: str, zone: str | None) -> int | None:
    """Minutes that an abbreviation in capital letters means; nothing: the zone's rules say it."""
    meanings = ZONES.get(name, ())
    # The first meaning in the table is the most usual one.
    if zone is None or len(meanings) == 1:
        return meanings[0][0] if meanings else 0
    minutes = fixed_minutes(zone)
    return _abbreviations(zone).get(name) if minutes is None else minutes


@cache
def _abbreviations(zone: str) -> dict[str, int]:
    """A zone's own abbreviations."""
    # In January and in July: one of them is in summer time, where a zone has it.
    days = [datetime(year, month, 1) for year in _YEARS for month in (1, 7)]
    in_utc = pl.Series(days).dt.replace_time_zone("UTC")
    local = in_utc.dt.convert_time_zone(zone)
    offsets = local.dt.base_utc_offset() + local.dt.dst_offset()
    minutes = offsets.dt.total_minutes()
    return dict(zip(local.dt.strftime("%Z"), minutes, strict=True))


def _told(meaning: tuple[int, str]) -> str:
    """A meaning for people."""
    minutes, place = meaning
    hours, rest = divmod(abs(minutes), 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{hours:02d}:{rest:02d} ({place})"
