"""What detection says of a session: one schema in the library, on the command line and in files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

FIELDS = ("session", "score", "anomalous", "lines", "start", "end", "model")
"""Columns of a verdict frame and keys of a verdict's JSON object, in order."""
OPTIONAL = ("files", "closed")
"""Added where they say something: several inputs; a session closed before its end."""

_AT_ONCE = 5_000
"""Verdicts written out at once; for Polars a string of more is also more work."""


@dataclass(frozen=True)
class Verdict:
    """One session's verdict."""

    session: str
    """The key, or `<size>@<first record>` of a window."""
    score: float
    """P(anomalous), in [0, 1]."""
    anomalous: bool
    """Whether the score reaches the run's threshold."""
    lines: list[int]
    """Line numbers, from 1 within each file."""
    start: datetime | None
    """Time of the first record, UTC."""
    end: datetime | None
    """Time of the last record, UTC."""
    model: str
    """The run that judged."""
    files: list[str] | None = None
    """The file of each line, where there are several inputs."""
    closed: str | None = None
    """`early` where the session was closed before the input's end for want of room or for idleness."""


def verdicts(frame: pl.DataFrame) -> Iterator[Verdict]:
    """The rows of a verdict frame as objects."""
    return (Verdict(**row) for row in frame.iter_rows(named=True))


def json_lines(frame: pl.DataFrame) -> Iterator[str]:
    """A verdict frame as one JSON object a line, some thousand lines a piece; times in ISO 8601, UTC."""
    times = [pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") for name in ("start", "end")]
    return (some.with_columns(times).write_ndjson() for some in frame.iter_slices(_AT_ONCE))


def to_frame(sessions: pl.DataFrame, scores: Any, *, threshold: float, model: str, files: Sequence[str]) -> pl.DataFrame:
    """A sessions frame and its scores as a verdict frame; `files` are the inputs' names."""
    names = pl.Series(files, dtype=pl.String)
    judged = sessions.with_columns(
        score=pl.Series(scores, dtype=pl.Float64),
        model=pl.lit(model),
        files=pl.col("files").list.eval(pl.lit(names).gather(pl.element())) if len(files) > 1 else None,
    )
    extra = [name for name in OPTIONAL if judged[name].null_count() < judged.height]
    return judged.with_columns(anomalous=pl.col("score") >= threshold).select(*FIELDS, *extra)
