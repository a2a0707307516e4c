"""How well a format fits some lines."""

from datetime import date
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.errors import RecipeError
from logllm.formats.further_lines import begin_enough
from logllm.formats.nesting import inner_texts
from logllm.logs.fields import Fields
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
    """Share of the characters that the format tells from the message: of two formats that fit as
    many lines, the more explaining is meant."""
    begins_enough: bool
    """Whether enough lines begin a record to take the others for what goes on with one
    (`logllm.formats.further_lines`)."""


def fit_of(text: pl.Series, described: FormatSection, *, today: date) -> Fit:
    """How well one format fits some lines."""
    if described.inside is not None:
        return _fit_of_nested(text, described, today=today)
    text, read = whole_rows(text, described)
    try:
        fields, kind = read_kinds(text, read, unforeseen=False)
    except RecipeError:  # a CSV file without such a column
        return Fit(described, 0.0, 0.0, 0.0, begins_enough=False)
    good, timeless = _with_fields(fields, kind == 0, described=described)
    times = None
    if fields.time is not None and good.any():
        written = fields.time.set(~good, None)
        times = parse_times(written, time_forms(described), today=today)
        good &= times.is_not_null() | timeless
    # A line that is no record goes on with one if a record came before it, and its kind lets it.
    goes_on = ~good & good.cum_max()
    if goes_on.any():
        kinds = kind.set(~good, None).forward_fill()
        lines = pl.DataFrame({"text": text, "kind": kinds})
        goes_on &= lines.select(joins(described)).to_series()
        goes_on &= ~begins(text, described) if goes_on.any() else True
    # Characters beside the messages: a format that tells more of them from the message knows more.
    texts = pl.DataFrame({"text": text, "message": fields.message})
    characters, in_messages = texts.select(pl.all().str.len_chars())
    beside = characters - in_messages
    explained = float(beside.filter(good).sum()) / max(1, int(characters.sum()))
    enough = begin_enough(text, good, goes_on=goes_on, times=times)
    share = mean(good | goes_on)
    return Fit(described, mean(good), share, explained, begins_enough=enough)


def _with_fields(
    fields: Fields, own: pl.Series, *, described: FormatSection
) -> tuple[pl.Series, pl.Series]:
    """Which lines have the fields of records, and which of these may be without a time.

    Args:
        fields: what the lines hold.
        own: which of them the format itself reads, not one beside it.
        described: the format.
    """
    columns = {"message": fields.message, "own": own}
    good, timeless = pl.col("message").is_not_null(), pl.lit(value=False)
    if fields.severity is not None:
        columns["severity"] = fields.severity
        good &= pl.col("severity").is_not_null() | ~pl.col("own")
    if fields.time is not None:
        columns["time"] = fields.time
        timeless = pl.col("time").is_null()
        # A pattern says itself whether a line may be without a time.
        if described.kind != "pattern":
            timeless &= ~pl.col("own")
        good &= pl.col("time").is_not_null() | timeless
    marks = pl.DataFrame(columns).select(good=good, timeless=timeless)
    return marks["good"], marks["timeless"]


def _fit_of_nested(text: pl.Series, described: FormatSection, *, today: date) -> Fit:
    """How well a format with another inside fits: its messages by the inner one."""
    outer = fit_of(text, described.model_copy(update={"inside": None}), today=today)
    texts = inner_texts(text, described).texts
    inner = fit_of(texts, described.inside, today=today)  # type: ignore[arg-type]
    # The inner format explains its share of what the outer one left as messages.
    explained = outer.explained + (1 - outer.explained) * inner.explained
    return inner._replace(format=described, explained=explained)


def mean(values: pl.Series) -> float:
    """Share of the values that are true; 0 where there are none."""
    return float(values.mean() or 0.0)  # type: ignore[arg-type]
