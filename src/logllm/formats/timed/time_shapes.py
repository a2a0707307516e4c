"""The format of lines with a time, wherever it stands and however it is written.

It is told from some of the lines.
"""

import re
from collections import Counter
from collections.abc import Sequence

import polars as pl

from logllm.config.format import FormatSection
from logllm.formats.further_lines import ordered
from logllm.formats.timed.time_notations import FAR, MOST, Head, Notation, notations
from logllm.logs.times import written_times

TIMED = "timed"
"""The name of formats that were told from the lines' times alone."""
_LOOKED_AT = 80  # lines at the start, in the middle and at the end
_KEPT = 400  # characters of a line
_PIECES = 12  # words and signs of what stands before a time
_SENTENCE = 3  # words before a time are a text that speaks of it
_EVERYWHERE = 0.8  # of the lines hold a time, whatever stands before it

_LEVELS = (
    "TRACE|DEBUG|DBG|VERBOSE|FINEST|FINER|FINE|CONFIG|INFORMATION|INFO|INF|NOTICE|NOTE|WARNING"
    "|WARN|WRN|ERROR|ERR|SEVERE|CRITICAL|CRIT|ALERT|EMERGENCY|EMERG|FATAL|FTL|PANIC"
)
_LEVEL = rf"(?:(?i:{_LEVELS})|[DIWEFTVC])"


_SIGNS = " \t])>}\"'=*-"  # what is no message
_NOTHING = r"[ \t\])>}\"'=*-]*"


def timed_format(text: pl.Series) -> FormatSection | None:
    """The format of lines that say a time, by the way it is written in most that begin a record.

    None where no time is found. Level, thread and process are read apart where they stand beside
    the time.

    >>> lines = [f"[INFO] [2024-07-03 09:00:0{n}] [worker-1] order stored" for n in range(9)]
    >>> described = timed_format(pl.Series(lines))
    >>> described.time_format, described.severity, "(?<thread>" in described.pattern
    (('iso',), 'level', True)
    """
    lines = _sample(text)
    for notation in notations(lines):
        everywhere = len(notation.heads) >= _EVERYWHERE * len(lines)
        described = _described(notation, everywhere=everywhere)
        if described is not None:
            return described
    return None


def _sample(text: pl.Series) -> list[str]:
    """Lines to look at that hold something."""
    written = text.filter(text.str.contains(r"\S"))
    text = written.str.strip_chars().str.head(_KEPT)
    if len(text) > 3 * _LOOKED_AT:
        middle = text.slice(len(text) // 2, _LOOKED_AT)
        text = pl.concat([text.head(_LOOKED_AT), middle, text.tail(_LOOKED_AT)])
    return text.to_list()


def _described(notation: Notation, *, everywhere: bool) -> FormatSection | None:
    """The format of lines that begin with such times, by what stands before these in most.

    None where a text only speaks of times.
    """
    heads, time, forms = notation
    skeletons = Counter(_skeleton(head.before) for head in heads)
    skeleton, most = skeletons.most_common(1)[0]
    words = skeleton.count("\0W")
    if not everywhere and words > 1:  # times that a text speaks of
        return None
    # Those go here and there, while a log's own go on.
    doubtful = not everywhere or words >= _SENTENCE
    if doubtful and not ordered(written_times(_times(heads), forms, zone=None)):
        return None
    # The pattern of what stands before the time: one for nearly all lines, or anything.
    if most >= MOST * len(heads) and skeleton.count("\0") <= _PIECES:
        before = _before(skeleton)
        alike = [head for head in heads if _skeleton(head.before) == skeleton]
    elif not everywhere:
        return None
    else:
        ends = {head.before[-1:] for head in heads}
        last = re.escape(ends.pop()) if len(ends) == 1 else ""
        before = rf".{{0,{FAR}}}?{last}"
        alike = heads
    rests = [head.after for head in alike]
    telling = [rest for rest in rests if rest.strip(_SIGNS)]
    silent = len(rests) - len(telling) > (1 - MOST) * len(rests)
    # What stands before the time begins the message, and further lines go on with it.
    if silent and words:
        nameless = before.replace("(?<level>", "(?:")
        pattern = f"(?<message>{nameless})(?<time>{time}).*"
        has_level = False
    else:
        after = _after(telling, level="(?<level>" not in before)
        if "(?<pid>" in before:  # a name is of one group
            after = after.replace("(?<pid>", "(?:")
        behind = f"{after}(?<message>[^ \\t].*)"
        if silent:  # the message is below, but for some lines
            behind = f"(?:{_NOTHING}|{behind})"
        pattern = f"{before}(?<time>{time}){behind}"
        has_level = "(?<level>" in pattern
    pattern = pattern.replace(r"\d", "[0-9]").replace(r"\ ", " ")
    return FormatSection(
        name=TIMED,
        title="Lines with a time, whose place and notation were recognized",
        pattern=pattern,
        time="time",
        time_format=tuple(forms),
        severity="level" if has_level else None,
        continuation=".*",
        message_below=silent and not words,
    )


def _times(heads: Sequence[Head]) -> pl.Series:
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
    patterns = {
        "L": _LEVEL,
        "N": "[0-9]+",
        "W": r"[\w.$@/-]+",
        " ": r"[ \t]+",
        "C": r"\x1b\[[0-9;]*m",
    }
    names = {"L": "level", "N": "pid"}
    pieces: list[str] = []
    for kind in skeleton.split("\0")[1:]:
        name = names.pop(kind, None)
        pattern = patterns.get(kind) or re.escape(kind)
        pieces.append(f"(?<{name}>{pattern})" if name else pattern)
    return "".join(pieces)


def _after(rests: Sequence[str], *, level: bool) -> str:
    """Pattern of what stands between the time and the message in nearly all lines.

    It may hold signs, a process, a level (where `level` asks for it) and a thread.
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
    with_level = orders if level else ()
    for order in (*rounds, *with_level, [process, thread], [thread], [numbered], []):
        pattern = first + "".join(order)
        in_python = pattern.replace("(?<", "(?P<")  # as Python's `re` writes groups
        search = re.compile(in_python + r"[^ \t]")
        following = sum(search.match(rest) is not None for rest in rests)
        if following >= MOST * len(rests):
            return pattern
    return r"[ \t]*"
