"""How times are written in lines: the day, the clock, the zone, and the form that reads them."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from logllm.logs.calendar.zones import ZONES

FAR = 80
"""Characters of a line that may stand before its time."""
MOST = 0.95
"""Of the lines that begin a record have what their format says."""

_MONTHS = 12
_FORMS = 6  # ways to write a time in one log
_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T\t][0-9]{2}:[0-9]{2}:[0-9]{2}"
_ONLY_SIGNS = r"[\W_]{0,4}"
_MONTH = "(?i:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_DAY_NAME = "(?i:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*"
_CLOCK = r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?"
_DOTTED_CLOCK = r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}"  # behind a day that says its year
_FRACTION = r"[.,:][0-9]{1,9}"
_HALF = r" ?[AaPp][Mm]\b"
_OFFSET = r"(?:UTC|GMT)?[+-][0-9]{1,2}(?::?[0-9]{2})?"
_NAMES = "|".join(sorted(ZONES, key=len, reverse=True))
# Words that no table has: `XYZT`, and any before a year
_LIKE_ZONES = r"[A-Z]{2,4}T|[A-Z]{2,5}(?= [0-9]{4}\b)"
_MOST_ZONES = 2  # a summer's and a winter's
_NO_ZONES = (
    "ALERT|AUDIT|BOOT|EVENT|EXIT|GET|HINT|HOST|INIT|INPUT|LIST|MQTT|NEXT|OUT|POST|PORT|PUT|QUIT"
    "|RESE?T|ROOT|SET|START|STAT|TEST|TEXT"
)


class _Date(NamedTuple):
    """A way to write a day."""

    pattern: str
    codes: str
    between: str
    """What may stand between it and the clock."""


_DATES = (
    _Date(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}", "%Y-%m-%d", r"[ T_\t,-]\s*"),
    _Date(r"[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}", "%Y/%m/%d", r"[ T_\t,-]\s*"),
    _Date(r"[0-9]{4}\.[0-9]{1,2}\.[0-9]{1,2}", "%Y.%m.%d", r"[ T_\t,-]\s*"),
    _Date(r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}", "%d.%m.%Y", r"[ \t,]\s*"),
    _Date(r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}", "%m/%d/%Y", r"[ \t,:-]\s*"),
    _Date(r"[0-9]{1,2}-[0-9]{1,2}-[0-9]{4}", "%m-%d-%Y", r"[ T\t,]\s*"),
    _Date(r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{2}", "%m/%d/%y", r"[ \t,-]\s*"),
    _Date(rf"{_DAY_NAME},? [0-9]{{1,2}} {_MONTH} [0-9]{{4}}", "%a %d %b %Y", r"[ \t,]\s*"),
    _Date(rf"{_DAY_NAME},? {_MONTH} +[0-9]{{1,2}},? [0-9]{{4}}", "%a %b %d %Y", r"[ \t,]\s*"),
    _Date(rf"[0-9]{{1,2}}/{_MONTH}/[0-9]{{4}}", "%d/%b/%Y", r"[ \t,:]\s*"),
    _Date(rf"[0-9]{{1,2}}-{_MONTH}-[0-9]{{4}}", "%d-%b-%Y", r"[ \t,:]\s*"),
    _Date(rf"[0-9]{{1,2}} {_MONTH} [0-9]{{4}}", "%d %b %Y", r"[ \t,]\s*"),
    _Date(rf"[0-9]{{1,2}}-{_MONTH}-[0-9]{{2}}", "%d-%b-%y", r"[ \t,:]\s*"),
    _Date(rf"{_MONTH} +[0-9]{{1,2}},? [0-9]{{4}}", "%b %d %Y", r"[ \t,]\s*"),
    _Date(rf"{_DAY_NAME} {_MONTH} +[0-9]{{1,2}}", "%a %b %d", r"[ \t]\s*"),
    _Date(rf"{_DAY_NAME} [0-9]{{1,2}} {_MONTH}", "%a %d %b", r"[ \t]\s*"),
    _Date(rf"{_MONTH} +[0-9]{{1,2}}", "%b %d", r"[ \t,]\s*"),
    _Date(rf"[0-9]{{1,2}} {_MONTH}", "%d %b", r"[ \t,]\s*"),
    _Date(r"[0-9]{8}", "%Y%m%d", r"[ T_\t-]\s*"),
    _Date(r"[0-9]{6}", "%y%m%d", r"[ \t]\s*"),
    _Date(r"[0-9]{2}-[0-9]{2}", "%m-%d", r"[ \t]\s*"),
    _Date(r"[0-9]{2}/[0-9]{2}", "%m/%d", r"[ \t]\s*"),
    _Date("", "", ""),
)
"""Days, those that say more before those that are a part of them."""

_EPOCHS = (
    (r"1[0-9]{18}", "epoch_ns"),
    (r"1[0-9]{15}", "epoch_us"),
    (r"1[0-9]{12}", "epoch_ms"),
    (r"1[0-9]{9}(?:\.[0-9]{1,9})?", "epoch"),
)


class Head(NamedTuple):
    """A time at the start of a record, and what stands before and after it."""

    before: str
    time: str
    after: str
    date: str = ""
    """The day as written; empty for an epoch, or where there is none."""
    between: str = ""
    fraction: str = ""
    half: str = ""
    zone: str = ""
    year: str = ""
    dotted: bool = False
    """Whether the clock is written with dots."""


class Notation(NamedTuple):
    """A way in which times are written in some lines."""

    heads: list[Head]
    """The lines that have such a time, divided around it."""
    pattern: str
    """Regular expression (Rust syntax) of the time."""
    forms: list[str]
    """What reads it: `iso`, an epoch or strftime codes, the commonest first."""


def notations(lines: Sequence[str]) -> list[Notation]:
    """Ways in which times are written in some lines, that of the most lines first.

    >>> lines = ["1700000000 up", "2024-01-02 03:04:05 down"]
    >>> [notation.forms for notation in notations(lines)]
    [['epoch'], ['iso']]
    """
    ways: list[Notation] = []
    for pattern, form in _EPOCHS:
        search = re.compile(rf"^({_ONLY_SIGNS})({pattern})(?![0-9.])(.*)$")
        heads: list[Head] = []
        for line in lines:
            match = search.match(line)
            if match is not None:
                heads.append(Head(match[1], match[2], match[3]))
        ways.append(Notation(heads, pattern, [form]))
    for date in _DATES:
        heads = _dated(lines, date)
        if heads:
            ways.append(Notation(heads, _pattern(heads, date), _forms(heads, date)))
    with_lines = [notation for notation in ways if notation.heads]
    return sorted(with_lines, key=lambda notation: -len(notation.heads))


def _dated(lines: Sequence[str], date: _Date) -> list[Head]:
    """Lines that hold a time written with such a day.

    Its zone, where it has one, is a known one, or else a word that seems to be a zone.
    """
    heads = list(_headed(lines, date, zones=_NAMES))
    if any(head.zone for head in heads):
        return heads
    guessed = list(_headed(lines, date, zones=_LIKE_ZONES))
    zones = [head.zone.strip() for head in guessed if head.zone]
    distinct = set(zones)
    all_likely = not any(re.fullmatch(_NO_ZONES, zone) for zone in distinct)
    everywhere = len(zones) >= MOST * len(guessed)
    if everywhere and all_likely and len(distinct) <= _MOST_ZONES:
        return guessed
    return heads


def _headed(lines: Sequence[str], date: _Date, *, zones: str) -> Iterator[Head]:
    """Lines that hold a time written with such a day, in one of some zones or in none."""
    # A day that is plainly one may stand anywhere; `20240703` only at the start of a line.
    anywhere = rf".{{0,{FAR}}}?(?<![0-9A-Za-z./-])(?<![0-9]:)"
    before = anywhere if _telling(date) else _ONLY_SIGNS
    zone = rf" ?(?:{_OFFSET}|(?:{zones})\b)"
    # A year behind the clock belongs to a day that says none.
    lacks_year = date.codes and "y" not in date.codes.lower()
    year = r" [0-9]{4}\b" if lacks_year else "(?!)"
    day = rf"(?P<date>{date.pattern})(?P<between>{date.between})"
    clock = rf"(?P<clock>{_clock(date)})(?P<fraction>{_FRACTION})?(?P<half>{_HALF})?"
    behind = rf"(?P<zone>{zone})?(?P<year>{year})?"
    search = re.compile(rf"^(?P<before>{before}){day}{clock}{behind}(?![0-9])(?P<after>.*)$")
    for line in lines:
        match = search.match(line)
        if match is None:
            continue
        named = match.groupdict(default="")
        named["time"] = line[match.end("before") : match.start("after")]
        is_dotted = "." in named.pop("clock")
        yield Head(**named, dotted=is_dotted)


def _telling(date: _Date) -> bool:
    """Whether a day is so long that it is one, whatever stands before it."""
    with_year = "y" in date.codes.lower() and date.codes not in ("%Y%m%d", "%y%m%d")
    return with_year or "%b" in date.codes


def _clock(date: _Date) -> str:
    """Pattern of the time of day that may follow a day."""
    return f"(?:{_CLOCK}|{_DOTTED_CLOCK})" if "%Y" in date.codes else _CLOCK


def _pattern(heads: Sequence[Head], date: _Date) -> str:
    """Pattern of the times of some lines: what none of them has is no part of it."""
    dotted = any(head.dotted for head in heads)
    # A word that is no zone, such as a level, must not be taken for one in other lines.
    words = {head.zone.strip() for head in heads}
    guessed = {word for word in words if word.isalpha()} - ZONES.keys()
    zones = "|".join([_NAMES, *sorted(guessed)])
    zone = rf" ?(?:{_OFFSET}|(?:{zones})\b)"
    clock = _clock(date) if dotted else _CLOCK
    pieces = [date.pattern, date.between, clock]
    optional = (("fraction", _FRACTION), ("half", _HALF), ("zone", zone), ("year", " [0-9]{4}"))
    for name, pattern in optional:
        having = sum(bool(getattr(head, name)) for head in heads)
        if having:
            in_all = having == len(heads)
            pieces.append(f"(?:{pattern})" if in_all else f"(?:{pattern})?")
    return "".join(pieces)


def _forms(heads: Sequence[Head], date: _Date) -> list[str]:
    """Forms that read the times of some lines, the commonest first."""
    codes = date.codes
    two_numbers = codes in ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y")
    days = [head.date for head in heads]
    if two_numbers and _day_first(days):
        codes = codes.replace("%m", "%_").replace("%d", "%m").replace("%_", "%d")
    counted = Counter(_form(head, codes) for head in heads)
    return [form for form, _ in counted.most_common(_FORMS)]


def _day_first(dates: Sequence[str]) -> bool:
    """Whether of the first two numbers of dates the first is the day.

    A number beyond 12 is no month, and months go on more slowly than days.

    >>> _day_first(["03/07/2024", "04/07/2024"])
    True
    >>> _day_first(["03/07/2024"]), _day_first(["07/13/2024"])
    (False, False)
    """
    firsts: set[int] = set()
    seconds: set[int] = set()
    for date in dates:
        first, second = re.split("[/-]", date)[:2]
        firsts.add(int(first))
        seconds.add(int(second))
    if max(firsts | seconds) > _MONTHS:
        return max(firsts) > _MONTHS
    return len(firsts) > len(seconds)


def _form(head: Head, codes: str) -> str:
    """The form that reads one time."""
    plain = codes == "%Y-%m-%d" and re.match(_ISO, head.time)
    if plain and not head.half and head.fraction[:1] in ("", ".", ","):
        return "iso"

    # Each piece as it is written: `03.07.2024 09:00:01,123 CEST` is `%d.%m.%Y %H:%M:%S,%f %Z`.
    clock_of = head.time.removeprefix(head.date)
    colons = re.findall(":[0-9]{2}", clock_of)
    seconds = ":%S" if len(colons) > 1 else ""
    hour = "%I" if head.half else "%H"
    clock = "%H.%M.%S" if head.dotted else f"{hour}:%M{seconds}"
    fraction = f"{head.fraction[0]}%f" if head.fraction else ""
    half = head.half[:-2] + "%p" if head.half else ""
    zone = ""
    if head.zone:
        zone = " %Z" if head.zone.startswith(" ") else "%Z"
    between = re.sub(r"\s+", " ", head.between)
    year = " %Y" if head.year else ""
    day = _as_written(codes, head.date)
    return f"{day}{between}{clock}{fraction}{half}{zone}{year}"


def _as_written(codes: str, date: str) -> str:
    """A day's codes with the commas that are written."""
    pieces = re.sub(r"\s+", " ", date).split(" ")
    if len(pieces) == 1 or " " not in codes:
        return codes
    commas = ["," if piece.endswith(",") else "" for piece in pieces]
    return " ".join(code + comma for code, comma in zip(codes.split(" "), commas, strict=True))
