"""Which format a log is in, told from some of its lines."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.sessions import SessionSection
from logllm.data.formats import known, load_format, read_fields
from logllm.data.joining import Blocks
from logllm.data.naming import structured_formats
from logllm.data.prefix import postgres_format
from logllm.data.structured import header
from logllm.data.times import parse_times
from logllm.errors import RecipeError

AUTO = "auto"
"""The name that stands for whatever format fits."""

_GLANCE = 300  # lines that all formats are tried on
_ENOUGH = 0.5  # of the lines must belong to a record
_MATCHED = 0.02  # and begin one
_AS_GOOD = 0.05  # of the lines less make a format no worse, when it explains more of them
_PLAIN = "plain"
_OTHERWISE = "; another grouping: --key, --key-field or --window"


class Fit(NamedTuple):
    """How well a format fits some lines."""

    format: FormatSection
    """The format."""
    matched: float
    """Share of the lines that are records with a time, where the format has times."""
    share: float
    """Share of the lines that are records or go on with one."""
    explained: float
    """Share of the characters that the format tells from the message: of two formats that fit as many lines, the more explaining is meant."""


class Recognition(NamedTuple):
    """A format found."""

    format: FormatSection
    """The format as a run keeps it."""
    share: float
    """Share of the looked-at lines that it fits."""
    lines: int
    """How many were looked at."""
    others: tuple[Fit, ...]
    """Known formats that fit more than half of them, too, the best first."""
    notes: tuple[str, ...]
    """What a person should know, a sentence each."""
    sessions: str
    """Why the format's sessions are what they are."""


def recognise(text: pl.Series, *, today: date) -> Recognition:
    """The format that fits some lines best: a built-in one, a structured kind with its fields found, PostgreSQL's with its prefix found, or plain.

    >>> found = recognise(pl.Series(['{"ts": 1700000000, "msg": "up"}', '{"ts": 1700000001, "msg": "down"}']), today=date(2024, 1, 1))
    >>> found.format.name, found.format.message, found.share
    ('json', 'msg', 1.0)

    Args:
        text: Successive lines, some thousand.
        today: Gives times without a year theirs.
    """
    fits = _fits(text, today=today)
    best, others = (fits[0], fits[1:]) if fits else (Fit(load_format(_PLAIN), 1.0, 1.0, 0.0), [])
    notes = [_found(best, others, lines=len(text)), *_of_times(text, best.format)]
    return Recognition(best.format, best.share, len(text), tuple(others), tuple(notes), _grouped(best.format.sessions))


def fitting(text: pl.Series, *, instead_of: str, today: date) -> list[str]:
    """Names of the formats that fit most of some lines, the best first."""
    return list(dict.fromkeys(fit.format.name for fit in _fits(text, today=today) if fit.format.name != instead_of))


def _fits(text: pl.Series, *, today: date) -> list[Fit]:
    """Formats that fit, the best first."""
    glance = pl.concat([text.head(_GLANCE), text.tail(min(_GLANCE, max(0, len(text) - _GLANCE)))])
    likely = (described for described in _candidates(text, today=today) if fit_of(glance, described, today=today).matched)
    fits = [fit_of(text, described, today=today) for described in likely]
    fits = [fit for fit in fits if fit.share > _ENOUGH and fit.matched > _MATCHED]
    most = max((fit.matched for fit in fits), default=0.0)
    return sorted(fits, key=lambda fit: (fit.matched < most - _AS_GOOD, -fit.explained))


def _candidates(text: pl.Series, *, today: date) -> Iterator[FormatSection]:
    """Every format to try; of equals the first is taken."""
    formats = (load_format(name) for name in known() if name != _PLAIN)
    yield from (described for described in formats if described.twin is None)
    if (postgres := postgres_format(text)) is not None:
        yield postgres
    yield from structured_formats(text, today=today)


