"""What detection says of a session: one schema in the library, on the command line and in files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import numpy as np
import polars as pl

from logllm.metrics import Labels, Scores
from logllm.sessions.sessionizer import SESSIONS

SCHEMA = 1
"""Number of the schema: it grows when a field is removed or changes its meaning, not when one is
added."""
FIELDS = ("session", "score", "anomalous", "lines", "start", "end", "model")
"""Columns of a verdict frame and keys of a verdict's JSON object, in order."""
OPTIONAL = ("files", "state", "cut", "evidence", "minds", "new_words", "expected", "p")
"""Added, in this order, where they say something."""

_AT_ONCE = 5_000
"""Verdicts written out at once; for Polars a string of more is also more work."""


@dataclass(frozen=True)
class Verdict:
    """One session's verdict."""

    # The docstrings below are the descriptions of the JSON schema.
    __pydantic_config__: ClassVar = {"use_attribute_docstrings": True}
    schema: ClassVar[int] = SCHEMA
    """Number of the schema."""
    session: str
    """The key, or `<size>@<first record>` of a window; with `#2` a long session's second piece."""
    score: float
    """How anomalous, in [0, 1]. Of a run that was trained with labels it is a probability, as far
    as the run's `reliability` says; of `novelty` it is none: .5 is where a session goes beyond all
    that were held back in learning."""
    anomalous: bool
    """Whether the score reaches the run's threshold; of a session that is `cut`, whether what was
    seen of it is enough by itself as well."""
    lines: list[int]
    """Line numbers, from 1 within each file."""
    start: datetime | None
    """Time of the first record, UTC."""
    end: datetime | None
    """Time of the last record, UTC."""
    model: str
    """The run that judged, and the beginning of its hash."""
    files: list[str] | None = None
    """The file of each line, where there are several inputs."""
    state: str | None = None
    """`early`: closed before its end for want of room or for idleness; `late`: judged again with
    records that came after it had closed; `open`: not closed yet. None: closed in its own time."""
    cut: str | None = None
    """`start`, `end` or `both`: the session may have been running already when the input began, or
    may go on after it ended, so that only a part of it was seen."""
    evidence: list[dict[str, Any]] | None = None
    """The lines that speak most for an anomalous verdict, most telling first, at most five: `line`,
    `file` where there are several inputs, `score` (how much it says, never more than the verdict),
    and `text`, the line as it is written (of a trace its exception), without secrets where that is
    asked for. Of what can be read only once `text` is the masked message."""
    minds: dict[str, float] | None = None
    """What each mind said, as a probability, where several make up one verdict."""
    new_words: float | None = None
    """The share of the session's words that training has never seen, where the method goes by
    words."""
    expected: list[str] | None = None
    """Masked messages that normal sessions which begin alike go on with, and that did not come; of
    an anomalous session no line of which tells by itself, as far as the log holds them
    elsewhere."""
    p: float | None = None
    """With `novelty`: the share of the sessions learnt from that are at least as strange, the
    judged one counted among them, so that it is never 0. It is not how likely the session is a
    fault."""


def verdicts(frame: pl.DataFrame) -> Iterator[Verdict]:
    """The rows of a verdict frame as objects."""
    return (Verdict(**row) for row in frame.iter_rows(named=True))


def json_lines(frame: pl.DataFrame) -> Iterator[str]:
    """A verdict frame as one JSON object a line, some thousand lines at a time.

    Times are in ISO 8601, UTC.
    """
    number = pl.lit(SCHEMA, dtype=pl.UInt8).alias("schema")
    times = [pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") for name in ("start", "end")]
    pieces = frame.iter_slices(_AT_ONCE)
    return (piece.with_columns(*times, number).write_ndjson() for piece in pieces)


def json_schema() -> dict[str, Any]:
    """The schema of a verdict's JSON object, as JSON Schema (draft 2020-12)."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(Verdict).json_schema()
    # In the order in which a verdict is written.
    described: dict[str, Any] = {}
    for name in (*FIELDS, *OPTIONAL):
        field = schema["properties"][name]
        # A title made of the name says nothing beside the description, whose lines are one text.
        del field["title"]
        field["description"] = " ".join(field["description"].split())
        described[name] = field
    described["schema"] = {"const": SCHEMA, "description": "The number of this schema."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Verdict of logllm, schema {SCHEMA}",
        "type": "object",
        "properties": described,
        "required": [*FIELDS, "schema"],
    }


def to_frame(
    sessions: pl.DataFrame, scores: Scores, *, anomalous: Labels, model: str, files: Sequence[str]
) -> pl.DataFrame:
    """A verdict frame, made of a sessions frame, its scores and which are anomalous.

    `files` are the inputs' names.
    """
    # Sessions hold the number of each line's file, verdicts its name.
    names = pl.lit(pl.Series(files, dtype=pl.String))
    file_name = names.gather(pl.element())
    file_of_line = pl.col("files").list.eval(file_name)
    renamed = sessions.rename({"closed": "state"})
    score_column = pl.Series(scores, dtype=pl.Float64)
    calls = pl.Series(anomalous, dtype=pl.Boolean)
    judged = renamed.with_columns(
        score=score_column,
        anomalous=calls,
        model=pl.lit(model),
        files=file_of_line if len(files) > 1 else None,
    )
    # A column that says nothing of any of these sessions is left out.
    there = [name for name in OPTIONAL if name in judged.columns]
    extra = [name for name in there if judged[name].null_count() < judged.height]
    return judged.select(*FIELDS, *extra)


def none_judged() -> pl.DataFrame:
    """A verdict frame of no session, with `messages`, for a log that holds none."""
    sessions = pl.DataFrame(schema=SESSIONS)
    nothing = np.zeros(0)
    frame = to_frame(sessions, nothing, anomalous=nothing.astype(np.bool_), model="", files=())
    return frame.with_columns(sessions["messages"])
