"""Which format a log is in, told from some of its lines."""

from collections.abc import Iterable, Iterator
from datetime import date
from functools import cache, lru_cache
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.errors import DataError
from logllm.formats.description import known, load_format, own_formats
from logllm.formats.field_roles import structured_formats
from logllm.formats.fit import Fit, fit_of, mean
from logllm.formats.mixed import with_others
from logllm.formats.nesting import inner_texts, line_by_line, nested
from logllm.formats.postgres_prefix import POSTGRES, postgres_format
from logllm.formats.time_notes import time_notes
from logllm.formats.time_shapes import TIMED, timed_format
from logllm.logs.fields import may_fit
from logllm.logs.inside.other_kinds import BEGINNING
from logllm.logs.structured.columns import WHOLE
from logllm.logs.tally import WrongFormat

AUTO = "auto"
"""The name that stands for whatever format fits."""

_GLANCE = 300  # lines that all formats are tried on
_GLANCE_INSIDE = 100  # lines that formats inside others are tried on, from each of three places
_GLANCE_MIXED = 50  # the same for formats of which each has only some of the lines
_ENOUGH = 0.5  # of the lines must belong to a record
_AS_GOOD = 0.05  # of the records less make a format no worse, when it explains more of them
_FEW = 0.01
_INSIDE = 0.8  # of the lines in messages must be of a format that is inside another one
_TOGETHER = 0.7  # of the lines must be of the formats of a mixed log
_SEVERAL = 0.2  # of the lines are of the format that most lines of a mixed log have
_OUTERS = 3  # formats whose messages are looked into
_REMEMBERED = 4  # logs
_DEEPEST = 3  # formats around one another
_PLAIN = "plain"
_STRUCTURED = {
    "json": "JSON lines",
    "csv": "CSV with a header",
    "logfmt": "logfmt",
    "w3c": "W3C extended log, its columns named by a #Fields line",
}
_OF_JSON = r"""(?x)  # a line of JSON that is laid out for people, or all of it in one line
    ^\s* (?:
        [\[{\]}]+ \s* [\[{\]}]* ,? \s*$                      # brackets alone
        | \[ \s* [\[{] \s* ["\]}]                             # a list of objects or of lists, all in one line
        | \{ \s* "[^"]*" \s* : .* \} \s* , \s*$         # an object with another after it
        | "[^"]*" \s* : \s* (?: ["\[{\d-] | true | false | null )
        | "(?:[^"\\]|\\.)*" ,? \s*$                            # a text in a list
    )"""
