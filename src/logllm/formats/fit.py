"""How well a format fits some lines."""

from datetime import date
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.errors import RecipeError
from logllm.formats.further_lines import begin_enough
from logllm.formats.nesting import inner_texts
from logllm.logs.inside.other_kinds import begins, joins, read_kinds, time_forms
from logllm.logs.joining import whole_rows
from logllm.logs.times import parse_times


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
    begins_enough: bool
    """Whether enough lines begin a record to take the others for what goes on with one (`logllm.formats.further_lines`)."""


def fit_of(text: pl.Series, described: FormatSection, *, today: date) -> Fit:
    """How well one format fits some lines."""
    if described.inside is not None:
        return _fit_of_nested(text, described, today=today)
    text, read = whole_rows(text, described)
    try:
        fields, kind = read_kinds(text, read, unforeseen=False)
    except RecipeError:  # a CSV file without such a column
        return Fit(described, 0.0, 0.0, 0.0, begins_enough=False)
    own = kind == 0
    good = fields.message.is_not_null()
    times = None
    if fields.severity is not None:
        good &= fields.severity.is_not_null() | ~own
    if fields.time is not None:
        # A pattern says itself whether a line may be without a time.
        may_lack = ~own if described.kind != "pattern" else pl.repeat(value=True, n=len(own), dtype=pl.Boolean, eager=True)
        timeless = fields.time.is_null() & may_lack
        good &= fields.time.is_not_null() | timeless
        if good.any():
            times = parse_times(fields.time.set(~good, None), time_forms(described), today=today)
            good &= times.is_not_null() | timeless
    goes_on = ~good & good.cum_max()
    if goes_on.any():
        lines = pl.DataFrame({"text": text, "kind": kind.set(~good, None).forward_fill()})
        goes_on &= lines.select(joins(described)).to_series()
        goes_on &= ~begins(text, described) if goes_on.any() else True
    beside = (text.str.len_chars() - fields.message.str.len_chars()).filter(good).sum()
    return Fit(
        described,
        matched=mean(good),
        share=mean(good | goes_on),
        explained=float(beside) / max(1, int(text.str.len_chars().sum())),
        begins_enough=begin_enough(text, good, goes_on=goes_on, times=times),
    )


def _fit_of_nested(text: pl.Series, described: FormatSection, *, today: date) -> Fit:
    """How well a format with another inside fits: its messages by the inner one."""
    outer = fit_of(text, described.model_copy(update={"inside": None}), today=today)
    inner = fit_of(inner_texts(text, described).texts, described.inside, today=today)  # type: ignore[arg-type]
    explained = outer.explained + (1 - outer.explained) * inner.explained
    return inner._replace(format=described, explained=explained)


def mean(values: pl.Series) -> float:
    """Share of the values that are true; 0 where there are none."""
    return float(values.mean() or 0.0)  # type: ignore[arg-type]
