"""Lines with a time wherever it stands and however it is written.

Their format, told from some of them.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.formats.further_lines import ordered
from logllm.logs.calendar.zones import ZONES
from logllm.logs.times import written_times

TIMED = "timed"
"""The name of formats that were told from the lines' times alone."""
_LOOKED_AT = 80  # lines at the start, in the middle and at the end
_FAR = 80  # characters of a line before its time
_PIECES = 12  # words and signs of what stands before a time
_SENTENCE = 3  # words before a time are a text that speaks of it
_MOST = 0.95  # of the lines that begin a record have what their format says
_EVERYWHERE = 0.8  # of the lines hold a time, whatever stands before it
_MONTHS = 12
_FORMS = 6  # ways to write a time in one log

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
_NO_ZONES = "ALERT|AUDIT|BOOT|EVENT|EXIT|GET|HINT|HOST|INIT|INPUT|LIST|MQTT|NEXT|OUT|POST|PORT|PUT|QUIT|RESE?T|ROOT|SET|START|STAT|TEST|TEXT"
_LEVELS = (
    "TRACE|DEBUG|DBG|VERBOSE|FINEST|FINER|FINE|CONFIG|INFORMATION|INFO|INF|NOTICE|NOTE|WARNING|WARN|WRN|ERROR|ERR|SEVERE|CRITICAL|CRIT|"
    "ALERT|EMERGENCY|EMERG|FATAL|FTL|PANIC"
)
_LEVEL = rf"(?:(?i:{_LEVELS})|[DIWEFTVC])"


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
_ONLY_SIGNS = r"[\W_]{0,4}"
_SIGNS = " \t])>}\"'=*-"  # what is no message
_NOTHING = r"[ \t\])>}\"'=*-]*"


class _Head(NamedTuple):
    """A time at the start of a record, and what stands before and after it."""

    before: str
    time: str
    after: str
    date: str
    """The day as written; empty for an epoch, or where there is none."""
    between: str
    fraction: str
    half: str
    zone: str
    year: str
    dotted: bool
    """Whether the clock is written with dots."""


def timed_format(text: pl.Series) -> FormatSection | None:
    """The format of lines that say a time, by the way it is written in most that begin a record.

    Nothing where there is none.

    Level, thread and process are told apart where they stand beside it.

    >>> lines = [f"[INFO] [2024-07-03 09:00:0{second}] [worker-1] order stored" for second in range(9)]
    >>> described = timed_format(pl.Series(lines))
    >>> described.time_format, described.severity, "(?<thread>" in described.pattern
    (('iso',), 'level', True)
    """
    lines = _sample(text)
    for heads, time, forms in _shapes(lines):
        everywhere = len(heads) >= _EVERYWHERE * len(lines)
        described = _described(heads, time=time, forms=forms, everywhere=everywhere)
        if described is not None:
            return described
    return None


