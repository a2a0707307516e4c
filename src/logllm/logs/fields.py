"""What the fields of a format hold in some lines.

Fields are groups of a pattern, or fields of JSON, CSV, logfmt and journald's export by name.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.errors import RecipeError
from logllm.logs.calendar.zones import check_zone
from logllm.logs.lines import without_codes
from logllm.logs.structured.columns import read_columns
from logllm.logs.times import check_time_format

_GROUP = re.compile(r"(?<!\\)((?:\\\\)*)\(\?P?<([A-Za-z_]\w*)>")
_REST = re.compile(
    r"\(\?P?<(?P<name>[A-Za-z_]\w*)>(?P<first>(?:\[\^?(?:\\.|[^\]\[()|\\])+\])?)\.\*\)$"
)
_FLAGS = re.compile(r"\(\?[A-Za-z-]+[:)]")
_BEFORE = "logllm_before"
_AROUND_BREAK = r"\s*\n\s*"
_GARBLED = 4  # a line of which one character in so many is no text is a reject


class Fields(NamedTuple):
    """Columns as they were written, one row a line; null where a line has no such thing."""

    message: pl.Series
    """Messages behind their severity, where the format names one; without white space around; null
    in a reject."""
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


def group_names(pattern: str) -> list[str]:
    """Names of a pattern's groups, in their order.

    >>> group_names("(?<time>.{15}) (?P<message>.*)")
    ['time', 'message']
    """
    return [match[2] for match in _GROUP.finditer(pattern)]


def fields_of(described: FormatSection) -> list[str]:
    """Names of the fields of a format that `--key-field` and `--label` may name.

    Where the lines themselves name their fields, they are those that the format uses.

    >>> pattern = "(?<time>.{15}) (?<pid>[0-9]+) (?<message>.*)"
    >>> fields_of(FormatSection(name="own", kind="pattern", pattern=pattern))
    ['time', 'pid', 'message']
    """
    if described.inside is not None:
        names: list[str] = []
        for layer in described.layers:
            names += fields_of(layer.model_copy(update={"inside": None}))
        return list(dict.fromkeys(names))
    if described.kind == "plain":
        return []
    if described.kind == "pattern":
        return group_names(described.pattern or "")
    used = [
        described.time,
        described.label,
        described.sessions.key_field,
        described.severity,
        described.message,
    ]
    return list(described.columns) or list(dict.fromkeys(name for name in used if name is not None))


def check_format(described: FormatSection, *, key_field: str | None = None) -> None:
    """Whether a format can be read: its pattern is one, and has the groups that are asked for.

    Raises:
        RecipeError: it cannot.
    """
    if described.inside is not None:
        _check_layers(described, key_field=key_field)
        return
    for form in described.time_format:
        check_time_format(form, what=f"format {described.name}")
    if described.time_zone is not None:
        check_zone(described.time_zone, what=f"format {described.name}")
    if described.continuation is not None:
        check_pattern(described.continuation, what=f"format {described.name}: continuation")
    if described.partial is not None:
        check_pattern(described.partial.goes_on, what=f"format {described.name}: partial.goes_on")
        check_pattern(described.partial.pattern, what=f"format {described.name}: partial.pattern")
        groups = group_names(described.partial.pattern)
        missing = sorted({"before", "part"}.difference(groups))
        if missing:
            raise RecipeError(
                f"format {described.name}: partial.pattern has no group {missing[0]!r}"
            )
    if described.kind == "plain" and len(_names(described, key_field)) > 1:
        raise RecipeError(
            f"format {described.name} is plain: its lines have a message and no other field"
        )
    if described.kind == "pattern":
        # A key that only lines of another kind have is no group of this pattern.
        elsewhere = any(may_have(other, key_field) for other in described.beside)
        own = key_field if may_have(described, key_field) or not elsewhere else None
        read_fields(pl.Series("text", [""]), described, key_field=own)
    for other in described.beside:
        check_format(other)


def _check_layers(described: FormatSection, *, key_field: str | None) -> None:
    """Whether a format and those inside it can be read, the key in any of them."""
    for layer in described.layers:
        check_format(layer.model_copy(update={"inside": None}))
        if layer.kind == "pattern":
            read_named(pl.Series("text", [""]), layer, names=layer.streams)
    if key_field is not None and not any(may_have(layer, key_field) for layer in described.layers):
        raise RecipeError(
            f"format {described.name}: there is no group {key_field!r} (there are"
            f" {', '.join(fields_of(described))})"
        )


def may_have(described: FormatSection, field: str | None) -> bool:
    """Whether lines of a format, whatever is inside it, may have a field.

    >>> may_have(FormatSection(name="own", pattern="(?<message>.*)"), "pid")
    False
    >>> may_have(FormatSection(name="own", kind="json"), "pid")
    True
    """
    if field is None or described.kind == "plain":
        return False
    if described.kind == "csv" and described.columns:
        return field in described.columns
    return described.kind != "pattern" or field in group_names(described.pattern or "")


def check_pattern(pattern: str, *, what: str) -> None:
    """Whether a regular expression is one.

    Raises:
        RecipeError: it is not; the message begins with `what`.
    """
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError as exc:
        # The engine draws an arrow under the place over several lines; its reason stands in one of
        # them.
        lines = [line.strip() for line in str(exc).splitlines()]
        reasons = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        reason = reasons[0] if reasons else lines[0]
        raise RecipeError(f"{what}: {pattern!r} is no regular expression: {reason}") from exc


def may_fit(text: pl.Series, formats: Sequence[FormatSection]) -> list[FormatSection]:
    """Those of many formats that some of a few lines may be in.

    They are told by their pattern or by the first sign of a line; all are tried at once.

    >>> lines = pl.Series(["up ", "at 7"])
    >>> own = [FormatSection(name=word, pattern=f"{word} *(?<message>.+)") for word in ("at", "of")]
    >>> [described.name for described in may_fit(lines, own)]
    ['at']
    """
    # One query tries all patterns on the lines, each a column; a format without a pattern or a sign
    # may always fit.
    # Hundreds of formats: one pass over a few lines says which are worth a whole look.
    signs = {"json": r"^[{\[]", "logfmt": "="}
    patterns: dict[str, str] = {}
    for place, described in enumerate(formats):
        if described.kind in signs or described.kind == "pattern":
            patterns[str(place)] = signs.get(described.kind) or _thinned(described, ())
    line = pl.col("line").str.strip_chars()
    tried = [line.str.contains(pattern).any().alias(name) for name, pattern in patterns.items()]
    matching = text.alias("line").to_frame().select(tried)
    matches = matching.row(0, named=True) if patterns else {}
    fitting: list[FormatSection] = []
    for place, described in enumerate(formats):
        if matches.get(str(place), True):
            fitting.append(described)
    return fitting


def read_fields(
    text: pl.Series, described: FormatSection, *, key_field: str | None = None
) -> Fields:
    """What the fields of a format hold in some lines.

    Of a format with another inside, the outer one's fields are read.

    >>> described = FormatSection(name="own", kind="json")
    >>> lines = pl.Series(['{"message": " up ", "level": 3}', "{"])
    >>> read_fields(lines, described, key_field="level").key.to_list()
    ['3', None]

    Raises:
        RecipeError: the pattern is no regular expression or lacks a group.
    """
    if described.kind == "pattern":
        text = text.str.strip_chars()
    columns = read_named(text, described, names=_names(described, key_field))
    label = None if described.label is None else columns[described.label]
    key = None if key_field is None else columns[key_field]
    severity = None if described.severity is None else columns[described.severity]
    time = time_in(columns, described)
    parts: list[pl.Series] = []
    for word, name in described.parts:
        part, _ = _tidied(word + ":  " + columns[name])
        parts.append(part)

    message, is_odd = _tidied(_whole_message(columns, described))

    # Where the message stands below its first line, a time alone begins a record without one.
    if described.message_below and time is not None:
        is_right = message.is_not_null() | time.is_null()
        message = message.zip_with(is_right, pl.Series([""]))
    unfit = message == ""
    if is_odd:
        unfit |= _garbled(message)
    if described.message_below:
        unfit &= message != ""
    if unfit.any():
        message = message.set(unfit, None)
    return Fields(message, time, label, key, severity, tuple(parts))


def read_named(
    text: pl.Series, described: FormatSection, *, names: Sequence[str]
) -> dict[str, pl.Series]:
    """What the fields of some names hold in lines of a format, white space and all.

    A field that a line does not have is null.

    Args:
        text: lines.
        described: their format, of any kind.
        names: the fields; the message is read in any case.

    Raises:
        RecipeError: the pattern is no regular expression or lacks a group.
    """
    names = tuple(dict.fromkeys((described.message, *names)))
    if described.kind == "plain":
        columns = {described.message: text}
    elif described.kind != "pattern":
        columns = _with_others(text, described, names=names)
    else:
        pattern = _up_to_message(_thinned(described, names), described.message)
        groups = text.str.extract_groups(pattern).struct.unnest()
        columns = {group.name: group for group in groups}
        if _BEFORE in columns:
            columns[described.message] = text.str.strip_prefix(columns[_BEFORE])
    # In the message alone: keys and times are compared as they are written.
    for written, meant in described.escapes:
        message = columns[described.message]
        columns[described.message] = message.str.replace_all(written, meant, literal=True)
    return columns


def _with_others(
    text: pl.Series, described: FormatSection, *, names: Sequence[str]
) -> dict[str, pl.Series]:
    """Fields of structured lines, with those that stand in for what a line lacks."""
    columns = read_columns(text, described, names=names)
    message = columns[described.message]
    # JSON writes the sign of such codes as \u001b, so that the line itself held none.
    if message.str.contains("\x1b", literal=True).any():
        columns[described.message] = without_codes(message)
    for name, other in described.instead:
        own = columns.get(name)
        if own is not None and own.null_count():
            stand_in = read_columns(text, described, names=[other])[other]
            columns[name] = stand_in.zip_with(own.is_null(), own)
    return columns


def _names(described: FormatSection, key_field: str | None) -> list[str]:
    """Names of the fields to read."""
    named = [described.message, described.time, described.day, described.label]
    named += [key_field, described.severity]
    named += [name for _, name in (*described.tail, *described.parts)]
    return [name for name in named if name is not None]


def time_in(columns: dict[str, pl.Series], described: FormatSection) -> pl.Series | None:
    """Times as they are written, by the fields that hold them; nothing where a format has none."""
    if described.time is None:
        return None
    clock = columns[described.time]
    if described.day is None:
        return clock
    return columns[described.day] + " " + clock


def _whole_message(columns: dict[str, pl.Series], described: FormatSection) -> pl.Series:
    """Messages with what belongs to them: fields that follow, and their severity before them.

    PostgreSQL and other programs write severities so. A message without one stays as it is.
    """
    name = described.message
    if not described.tail and described.severity is None:
        return columns[name]
    # `GET`, ` ` + path, ` -> ` + status: the fields that follow the message, those that are there.
    message = pl.col(name)
    for words, further in described.tail:
        message += (pl.lit(words) + pl.col(further)).fill_null("")
    used = {name, *(further for _, further in described.tail)}
    if described.severity is not None:
        severity = pl.col(described.severity)
        has_severity = severity.is_not_null() & (severity != "")
        message = pl.when(has_severity).then(severity + ":  ").otherwise(pl.lit("")) + message
        used.add(described.severity)
    fields = pl.DataFrame({field: columns[field] for field in sorted(used)})
    return fields.select(message.alias(name)).to_series()


def _tidied(texts: pl.Series) -> tuple[pl.Series, bool]:
    """Texts without white space around them and around their line breaks.

    Also whether some hold characters that stand for bytes that are no text.
    """
    # Few texts have a line break or an odd character: to look for them costs less than to replace
    # or to count them.
    text = pl.col("text")
    looked_at = (
        texts.alias("text")
        .to_frame()
        .select(
            text.str.strip_chars(),
            breaks=text.str.contains("\n", literal=True).any(),
            odd=text.str.contains("\ufffd", literal=True).any(),
        )
    )
    tidy = looked_at["text"]
    if looked_at["breaks"].any():
        tidy = tidy.str.replace_all(_AROUND_BREAK, "\n")
    return tidy.alias(texts.name), bool(looked_at["odd"].any())


@cache
def _thinned(described: FormatSection, names: tuple[str, ...]) -> str:
    """The pattern for a whole line, without the names of groups nobody reads: each costs time."""
    pattern = described.pattern or ""
    what = f"format {described.name}"
    check_pattern(pattern, what=what)
    groups = set(group_names(pattern))
    if missing := sorted(set(names) - groups):
        raise RecipeError(
            f"{what}: its pattern has no group {missing[0]!r} (it has"
            f" {', '.join(sorted(groups)) or 'none'})"
        )
    thinned = _GROUP.sub(lambda match: match[0] if match[2] in names else f"{match[1]}(?:", pattern)
    return f"^(?:{thinned})$"


@cache
def _up_to_message(thinned: str, message: str) -> str:
    r"""A whole line's pattern, or the pattern of what comes before the message.

    The latter is enough where the message is simply all that is left of a line: it spares the
    regular expression the longest part of each line.

    >>> _up_to_message(r"^(?:(?:[a-z]+): +(?<message>[^ ].*))$", "message")
    '^(?<logllm_before>(?:[a-z]+): +)[^ ]'
    >>> _up_to_message(r"^(?:a|b(?<message>.*))$", "message")
    '^(?:a|b(?<message>.*))$'
    """
    inner = thinned.removeprefix("^(?:").removesuffix(")$")
    # Cutting off what comes before is several times as fast as a group over the rest.
    rest = _REST.search(inner)
    if rest is None or rest["name"] != message or "|" in inner or _FLAGS.search(inner):
        return thinned
    return f"^(?<{_BEFORE}>{inner[: rest.start()]}){rest['first']}"


def _garbled(message: pl.Series) -> pl.Series:
    """Which messages hold mostly characters that stand for bytes that are no text."""
    garbled = message.str.count_matches("\ufffd", literal=True)
    return garbled * _GARBLED > message.str.len_chars()


def bare_name(name: str) -> str:
    """A field's last name in small letters and digits.

    >>> bare_name("http.Request-ID")
    'requestid'
    """
    return re.sub(r"[^a-z0-9]", "", name.rpartition(".")[2].lower())
