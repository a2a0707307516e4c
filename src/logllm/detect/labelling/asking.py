"""Sessions shown to a person, and the keys that they press."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from logllm.counting import plural
from logllm.detect.labelling.answers import ANOMALOUS, NORMAL, SKIPPED, Answers
from logllm.detect.labelling.judged_log import JudgedLog
from logllm.detect.labelling.questions import Question
from logllm.logs.tally import printable

_LINES = 24
"""Lines of a session that are shown at first."""
_WIDTH = 160
"""Characters of each."""
_KEYS = "a anomalous   n normal   s skip   m more   u undo   q quit"
_MEANINGS = {"a": ANOMALOUS, "n": NORMAL, "s": SKIPPED}
_COLUMNS = {
    "session": pl.String(),
    "label": pl.String(),
    "score": pl.Float64(),
    "sessions": pl.UInt32(),
    "lines": pl.String(),
}
"""Of a file that is handed out; `sessions` is how many of the same messages there are."""


def ask(
    asked: Sequence[Question],
    log: JudgedLog,
    *,
    answers: Answers,
    key: Callable[[], str],
    say: Callable[[str], None],
) -> None:
    """Ask one question after the other, until all are answered or it is enough.

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
        _show(asked[at], log, begin=f"{at + 1} of {len(asked)}", lines=lines, say=say)
        pressed = key().lower()
        lines = _LINES
        if pressed == "q":
            return
        if pressed in _MEANINGS:
            answers.give(asked[at], _MEANINGS[pressed])
            at += 1
        elif pressed == "u" and at:
            answers.take_back()
            at -= 1
        elif pressed == "m":
            lines = sys.maxsize
        else:
            say("there is nothing to undo" if pressed == "u" else f"keys: {_KEYS}")


def handed_out(asked: Sequence[Question], log: JudgedLog) -> pl.DataFrame:
    """What would be asked, a session a row, its label left open."""
    rows: list[tuple[str, None, float, int, str]] = []
    for question in asked:
        # All of it in one cell: the file is filled in with a spreadsheet, away from the log.
        lines = _lines(question, log, most=_LINES)
        text = "\n".join(f"{mark} {where}: {shown}" for mark, where, shown in lines.iter_rows())
        rows.append((question.session, None, question.score, len(question.names), text))
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
    # One answer labels all of them.
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
    """Lines of a session, `mark`, `where` and `text`: the first ones, and the most telling one."""
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
    chosen = lines.filter((pl.col("at") < others) | telling)

    texts = [printable(text) for text in log.written.texts(chosen.drop("at"))]
    if most == _LINES:
        texts = [text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…" for text in texts]
    files = [Path(log.files[file]).name for file in chosen["file"]]
    return chosen.select(
        mark=pl.when(telling).then(pl.lit(">")).otherwise(pl.lit(" ")),
        where=pl.format("{}:{}", pl.Series(files, dtype=pl.String), "line"),
        text=pl.Series(texts, dtype=pl.String),
    )
