"""Formats that a log may be in, and which of them fit some lines."""

from collections.abc import Iterable, Iterator
from datetime import date
from functools import cache

import polars as pl

from logllm.config.format import FormatSection
from logllm.formats.description import known, load_format, own_formats
from logllm.formats.field_roles import structured_formats
from logllm.formats.fit import Fit, fit_of, mean
from logllm.formats.postgres_prefix import postgres_format
from logllm.formats.timed.time_shapes import TIMED, timed_format
from logllm.logs.fields import may_fit

PLAIN = "plain"
"""The format of lines that are messages and nothing else."""
ENOUGH = 0.5
"""Of the lines must belong to a record."""

_GLANCE = 300  # lines that all formats are tried on
_BY_COLUMNS = "w3c"  # no line of its rows tells the columns but one of the log's own
_OF_JSON = r"""(?x)  # a line of JSON that is laid out for people, or all of it in one line
    ^\s* (?:
        [\[{\]}]+ \s* [\[{\]}]* ,? \s*$                      # brackets alone
        | \[ \s* [\[{] \s* ["\]}]                # a list of objects or of lists, all in one line
        | \{ \s* "[^"]*" \s* : .* \} \s* , \s*$         # an object with another after it
        | "[^"]*" \s* : \s* (?: ["\[{\d-] | true | false | null )
        | "(?:[^"\\]|\\.)*" ,? \s*$                            # a text in a list
    )"""


@cache
def built_in() -> tuple[FormatSection, ...]:
    """Built-in formats that can be told from lines."""
    names = [name for name in known() if name not in (PLAIN, _BY_COLUMNS)]
    formats = map(load_format, names)
    return tuple(
        described for described in formats if described.twin is None and not described.wraps
    )


@cache
def wrappers() -> tuple[FormatSection, ...]:
    """Built-in formats that are only ever around others."""
    formats = map(load_format, known())
    return tuple(described for described in formats if described.wraps)


def particular() -> tuple[FormatSection, ...]:
    """One's own formats and the built-in ones that can be told from lines.

    The format of any lines with a time is not among them.
    """
    particular_ones = [described for described in built_in() if described.name != TIMED]
    return (*own_formats().values(), *particular_ones)


def told_by_lines(text: pl.Series, *, today: date) -> Iterator[FormatSection]:
    """Formats whose fields or prefix are found in the lines themselves."""
    postgres = postgres_format(text)
    if postgres is not None:
        yield postgres
    yield from structured_formats(text, today=today)


def told_by_times(text: pl.Series) -> Iterator[FormatSection]:
    """The format of lines of which no more is known than how they say their time."""
    if is_laid_out_json(text):
        return
    timed = timed_format(text)
    if timed is not None:
        yield timed


def is_laid_out_json(text: pl.Series) -> bool:
    """Whether most lines are those of one JSON text that is laid out for people."""
    return mean(text.str.contains(_OF_JSON)) > ENOUGH


def glance_at(text: pl.Series, *, lines: int = _GLANCE) -> pl.Series:
    """The first and the last of some lines, and some between them.

    The middle is looked at too, since a stack trace may be longer than the first lines.
    """
    if len(text) <= 3 * lines:
        return text
    middle = text.slice(len(text) // 2, lines)
    return pl.concat([text.head(lines), middle, text.tail(lines)])


def those_that_fit(
    formats: Iterable[FormatSection],
    text: pl.Series,
    *,
    glance: pl.Series,
    today: date,
    least: float = ENOUGH,
) -> list[Fit]:
    """The formats that fit more than some share of the lines.

    Each is tried on a few lines before it is tried on all.

    Args:
        formats: formats to try.
        text: successive lines.
        glance: a few of them (`glance_at`).
        today: gives times without a year theirs.
        least: the share of the lines.
    """
    likely = may_fit(glance, list(formats))
    fits = [fit_of(glance, described, today=today) for described in likely]
    fits = [fit for fit in fits if fit.matched]
    if glance is not text:
        fits = [fit_of(text, fit.format, today=today) for fit in fits]
    return [fit for fit in fits if fit.share > least and fit.begins_enough]
