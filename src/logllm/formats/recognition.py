"""Which format a log is in, told from some of its lines."""

from datetime import date
from functools import lru_cache
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.errors import DataError
from logllm.formats.candidates import (
    ENOUGH,
    PLAIN,
    built_in,
    glance_at,
    particular,
    those_that_fit,
    told_by_lines,
    told_by_times,
    wrappers,
)
from logllm.formats.description import load_format, own_formats
from logllm.formats.fit import Fit, fit_of, mean
from logllm.formats.format_notes import STRUCTURED, format_notes
from logllm.formats.mixed import with_others
from logllm.formats.nesting import inner_texts, line_by_line, nested
from logllm.formats.postgres_prefix import POSTGRES
from logllm.formats.timed.time_shapes import TIMED
from logllm.logs.fields import may_fit
from logllm.logs.inside.other_kinds import BEGINNING
from logllm.logs.tally import WrongFormat

AUTO = "auto"
"""The name that stands for whatever format fits."""

_GLANCE_INSIDE = 100  # lines that formats inside others are tried on, from each of three places
_GLANCE_MIXED = 50  # the same for formats of which each has only some of the lines
_AS_GOOD = 0.05  # of the records less make a format no worse, when it explains more of them
_FEW = 0.01  # of the records more or less make no difference
_INSIDE = 0.8  # of the lines in messages must be of a format that is inside another one
_TOGETHER = 0.7  # of the lines must be of the formats of a mixed log
_SEVERAL = 0.2  # of the lines are of the format that most lines of a mixed log have
_OUTERS = 3  # formats whose messages are looked into
_NAMED = 2  # formats in an error
_REMEMBERED = 4  # logs
_DEEPEST = 3  # formats around one another


class Recognition(NamedTuple):
    """A format found."""

    format: FormatSection
    """The format."""
    share: float
    """Share of the looked-at lines that it fits."""
    lines: int
    """How many were looked at."""
    others: tuple[Fit, ...]
    """Known formats that fit more than half of them, too, the best first."""
    notes: tuple[str, ...]
    """What a person should know, a sentence each."""


def recognise(text: pl.Series, *, today: date, zone: str | None = None) -> Recognition:
    """The format that fits some lines best.

    It is a built-in one, a structured kind with its fields found in the lines, PostgreSQL's with
    its prefix found in them, or plain.

    >>> lines = ['{"ts": 1700000000, "msg": "up"}', '{"ts": 1700000001, "msg": "down"}']
    >>> recognition = recognise(pl.Series(lines), today=date(2024, 1, 1))
    >>> recognition.format.name, recognition.format.message, recognition.share
    ('json', 'msg', 1.0)

    Args:
        text: Successive lines, some thousand.
        today: Gives times without a year theirs.
        zone: Of times that name none, or one of several meanings; it becomes the format's
            `time_zone`.
    """
    lines = tuple(text.to_list())
    own = tuple(own_formats().values())
    return _of_lines(lines, today=today, zone=zone, own=own)


@lru_cache(maxsize=_REMEMBERED)
def _of_lines(
    lines: tuple[str, ...], *, today: date, zone: str | None, own: tuple[FormatSection, ...]
) -> Recognition:
    """The format of some lines; `own` are formats of one's own, on which it depends.

    It is remembered, since the choice of a run and the reading of a log both ask for it.
    """
    text = pl.Series("text", lines, dtype=pl.String)
    fits = _fits(text, today=today)
    # A format of one's own says itself what is inside it.
    fits_own = any(map(_is_own, fits[:1]))
    if not fits_own:
        fits = _with_nested(text, fits, today=today)
        fits = _with_server(text, fits, today=today)
    # Only their times fit, or nothing does: the lines may be of several kinds.
    only_timed = not fits or fits[0].format.name == TIMED
    if only_timed:
        mixed = _of_several_kinds(text, fits, today=today)
        fits = [*mixed, *fits]
    if not fits:
        plain = Fit(load_format(PLAIN), 1.0, 1.0, 0.0, begins_enough=True)
        fits = [plain]
    best, *others = fits
    # An application's log with its web server's lines among them: those get a format of their own.
    beside = with_others(text, best.format, candidates=particular(), today=today)
    if beside is not best.format:
        best = fit_of(text, beside, today=today)
    if zone is not None and best.format.time_formats:
        in_zone = best.format.model_copy(update={"time_zone": zone})
        best = best._replace(format=in_zone)
    notes = tuple(format_notes(text, best, others=others))
    return Recognition(best.format, best.share, len(text), tuple(others), notes)


