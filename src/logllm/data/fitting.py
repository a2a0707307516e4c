"""The format of a log that may not be in the one that it is to be read by."""

from datetime import date

import polars as pl

from logllm.config.format import FormatSection
from logllm.data.recognition import fit_of, recognise

_ENOUGH = 0.5


def fitting_format(text: pl.Series, described: FormatSection, *, today: date) -> FormatSection:
    """A format where it fits more than half of some lines, else the one that fits them best."""
    return described if fit_of(text, described, today=today).share > _ENOUGH else recognise(text, today=today).format
