"""Earlier labelled data and people's answers, as prepared data that `train` takes."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm import __version__
from logllm.datasets.prepared import PARTS, Manifest, Prepared, part_figures, write_prepared
from logllm.serve.feedback.answered import Answer
from logllm.serve.store.frames import Columns
from logllm.sessions.message_table import MessageTable


class Unanswered(NamedTuple):
    """A session that was judged, and that nobody said anything of."""

    session: str
    messages: tuple[str, ...]
    time: datetime
    """When it was judged."""


class _Learnt(NamedTuple):
    """A session that is added to the earlier ones."""

    name: str
    messages: tuple[str, ...]
    anomalous: bool
    guilty: tuple[bool, ...]
    time: datetime


def labels_lines(prepared: Prepared) -> bool:
    """Whether labels of the train part are of lines."""
    return not prepared.part("train")["item_anomalous"].null_count()


def write_combined(
    out: Path,
    prepared: Prepared,
    *,
    answers: Sequence[Answer],
    quiet: Sequence[Unanswered],
) -> Manifest:
    """Write prepared data whose train part also holds answers, and quiet sessions as normal.

    The validation and test parts stay as they are. The added sessions have a file of their own,
    and their lines and records are numbered on from those of the log. Their rows are spread evenly
    among the others, because novelty learns what is usual in each fifth from the other fifths.

    Args:
        out: the folder to make.
        prepared: the earlier data.
        answers: where lines have labels, each says which of its messages are guilty. Where the
            earlier data have no labels, answers that call a session anomalous are left out.
        quiet: learnt from as normal.

    Raises:
        DataError: the folder is there already, or cannot be written.
    """
    parts = {name: prepared.part(name) for name in PARTS}
    train = parts["train"]
    if train["anomalous"].null_count():
        # A method without labels learns what is usual: an anomaly would teach it the wrong thing.
        answers = [answer for answer in answers if not answer.anomalous]
    # The numbers of before stay, so that the other parts need no change; new messages come behind.
    table = MessageTable()
    table.push(prepared.messages)
    added = list(_sessions(answers, quiet))
    new_rows = _rows(added, train, table=table)
    parts["train"] = _interspersed(train, new_rows)

    # What was learnt from whom stands in the manifest: a run can be traced back to its answers.
    manifest = _manifest(prepared, parts, messages=len(table.messages))
    numbers = [answer.number for answer in answers]
    source = prepared.manifest["fingerprint"]
    manifest["feedback"] = {"answers": numbers, "quiet": len(quiet), "source": source}
    messages = table.messages.to_frame("message")
    frames = {**parts, "messages": messages}
    write_prepared(out, frames, manifest=manifest, force=False)
    return manifest


def _interspersed(train: pl.DataFrame, added: pl.DataFrame) -> pl.DataFrame:
    """The rows of both, each in its own order, with the added rows at even distances."""
    # Of 100 rows and 4 more a new one follows every 25th: rows have the places 0, 1, 2 ..., new
    # ones 12, 37, 62 and 87, the middle of each quarter.
    distance = train.height / max(1, added.height)
    number = pl.int_range(pl.len())
    own = train.with_columns(place=number + 0.0)
    between = added.with_columns(place=(number + 0.5) * distance - 0.5)
    return pl.concat([own, between]).sort("place", maintain_order=True).drop("place")


def _manifest(prepared: Prepared, parts: Mapping[str, pl.DataFrame], *, messages: int) -> Manifest:
    """The earlier manifest, with new counts."""
    unlabelled = sum(part["anomalous"].null_count() for part in parts.values())
    whole = pl.concat(parts.values())
    by_part = {name: part_figures(part) for name, part in parts.items()}
    changed = {
        "logllm": __version__,
        "unlabelled": unlabelled,
        "distinct_messages": messages,
        "parts": by_part,
    }
    return {**prepared.manifest, **part_figures(whole), **changed}


def _sessions(answers: Sequence[Answer], quiet: Sequence[Unanswered]) -> Iterator[_Learnt]:
    """All sessions that are added. Lines are marked guilty where somebody named them."""
    for answer in answers:
        guilty = answer.guilty or (False,) * len(answer.messages)
        # Named by number as well: the log may hold a session of that name, and two answers may be
        # on one.
        name = f"answer {answer.number}: {answer.session}"
        yield _Learnt(name, answer.messages, answer.anomalous, guilty, answer.made)
    for number, session in enumerate(quiet, start=1):
        unmarked = (False,) * len(session.messages)
        name = f"quiet {number}: {session.session}"
        yield _Learnt(name, session.messages, False, unmarked, session.time)


def _rows(added: Sequence[_Learnt], train: pl.DataFrame, *, table: MessageTable) -> pl.DataFrame:
    """Sessions that are added, with the columns of the train part."""
    # Types are said: of no sessions at all Polars could not tell them.
    types: Columns = {
        "session": pl.String,
        "texts": pl.List(pl.String),
        "bad": pl.Boolean,
        "guilty": pl.List(pl.Boolean),
        "time": train.schema["start"],
    }
    # Fields in the order of `_Learnt`.
    named = ("session", "texts", "bad", "guilty", "time")
    columns = dict(zip(named, zip(*added, strict=True), strict=True)) if added else {}
    frame = pl.DataFrame(columns, schema=types)
    frame = frame.with_columns(messages=_numbers(frame["texts"], table))

    # Behind the log: numbers of records and lines go on, in a file of their own.
    file = _largest(train["files"].explode()) + 1
    record = _largest(train["last"]) + 1
    # Sessions of 3, 2 and 4 messages after record 100 are the records 100-102, 103-104, 105-108.
    lengths = pl.col("texts").list.len().cast(pl.UInt64)
    ends = lengths.cum_sum()
    first = record + ends - lengths
    last = record + ends - 1
    frame = frame.with_columns(first=first, last=last)
    lines = pl.int_ranges("first", pl.col("last") + 1)
    frame = frame.with_columns(lines=lines, files=lines.list.eval(pl.lit(file)))

    # What the data of before do not have is not there either.
    timed = not train["start"].null_count()
    labelled = not train["anomalous"].null_count()
    by_line = labelled and not train["item_anomalous"].null_count()
    nothing = pl.lit(None)
    time = pl.col("time") if timed else nothing
    label = pl.col("bad") if labelled else nothing
    line_labels = pl.col("guilty") if by_line else nothing
    frame = frame.with_columns(part=pl.lit(1), start=time, end=time)
    frame = frame.with_columns(anomalous=label, item_anomalous=line_labels)
    missing = [nothing.alias(name) for name in train.columns if name not in frame.columns]
    return frame.with_columns(missing).select(train.columns).cast(train.schema)


def _numbers(texts: pl.Series, table: MessageTable) -> pl.Series:
    """Lists of messages as lists of their numbers in a table, which gains new ones."""
    # All messages go into the table at once, and come back to the session that each is of.
    flat = texts.explode()
    numbers = table.push(flat)
    own_number = pl.int_range(len(texts), eager=True)
    session = own_number.repeat_by(texts.list.len()).explode()
    numbered = pl.DataFrame({"session": session, "number": numbers})
    return numbered.group_by("session", maintain_order=True).agg("number")["number"]


def _largest(column: pl.Series) -> int:
    """The largest number of a column; 0 where there is none."""
    return int(column.max() or 0)  # type: ignore[arg-type]