def _with_server(text: pl.Series, fits: list[Fit], *, today: date) -> list[Fit]:
    """Formats that fit, with that of a server's whole log first, where it fits as much.

    It is the server's format with those of what else is in its log, such as its supervisor's lines.
    """
    servers = [fit for fit in fits if fit.format.inside is None and _of_a_server(fit)]
    if not servers:
        return fits
    # A server's lines inside a container's or a journal's are read there: nothing to add.
    best = fits[0]
    enveloped = _of_a_server(best) and not best.format.name.endswith(TIMED)
    if enveloped:
        return fits
    beside = with_others(text, servers[0].format, candidates=particular(), today=today)
    whole = fit_of(text, beside, today=today)
    if _of_a_server(best):
        better = whole.share > best.share + _AS_GOOD
    else:
        better = whole.matched >= best.matched * (1 - _AS_GOOD)
    return [whole, *fits] if better else fits


def _of_several_kinds(text: pl.Series, fits: list[Fit], *, today: date) -> list[Fit]:
    """The format of the most lines of a mixed log, with others beside it.

    Nothing where these together fit fewer lines than the one format that fits best.
    """
    # Two formats for one log must be worth it: together they read as many lines as one does.
    least = _most_matched(fits) * (1 - _AS_GOOD)
    glance = glance_at(text, lines=_GLANCE_MIXED)
    formats = (*told_by_lines(text, today=today), *particular())
    of_some = those_that_fit(formats, text, glance=glance, today=today, least=_SEVERAL)
    of_some.sort(key=lambda fit: (-fit.matched, -fit.explained))
    for fit in of_some[:_OUTERS]:
        beside = with_others(text, fit.format, candidates=particular(), today=today)
        if not beside.innermost.beside:
            continue
        whole = fit_of(text, beside, today=today)
        enough = whole.share > _TOGETHER and whole.matched >= least
        if whole.begins_enough and enough:
            return [whole]
    return []


def _most_matched(fits: list[Fit]) -> float:
    """The share of lines that are records by the format of which most are; 0 without formats."""
    return max((fit.matched for fit in fits), default=0.0)


def fitting(text: pl.Series, *, instead_of: str, today: date) -> list[str]:
    """Names of the formats that fit most of some lines, the best first."""
    names = [fit.format.name for fit in _fits(text, today=today)]
    return [name for name in dict.fromkeys(names) if name != instead_of]


def advised(wrong: WrongFormat, *, today: date) -> DataError:
    """The error of a log that is not in the format it was read by, with a remedy.

    The remedy names the formats that fit it, if there are any.
    """
    others = fitting(wrong.sample, instead_of=wrong.described.name, today=today)
    remedy = "describe it in a TOML file (logllm show formats), or use plain"
    if others:
        remedy = f"it fits {' or '.join(others[:_NAMED])}: say --format {others[0]}"
    if wrong.described.kind == "plain":
        remedy = "this is not text: unpack or convert it first, or prepare it with its --encoding"
    return DataError(f"{wrong}; {remedy}")


def fitting_format(text: pl.Series, described: FormatSection, *, today: date) -> FormatSection:
    """A format where it fits more than half of some lines, else the one that fits them best."""
    fit = fit_of(text, described, today=today)
    if fit.share > ENOUGH:
        return described
    return recognise(text, today=today).format


def _fits(text: pl.Series, *, today: date) -> list[Fit]:
    """Formats that fit, the best first."""
    glance = glance_at(text)
    own = those_that_fit(own_formats().values(), text, glance=glance, today=today)
    known_fits = those_that_fit(built_in(), text, glance=glance, today=today)
    by_lines = told_by_lines(text, today=today)
    line_fits = those_that_fit(by_lines, text, glance=glance, today=today)
    known_fits = [
        fit for fit in known_fits if not any(_more_telling(other, fit) for other in line_fits)
    ]
    # Those that the lines tell come first of those that explain as much.
    fits: list[Fit] = []
    for fit in line_fits:
        if not any(_same_kind(fit, other) for other in known_fits):
            fits.append(fit)
    fits += known_fits
    timed = those_that_fit(told_by_times(text), text, glance=glance, today=today)
    fits = own + _without_general(fits, timed)
    # Among those that fit about as many lines the one that explains more of each is meant.
    least = _most_matched(fits) * (1 - _AS_GOOD)

    def rank(fit: Fit) -> tuple[bool, bool, bool, float]:
        few_lines = fit.matched < least
        # A server's own words are a better sign than any general pattern.
        return not _is_own(fit), few_lines, not _of_a_server(fit), -fit.explained

    return sorted(fits, key=rank)


def _is_own(fit: Fit) -> bool:
    """Whether a format is one of the user's own, which is meant wherever it fits."""
    return fit.format.name in own_formats()


def _of_a_server(fit: Fit) -> bool:
    """Whether the records are a PostgreSQL server's."""
    return fit.format.innermost.name.startswith(POSTGRES)