_BEHIND = r"""^[^{"]*[^{"\s\[,][^{"]*\{"\w.*\}\s*$"""  # a line that ends in a JSON object
_ONE_A_LINE = (
    "this looks like one JSON text; what can be read is an object a line: jq -c '(arrays | .[]),"
    " objects' FILE | logllm ... -"
)


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

    A built-in one, a structured kind with its fields found, PostgreSQL's with its prefix found, or
    plain.

    >>> recognition = recognise(pl.Series(['{"ts": 1700000000, "msg": "up"}', '{"ts": 1700000001, "msg": "down"}']), today=date(2024, 1, 1))
    >>> recognition.format.name, recognition.format.message, recognition.share
    ('json', 'msg', 1.0)

    Args:
        text: Successive lines, some thousand.
        today: Gives times without a year theirs.
        zone: Of times that name none, or one of several meanings; it becomes the format's
            `time_zone`.
    """
    return _of_lines(
        tuple(text.to_list()), today=today, zone=zone, own=tuple(own_formats().values())
    )


@lru_cache(maxsize=_REMEMBERED)
def _of_lines(
    lines: tuple[str, ...], *, today: date, zone: str | None, own: tuple[FormatSection, ...]
) -> Recognition:
    """The format of some lines; `own` are formats of one's own, on which it depends.

    The choice of a run and the reading of a log both ask for it.
    """
    text = pl.Series("text", lines, dtype=pl.String)
    fits = _fits(text, today=today)
    # A format of one's own says itself what is inside it.
    if not any(map(_is_own, fits[:1])):
        fits = _with_server(text, _with_nested(text, fits, today=today), today=today)
    # Only their times fit, or nothing does: the lines may be of several kinds.
    plain = Fit(load_format(_PLAIN), 1.0, 1.0, 0.0, begins_enough=True)
    if not fits or fits[0].format.name == TIMED:
        fits = [*_of_several_kinds(text, fits, today=today), *fits]
    best, *others = fits or [plain]
    # An application's log with its web server's lines among them: those get a format of their own.
    beside = with_others(text, best.format, candidates=_particular(), today=today)
    if beside is not best.format:
        best = fit_of(text, beside, today=today)
    if zone is not None and best.format.time_formats:
        in_zone = best.format.model_copy(update={"time_zone": zone})
        best = best._replace(format=in_zone)
    # Said whenever a format was recognized: the user is to see what was taken for what.
    notes = [
        _found(best, others, lines=len(text)),
        *_of_others(best.format),
        *time_notes(text, best.format),
    ]
    notes += [*_of_message(best.format), *_of_json(text, best)]
    if best.format.name == _PLAIN and text.str.contains(_OF_JSON).mean() > _ENOUGH:  # type: ignore[operator]
        notes.insert(1, _ONE_A_LINE)
    return Recognition(best.format, best.share, len(text), tuple(others), tuple(notes))


def _with_server(text: pl.Series, fits: list[Fit], *, today: date) -> list[Fit]:
    """Formats that fit, before them a server's with what else is in its log, such as its supervisor's lines, where that fits as much."""
    servers = [fit for fit in fits if fit.format.inside is None and _of_a_server(fit)]
    # A server's lines inside a container's or a journal's are read there: nothing to add.
    enveloped = bool(fits) and _of_a_server(fits[0]) and not fits[0].format.name.endswith(TIMED)
    if not servers or enveloped:
        return fits
    beside = with_others(text, servers[0].format, candidates=_particular(), today=today)
    whole = fit_of(text, beside, today=today)
    if _of_a_server(fits[0]):
        better = whole.share > fits[0].share + _AS_GOOD
    else:
        better = whole.matched >= fits[0].matched * (1 - _AS_GOOD)
    return [whole, *fits] if better else fits


def _of_several_kinds(text: pl.Series, fits: list[Fit], *, today: date) -> list[Fit]:
    """The format of the most lines of a mixed log, where with others beside it it fits as many as the one that fits best; else nothing."""
    # Two formats for one log must be worth it: together they read as many lines as one does.
    least = max((fit.matched for fit in fits), default=0.0) * (1 - _AS_GOOD)
    glance = _to_glance_at(text, lines=_GLANCE_MIXED)
    formats = (*_told(text, today=today), *_particular())
    of_some = _fitting(formats, text, glance=glance, today=today, least=_SEVERAL)
    of_some.sort(key=lambda fit: (-fit.matched, -fit.explained))
    for fit in of_some[:_OUTERS]:
        beside = with_others(text, fit.format, candidates=_particular(), today=today)
        whole = fit_of(text, beside, today=today)
        enough = whole.begins_enough and whole.share > _TOGETHER and whole.matched >= least
        if beside.innermost.beside and enough:
            return [whole]
    return []


def fitting(text: pl.Series, *, instead_of: str, today: date) -> list[str]:
    """Names of the formats that fit most of some lines, the best first."""
    names = [fit.format.name for fit in _fits(text, today=today)]
    return [name for name in dict.fromkeys(names) if name != instead_of]


def advised(wrong: WrongFormat, *, today: date) -> DataError:
    """The error of a log that is in another format than the one it was read by, with what to do about it: the formats that fit it."""
    others = fitting(wrong.sample, instead_of=wrong.described.name, today=today)[:2]
    remedy = (
        f"it fits {' or '.join(others)}"
        if others
        else "describe it in a TOML file (logllm show formats), or use plain"
    )
    if wrong.described.kind == "plain":
        remedy = "this is not text: unpack or convert it first, or name its --encoding"
    return DataError(f"{wrong}; {remedy}")


def fitting_format(text: pl.Series, described: FormatSection, *, today: date) -> FormatSection:
    """A format where it fits more than half of some lines, else the one that fits them best."""
    fits = fit_of(text, described, today=today).share > _ENOUGH
    return described if fits else recognise(text, today=today).format


def _fits(text: pl.Series, *, today: date) -> list[Fit]:
    """Formats that fit, the best first."""
    glance = _to_glance_at(text)
    own = _fitting(own_formats().values(), text, glance=glance, today=today)
    built_in = _fitting(_built_in(), text, glance=glance, today=today)
    told = _fitting(_told(text, today=today), text, glance=glance, today=today)
    built_in = [fit for fit in built_in if not any(_more_telling(other, fit) for other in told)]
    # Those that the lines tell come first of those that explain as much.
    fits = [fit for fit in told if not any(_same_kind(fit, other) for other in built_in)]
    fits += built_in
    timed = _fitting(_with_times(text), text, glance=glance, today=today)
    fits = own + _without_general(fits, timed)
    # Among those that fit about as many lines the one that explains more of each is meant.
    least = max((fit.matched for fit in fits), default=0.0) * (1 - _AS_GOOD)

    def rank(fit: Fit) -> tuple[bool, bool, bool, float]:
        # A server's own words are a better sign than any general pattern.
        return not _is_own(fit), fit.matched < least, not _of_a_server(fit), -fit.explained

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
    """Formats that fit, before them one that fits what is inside their messages, where there is such a one."""
    best = fits[0] if fits else None
    server = best is not None and _of_a_server(best)
    general = best is None or server or best.format.name == TIMED
    fitting = [
        fit.format for fit in fits[:_OUTERS] if fit.format.label is None and not _of_a_server(fit)
    ]
    # What is made to be around others keeps the blanks before a message, which `timed` does not.
    outers = [described for described in fitting if described.name != TIMED]
    outers += _wrappers() if general else ()
    outers += [described for described in fitting if described.name == TIMED]
    glance = _to_glance_at(text, lines=_GLANCE_INSIDE)
    nests = [_nest(glance, outer, today=today, deeper=deeper) for outer in may_fit(glance, outers)]
    nest = max((nest for nest in nests if nest is not None), key=_fitness, default=None)
    if nest is None or (server and not _better(nest, fits[0])):
        return fits
    return [fit_of(text, nest.format, today=today), *fits]


def _fitness(nest: Fit) -> tuple[float, float]:
    """Which of several formats with another inside fits best.

    The first of those that are as good.
    """
    return round(nest.share, 2), round(nest.explained, 2)


def _better(nest: Fit, server: Fit) -> bool:
    """Whether a server's lines are better read inside another format than as they are."""
    timed_only = nest.format.name.endswith(TIMED)
    return nest.share > server.share + (_FEW if timed_only else -_FEW)