def _sample(text: pl.Series) -> list[str]:
    """Lines to look at that hold something."""
    text = text.filter(text.str.contains(r"\S")).str.strip_chars().str.head(400)
    if len(text) > 3 * _LOOKED_AT:
        middle = text.slice(len(text) // 2, _LOOKED_AT)
        text = pl.concat([text.head(_LOOKED_AT), middle, text.tail(_LOOKED_AT)])
    return text.to_list()


def _shapes(lines: Sequence[str]) -> Iterator[tuple[list[_Head], str, list[str]]]:
    """Ways in which times are written, the one of most lines first.

    Lines in two parts around it, its pattern, and its formats.
    """
    shapes: list[tuple[list[_Head], str, list[str]]] = []
    for pattern, form in _EPOCHS:
        search = re.compile(rf"^({_ONLY_SIGNS})({pattern})(?![0-9.])(.*)$")
        matches = [match for line in lines if (match := search.match(line))]
        heads = [
            _Head(match[1], match[2], match[3], "", "", "", "", "", "", dotted=False)
            for match in matches
        ]
        shapes.append((heads, pattern, [form]))
    for date in _DATES:
        heads = _dated(lines, date)
        if heads:
            shapes.append((heads, _pattern(heads, date), _forms(heads, date)))
    with_lines = [shape for shape in shapes if shape[0]]
    return iter(sorted(with_lines, key=lambda shape: -len(shape[0])))


def _dated(lines: Sequence[str], date: _Date) -> list[_Head]:
    """Lines that hold a time written with such a day, and with a zone that is known or else seems one."""
    heads = list(_headed(lines, date, zones=_NAMES))
    if any(head.zone for head in heads):
        return heads
    guessed = list(_headed(lines, date, zones=_LIKE_ZONES))
    zones = [head.zone.strip() for head in guessed if head.zone]
    likely = {zone for zone in zones if not re.fullmatch(_NO_ZONES, zone)}
    everywhere = len(zones) >= _MOST * len(guessed)
    if everywhere and likely == set(zones) and len(likely) <= _MOST_ZONES:
        return guessed
    return heads


def _headed(lines: Sequence[str], date: _Date, *, zones: str) -> Iterator[_Head]:
    """Lines that hold a time written with such a day, in one of some zones or in none."""
    # A day that is plainly one may stand anywhere; `20240703` only at the start of a line.
    anywhere = rf".{{0,{_FAR}}}?(?<![0-9A-Za-z./-])(?<![0-9]:)"
    before = anywhere if _telling(date) else _ONLY_SIGNS
    zone = rf" ?(?:{_OFFSET}|(?:{zones})\b)"
    year = r" [0-9]{4}\b" if date.codes and "y" not in date.codes.lower() else "(?!)"
    search = re.compile(
        rf"^(?P<before>{before})(?P<date>{date.pattern})(?P<between>{date.between})"
        rf"(?P<clock>{_clock(date)})(?P<fraction>{_FRACTION})?"
        rf"(?P<half>{_HALF})?(?P<zone>{zone})?(?P<year>{year})?(?![0-9])(?P<after>.*)$"
    )
    for line in lines:
        if match := search.match(line):
            named = {name: value or "" for name, value in match.groupdict().items()}
            named["time"] = line[match.end("before") : match.start("after")]
            clock = named.pop("clock")
            yield _Head(**named, dotted="." in clock)


def _telling(date: _Date) -> bool:
    """Whether a day is so long that it is one, whatever stands before it."""
    with_year = "y" in date.codes.lower() and date.codes not in ("%Y%m%d", "%y%m%d")
    return with_year or "%b" in date.codes


def _clock(date: _Date) -> str:
    """Pattern of the time of day that may follow a day."""
    return f"(?:{_CLOCK}|{_DOTTED_CLOCK})" if "%Y" in date.codes else _CLOCK


def _pattern(heads: Sequence[_Head], date: _Date) -> str:
    """Pattern of the times of some lines: what none of them has is no part of it."""
    dotted = any(head.dotted for head in heads)
    # A word that is no zone, such as a level, must not be taken for one in other lines.
    words = {head.zone.strip() for head in heads}
    guessed = {word for word in words if word.isalpha()} - ZONES.keys()
    zones = "|".join([_NAMES, *sorted(guessed)])
    pieces = [date.pattern, date.between, _clock(date) if dotted else _CLOCK]
    optional = (
        ("fraction", _FRACTION),
        ("half", _HALF),
        ("zone", rf" ?(?:{_OFFSET}|(?:{zones})\b)"),
        ("year", " [0-9]{4}"),
    )
    for name, pattern in optional:
        having = sum(bool(getattr(head, name)) for head in heads)
        if having:
            pieces.append(f"(?:{pattern})" if having == len(heads) else f"(?:{pattern})?")
    return "".join(pieces)


def _forms(heads: Sequence[_Head], date: _Date) -> list[str]:
    """Formats of the times of some lines, the commonest first."""
    codes = date.codes
    two_numbers = codes in ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y")
    if two_numbers and _day_first([head.date for head in heads]):
        codes = codes.replace("%m", "%_").replace("%d", "%m").replace("%_", "%d")
    counted = Counter(_form(head, codes) for head in heads)
    return [form for form, _ in counted.most_common(_FORMS)]


def _day_first(dates: Sequence[str]) -> bool:
    """Whether of the first two numbers of dates the first is the day.

    A month is none beyond 12, and goes on more slowly.

    >>> _day_first(["03/07/2024", "04/07/2024"]), _day_first(["03/07/2024"]), _day_first(["07/13/2024"])
    (True, False, False)
    """
    numbers = [[int(number) for number in re.split("[/-]", date)[:2]] for date in dates]
    firsts = {first for first, _ in numbers}
    seconds = {second for _, second in numbers}
    if max(firsts | seconds) > _MONTHS:
        return max(firsts) > _MONTHS
    return len(firsts) > len(seconds)


def _form(head: _Head, codes: str) -> str:
    """The format of one time."""
    clock_of = head.time.removeprefix(head.date)
    seconds = ":%S" if len(re.findall(":[0-9]{2}", clock_of)) > 1 else ""
    whole = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T\t][0-9]{2}:[0-9]{2}:[0-9]{2}"
    plain = codes == "%Y-%m-%d" and re.match(whole, head.time)
    if plain and not head.half and head.fraction[:1] in ("", ".", ","):
        return "iso"

    # Each piece as it is written: `03.07.2024 09:00:01,123 CEST` is `%d.%m.%Y %H:%M:%S,%f %Z`.
    hour = "%I" if head.half else "%H"
    clock = "%H.%M.%S" if head.dotted else f"{hour}:%M{seconds}"
    fraction = f"{head.fraction[0]}%f" if head.fraction else ""
    half = head.half[:-2] + "%p" if head.half else ""
    zone = (" " if head.zone.startswith(" ") else "") + "%Z" if head.zone else ""
    between = re.sub(r"\s+", " ", head.between)
    year = " %Y" if head.year else ""
    return f"{_as_written(codes, head.date)}{between}{clock}{fraction}{half}{zone}{year}"