def _with_nested(
    text: pl.Series, fits: list[Fit], *, today: date, deeper: int = _DEEPEST
) -> list[Fit]:
    """Formats that fit; first, if there is one, a format that also fits what is in the messages."""
    best = fits[0] if fits else None
    server = best is not None and _of_a_server(best)
    general = best is None or server or best.format.name == TIMED
    around: list[FormatSection] = []
    for fit in fits[:_OUTERS]:
        if fit.format.label is None and not _of_a_server(fit):
            around.append(fit.format)
    # What is made to be around others keeps the blanks before a message, which `timed` does not.
    outers = [described for described in around if described.name != TIMED]
    outers += wrappers() if general else ()
    outers += [described for described in around if described.name == TIMED]

    # Each of them is tried on a few lines; the one whose messages tell most is taken.
    glance = glance_at(text, lines=_GLANCE_INSIDE)
    nests: list[Fit] = []
    for outer in may_fit(glance, outers):
        nest = _nest(glance, outer, today=today, deeper=deeper)
        if nest is not None:
            nests.append(nest)
    best_nest = max(nests, key=_fitness, default=None)
    if best_nest is None or (server and not _better(best_nest, fits[0])):
        return fits
    whole = fit_of(text, best_nest.format, today=today)
    return [whole, *fits]


def _fitness(nest: Fit) -> tuple[float, float]:
    """How well a format with another inside fits, rounded so that near ones count as equal."""
    return round(nest.share, 2), round(nest.explained, 2)


def _better(nest: Fit, server: Fit) -> bool:
    """Whether a server's lines are better read inside another format than as they are."""
    timed_only = nest.format.name.endswith(TIMED)
    more = _FEW if timed_only else -_FEW
    return nest.share > server.share + more


def _nest(text: pl.Series, outer: FormatSection, *, today: date, deeper: int) -> Fit | None:
    """The best format of what is inside the messages of an outer one, with the outer one around it.

    None where no known format fits the messages.
    """
    fit = fit_of(text, outer, today=today)
    # What is all message has nothing inside.
    if not deeper or fit.matched <= ENOUGH or not fit.explained:
        return None
    inner = inner_texts(text, outer)
    fits = [fit for fit in _fits(inner.texts, today=today) if line_by_line(fit.format)]
    fits = _with_nested(inner.texts, fits, today=today, deeper=deeper - 1)
    # No one format fits, but records begin there: what is inside is of several kinds itself.
    one_fits = any(map(_enough_inside, fits[:1]))
    if not one_fits and mean(inner.texts.str.contains(BEGINNING)) > _SEVERAL:
        mixed = _of_several_kinds(inner.texts, [], today=today)
        fits = [fit for fit in mixed if line_by_line(fit.format)]
    if not any(map(_enough_inside, fits[:1])):
        return None
    # Lines that are none of the outer format are no sign.
    own = fits[0]
    described = own.format
    if not inner.inside.all():
        in_messages = inner.texts.filter(inner.inside)
        own = fit_of(in_messages, described, today=today)
    # Lines with a level of their own are records, which go on with no other one.
    has_level = outer.kind == "pattern" and outer.severity is not None
    joined = has_level and own.matched <= _INSIDE
    if joined or not _enough_inside(own):
        return None
    whole = nested(inner, described)
    return fit_of(text, whole, today=today)


def _enough_inside(fit: Fit) -> bool:
    """Whether what is in messages is enough of a format to be read by it."""
    least = ENOUGH if _of_a_server(fit) else _INSIDE
    return fit.share >= least


def _without_general(fits: list[Fit], timed: list[Fit]) -> list[Fit]:
    """Formats that fit, after one that only times tell, where no other tells as many of them."""
    for general in timed:
        least = general.matched * (1 - _AS_GOOD)
        others = [fit for fit in fits if fit.format.name != general.format.name]
        as_good = [fit.format for fit in others if fit.matched >= least]
        tells_times = any(other.time is not None or other.kind != "pattern" for other in as_good)
        if not tells_times:
            return [general, *others]
    return fits


def _same_kind(told: Fit, other: Fit) -> bool:
    """Whether a built-in format is of the kind of one that the lines tell, and fits as well.

    The built-in one is then what is meant.
    """
    own, built_in_one = told.format, other.format
    same = own.kind == built_in_one.kind
    if own.kind == "pattern" or _of_a_server(told):
        same = own.name == built_in_one.name
    return same and other.matched >= told.matched * (1 - _AS_GOOD)


def _more_telling(told: Fit, other: Fit) -> bool:
    """Whether the lines tell more of the message than a general format of their kind does.

    The general one must not fit better.
    """
    fields = told.format.severity is not None or told.format.tail
    general = other.format.name in STRUCTURED and other.format.kind == told.format.kind
    return bool(fields) and general and told.matched >= other.matched - _AS_GOOD