def _nest(text: pl.Series, outer: FormatSection, *, today: date, deeper: int) -> Fit | None:
    """The best format of what is inside the messages of an outer one, with that around it.

    None: no known one is.
    """
    fit = fit_of(text, outer, today=today)
    if (
        not deeper or fit.matched <= _ENOUGH or not fit.explained
    ):  # what is all message has nothing inside
        return None
    inner = inner_texts(text, outer)
    fits = [fit for fit in _fits(inner.texts, today=today) if line_by_line(fit.format)]
    fits = _with_nested(inner.texts, fits, today=today, deeper=deeper - 1)
    # No one format fits, but records begin there: what is inside is of several kinds itself.
    if (
        not any(map(_enough_inside, fits[:1]))
        and mean(inner.texts.str.contains(BEGINNING)) > _SEVERAL
    ):
        fits = [
            fit
            for fit in _of_several_kinds(inner.texts, [], today=today)
            if line_by_line(fit.format)
        ]
    if not any(map(_enough_inside, fits[:1])):
        return None
    # Lines that are none of the outer format are no sign.
    own = (
        fits[0]
        if inner.inside.all()
        else fit_of(inner.texts.filter(inner.inside), fits[0].format, today=today)
    )
    # Lines with a level of their own are records, which go on with no other one.
    joined = outer.kind == "pattern" and outer.severity is not None and own.matched <= _INSIDE
    if joined or not _enough_inside(own):
        return None
    return fit_of(text, nested(inner, fits[0].format), today=today)


def _enough_inside(fit: Fit) -> bool:
    """Whether what is in messages is enough of a format to be read by it."""
    return fit.share >= (_ENOUGH if _of_a_server(fit) else _INSIDE)


@cache
def _wrappers() -> tuple[FormatSection, ...]:
    """Built-in formats that are only ever around others."""
    return tuple(described for described in map(load_format, known()) if described.wraps)


def _with_times(text: pl.Series) -> Iterator[FormatSection]:
    """The format of lines of which no more is known than how they say their time."""
    laid_out = bool(text.str.contains(_OF_JSON).mean() > _ENOUGH)  # type: ignore[operator]
    if not laid_out and (timed := timed_format(text)) is not None:
        yield timed


def _without_general(fits: list[Fit], timed: list[Fit]) -> list[Fit]:
    """Formats that fit, with one that only times tell where no other tells as many of them."""
    for general in timed:
        least = general.matched * (1 - _AS_GOOD)
        others = [
            fit for fit in fits if fit.format.name != general.format.name and fit.matched >= least
        ]
        if not any(fit.format.time is not None or fit.format.kind != "pattern" for fit in others):
            return [general, *(fit for fit in fits if fit.format.name != general.format.name)]
    return fits


