"""Altered logs: the test part of prepared data as an unstable log would have it.

The ways to alter are those of LogRobust (FSE 2019) and of LogLLM (section V-D). Labels are never
looked at, and an altered session keeps its own. That is doubtful in places: in HDFS a missing event
may itself be the anomaly, and leaving one out may make one; an inserted message may be an alert;
and where the order of events tells a failure, a shuffled normal session may be one.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from logllm import __version__
from logllm.config.mask import MaskSection
from logllm.config.perturb import PerturbSection
from logllm.datasets.prepared import PARTS, Manifest, Prepared, part_figures, write_prepared
from logllm.datasets.splits import number_of
from logllm.errors import DataError
from logllm.evaluate.wording import other_words
from logllm.sessions.message_table import Rows, rows_of
from logllm.storage import check_replaceable

_MOST_COPIES = 3
_LARGE = 2**62


class Statements(NamedTuple):
    """What other messages come from."""

    table: pl.Series
    """The message table."""
    drawn: pl.Series
    """Messages that are inserted, each as often as it is to be drawn."""
    masks: MaskSection
    """What reworded messages have to agree with."""


class Change(NamedTuple):
    """What becomes of one session."""

    places: Rows
    """For each message of the altered session which of the original's it is, or stands beside or
    for."""
    drawn: Rows
    """A number from 0 for those that get another text, of inserted ones large and random; -1 for
    the others."""
    altered: int
    """How many messages were inserted, left out, repeated, reworded, or stand in the shuffled
    run."""


class Altered(NamedTuple):
    """An altered part."""

    sessions: pl.DataFrame
    """All sessions, in their order."""
    messages: pl.Series
    """The message table, new messages at its end."""
    counts: dict[str, int]
    """How many `sessions` and `messages` were altered."""


def perturb(data: Path, out: Path, *, settings: PerturbSection, force: bool = False) -> Manifest:
    """Write prepared data whose test part is altered; train and validation stay as they are.

    Args:
        data: A folder that `prepare` wrote.
        out: The folder to make, read by all that reads prepared data.
        settings: What to alter, how much, and the seed.
        force: Replace prepared data that is there.

    Returns:
        The new manifest: that of the data with its counts made anew from the parts, and
        `perturbed`: the settings, how many `sessions` and `messages` were altered, and the data's
        fingerprint as `source`.

    Raises:
        DataError: the data are altered already or have no test sessions, the place to write to is
            not free, or a message cannot be reworded.
    """
    check_replaceable(out, force=force)
    prepared = Prepared.load(data)
    if "perturbed" in prepared.manifest:
        kind = prepared.manifest["perturbed"]["kind"]
        raise DataError(f"{data} is altered already ({kind}): alter the data it was made from")
    parts = {name: prepared.part(name) for name in PARTS}
    if not parts["test"].height:
        raise DataError(f"{data} holds no test sessions to alter: prepare it with a share for them")
    # What is inserted is drawn from train as often as it occurs there: the program's own mix.
    train_messages = parts["train"]["messages"].explode()
    statements = Statements(prepared.messages, train_messages, prepared.settings.mask)
    parts["test"], messages, counts = altered(parts["test"], statements, settings=settings)

    # The manifest is the data's own, with every count made anew from the altered parts.
    perturbed = {
        **settings.model_dump(mode="json"),
        **counts,
        "source": prepared.manifest["fingerprint"],
    }
    manifest: Manifest = {
        **prepared.manifest,
        "logllm": __version__,
        **part_figures(pl.concat(parts.values())),
        "distinct_messages": len(messages),
        "parts": {name: part_figures(part) for name, part in parts.items()},
        "perturbed": perturbed,
    }
    frames = {**parts, "messages": messages.to_frame("message")}
    write_prepared(out, frames, manifest=manifest, force=force)
    return manifest


def altered(sessions: pl.DataFrame, statements: Statements, *, settings: PerturbSection) -> Altered:
    """Some sessions altered.

    The number of sessions is `ratio` of them, rounded up, drawn from those that can be altered:
    `remove` needs two messages, `shuffle` two different ones. A session becomes the same at any
    ratio.
    """
    rows = rows_of(sessions["messages"])
    # One order for all ratios, of which a longer beginning is taken: what is altered at 5 % is
    # altered at 20 % too, and in the same way, for each session has random numbers of its own.
    shuffled = np.random.default_rng(settings.seed).permutation(len(rows)).tolist()
    order = [at for at in shuffled if _alterable(rows[at], settings.kind)]
    count = number_of(len(rows), settings.ratio)
    chosen = sorted(order[:count])
    if not chosen:
        return Altered(sessions, statements.table, {"sessions": 0, "messages": 0})
    changes: list[Change] = []
    for at in chosen:
        rng = np.random.default_rng([settings.seed, at])
        changes.append(_change(rows[at], settings=settings, rng=rng))
    frame, table = _rewritten(sessions[chosen], changes, statements=statements, settings=settings)

    # The altered ones back to their places among the others.
    numbered = sessions.with_row_index("at")
    untouched = numbered.filter(~pl.col("at").is_in(chosen))
    touched = frame.insert_column(0, pl.Series("at", chosen, dtype=pl.UInt32))
    whole = pl.concat([untouched, touched]).sort("at").drop("at")
    messages_altered = sum(change.altered for change in changes)
    return Altered(whole, table, {"sessions": len(chosen), "messages": messages_altered})


def _alterable(session: Rows, kind: str) -> bool:
    """Whether a session can be altered so that it differs and is not empty."""
    if kind == "remove":
        return len(session) > 1
    if kind == "shuffle":
        return bool((session != session[0]).any())
    return True


def _change(session: Rows, *, settings: PerturbSection, rng: np.random.Generator) -> Change:
    """What becomes of a session."""
    count = number_of(len(session), settings.strength)
    return _CHANGES[settings.kind](session, count, rng=rng)


def _insert(session: Rows, count: int, *, rng: np.random.Generator) -> Change:
    """Other messages are inserted anywhere.

    Each goes with the message before it, one at the front with the first message.
    """
    gaps = np.sort(rng.integers(len(session) + 1, size=count))
    # Gap 0 is before the first message; what is inserted there stands beside that one.
    beside = np.maximum(gaps - 1, 0)
    places = np.insert(np.arange(len(session)), gaps, beside)
    random_numbers = rng.integers(_LARGE, size=count)
    drawn = np.insert(np.full(len(session), -1), gaps, random_numbers)
    return Change(places, drawn, count)


def _remove(session: Rows, count: int, *, rng: np.random.Generator) -> Change:
    """Messages go, but not the last one there is."""
    count = min(count, len(session) - 1)
    kept = np.sort(rng.permutation(len(session))[count:])
    return Change(kept, np.full(len(kept), -1), count)


def _duplicate(session: Rows, count: int, *, rng: np.random.Generator) -> Change:
    """Messages are repeated one to three times, right after themselves."""
    times = np.ones(len(session), dtype=np.int64)
    repeated = rng.permutation(len(session))[:count]
    times[repeated] += rng.integers(1, _MOST_COPIES + 1, size=count)
    places = np.repeat(np.arange(len(session)), times)
    return Change(places, np.full(len(places), -1), count)


def _shuffle(session: Rows, count: int, *, rng: np.random.Generator) -> Change:
    """A run of messages, at least two and not all the same, comes in another order."""
    length = min(len(session), max(2, count))
    # How often the message has changed up to each place: a run is of one message alone if nothing
    # changed between its ends, and in another order it would be the same.
    turns = np.concatenate([[0], np.cumsum(session[1:] != session[:-1])])
    turns_at_end = turns[length - 1 :]
    turns_at_start = turns[: len(turns) - length + 1]
    starts = np.flatnonzero(turns_at_end > turns_at_start)
    start = int(rng.choice(starts))
    places = np.arange(len(session))

    # Equal messages may change places with one another: then it is shuffled again.
    while (session[places] == session).all():
        places[start : start + length] = start + rng.permutation(length)
    return Change(places, np.full(len(places), -1), length)


def _reword(session: Rows, count: int, *, rng: np.random.Generator) -> Change:
    """Messages stay where they are, in other words."""
    drawn = np.full(len(session), -1)
    reworded = rng.permutation(len(session))[:count]
    drawn[reworded] = 0
    return Change(np.arange(len(session)), drawn, count)


_CHANGES: Mapping[str, Callable[..., Change]] = {
    "insert": _insert,
    "remove": _remove,
    "duplicate": _duplicate,
    "shuffle": _shuffle,
    "reword": _reword,
}


def _rewritten(
    sessions: pl.DataFrame,
    changes: Sequence[Change],
    *,
    statements: Statements,
    settings: PerturbSection,
) -> tuple[pl.DataFrame, pl.Series]:
    """Sessions with their changes made, and the message table with what they need."""
    # All sessions' messages one after the other, and which of them the altered ones have.
    lengths = sessions["messages"].list.len().cast(pl.Int64).to_numpy()
    starts = np.cumsum(lengths) - lengths
    of_sessions = zip(changes, starts, strict=True)
    flat = np.concatenate([change.places + start for change, start in of_sessions])
    drawn = np.concatenate([change.drawn for change in changes])
    is_other = drawn >= 0

    # A session whose lines have no labels has no list of them; one of nulls keeps the columns
    # alike.
    item_anomalous = pl.col("item_anomalous")
    nulls = pl.col("messages").list.eval(pl.element() < 0)
    labels = pl.when(item_anomalous.is_null()).then(nulls).otherwise("item_anomalous")
    items = sessions.select("messages", "lines", "files", item_anomalous=labels)
    new_lengths = [len(change.places) for change in changes]
    row = np.repeat(np.arange(len(changes)), new_lengths)
    taken = items.explode(*items.columns)[flat].with_columns(row=row)

    # Other texts: inserted messages are drawn, with a normal line's label; reworded ones stay whose
    # they are.
    table = statements.table
    messages = taken["messages"].to_numpy().copy()
    if settings.kind == "insert":
        inserted = drawn[is_other] % len(statements.drawn)
        messages[is_other] = statements.drawn.to_numpy()[inserted]
        own_label = pl.when(~pl.Series(is_other)).then("item_anomalous").otherwise(False)
        taken = taken.with_columns(item_anomalous=own_label)
    elif settings.kind == "reword":
        reworded = messages[is_other]
        messages[is_other], table = _worded(reworded, statements=statements, seed=settings.seed)

    # Back to one row a session; a list of nulls was only there for the columns' sake.
    taken = taken.with_columns(messages=pl.Series(messages, dtype=pl.UInt32))
    lists = taken.group_by("row", maintain_order=True).agg(pl.all()).drop("row")
    keep = pl.when(sessions["item_anomalous"].is_not_null()).then("item_anomalous")
    return sessions.with_columns(lists.with_columns(item_anomalous=keep)), table


def _worded(rows: Rows, *, statements: Statements, seed: int) -> tuple[Rows, pl.Series]:
    """Messages in other words, and the message table with them at its end."""
    distinct, of = np.unique(rows, return_inverse=True)
    texts = statements.table.gather(distinct)
    words = other_words(texts, known=statements.table, masks=statements.masks, seed=seed)

    # Two messages may have come to the same words: those are one message then.
    new = words.unique(maintain_order=True)
    first = len(statements.table)
    place_of = {text: first + number for number, text in enumerate(new)}
    places = np.array([place_of[text] for text in words])
    return places[of], pl.concat([statements.table, new])