def _as_written(codes: str, date: str) -> str:
    """A day's codes with the commas that are written."""
    pieces = re.sub(r"\s+", " ", date).split(" ")
    if len(pieces) == 1 or " " not in codes:
        return codes
    commas = ["," if piece.endswith(",") else "" for piece in pieces]
    return " ".join(code + comma for code, comma in zip(codes.split(" "), commas, strict=True))


def _described(
    heads: Sequence[_Head], *, time: str, forms: Sequence[str], everywhere: bool
) -> FormatSection | None:
    """The format of lines that begin with such times, by what stands before these in most."""
    skeletons = Counter(_skeleton(head.before) for head in heads)
    skeleton, most = skeletons.most_common(1)[0]
    words = skeleton.count("\0W")
    if not everywhere and words > 1:  # times that a text speaks of
        return None
    # Those go here and there, while a log's own go on.
    if (not everywhere or words >= _SENTENCE) and not ordered(
        written_times(_times(heads), forms, zone=None)
    ):
        return None
    # The pattern of what stands before the time: one for nearly all lines, or anything.
    if most >= _MOST * len(heads) and skeleton.count("\0") <= _PIECES:
        before = _before(skeleton)
        alike = [head for head in heads if _skeleton(head.before) == skeleton]
    elif not everywhere:
        return None
    else:
        ends = {head.before[-1:] for head in heads}
        last = re.escape(ends.pop()) if len(ends) == 1 else ""
        before, alike = rf".{{0,{_FAR}}}?{last}", list(heads)
    rests = [head.after for head in alike]
    mute = [not rest.strip(_SIGNS) for rest in rests]
    silent = sum(mute) > (1 - _MOST) * len(rests)
    # What stands before the time begins the message, and further lines go on with it.
    if silent and words:
        nameless = before.replace("(?<level>", "(?:")
        pattern, level = f"(?<message>{nameless})(?<time>{time}).*", False
    else:
        telling = [rest for rest, nothing in zip(rests, mute, strict=True) if not nothing]
        after = _after(telling, level="(?<level>" not in before)
        if "(?<pid>" in before:  # a name is of one group
            after = after.replace("(?<pid>", "(?:")
        pattern = f"{before}(?<time>{time}){after}(?<message>[^ \\t].*)"
        if silent:  # the message is below, but for some lines
            pattern = f"{before}(?<time>{time})(?:{_NOTHING}|{after}(?<message>[^ \\t].*))"
        level = "(?<level>" in pattern
    return FormatSection(
        name=TIMED,
        title="Lines with a time, whose place and notation were recognized",
        pattern=pattern.replace(r"\d", "[0-9]").replace(r"\ ", " "),
        time="time",
        time_format=tuple(forms),
        severity="level" if level else None,
        continuation=".*",
        message_below=silent and not words,
    )


