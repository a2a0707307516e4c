"""Whole sessions to learn from.

Their messages one by one, how often each message is in them, and which messages they hold together.
"""

from typing import NamedTuple, Self

import numpy as np
import polars as pl

from logllm.sessions.message_sets import Arrays, Counts, Keys, places
from logllm.sessions.pauses import Chances, Flags, share
from logllm.sessions.sessionizer import base_name

_MOST = 2_000
"""How many different sets are remembered: those that most sessions have."""
_MOST_SESSIONS = 50_000
"""How many sessions are learnt from; of more, every n-th."""


class Entries(NamedTuple):
    """One entry for each message of a session, sessions one after the other."""

    keys: Keys
    pieces: Counts
    """Which piece of a session it is in, rising from 0."""
    sessions: Counts
    """Which session, rising from 0."""
    places: Counts
    """Where in the piece it stands, from 0."""
    clock: Chances
    """When it was written: seconds, or the number of its record."""
    anomalous: Flags
    """Whether the session is anomalous."""
    marked: Flags | None
    """Whether its line is anomalous; None where lines are not labelled."""


def entries_of(sessions: pl.DataFrame, keys: Keys) -> tuple[Entries, bool]:
    """The messages of the sessions, of at most 50,000, each session's pieces together.

    Args:
        sessions: of `logllm.sessions.sessionizer.SESSIONS`.
        keys: of the message table's messages.

    Returns:
        The entries, and whether their clock counts seconds; else it counts records.
    """
    # A key that came back after its session had closed is another session.
    frame = sessions.with_columns(name=base_name())
    is_beginning = pl.col("part") == 1
    again = is_beginning.cum_sum().over("name").alias("again")
    unit = pl.struct("name", again).rank("dense")
    frame = frame.with_columns(unit=unit)
    frame = frame.sort("unit", "part", maintain_order=True)

    # Every n-th session, so that what is learnt comes from all of the log, not from its beginning.
    total = frame["unit"].n_unique()
    step = -(-total // _MOST_SESSIONS) if total else 1
    frame = frame.filter(pl.col("unit") % step == 0)
    anomalous = pl.col("anomalous").max().over("unit")
    frame = frame.with_columns(pl.col("unit").rle_id(), anomalous=anomalous.fill_null(False))

    is_labelled = frame.height > 0 and not frame["item_anomalous"].null_count()
    lists = ["messages", "lines", "files"]
    if is_labelled:
        lists.append("item_anomalous")
    rows = frame.with_row_index("piece").explode(lists)
    place_in_piece = pl.int_range(pl.len()).over("piece")
    places_in_piece = rows.select(place_in_piece).to_series()
    messages = rows["messages"].to_numpy()
    pieces, units = rows["piece"].to_numpy(), rows["unit"].to_numpy()
    labels = rows["anomalous"].to_numpy()
    marks: Flags | None = None
    if is_labelled:
        marks = rows["item_anomalous"].to_numpy().astype(np.bool_)
    clock, timed = _clock(frame, rows)
    entries = Entries(
        keys=keys[messages],
        pieces=pieces.astype(np.int64),
        sessions=units.astype(np.int64),
        places=places_in_piece.to_numpy(),
        clock=clock,
        anomalous=labels.astype(np.bool_),
        marked=marks,
    )
    return entries, timed


def _clock(frame: pl.DataFrame, rows: pl.DataFrame) -> tuple[Chances, bool]:
    """When each line was written, and whether that is in seconds.

    The time is known where a session begins or ends; between these it grows in proportion to the
    lines. Without times it counts records.
    """
    timed = not frame["start"].null_count()
    begins, ends = ("start", "end") if timed else ("first", "last")
    unit = 1e6 if timed else 1.0  # times are microseconds

    # Each line's place in the log, and which of them are a session's first and last.
    by_place = pl.struct("files", "lines").rank("dense").alias("order")
    orders = rows.select(by_place).to_series()
    order = orders.to_numpy().astype(np.int64)
    counts = frame["messages"].list.len()
    lengths = counts.to_numpy().astype(np.int64)
    last = lengths.cumsum() - 1
    first = last - lengths + 1
    edges = np.concatenate([order[first], order[last]])
    if not len(edges):
        return np.zeros(0), timed

    # The times there, which must not go back for `interp` to hold between them.
    start_times = frame[begins].to_physical()
    end_times = frame[ends].to_physical()
    known = pl.concat([start_times, end_times])
    seconds = known.cast(pl.Float64).to_numpy() / unit
    by_order = np.argsort(edges, kind="stable")
    rising = np.maximum.accumulate(seconds[by_order])
    return np.interp(order, edges[by_order], rising), timed


def message_counts(entries: Entries) -> tuple[Keys, Counts]:
    """Messages, rising (n,), and of each how many sessions are normal and anomalous (n, 2).

    Where lines are labelled, lines are counted instead of sessions.
    """
    columns = {
        "session": entries.sessions,
        "message": entries.keys,
        "anomalous": entries.anomalous,
    }
    frame = pl.DataFrame(columns)
    # Labelled lines count one by one; without such labels a message counts once a session.
    if entries.marked is None:
        frame = frame.unique()
    else:
        frame = frame.with_columns(anomalous=pl.Series(entries.marked))
    anomalous = pl.col("anomalous")
    normal = ~anomalous
    by_message = frame.group_by("message").agg(normal=normal.sum(), anomalous=anomalous.sum())
    counted = by_message.sort("message")
    counts = counted.select("normal", "anomalous").to_numpy()
    return counted["message"].to_numpy(), counts.astype(np.int64)


class Wholes:
    """The sets of messages of whole sessions."""

    def __init__(self, wholes: Counts, messages: Keys, *, counts: Counts) -> None:
        """Sets, as pairs of a number and a message.

        Args:
            wholes: the set of each pair, from 0 (n,).
            messages: the message of each pair (n,).
            counts: normal and anomalous sessions of each set (k, 2).
        """
        self.wholes = wholes
        self.messages = messages
        self.counts = counts
        self._known, rows = np.unique(messages, return_inverse=True)
        shape = len(self._known), len(counts)
        self._holds = np.zeros(shape, dtype=np.bool_)
        self._holds[rows, wholes] = True

    @classmethod
    def learn(cls, wholes: Counts, messages: Keys, *, anomalous: Flags) -> Self:
        """Count the sets of some sessions.

        Args:
            wholes: for each pair of a session and a message it holds, the session, rising (n,).
            messages: the message of each pair, once a session (n,).
            anomalous: whether each session is anomalous (sessions,).
        """
        if not len(wholes):
            return cls(wholes, messages, counts=np.zeros((0, 2), dtype=np.int64))
        # A set's name is the sum of its messages' keys: sessions with the same sum are counted as
        # one. `starts` are the rows at which the sessions begin.
        starts = np.flatnonzero(np.diff(wholes, prepend=-1))
        sums = np.add.reduceat(messages, starts)
        _, first, inverse = np.unique(sums, return_index=True, return_inverse=True)
        counts = np.zeros((len(first), 2), dtype=np.int64)
        sessions = wholes[starts]
        labels = anomalous[sessions].astype(np.int64)
        np.add.at(counts, (inverse, labels), 1)

        # The commonest sets are remembered, each by the messages of the first session that has it.
        totals = counts.sum(axis=1)
        commonest = np.argsort(-totals, kind="stable")[:_MOST]
        ends = np.append(starts[1:], len(wholes))
        members = [messages[starts[row] : ends[row]] for row in first[commonest]]
        sizes = [len(keys) for keys in members]
        numbers = np.repeat(np.arange(len(commonest)), sizes)
        return cls(numbers, np.concatenate(members), counts=counts[commonest])

    @classmethod
    def known(cls, arrays: Arrays) -> Self:
        """Read what the method `arrays` gave, saved under `wholes`."""
        wholes = arrays["wholes.wholes"].astype(np.int64)
        messages = arrays["wholes.messages"].astype(np.uint64)
        counts = arrays["wholes.counts"].astype(np.int64)
        return cls(wholes, messages, counts=counts)

    def arrays(self) -> Arrays:
        """What the constructor needs, by name."""
        return {"wholes": self.wholes, "messages": self.messages, "counts": self.counts}

    def anomalous(self, messages: Keys) -> float:
        """Which share of the sessions that hold all of some messages was anomalous.

        Nan where there are fewer than five.
        """
        rows = places(self._known, messages)
        if (rows < 0).any():
            return float("nan")
        # `_holds` has a row a message and a column a set: a set with all of them is true
        # throughout.
        holding = self._holds[rows].all(axis=0)
        of_holding = self.counts[holding].sum(axis=0, keepdims=True)
        shares: Chances = share(of_holding)
        return float(shares[0])


def wholes_of(entries: Entries) -> Wholes:
    """The sets of messages that the sessions hold."""
    pairs = pl.DataFrame({"session": entries.sessions, "message": entries.keys})
    pairs = pairs.unique(maintain_order=True)
    sessions, messages = (column.to_numpy() for column in pairs)
    count = int(entries.sessions[-1]) + 1 if len(entries.sessions) else 0
    labels = np.zeros(count, dtype=np.bool_)
    labels[entries.sessions] = entries.anomalous
    return Wholes.learn(sessions, messages, anomalous=labels)
