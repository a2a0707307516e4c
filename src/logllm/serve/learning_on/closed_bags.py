"""Closed sessions as what is learnt of them: which kinds of message they hold, and how often."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import polars as pl

from logllm.logs.redaction import redact
from logllm.methods.contract import Bag
from logllm.serve.store.frames import KEY, NUL_PICTURE, stored_names
from logllm.sessions.message_table import kinds_of

Key = tuple[str, str, int, int]
"""Partition, session as it is stored, piece, first position."""
Texts = Callable[[pl.DataFrame], pl.Series]
"""What is written in lines, of which `file`, `line` and `message` (masked) are given."""
_LONGEST_LINE = 300


class Offered(NamedTuple):
    """Normal sessions that have closed and were not cut."""

    bags: dict[Key, Bag]
    lines: dict[str, str]
    """For each kind of message that was asked for, a line of that kind as it may be shown."""


class Judged(NamedTuple):
    """Sessions that have closed, and what is stored of them."""

    sessions: pl.DataFrame
    """With the columns `logllm.sessions.sessionizer.SESSIONS`."""
    rows: pl.DataFrame
    """With the columns `logllm.serve.store.frames.VERDICTS`, in the same order."""
    messages: pl.Series
    """The message table."""


def offered(
    judged: Judged,
    *,
    texts: Texts,
    redacted: bool,
    new: Callable[[list[str]], list[str]],
) -> Offered:
    """What may be learnt of sessions that have closed.

    Args:
        judged: the sessions.
        texts: gives lines as they may be shown.
        redacted: whether secrets must not be stored: then sessions are left out whose messages
            hold one.
        new: given kinds of message, returns those of which a line is wanted.
    """
    # Neither cut sessions nor those that closed early show what a whole one holds.
    rows = judged.rows
    is_closed = rows["state"] == "closed"
    is_whole = rows["cut"].is_null()
    normal = is_closed & ~rows["anomalous"] & is_whole
    stored = pl.col("session").map_batches(stored_names, return_dtype=pl.String)
    keys = rows.filter(normal).select(KEY).with_columns(stored)

    # One row a line: which session it is of, where it stands, and of which kind it is.
    # The three lists of a session are as long as each other, and come apart together.
    of_lines = ("files", "lines", "messages")
    sessions = judged.sessions.filter(normal).select(pl.row_index("row"), *of_lines)
    flat = sessions.explode(*of_lines, empty_as_null=False)
    flat = flat.with_columns(text=judged.messages.gather(flat["messages"]))
    flat = flat.with_columns(kind=kinds_of(flat["text"]))

    # A session is left out where not all of it may be stored as it is.
    distinct = flat["kind"].unique(maintain_order=True)
    nothing = pl.Series([False]).new_from_index(0, len(distinct))
    secret = redact(distinct) != distinct if redacted else nothing
    secret_kinds = distinct.filter(secret)
    with_secret = flat.filter(pl.col("kind").is_in(secret_kinds.implode()))
    left_out = set(with_secret["row"])

    # How often each session holds each kind: their order says nothing here.
    counted = flat.group_by("row", "kind", maintain_order=True).len("times")
    by_row = counted.group_by("row", maintain_order=True).agg("kind", "times")
    named = list(keys.iter_rows())
    bags = {}
    for row, kinds, times in by_row.iter_rows():
        if row not in left_out:
            often = dict(zip(kinds, times, strict=True))
            bags[named[row]] = Bag(often)
    wanted = new(distinct.filter(~secret).to_list())
    return Offered(bags, _lines(flat, wanted, texts=texts))


def merged(bags: Iterable[Bag]) -> list[Bag]:
    """Bags of which no two hold the same, in the order of the first.

    >>> merged([Bag({"a": 1, "b": 2}), Bag({"a": 1}), Bag({"b": 2, "a": 1}, 3)])
    [Bag(times={'a': 1, 'b': 2}, sessions=4), Bag(times={'a': 1}, sessions=1)]
    """
    same: dict[frozenset[tuple[str, int]], Bag] = {}
    for bag in bags:
        # Equal ones are learnt in one step, whatever the order of their kinds.
        holds = frozenset(bag.times.items())
        before = same.get(holds)
        if before is None:
            same[holds] = bag
        else:
            together = before.sessions + bag.sessions
            same[holds] = before._replace(sessions=together)
    return list(same.values())


def _lines(flat: pl.DataFrame, kinds: list[str], *, texts: Texts) -> dict[str, str]:
    """The first line of each of some kinds."""
    if not kinds:
        return {}
    # Only of kinds that are new: lines are looked up in what is still remembered of the log.
    wanted = pl.Series(kinds).implode()
    of_kinds = flat.filter(pl.col("kind").is_in(wanted))
    first = of_kinds.unique("kind", keep="first", maintain_order=True)
    file = pl.col("files").cast(pl.UInt32)
    places = first.select(file=file, line="lines", message="text")
    written = texts(places).str.replace_all("\x00", NUL_PICTURE, literal=True)
    shown = written.fill_null("").str.slice(0, _LONGEST_LINE)
    return dict(zip(first["kind"], shown, strict=True))