def fit_of(text: pl.Series, described: FormatSection, *, today: date) -> Fit:
    """How well one format fits some lines."""
    if described.kind in ("csv", "export"):
        text, described = _rows(text, described)
    try:
        fields = read_fields(text, described)
    except RecipeError:  # a CSV file without such a column
        return Fit(described, 0.0, 0.0, 0.0)
    good = fields.message.is_not_null()
    for needed in (fields.severity, fields.time):
        if needed is not None:
            good &= needed.is_not_null()
    if fields.time is not None and good.any():
        good &= parse_times(fields.time.set(~good, None), described.time_format, today=today).is_not_null()
    begun = good.cum_max()
    goes_on = ~good & begun & (text.str.contains(described.continuation) if described.continuation else False)
    beside = (text.str.len_chars() - fields.message.str.len_chars()).filter(good).sum()
    return Fit(described, _mean(good), _mean(good | goes_on), float(beside) / max(1, int(text.str.len_chars().sum())))


def _rows(text: pl.Series, described: FormatSection) -> tuple[pl.Series, FormatSection]:
    """Lines joined to rows or blocks, and a format that knows its columns."""
    blocks = Blocks("csv" if described.kind == "csv" else "export", Counter())
    lines = pl.DataFrame({"line": pl.int_range(1, len(text) + 1, dtype=pl.UInt64, eager=True), "text": text})
    rows = blocks.push(lines)["text"]
    if (rest := blocks.flush()) is not None:
        rows = pl.concat([rows, rest["text"]])
    if described.kind == "csv" and not described.columns:
        return rows.slice(1), described.model_copy(update={"columns": header(rows[0], described.separator)})
    return rows, described


def _mean(values: pl.Series) -> float:
    return float(values.mean() or 0.0)  # type: ignore[arg-type]


def _found(best: Fit, others: list[Fit], *, lines: int) -> str:
    """What was found, how well it fits, and how to have it otherwise."""
    described = best.format
    if described.name == _PLAIN:
        said = "format: plain, each line is a message; no known format fits"
    else:
        said = f"format: {described.name} ({described.title}); {best.share:.1%} of the first {lines:,} lines fit".replace("%", " %")
    names = [name for name in dict.fromkeys(fit.format.name for fit in others) if name != described.name][:2]
    also = f", {' and '.join(names)} would fit too" if names else ""
    return f"{said}{also}; another: --format NAME or a TOML file (logllm show formats)"


def _grouped(sessions: SessionSection) -> str:
    """How lines are grouped."""
    if sessions.by == "key":
        return f"sessions by {sessions.key_field or sessions.key_pattern}, as the format has it{_OTHERWISE}"
    return f"windows of {sessions.size} {'lines' if sessions.by == 'count' else 'seconds'}{_OTHERWISE}"


def _of_times(text: pl.Series, described: FormatSection) -> Iterator[str]:
    """What is assumed of times."""
    if described.time is None:
        yield "no time was found: sessions and parts go by the order of the lines"
        return
    if described.kind in ("csv", "export"):
        text, described = _rows(text, described)
    written = read_fields(text, described).time
    some = [] if written is None else written.drop_nulls().head(1).str.strip_chars().to_list()
    first = str(some[0]) if some else ""
    if not first or all(form.startswith("epoch") for form in described.time_format):
        return
    forms = [form for form in described.time_format if "%" in form]
    iso = parse_times(pl.Series([first]), ["iso"], today=date(2000, 1, 1)).item() is not None
    if not iso and forms and not any("%y" in form.lower() or "%s" in form for form in forms):
        yield f"times have no year, such as {first}: this year is taken, or the last for dates that lie ahead"
    if (iso and not _zoned(first)) or (not iso and not any("%z" in form.lower() for form in forms)):
        yield f"times have no zone, such as {first}: taken as UTC"


def _zoned(written: str) -> bool:
    """Whether a time in ISO 8601 names its zone.

    >>> _zoned("2024-01-02 03:04:05.6 CET"), _zoned("2024-01-02T03:04:05+01"), _zoned("2024-01-02T03:04:05,6")
    (True, True, False)
    """
    clock = written[11:]
    return clock[-1:].isalpha() or "+" in clock or "-" in clock
