"""PostgreSQL's stderr log with any `log_line_prefix`: its pattern, told from some of its lines."""

import re
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.sessions import SessionSection
from logllm.formats.description import load_format
from logllm.logs.redaction import redact_text

POSTGRES = "postgresql"
"""How the names of the formats begin whose records are a PostgreSQL server's."""

# A severity, or DETAIL and the like, in any of the server's languages.
_WORD = r"[\p{Lu}\p{Lo}][\p{Lu}\p{Lo}\p{M}]*[1-5]?(?: \p{Lo}+)?[ \x{a0}]?:  "
_LINE = rf"^(?<prefix>[^\t]*?)(?<word>{_WORD})"
_SEVERITIES = (
    *("LOG", "ERROR", "FATAL", "WARNING", "STATEMENT"),
    *("LOGG", "FEHLER", "ANWEISUNG", "FEL", "ERREUR", "INSTRUCTION", "SENTENCIA"),
    *("ERRORE", "ISTRUZIONE", "СООБЩЕНИЕ", "ОШИБКА", "ОПЕРАТОР"),
    *("ЗАПИСУВАННЯ", "ПОМИЛКА", "ІНСТРУКЦІЯ", "文", "로그", "오류", "日志", "错误", "语句"),
)
# Other programs fill such words up to one width: `INFO:     started`.
_PADDED = r"^[^\t]*?\b(?:DEBUG|INFO|LOG|WARNING|ERROR|FATAL|CRITICAL):   "
_MOST_PADDED = 0.2
_JSON = r"\{\s*\""  # what stands in a field of JSON is read from the field, never across it
_TIMES = (
    (
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})?(?: (?:[A-Z]{3,5}|[+-]\d\d(?::?\d\d)?))?",
        "iso",
    ),
    (r"\d{10}\.\d{3}", "epoch"),
    ("", "iso"),  # the prefix says no time
)
_CONTINUATION = r"^(?:\s.*)?$"  # RDS indents by blanks; some tools trim what is blank
_ENOUGH = 0.85
_FEWEST = 3  # lines
_MOST_FIRST = 0.6  # of the lines are the first of a record, where syslog numbers them
_COUNTED = (
    0.04  # of the lines at least that many are the first, and as many the second, of a counter
)


class _Pid(NamedTuple):
    """How a process is named in a prefix."""

    before: str
    number: str
    after: str
    bare: bool = False
    """A number without anything that says what it counts."""

    @property
    def whole(self) -> str:
        """The pattern of number and surroundings."""
        return self.before + self.number + self.after


_PIDS = (
    _Pid(r"\[", r"\d+", r"\]"),
    _Pid(r"\[", r"\d+", r"-\d+\]"),
    _Pid(r"\bpid[ =:]+", r"\d+", ""),
    _Pid(r"\b", r"[0-9a-f]{7,8}\.[0-9a-f]+", r"\b"),
    _Pid(r"\((?:\d+[:/-])?", r"\d+", r"\)"),
    _Pid(r"(?:^|[ :,;|<-])", r"\d+", r"[ :,;|>-]", bare=True),
    _Pid(r"(?:^|[ :,;|<-])", r"\d+", "$", bare=True),  # the severity follows at once
)


def postgres_format(text: pl.Series) -> FormatSection | None:
    """The format of some lines of a PostgreSQL server, or nothing where they are none.

    Its sessions are by process where the prefix names one (`%p` or `%c`), else windows.

    >>> lines = ["<2024-01-02 03:04:05 CET u@d 17>LOG:  ready", "<2024-01-02 03:04:06 CET u@d 18>FEHLER:  no"]
    >>> postgres_format(pl.Series(lines * 2)).pattern[:33], postgres_format(pl.Series(["a: b"]))
    ('<(?<time>[0-9]{4}-[0-9][0-9]-[0-9', None)
    """
    parts = text.str.extract_groups(_LINE).struct
    prefixes = parts.field("prefix").drop_nulls()
    words = parts.field("word").str.strip_chars(" \u00a0:").drop_nulls()
    if len(prefixes) < _FEWEST or not words.is_in(list(_SEVERITIES)).any():
        return None
    if float(prefixes.str.contains(_JSON).mean()) > _MOST_PADDED:  # type: ignore[arg-type]
        return None
    if int(text.str.contains(_PADDED).sum() or 0) > _MOST_PADDED * len(prefixes):
        return None
    # The time is taken out before a process is sought: its digits would be taken for one.
    time, form = next((time, form) for time, form in _TIMES if _in_most(prefixes, time))
    without = prefixes.str.replace(time, "", literal=False) if time else prefixes
    likely = (pid for pid in _PIDS if _in_most(without, pid.whole))
    pid = next((pid for pid in likely if _names_a_process(without, pid)), None)
    return _described(prefixes, time, form=form, pid=pid)


