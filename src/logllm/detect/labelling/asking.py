"""Sessions shown to a person, and the keys that they press."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from logllm.counting import plural
from logllm.detect.evidence.whole_records import titles
from logllm.detect.labelling.answers import ANOMALOUS, NORMAL, SKIPPED, Answers
from logllm.detect.labelling.judged_log import JudgedLog
from logllm.detect.labelling.questions import Question
from logllm.logs.tally import printable

_LINES = 24
"""How many lines of a session are shown at first."""
_WIDTH = 160
"""How many characters of each line are shown at first."""
_KEYS = "a anomalous   n normal   s skip   m more   u undo   q quit"
_MEANINGS = {"a": ANOMALOUS, "n": NORMAL, "s": SKIPPED}
_COLUMNS = {
    "session": pl.String(),
    "label": pl.String(),
    "score": pl.Float64(),
    "sessions": pl.UInt32(),
    "lines": pl.String(),
}
"""Columns of a file that is handed out; `sessions` counts those with the same messages."""


def ask(
    asked: Sequence[Question],
    log: JudgedLog,
    *,
    answers: Answers,
    key: Callable[[], str],
    say: Callable[[str], None],
) -> None:
    """Ask one question after the other, until all are answered or the person quits.

    Args:
        asked: what is asked.
        log: where the sessions are.
        answers: takes the answers.
        key: waits for a key.
        say: shows a line.
    """
    at, lines = 0, _LINES
    while at < len(asked):
        # `m` shows the same session once more, with all its lines; any other key goes on with few.
        question = asked[at]
        _show(question, log, begin=f"{at + 1} of {len(asked)}", lines=lines, say=say)
        pressed = key().lower()
        lines = _LINES
        if pressed == "q":
            return
        if pressed in _MEANINGS:
            answers.give(question, _MEANINGS[pressed])
            at += 1
        elif pressed == "u" and at:
            answers.take_back()
            at -= 1
        elif pressed == "m":
            lines = sys.maxsize
        else:
            say("there is nothing to undo" if pressed == "u" else f"keys: {_KEYS}")


def handed_out(asked: Sequence[Question], log: JudgedLog) -> pl.DataFrame:
    """What would be asked, one row for each session, with an empty label."""
    rows: list[tuple[str, None, float, int, str]] = []
    for question in asked:
        # All of it in one cell: the file is filled in with a spreadsheet, away from the log.
        lines = _lines(question, log, most=_LINES)
        text = "\n".join(f"{mark} {where}: {shown}" for mark, where, shown in lines.iter_rows())
        alike = len(question.names)
        rows.append((question.session, None, question.score, alike, text))
    return pl.DataFrame(rows, schema=_COLUMNS, orient="row")


def _show(
    question: Question,
    log: JudgedLog,
    *,
    begin: str,
    lines: int,
    say: Callable[[str], None],
) -> None:
    """A session, its most telling line marked."""
    # How many labels one answer gives, and what the run thought, which a person may doubt.
    alike = len(question.names) - 1
    others = f", and {alike:,} more of just the same messages" if alike else ""
    called = "anomalous" if question.anomalous else "normal"
    say(f"\n{begin}: {question.session}{others}; score {question.score:.4f}, {called} to the run")
    rows = _lines(question, log, most=lines)
    for mark, where, text in rows.iter_rows():
        say(f"{mark} {where}: {text}")
    # A long session is shown around its telling line; `m` shows the rest.
    left = len(log.sessions["lines"][question.row]) - rows.height
    if left:
        say(f"  and {plural(left, 'more line')}: m")
    say(_KEYS)


def _lines(question: Question, log: JudgedLog, *, most: int) -> pl.DataFrame:
    """The first lines of a session and the most telling one: `mark`, `where` and `text`."""
    # One row for each line of the session, with its place.
    row = log.sessions.row(question.row, named=True)
    columns = {
        "file": row["files"],
        "line": row["lines"],
        "message": log.messages.gather(row["messages"]),
    }
    schema = {"file": pl.UInt32, "line": pl.UInt64, "message": pl.String}
    lines = pl.DataFrame(columns, schema=schema).with_row_index("at")
    telling = pl.col("at") == question.telling
    # The most telling line is shown in any case: it takes the place of the last of the first ones.
    others = most if question.telling < most else most - 1
    is_first = pl.col("at") < others
    chosen = lines.filter(is_first | telling)

    # What stands in the log may move the cursor, and may be longer than a screen is wide.
    written = titles(chosen.drop("at"), log.written)
    texts = [printable(text) for text in written]
    if most == _LINES:
        texts = [text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…" for text in texts]
    files = [Path(log.files[file]).name for file in chosen["file"]]
    mark = pl.when(telling).then(pl.lit(">")).otherwise(pl.lit(" "))
    where = pl.format("{}:{}", pl.Series(files, dtype=pl.String), "line")
    return chosen.select(mark=mark, where=where, text=pl.Series(texts, dtype=pl.String))
