"""Lines to records, as a format's description says; the built-in descriptions are `known/*.toml`."""

import re
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.data.structured import read_columns
from logllm.data.times import check_time_format
from logllm.errors import RecipeError, nearest

_GROUP = re.compile(r"(?<!\\)((?:\\\\)*)\(\?P?<([A-Za-z_]\w*)>")
_REST = re.compile(r"\(\?P?<(?P<name>[A-Za-z_]\w*)>(?P<first>(?:\[\^?(?:\\.|[^\]\[()|\\])+\])?)\.\*\)$")
_FLAGS = re.compile(r"\(\?[A-Za-z-]+[:)]")
_BEFORE = "logllm_before"
_AROUND_BREAK = r"\s*\n\s*"
_GARBLED = 4  # a line of which one character in so many is no text is a reject


class Fields(NamedTuple):
    """Columns as they were written, one row a line; null where a line has no such thing."""

    message: pl.Series
    """Messages behind their severity, where the format names one; without white space around; null in a reject."""
    time: pl.Series | None
    """Times as text."""
    label: pl.Series | None
    """Labels as text; a reject may have one."""
    key: pl.Series | None
    """Key fields as text; a JSON list is its JSON text."""
    severity: pl.Series | None = None
    """Severities as text."""
    parts: tuple[pl.Series, ...] = ()
    """Further messages, as `FormatSection.parts` names them."""


def known() -> list[str]:
    """Names of the built-in formats.

    >>> {"bgl", "hdfs", "json", "plain", "syslog"} <= set(known())
    True
    """
    entries = files("logllm.data").joinpath("known").iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml"))


def fields_of(described: FormatSection) -> list[str]:
    """Names of the fields of a format that `--key-field` and `--label` may name; of a kind whose lines name their fields, those the format uses.

    >>> fields_of(load_format("openssh")), fields_of(load_format("docker"))
    (['time', 'host', 'pid', 'message'], ['time', 'log'])
    """
    if described.kind == "plain":
        return []
    if described.kind == "pattern":
        return [match[2] for match in _GROUP.finditer(described.pattern or "")]
    used = [described.time, described.label, described.sessions.key_field, described.severity, described.message]
    return list(described.columns) or list(dict.fromkeys(name for name in used if name is not None))


def sessions_of(described: FormatSection) -> str:
    """A format's own grouping in a few words.

    >>> sessions_of(load_format("openssh")), sessions_of(load_format("plain"))
    ('by pid', 'windows of 100')
    """
    sessions = described.sessions
    return f"by {sessions.key_field or sessions.key_pattern}" if sessions.by == "key" else f"windows of {sessions.size}"


