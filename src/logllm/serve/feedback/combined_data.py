"""Labelled data of before and answers of people, as prepared data that `train` takes."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from logllm import __version__
from logllm.datasets.prepared import PARTS, Manifest, Prepared, part_figures, write_prepared
from logllm.serve.feedback.answered import Answer
from logllm.sessions.message_table import MessageTable


class Unanswered(NamedTuple):
    """A session that was judged, and that nobody said anything of."""

    session: str
    messages: tuple[str, ...]
    time: datetime
    """When it was judged."""


class _Learnt(NamedTuple):
    """A session that comes to those of before."""

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
    """Write prepared data whose train part holds answers, and quiet sessions as normal, besides its own.

    Validation and test parts stay as they are. What is added lies behind the log: in a file of its
    own, with numbers of lines and records that go on.

    Args:
        out: the folder to make.
        prepared: the data of before.
        answers: where lines have labels, each says which of its messages are guilty.
        quiet: left out where the data of before have no labels.

    Raises:
        DataError: the folder is there already, or cannot be written.
    """
    parts = {name: prepared.part(name) for name in PARTS}
    table = MessageTable()
    table.push(prepared.messages)
    added = _rows(list(_sessions(answers, quiet)), parts["train"], table=table)
    parts["train"] = pl.concat([parts["train"], added])
    manifest: Manifest = {
        **prepared.manifest,
        "logllm": __version__,
        **part_figures(pl.concat(parts.values())),
        "unlabelled": sum(part["anomalous"].null_count() for part in parts.values()),
        "distinct_messages": len(table.messages),
        "parts": {name: part_figures(part) for name, part in parts.items()},
        "feedback": {
            "answers": [answer.number for answer in answers],
            "quiet": len(quiet),
            "source": prepared.manifest["fingerprint"],
        },
    }
    frames = {**parts, "messages": table.messages.to_frame("message")}
    write_prepared(out, frames, manifest=manifest, force=False)
    return manifest


def _sessions(answers: Sequence[Answer], quiet: Sequence[Unanswered]) -> Iterator[_Learnt]:
    """All that is added; lines are marked as far as anybody named them."""
    for answer in answers:
        guilty = answer.guilty or (False,) * len(answer.messages)
        name = f"answer {answer.number}: {answer.session}"
        yield _Learnt(name, answer.messages, answer.anomalous, guilty, answer.made)
    for number, session in enumerate(quiet, start=1):
        unmarked = (False,) * len(session.messages)
        yield _Learnt(f"quiet {number}: {session.session}", session.messages, False, unmarked, session.time)


def _rows(added: Sequence[_Learnt], train: pl.DataFrame, *, table: MessageTable) -> pl.DataFrame:
    """Sessions that are added, with the columns of the train part."""
    texts = pl.Series([session.messages for session in added], dtype=pl.List(pl.String))
    lengths = texts.list.len().cast(pl.UInt64)
    ends = lengths.cum_sum()
    file = _largest(train["files"].explode()) + 1
    first = _largest(train["last"]) + 1
    timed = bool(train.height) and not train["start"].null_count()
    labelled = bool(train.height) and not train["anomalous"].null_count()
    of_lines = labelled and not train["item_anomalous"].null_count()

    numbers = table.push(texts.explode())
    lists = pl.DataFrame({"session": pl.int_range(len(texts), eager=True).repeat_by(lengths).explode(), "messages": numbers})
    messages = lists.group_by("session", maintain_order=True).agg("messages")["messages"]
    times = pl.Series([session.time if timed else None for session in added], dtype=train.schema["start"])
    frame = pl.DataFrame(
        {
            "session": [session.name for session in added],
            "part": 1,
            "messages": messages,
            "first": first + ends - lengths,
            "last": first + ends - 1,
            "start": times,
            "end": times,
            "anomalous": [session.anomalous if labelled else None for session in added],
            "item_anomalous": [session.guilty if of_lines else None for session in added],
        },
        strict=False,
    )
    record = pl.int_ranges(pl.col("first"), pl.col("last") + 1)
    columns: dict[str, Any] = {"lines": record, "files": record.list.eval(pl.lit(file))}
    missing = {name: pl.lit(None) for name in train.columns if name not in frame.columns and name not in columns}
    return frame.with_columns(**columns, **missing).select(train.columns).cast(train.schema)


def _largest(column: pl.Series) -> int:
    """The largest number of a column; 0 where there is none."""
    return int(column.max() or 0)  # type: ignore[arg-type]