def _times(heads: Sequence[_Head]) -> pl.Series:
    """Times of some lines as they are written."""
    return pl.Series([head.time for head in heads], dtype=pl.String)


def _skeleton(before: str) -> str:
    r"""What stands before a time, with its words replaced by their kinds.

    >>> _skeleton("main::INFO::").replace("\0", "")
    'W::L::'
    """
    pieces = re.findall(r"[A-Za-z_0-9][\w.$@/-]*|\s+|\x1b\[[0-9;]*m|.", before)
    return "".join(f"\0{_kind(piece)}" for piece in pieces)


def _kind(piece: str) -> str:
    """A level, a number, a word, blanks or a sign."""
    if re.fullmatch(_LEVEL, piece):
        return "L"
    if piece.isdigit():
        return "N"
    if piece.isspace():
        return " "
    if piece.startswith("\x1b"):
        return "C"
    is_word = piece[0].isalnum() or piece[0] == "_"
    return "W" if is_word else piece


def _before(skeleton: str) -> str:
    """Pattern of a skeleton; the first level and the first number are groups."""
    kinds = {
        "L": rf"{_LEVEL}",
        "N": "[0-9]+",
        "W": r"[\w.$@/-]+",
        " ": r"[ \t]+",
        "C": r"\x1b\[[0-9;]*m",
    }
    names = {"L": "level", "N": "pid"}
    pieces: list[str] = []
    for kind in skeleton.split("\0")[1:]:
        name = names.pop(kind, None)
        pattern = kinds.get(kind) or re.escape(kind)
        pieces.append(f"(?<{name}>{pattern})" if name else pattern)
    return "".join(pieces)


def _after(rests: Sequence[str], *, level: bool) -> str:
    """Pattern of what stands between the time and the message in nearly all lines.

    Signs, a process, a level, a thread.
    """
    if not rests:
        return r"[ \t]*"
    sign = r"[ \t:,;|-]"
    levels = rf"[\[<(]?(?<level>{_LEVEL})[\])>]?{sign}+"
    # A list of names or values in brackets is no thread: it may hold a request's key.
    thread = rf"\[(?<thread>[^\]\[,=]{{1,60}})\]{sign}*"
    process = rf"[\[#(]*(?<pid>[0-9]+)[\])]?{sign}+"
    frame = rf"\[ *[0-9]+\]{sign}*"  # a counter that goes round, filled up with blanks
    numbered = rf"[\[(]?#(?<pid>[0-9]+)[\])]?{sign}+"
    orders = (
        [numbered, levels],
        [process, levels, thread],
        [levels, process],
        [levels, thread],
        [thread, levels],
        [process, levels],
        [levels],
    )
    first = rf"[\])>}}'\"]{{0,2}}{sign}*"
    padded = any(re.match(r"[\])>]{0,2} ?\[ +[0-9]+\]", rest) for rest in rests)
    rounds = [[frame, levels], [frame]] if padded else []
    # From what tells most to what tells least: the first order that nearly all lines follow.
    for order in (*rounds, *(orders if level else ()), [process, thread], [thread], [numbered], []):
        pattern = first + "".join(order)
        search = re.compile(pattern.replace("(?<", "(?P<") + r"[^ \t]")
        following = sum(search.match(rest) is not None for rest in rests)
        if following >= _MOST * len(rests):
            return pattern
    return r"[ \t]*"
