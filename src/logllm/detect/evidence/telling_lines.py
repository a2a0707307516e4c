"""Which lines speak most for an anomalous verdict."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from logllm.detect.evidence.written_lines import WrittenLines
from logllm.metrics import Scores
from logllm.sessions.message_table import Rows, lengths, rows_of

ScoreLines = Callable[[list[Rows]], list[Scores]]
"""How much each message of some sessions speaks for "anomalous"."""

MOST = 5
"""Most lines of a verdict."""
_LEAST = 0.5
"""A line must say at least this share of what the most telling one says."""


def evidence(
    sessions: pl.DataFrame,
    messages: pl.Series,
    *,
    score_lines: ScoreLines,
    written: WrittenLines,
    files: Sequence[str],
) -> pl.Series:
    """The lines that speak most for sessions' verdicts, a list of `line, file, score, text` a session.

    A message that is repeated is named once, where it says most. A line says no more than the verdict does.

    Args:
        sessions: of `logllm.sessions.sessionizer.SESSIONS`, with `score`, the verdict's.
        messages: the message table.
        score_lines: scores their lines.
        written: gives what is written in lines.
        files: names of the inputs; where there is one only, no line has a file.
    """
    # Equal sessions are looked at once.
    alike = sessions.select("messages").with_row_index("session").group_by("messages", maintain_order=True)
    distinct = alike.agg("session").with_row_index("of")
    telling = _telling(rows_of(distinct["messages"]), score_lines=score_lines)

    # Each telling line of each session.
    rows = distinct.select("of", "session").explode("session").sort("session").join(telling, on="of", maintain_order="left_right")
    told = sessions.select("lines", "files", "score").with_row_index("session")
    rows = rows.join(told, on="session", maintain_order="left")
    at = pl.col("at")
    rows = rows.select(
        "session",
        line=pl.col("lines").list.get(at),
        file=pl.col("files").list.get(at),
        score=pl.min_horizontal("score_of_line", "score"),
        message=messages.gather(rows["message"]),
    )
    rows = rows.with_columns(text=written.texts(rows.select("file", "line", "message")))
    names = pl.Series(files, dtype=pl.String)
    named = [pl.lit(names).gather(pl.col("file")).alias("file")] if len(files) > 1 else []
    lines = rows.select("session", pl.struct("line", *named, "score", "text").alias("evidence"))
    return lines.group_by("session", maintain_order=True).agg("evidence")["evidence"]


def _telling(distinct: list[Rows], *, score_lines: ScoreLines) -> pl.DataFrame:
    """The telling lines of distinct sessions, most telling first: `of` (which session), `at` (place in it), `message`, `score_of_line`."""
    entries = pl.DataFrame(
        {
            "of": np.repeat(np.arange(len(distinct), dtype=np.uint32), lengths(distinct)),
            "message": np.concatenate(distinct).astype(np.uint32),
            "score_of_line": np.concatenate(score_lines(distinct)),
        }
    )
    entries = entries.with_columns(at=pl.int_range(pl.len()).over("of"))
    order = entries.sort("of", "score_of_line", "at", descending=[False, True, False])
    once = order.unique(["of", "message"], keep="first", maintain_order=True)
    enough = pl.col("score_of_line") >= _LEAST * pl.col("score_of_line").max().over("of")
    return once.filter(enough).group_by("of", maintain_order=True).head(MOST)