def load_format(name: str | Path) -> FormatSection:
    """A built-in format, or one described in a TOML file.

    Raises:
        RecipeError: no such format, not TOML, an unknown key, or a pattern that is no regular expression.
    """
    source = f"format {name}"
    try:
        if str(name) in known():
            text = files("logllm.data").joinpath("known", f"{name}.toml").read_text(encoding="utf-8")
        elif Path(name).suffix == ".toml" or Path(name).is_file():
            text = Path(name).read_text(encoding="utf-8")
        else:
            near = nearest(str(name), known())
            raise RecipeError(f"no format {str(name)!r}: name a TOML file or one of {', '.join(known())} (nearest: {near})")
        settings = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as exc:
        raise RecipeError(f"{source} cannot be read: {exc}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise RecipeError(f"{source} is not TOML: {exc}") from exc
    described = FormatSection.read(settings, source=source)
    check_format(described)
    return described


def check_format(described: FormatSection, *, key_field: str | None = None) -> None:
    """Whether a format can be read at all: its pattern is one, and has the groups that are asked for.

    Raises:
        RecipeError: it cannot.
    """
    for form in described.time_format:
        check_time_format(form, what=f"format {described.name}")
    if described.continuation is not None:
        check_pattern(described.continuation, what=f"format {described.name}: continuation")
    if described.partial is not None:
        check_pattern(described.partial.goes_on, what=f"format {described.name}: partial.goes_on")
        check_pattern(described.partial.pattern, what=f"format {described.name}: partial.pattern")
        if missing := sorted({"before", "part"} - {match[2] for match in _GROUP.finditer(described.partial.pattern)}):
            raise RecipeError(f"format {described.name}: partial.pattern has no group {missing[0]!r}")
    if described.kind == "plain" and len(_names(described, key_field)) > 1:
        raise RecipeError(f"format {described.name} is plain: its lines have a message and no other field")
    if described.kind == "pattern":
        read_fields(pl.Series("text", [""]), described, key_field=key_field)


def check_pattern(pattern: str, *, what: str) -> None:
    """Whether a regular expression is one.

    Raises:
        RecipeError: it is not; the message begins with `what`.
    """
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError as exc:
        lines = [line.strip() for line in str(exc).splitlines()]
        reason = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
        raise RecipeError(f"{what}: {pattern!r} is no regular expression: {reason}") from exc


def read_fields(text: pl.Series, described: FormatSection, *, key_field: str | None = None) -> Fields:
    """What the fields of a format hold in some lines.

    >>> read_fields(pl.Series(['{"message": " up ", "level": 3}', "{"]), load_format("json"), key_field="level").key.to_list()
    ['3', None]

    Raises:
        RecipeError: the pattern is no regular expression or lacks a group.
    """
    names = _names(described, key_field)
    if described.kind == "plain":
        found = {described.message: text}
    elif described.kind != "pattern":
        found = read_columns(text, described, names=names)
    else:
        text = text.str.strip_chars()
        groups = text.str.extract_groups(_up_to_message(_thinned(described, key_field), described.message)).struct
        found = {name: groups.field(name) for name in groups.fields}
        if _BEFORE in found:
            found[described.message] = text.str.strip_prefix(found[_BEFORE])
    optional = (described.time, described.label, key_field, described.severity)
    time, label, key, severity = (None if name is None else found[name] for name in optional)
    parts = tuple(_tidy(word + ":  " + found[name]) for word, name in described.parts)
    message = found[described.message]
    for words, name in described.tail:
        message = pl.select(message + (pl.lit(words) + found[name]).fill_null("")).to_series()
    message = _tidy(message if severity is None else _graded(message, severity))
    unfit = _empty_or_garbled(message)
    return Fields(message.set(unfit, None) if unfit.any() else message, time, label, key, severity, parts)


def _names(described: FormatSection, key_field: str | None) -> list[str]:
    """Names of the fields to read."""
    named: tuple[str | None, ...] = (described.message, described.time, described.label, key_field, described.severity)
    named = (*named, *(name for _, name in (*described.tail, *described.parts)))
    return [name for name in named if name is not None]


def _graded(message: pl.Series, severity: pl.Series) -> pl.Series:
    """Messages behind their severities, as PostgreSQL and other programs write them; those without one as they are."""
    before = pl.when(severity.is_not_null() & (message.str.strip_chars() != "")).then(severity + ":  ").otherwise(pl.lit(""))
    return pl.select(before + message).to_series()


def _tidy(texts: pl.Series) -> pl.Series:
    """Texts without white space around them and around their line breaks, which other programs indent."""
    texts = texts.str.strip_chars()
    return texts.str.replace_all(_AROUND_BREAK, "\n") if texts.str.contains("\n", literal=True).any() else texts


@cache
def _thinned(described: FormatSection, key_field: str | None) -> str:
    """The pattern, for a whole line, without the names of groups nobody reads: each group costs time."""
    pattern = described.pattern or ""
    what = f"format {described.name}"
    check_pattern(pattern, what=what)
    names = set(_names(described, key_field))
    groups = {match[2] for match in _GROUP.finditer(pattern)}
    if missing := sorted(names - groups):
        raise RecipeError(f"{what}: its pattern has no group {missing[0]!r} (it has {', '.join(sorted(groups)) or 'none'})")
    thinned = _GROUP.sub(lambda match: match[0] if match[2] in names else f"{match[1]}(?:", pattern)
    return f"^(?:{thinned})$"


@cache
def _up_to_message(thinned: str, message: str) -> str:
    r"""A whole line's pattern, or where the message is simply all that is left of a line, the pattern of what comes before it.

    Which spares the regular expression the longest part of each line.

    >>> _up_to_message(r"^(?:(?:[a-z]+): +(?<message>[^ ].*))$", "message")
    '^(?<logllm_before>(?:[a-z]+): +)[^ ]'
    >>> _up_to_message(r"^(?:a|b(?<message>.*))$", "message")
    '^(?:a|b(?<message>.*))$'
    """
    inner = thinned.removeprefix("^(?:").removesuffix(")$")
    rest = _REST.search(inner)
    if rest is None or rest["name"] != message or "|" in inner or _FLAGS.search(inner):
        return thinned
    return f"^(?<{_BEFORE}>{inner[: rest.start()]}){rest['first']}"


def _empty_or_garbled(message: pl.Series) -> pl.Series:
    """Which messages hold nothing, or mostly characters that stand for bytes that are no text."""
    empty = message == ""
    if not message.str.contains("\ufffd", literal=True).any():
        return empty
    garbled = message.str.count_matches("\ufffd", literal=True)
    return empty | (garbled * _GARBLED > message.str.len_chars())
