"""Which lines of sessions a page marks because they speak for "anomalous".

They are the evidence of verdicts, or the most surprising lines.
"""

import polars as pl

from logllm.detect.page.judged import Judged
from logllm.detect.page.opened import MARKS
from logllm.detect.unusual import strangest
from logllm.sessions.message_table import rows_of

_LINES = 3
"""How many lines of a ranked session are marked at most."""
_SURPRISING = 0.5
"""How surprising each must be at least, as a share of the most surprising one."""


def marked_lines(sessions: pl.DataFrame, log: Judged) -> pl.DataFrame:
    """The lines of sessions that are marked (`MARKS`).

    Args:
        sessions: some of a log's verdicts.
        log: the log.
    """
    rows = sessions.with_row_index("row")
    if "evidence" in rows.columns:
        return _evidence(rows)
    return _surprising(rows, log) if log.ranked else pl.DataFrame(schema=MARKS)


def _evidence(rows: pl.DataFrame) -> pl.DataFrame:
    """The lines that verdicts bring as evidence."""
    told = rows.select("row", "evidence").explode("evidence")
    told = told.filter(pl.col("evidence").is_not_null()).unnest("evidence")
    # Where there is one file, verdicts do not name it.
    file = "file" if "file" in told.columns else pl.lit(None).alias("file")
    marks = told.select("row", "line", file, mark="score")
    return marks.cast(MARKS).unique(["row", "line", "file"], keep="first", maintain_order=True)


def _surprising(rows: pl.DataFrame, log: Judged) -> pl.DataFrame:
    """The most surprising lines of sessions that are ranked."""
    sessions = rows_of(rows["messages"])
    scores = log.detector.score_lines(sessions, log.messages)
    marked: list[tuple[int, int, float]] = []
    for row, (session, of_lines) in enumerate(zip(sessions, scores, strict=True)):
        # Half of what the foremost line says: a line that says hardly anything is not worth a mark.
        least = _SURPRISING * of_lines.max()
        for at in strangest(session, of_lines, lines=_LINES):
            score = float(of_lines[at])
            if score >= least:
                marked.append((row, at, score))
    # From the place in the session to the line and its file.
    schema = {"row": pl.UInt32, "at": pl.UInt32, "mark": pl.Float64}
    places = pl.DataFrame(marked, schema=schema, orient="row")
    places = places.join(rows, on="row", maintain_order="left")
    at_place = pl.col("at")
    line = pl.col("lines").list.get(at_place)
    several = "files" in rows.columns
    file = pl.col("files").list.get(at_place) if several else pl.lit(None)
    marks = places.select("row", line.alias("line"), file.alias("file"), "mark")
    return marks.cast(MARKS)
