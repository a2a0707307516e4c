"""Lines to records, as a format's description says; the built-in descriptions are `known/*.toml`."""

import json
import re
import tomllib
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.data.times import check_time_format
from logllm.errors import RecipeError

_GROUP = re.compile(r"(?<!\\)((?:\\\\)*)\(\?P?<([A-Za-z_]\w*)>")
_REST = re.compile(r"\(\?P?<(?P<name>[A-Za-z_]\w*)>(?P<first>(?:\[\^?(?:\\.|[^\]\[()|\\])+\])?)\.\*\)$")
_FLAGS = re.compile(r"\(\?[A-Za-z-]+[:)]")
_BEFORE = "logllm_before"
_TO_SUGGEST = ("hdfs", "bgl", "thunderbird", "json", "syslog")  # the narrow ones before the wide
_GARBLED = 4  # a line of which one character in so many is no text is a reject


class Fields(NamedTuple):
    """Columns as they were written, one row a line; null where a line has no such thing."""

    message: pl.Series
    """Messages, without white space around; null in a reject."""
    time: pl.Series | None
    """Times as text."""
    label: pl.Series | None
    """Labels as text; a reject may have one."""
    key: pl.Series | None
    """Key fields as text; a JSON list is its JSON text."""


def known() -> list[str]:
    """Names of the built-in formats.

    >>> known()
    ['bgl', 'hdfs', 'json', 'liberty', 'plain', 'postgresql', 'spirit', 'syslog', 'thunderbird']
    """
    entries = files("logllm.data").joinpath("known").iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml"))


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
            near = get_close_matches(str(name), known(), n=1, cutoff=0.0)[0]
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
    if described.kind == "plain" and (described.time or described.label or key_field):
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
        reason = str(exc).strip().splitlines()[-1].removeprefix("error: ")
        raise RecipeError(f"{what}: {pattern!r} is no regular expression: {reason}") from exc


def read_fields(text: pl.Series, described: FormatSection, *, key_field: str | None = None) -> Fields:
    """What the fields of a format hold in some lines.

    >>> read_fields(pl.Series(['{"message": " up ", "level": 3}', "{"]), load_format("json"), key_field="level").key.to_list()
    ['3', None]

    Raises:
        RecipeError: the pattern is no regular expression or lacks a group.
    """
    if described.kind == "plain":
        fields = Fields(text, None, None, None)
    elif described.kind == "json":
        fields = Fields(*(None if name is None else _json_field(text, name) for name in _names(described, key_field)))  # type: ignore[arg-type]
    else:
        text = text.str.strip_chars()
        thinned = _thinned(described, key_field)
        groups = text.str.extract_groups(_up_to_message(thinned, described.message)).struct
        found = {name: groups.field(name) for name in groups.fields}
        if _BEFORE in found:
            found[described.message] = text.str.strip_prefix(found[_BEFORE])
        fields = Fields(*(None if name is None else found[name] for name in _names(described, key_field)))  # type: ignore[arg-type]
    message = fields.message.str.strip_chars()
    unfit = _empty_or_garbled(message)
    return fields._replace(message=message.set(unfit, None)) if unfit.any() else fields._replace(message=message)


def suggestions(text: pl.Series, *, instead_of: str) -> list[str]:
    """Built-in formats that fit more than half of some lines, the closest fit first."""
    fits = {name: read_fields(text, load_format(name)).message.is_not_null().mean() or 0.0 for name in _TO_SUGGEST if name != instead_of}
    return sorted((name for name, share in fits.items() if share > 0.5), key=lambda name: -fits[name])  # type: ignore[operator]


def _names(described: FormatSection, key_field: str | None) -> tuple[str | None, ...]:
    """Names of the fields to read, in the order of `Fields`."""
    return described.message, described.time, described.label, key_field


@cache
def _thinned(described: FormatSection, key_field: str | None) -> str:
    """The pattern, for a whole line, without the names of groups nobody reads: each group costs time."""
    pattern = described.pattern or ""
    what = f"format {described.name}"
    check_pattern(pattern, what=what)
    names = {name for name in _names(described, key_field) if name is not None}
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


def _json_field(text: pl.Series, name: str) -> pl.Series:
    """A field by its dotted path, or by its whole name where that itself holds dots."""
    paths = ["$" + "".join(f"[{json.dumps(part)}]" for part in parts) for parts in (name.split("."), [name])]
    found = text.str.json_path_match(paths[0])
    if paths[1] != paths[0] and found.null_count():
        found = found.zip_with(found.is_not_null(), text.str.json_path_match(paths[1]))
    return found


def _empty_or_garbled(message: pl.Series) -> pl.Series:
    """Which messages hold nothing, or mostly characters that stand for bytes that are no text."""
    empty = message == ""
    if not message.str.contains("\ufffd", literal=True).any():
        return empty
    garbled = message.str.count_matches("\ufffd", literal=True)
    return empty | (garbled * _GARBLED > message.str.len_chars())
