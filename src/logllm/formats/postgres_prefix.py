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
_ZONE = r"(?: (?:[A-Z]{3,5}|[+-]\d\d(?::?\d\d)?))?"
_DAY_AND_CLOCK = rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{{3}})?{_ZONE}"
_TIMES = (
    (_DAY_AND_CLOCK, "iso"),
    (r"\d{10}\.\d{3}", "epoch"),
    ("", "iso"),  # the prefix says no time
)
_CONTINUATION = r"^(?:\s.*)?$"  # RDS indents by blanks; some tools trim what is blank
_ANYTHING = r"[^\t]*?"
_ENOUGH = 0.85  # of the prefixes hold a part
_FEWEST = 3  # lines
_MOST_FIRST = 0.6  # of the lines are the first of a record, where syslog numbers them
_COUNTED = 0.04  # of the lines are the first of a counter, and as many the second


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
    """The format of some lines of a PostgreSQL server, or none where they are not a server's.

    Its sessions are by process where the prefix names one (`%p` or `%c`), else windows.

    >>> first = "<2024-01-02 03:04:05 CET u@d 17>LOG:  ready"
    >>> second = "<2024-01-02 03:04:06 CET u@d 18>FEHLER:  no"
    >>> described = postgres_format(pl.Series([first, second] * 2))
    >>> described.pattern[:33], postgres_format(pl.Series(["a: b"]))
    ('<(?<time>[0-9]{4}-[0-9][0-9]-[0-9', None)
    """
    parts = text.str.extract_groups(_LINE).struct
    prefixes = parts.field("prefix").drop_nulls()
    words = parts.field("word").str.strip_chars(" \u00a0:").drop_nulls()
    has_severities = words.is_in(list(_SEVERITIES)).any()
    if len(prefixes) < _FEWEST or not has_severities:
        return None
    # Neither severities inside JSON nor words that are filled up to one width are a server's.
    in_json = prefixes.str.contains(_JSON)
    padded = text.str.contains(_PADDED)
    most = _MOST_PADDED * len(prefixes)
    if int(in_json.sum()) > most or int(padded.sum()) > most:
        return None
    # The time is taken out before a process is sought: its digits would be taken for one.
    time, form = next((time, form) for time, form in _TIMES if _in_most(prefixes, time))
    without = prefixes.str.replace(time, "", literal=False) if time else prefixes
    likely = [pid for pid in _PIDS if _in_most(without, pid.whole)]
    processes = (pid for pid in likely if _names_a_process(without, pid))
    return _described(prefixes, time, form=form, pid=next(processes, None))


def _in_most(prefixes: pl.Series, part: str) -> bool:
    """Whether nearly all prefixes hold a part."""
    having = prefixes.str.contains(part)
    return float(having.mean()) >= _ENOUGH  # type: ignore[arg-type]


def _names_a_process(prefixes: pl.Series, pid: _Pid) -> bool:
    """Whether a number is none of the other numbers that a prefix may hold.

    `[8-1]` is the eighth line of a session, as `%l-1` or syslog has it; another number may be that
    line's number (`%l`), and a bare one a state that is always 00000 (`%e`).
    """
    if pid.after == r"-\d+\]":
        lines = prefixes.str.extract(r"\[\d+-(\d+)\]").drop_nulls()
        is_first = lines == "1"
        return float(is_first.mean()) < _MOST_FIRST  # type: ignore[arg-type]
    number = f"{pid.before}({pid.number}){pid.after}"
    numbers = prefixes.str.extract(number).drop_nulls()
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
        after = pid.after.removesuffix("$")
        pieces.append((place, f"{pid.before}(?<pid>{pid.number}){after}"))
    # The pattern is put together from front to back: what stands before a piece, then the piece.
    rest, pattern = prefixes, ""
    for _, piece in sorted(pieces):
        bare = re.sub(r"\(\?<\w+>", "(?:", piece)
        before = rest.str.extract(f"^(.*?)(?:{bare})")
        pattern += _between(before) + piece
        rest = rest.str.replace(f"^.*?(?:{bare})", "")
    pattern += _between(rest) + f"(?<message>{_WORD}.*)"
    pattern = pattern.replace(r"\d", "[0-9]")
    sessions = SessionSection()
    if pid is not None:
        sessions = SessionSection(by="key", key_field="pid")
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
        # What is in its place is as long, so that the other parts stay where they are.
        zeros = lambda part: "\0" * len(part[0])  # noqa: E731
        shown = [re.sub(besides, zeros, prefix) for prefix in prefixes]
        hidden = pl.Series(shown, dtype=pl.String)
    before = hidden.str.extract(f"^(.*?)(?:{piece})")
    lengths = before.str.len_chars()
    return float(lengths.mean() or 0)  # type: ignore[arg-type]


def _between(texts: pl.Series) -> str:
    """Pattern of what stands between two parts of the prefix.

    It is what always stands there. Where that differs, or is a secret, it is a pattern of anything:
    the pattern is written into runs.
    """
    distinct = texts.drop_nulls().unique().to_list()
    if len(distinct) != 1:
        return _ANYTHING
    (text,) = distinct
    # Signs alone are no secret.
    has_words = any(map(str.isalnum, text))
    if has_words and redact_text(text) != text:
        return _ANYTHING
    return str(re.escape(text)).replace(r"\ ", " ")
