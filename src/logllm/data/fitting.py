"""The format that a log is in, where that of a run or of another log may not be its own."""

from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.data.formats import load_format, read_fields, suggestions

_POSTGRES = "postgresql"
_ENOUGH = 0.5


class Found(NamedTuple):
    """The format that lines are in."""

    format: FormatSection
    """It."""
    share: float
    """Share of the lines that are in it."""


def log_format(text: pl.Series) -> Found:
    """The built-in format that fits some lines best; `plain`, which fits all, where no other fits more than half."""
    for name in (_POSTGRES, *suggestions(text, instead_of=_POSTGRES)):
        described = load_format(name)
        if (share := _share(text, described)) > _ENOUGH:
            return Found(described, share)
    return Found(load_format("plain"), 1.0)


def fitting_format(text: pl.Series, described: FormatSection) -> FormatSection:
    """A format where it fits more than half of some lines, else the one that fits them best."""
    return described if _share(text, described) > _ENOUGH else log_format(text).format


def _share(text: pl.Series, described: FormatSection) -> float:
    """Share of the lines that are in a format."""
    return float(read_fields(text, described).message.is_not_null().mean() or 0.0)  # type: ignore[arg-type]
