"""Formats of other kinds of lines among those of one.

Examples are an access log in an application's, and a supervisor's lines in a server's.
"""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.formats.field_roles import structured_formats
from logllm.formats.timed.time_shapes import timed_format
from logllm.logs.fields import read_fields
from logllm.logs.inside.envelopes import opened
from logllm.logs.inside.other_kinds import BEGINNING
from logllm.logs.joining import whole_rows
from logllm.logs.structured.columns import WHOLE
from logllm.logs.times import parse_times

_LOOKED_AT = 300  # lines
_MOST = 4  # formats beside one
_FEWEST = 3  # lines of which a format is told that is none of the known ones
_LEAST_SHARE = 0.2  # of the lines left, that a format with a time must fit


class _Reading(NamedTuple):
    """What a format makes of some lines."""

    format: FormatSection
    matched: pl.Series
    """Which of the lines are records of it."""
    told: int
    """Characters of these that it tells from the message."""


def with_others(
    text: pl.Series,
    described: FormatSection,
    *,
    candidates: Sequence[FormatSection],
    today: date,
) -> FormatSection:
    """A format with the formats of other kinds of lines that are among its own, if there are any.

    Args:
        text: successive lines.
        described: the format of most of them.
        candidates: formats that may be beside it.
        today: gives times without a year theirs.
    """
    inner = described.innermost
    labelled = any(layer.label is not None for layer in described.layers)
    # What stands below a record's first line looks like anything.
    below = inner.text_below or inner.message_below
    if labelled or below or inner.kind not in ("pattern", "json"):
        return described
    text, with_columns = whole_rows(text, described)
    rows, fields, kind = opened(text.alias("text").to_frame(), with_columns)
    # A line of another kind is none of the format's records, or of one that is beside it already.
    of_other_kinds = fields.message.is_null() | (kind > 0)
    lines = _heads(rows["text"].filter(of_other_kinds))
    if not len(lines):
        return described
    likely = [other for other in candidates if _may_be_beside(other) and other.name != inner.name]
    others = tuple(_others(lines, likely, today=today))
    return _with_inner(described, inner.model_copy(update={"beside": others}))


def _heads(lines: pl.Series) -> pl.Series:
    """Lines that begin a record of some kind, as many as are looked at."""
    begins = lines.str.contains(BEGINNING) | lines.str.starts_with("{")
    heads = lines.filter(begins)
    step = max(1, len(heads) // _LOOKED_AT)
    return heads.gather_every(step)


def _may_be_beside(described: FormatSection) -> bool:
    """Whether a format's records are lines by themselves, and tell their time or level."""
    return (
        described.kind == "pattern"
        and described.label is None
        and described.inside is None
        and described.partial is None
    )


def _others(
    lines: pl.Series, candidates: Sequence[FormatSection], *, today: date
) -> list[FormatSection]:
    """The formats of some lines, that of the most lines first."""
    others: list[FormatSection] = []
    is_json = lines.str.starts_with("{")
    json = lines.filter(is_json)
    if len(json) >= _FEWEST:
        likely = filter(_is_a_log, structured_formats(json, today=today))
        others += list(likely)[:1]
    left = lines.filter(~is_json)
    # The format of the most lines, then that of the most of the rest, and so on.
    while len(left) and len(others) < _MOST:
        readings = [_reading(left, other, today=today) for other in candidates]
        best = max(readings, key=lambda reading: (int(reading.matched.sum()), reading.told))
        if not best.matched.any():
            break
        others.append(best.format)
        left = left.filter(~best.matched)
    # At last any format with a time, where nothing better tells what is left.
    timed = timed_format(left) if len(left) >= _FEWEST else None
    if timed is not None:
        matched = _reading(left, timed, today=today).matched
        if matched.mean() >= _LEAST_SHARE:  # type: ignore[operator]
            others.append(timed)
    return others


def _is_a_log(described: FormatSection) -> bool:
    """Whether JSON is a program's log, not a body that an application writes into its own log."""
    has_roles = described.time is not None and described.severity is not None
    return described.kind == "json" and has_roles and described.message != WHOLE


def _reading(lines: pl.Series, described: FormatSection, *, today: date) -> _Reading:
    """What a format makes of some lines."""
    fields = read_fields(lines, described)
    matched = fields.message.is_not_null()
    if fields.time is not None and matched.any():
        matched &= parse_times(fields.time, described.time_format, today=today).is_not_null()
    told = lines.str.len_chars() - fields.message.str.len_chars()
    return _Reading(described, matched, int(told.filter(matched).sum()))


def _with_inner(described: FormatSection, inner: FormatSection) -> FormatSection:
    """A format with another innermost one."""
    if described.inside is None:
        return inner
    return described.model_copy(update={"inside": _with_inner(described.inside, inner)})