def _in_most(prefixes: pl.Series, part: str) -> bool:
    """Whether nearly all prefixes hold a part."""
    return float(prefixes.str.contains(part).mean()) >= _ENOUGH  # type: ignore[arg-type]


def _names_a_process(prefixes: pl.Series, pid: _Pid) -> bool:
    """Whether a number is none of the other numbers that a prefix may hold.

    `[8-1]` is the eighth line of a session, as `%l-1` or syslog has it; another number may be that
    line's number (`%l`), and a bare one a state that is always 00000 (`%e`).
    """
    if pid.after == r"-\d+\]":
        lines = prefixes.str.extract(r"\[\d+-(\d+)\]").drop_nulls()
        return float((lines == "1").mean()) < _MOST_FIRST  # type: ignore[arg-type]
    numbers = prefixes.str.extract(f"{pid.before}({pid.number}){pid.after}").drop_nulls()
    # A counter of lines starts with 1 and goes on with 2 in every session; a process does not.
    shares = [(numbers == first).mean() for first in ("1", "2")]
    a_counter = all(share > _COUNTED for share in shares)  # type: ignore[operator]
    return not a_counter and (not pid.bare or numbers.n_unique() > 1)


def _described(prefixes: pl.Series, time: str, *, form: str, pid: _Pid | None) -> FormatSection:
    """The format with the parts that were found."""
    # The pieces in the order in which they stand in the prefix, which differs from server to
    # server.
    pieces: list[tuple[float, str]] = []
    if time:
        pieces.append((_first(prefixes, time), f"(?<time>{time})"))
    if pid is not None:
        place = _first(prefixes, pid.whole, besides=time)
        pieces.append((place, f"{pid.before}(?<pid>{pid.number}){pid.after.removesuffix('$')}"))
    # The pattern is put together from front to back: what stands before a piece, then the piece.
    rest, pattern = prefixes, ""
    for _, piece in sorted(pieces):
        bare = re.sub(r"\(\?<\w+>", "(?:", piece)
        between = _between(rest.str.extract(f"^(.*?)(?:{bare})"))
        pattern += between + piece
        rest = rest.str.replace(f"^.*?(?:{bare})", "")
    pattern += _between(rest) + f"(?<message>{_WORD}.*)"
    pattern = pattern.replace(r"\d", "[0-9]")
    sessions = SessionSection(by="key", key_field="pid") if pid is not None else SessionSection()
    return FormatSection(
        name=POSTGRES,
        title="PostgreSQL's stderr, its log_line_prefix told from the lines",
        pattern=pattern,
        time="time" if time else None,
        time_format=(form,),
        continuation=_CONTINUATION,
        masks=load_format(POSTGRES).masks,
        sessions=sessions,
    )


def _first(prefixes: pl.Series, piece: str, *, besides: str = "") -> float:
    """Where a part of the prefix begins, on average."""
    hidden = prefixes
    if besides:
        zeros = lambda part: "\0" * len(part[0])  # noqa: E731 - of the same length
        hidden = prefixes.map_elements(lambda prefix: re.sub(besides, zeros, prefix), pl.String)
    before = hidden.str.extract(f"^(.*?)(?:{piece})")
    return float(before.str.len_chars().mean() or 0)  # type: ignore[arg-type]


def _between(texts: pl.Series) -> str:
    """Pattern of what stands between two parts.

    It is what always stands there, unless that is secret, since the pattern is written; else
    anything.
    """
    distinct = texts.drop_nulls().unique().to_list()
    if len(distinct) != 1 or redact_text(distinct[0]) != distinct[0]:
        return r"[^\t]*?"
    return str(re.escape(distinct[0])).replace(r"\ ", " ")