def _to_glance_at(text: pl.Series, *, lines: int = _GLANCE) -> pl.Series:
    """The first and the last of some lines, and some between them.

    A trace may be longer than each of these.
    """
    if len(text) <= 3 * lines:
        return text
    middle = text.slice(len(text) // 2, lines)
    return pl.concat([text.head(lines), middle, text.tail(lines)])


def _fitting(
    formats: Iterable[FormatSection],
    text: pl.Series,
    *,
    glance: pl.Series,
    today: date,
    least: float = _ENOUGH,
) -> list[Fit]:
    """The formats that fit more than some share of the lines, tried on a few before they are on all."""
    likely = [
        fit_of(glance, described, today=today) for described in may_fit(glance, list(formats))
    ]
    fits = [fit for fit in likely if fit.matched]
    if glance is not text:
        fits = [fit_of(text, fit.format, today=today) for fit in fits]
    return [fit for fit in fits if fit.share > least and fit.begins_enough]


@cache
def _built_in() -> tuple[FormatSection, ...]:
    """Built-in formats that lines can tell.

    Of W3C's rows no line tells the columns but one of the log's own.
    """
    formats = (load_format(name) for name in known() if name not in (_PLAIN, "w3c"))
    return tuple(
        described for described in formats if described.twin is None and not described.wraps
    )


def _particular() -> tuple[FormatSection, ...]:
    """One's own formats and built-in ones that lines can tell, but for the one of any lines with a time."""
    built_in = [described for described in _built_in() if described.name != TIMED]
    return (*own_formats().values(), *built_in)


def _told(text: pl.Series, *, today: date) -> Iterator[FormatSection]:
    """Formats that the lines themselves tell."""
    if (postgres := postgres_format(text)) is not None:
        yield postgres
    yield from structured_formats(text, today=today)


def _same_kind(told: Fit, other: Fit) -> bool:
    """Whether a built-in format is of the kind of one that the lines tell, and fits as well.

    Then it is what is meant.
    """
    by_name = told.format.kind == "pattern" or _of_a_server(told)
    same = (
        told.format.name == other.format.name if by_name else told.format.kind == other.format.kind
    )
    return same and other.matched >= told.matched * (1 - _AS_GOOD)


def _more_telling(told: Fit, other: Fit) -> bool:
    """Whether the lines themselves tell more of the message than a general format of their kind does, which fits no better."""
    fields = told.format.severity is not None or told.format.tail
    general = other.format.name in _STRUCTURED and other.format.kind == told.format.kind
    return bool(fields) and general and told.matched >= other.matched - _AS_GOOD


def _found(best: Fit, others: list[Fit], *, lines: int) -> str:
    """What was found, how well it fits, and how to have it otherwise."""
    described = best.format
    if described.name == _PLAIN:
        said = "format: plain, each line is a message; none of the known formats fits"
    else:
        said = (
            f"format: {described.name} ({_titled(described)}); {100 * best.share:.1f} % of the"
            f" first {lines:,} lines fit"
        )
        begun = (
            f" ({100 * best.matched:.1f} % begin a record, the others continue one)"
            if best.share - best.matched > _FEW
            else ""
        )
        said += begun
    names = [
        name for name in dict.fromkeys(fit.format.name for fit in others) if name != described.name
    ][:2]
    also = f", {' and '.join(names)} would fit too" if names else ""
    return f"{said}{also}; another: --format NAME or a TOML file (logllm show formats)"


def _of_others(described: FormatSection) -> Iterator[str]:
    """That lines of other kinds are among a format's own."""
    names = list(dict.fromkeys(other.name for other in described.innermost.beside))
    if names:
        yield (
            "lines of other kinds are among these, and are records of their own:"
            f" {', '.join(names)}"
        )


def _titled(described: FormatSection) -> str:
    """A format's title; of a structured kind with the fields that were found in the lines.

    >>> _titled(load_format("json")), _titled(load_format("postgresql-csv"))[:19]
    ('JSON lines: message in message, time in time', "PostgreSQL's csvlog")
    """
    if described.name not in _STRUCTURED:
        return described.title
    tail = (name for _, name in described.tail)
    fields = [name for name in (described.severity, described.message, *tail) if name]
    message = "the whole line" if described.message == WHOLE else ", ".join(fields)
    return f"{_STRUCTURED[described.name]}: message in {message}, time in {_time_of(described)}"


def _time_of(described: FormatSection) -> str:
    """The fields that hold the time of structured lines, in words."""
    names = [name for name in (described.day, described.time) if name is not None]
    return " and ".join(names) or "no field"


def _of_json(text: pl.Series, best: Fit) -> Iterator[str]:
    """That lines are JSON behind something else, where that keeps their fields from being read."""
    around = best.format.model_dump(include={"inside"}, exclude_none=True)
    unread = best.format.kind in ("plain", "pattern") and not around
    if unread and mean(text.str.contains(_BEHIND)) > _ENOUGH:
        yield (
            "messages are JSON behind a prefix, and their fields are not read: without it they are"
            " (docker compose logs --no-log-prefix, kubectl logs without --timestamps, or sed"
            " 's/^[^{]*//' LOG | logllm ... -)"
        )


def _of_message(described: FormatSection) -> Iterator[str]:
    """Why the message of structured lines is what it is, where that isn't plain."""
    own = described.name in _STRUCTURED and described.title != load_format(described.name).title
    if own and described.title:
        yield described.title
