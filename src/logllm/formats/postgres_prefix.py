"""PostgreSQL's stderr log with any `log_line_prefix`: its pattern, told from some of its lines."""

import re

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.sessions import SessionSection
from logllm.logs.redaction import redact_text

_WORD = r"[\p{Lu}\p{Lo}][\p{Lu}\p{Lo}\p{M}]*[1-5]?(?: \p{Lo}+)? ?:  "  # a severity or DETAIL and the like, in any of the server's languages
_LINE = rf"^(?<prefix>[^\t]*?)(?<word>{_WORD})"
_SEVERITIES = (
    *(
        "LOG",
        "ERROR",
        "FATAL",
        "WARNING",
        "STATEMENT",
        "LOGG",
        "FEHLER",
        "ANWEISUNG",
        "ERREUR",
        "INSTRUCTION",
        "SENTENCIA",
        "ERRORE",
        "FEL",
    ),
    *(
        "ISTRUZIONE",
        "СООБЩЕНИЕ",
        "ОШИБКА",
        "ОПЕРАТОР",
        "ЗАПИСУВАННЯ",
        "ПОМИЛКА",
        "ІНСТРУКЦІЯ",
        "文",
        "로그",
        "오류",
        "日志",
        "错误",
        "语句",
    ),
)
_TIMES = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})?(?: (?:[A-Z]{3,5}|[+-]\d\d(?::?\d\d)?))?", "iso"),
    (r"\d{10}\.\d{3}", "epoch"),
)
_PIDS = (  # what stands before a process's number, the number, and what stands after it
    (r"\[", r"\d+", r"(?:-\d+)?\]"),
    (r"\bpid[ =:]+", r"\d+", ""),
    (r"\b", r"[0-9a-f]{7,8}\.[0-9a-f]+", r"\b"),
    (r"\((?:\d+[:/-])?", r"\d+", r"\)"),
    (r"(?:^|[ :,;|<-])", r"\d+", r"[ :,;|>-]"),
    (r"(?:^|[ :,;|<-])", r"\d+", "$"),  # the severity follows at once
)
_ENOUGH = 0.85
_FEWEST = 3  # lines


def postgres_format(text: pl.Series) -> FormatSection | None:
    """The format of some lines of a PostgreSQL server, or nothing where they are none.

    >>> lines = pl.Series(["<2024-01-02 03:04:05 CET u@d 17>LOG:  ready", "<2024-01-02 03:04:06 CET u@d 17>FEHLER:  no"] * 2)
    >>> postgres_format(lines).pattern[:33], postgres_format(pl.Series(["a: b"]))
    ('<(?<time>[0-9]{4}-[0-9][0-9]-[0-9', None)
    """
    found = text.str.extract_groups(_LINE).struct
    prefixes = found.field("prefix").drop_nulls()
    words = found.field("word").str.strip_chars(" :").drop_nulls()
    if len(prefixes) < _FEWEST or not words.is_in(list(_SEVERITIES)).any():
        return None
    for time, form in (*_TIMES, ("", "iso")):
        if prefixes.str.contains(time).mean() < _ENOUGH:  # type: ignore[operator]
            continue
        without = prefixes.str.replace(time, "", literal=False) if time else prefixes
        pid = next((pid for pid in _PIDS if without.str.contains("".join(pid)).mean() >= _ENOUGH), None)  # type: ignore[operator]
        return _described(prefixes, time, form=form, pid=pid)
    return None


def _described(prefixes: pl.Series, time: str, *, form: str, pid: tuple[str, str, str] | None) -> FormatSection:
    """The format with the parts that were found."""
    pieces = []
    if time:
        pieces.append((_first(prefixes, time), f"(?<time>{time})"))
    if pid is not None:
        before, number, after = pid
        pieces.append((_first(prefixes, "".join(pid), besides=time), f"{before}(?<pid>{number}){after.removesuffix('$')}"))
    rest, pattern = prefixes, ""
    for _, piece in sorted(pieces):
        bare = re.sub(r"\(\?<\w+>", "(?:", piece)
        pattern += _between(rest.str.extract(f"^(.*?)(?:{bare})")) + piece
        rest = rest.str.replace(f"^.*?(?:{bare})", "")
    pattern = (pattern + _between(rest) + f"(?<message>{_WORD}.*)").replace(r"\d", "[0-9]")
    return FormatSection(
        name="postgresql",
        title="PostgreSQL's stderr, its log_line_prefix told from the lines",
        pattern=pattern,
        time="time" if time else None,
        time_format=(form,),
        continuation=r"^\t",
        sessions=SessionSection(by="key", key_field="pid") if pid is not None else SessionSection(),
    )


def _first(prefixes: pl.Series, piece: str, *, besides: str = "") -> float:
    """Where a part of the prefix begins, on average."""
    hidden = (
        prefixes.map_elements(lambda prefix: re.sub(besides, lambda found: "\0" * len(found[0]), prefix), pl.String)
        if besides
        else prefixes
    )
    return float(hidden.str.extract(f"^(.*?)(?:{piece})").str.len_chars().mean() or 0)  # type: ignore[arg-type]


def _between(texts: pl.Series) -> str:
    """Pattern of what stands between two parts: what it always is, unless that is secret, since the pattern is written; or anything."""
    distinct = texts.drop_nulls().unique().to_list()
    if len(distinct) != 1 or redact_text(distinct[0]) != distinct[0]:
        return r"[^\t]*?"
    return str(re.escape(distinct[0])).replace(r"\ ", " ")
