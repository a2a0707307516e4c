"""Whole sessions, to learn from: as one entry a message; and which messages they hold together."""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from logllm.sessions.message_sets import Arrays, Counts, Keys, places
from logllm.sessions.pauses import Chances, share
from logllm.sessions.sessionizer import base_name

_MOST = 2_000
"""Different sets that are remembered, those of most sessions."""
_MOST_SESSIONS = 50_000
"""Sessions that are learnt from; of more, every n-th."""


class Entries(NamedTuple):
    """One entry a message of a session, sessions one after the other."""

    keys: Keys
    pieces: Counts
    """Which piece of a session it is in, rising from 0."""
    sessions: Counts
    """Which session, rising from 0."""
    places: Counts
    """Where in the piece it stands, from 0."""
    clock: npt.NDArray[np.float64]
    """When it was written."""
    anomalous: npt.NDArray[np.bool_]
    """Whether the session is."""
    marked: npt.NDArray[np.bool_] | None
    """Whether its line is; none where lines are not labelled."""


def entries_of(sessions: pl.DataFrame, keys: Keys) -> tuple[Entries, bool]:
    """Messages of at most so many sessions, their pieces together.

    Args:
        sessions: of `logllm.sessions.sessionizer.SESSIONS`.
        keys: of the message table's messages.

    Returns:
        The entries, and whether their clock counts seconds; else it counts records.
    """
    # A key that came back after its session had closed is another session.
    frame = sessions.with_columns(name=base_name())
    again = (pl.col("part") == 1).cum_sum().over("name")
    unit = pl.struct("name", again.alias("again")).rank("dense")
    frame = frame.with_columns(unit=unit).sort("unit", "part", maintain_order=True)

    # Every n-th session, so that what is learnt comes from all of the log, not from its beginning.
    step = -(-frame["unit"].n_unique() // _MOST_SESSIONS) if frame.height else 1
    frame = frame.filter(pl.col("unit") % step == 0)
    frame = frame.with_columns(
        pl.col("unit").rle_id(),
        anomalous=pl.col("anomalous").max().over("unit").fill_null(False),
    )

    is_labelled = frame.height > 0 and not frame["item_anomalous"].null_count()
    lists = ["messages", "lines", "files"]
    if is_labelled:
        lists.append("item_anomalous")
    rows = frame.with_row_index("piece").explode(lists)
    place = rows.select(pl.int_range(pl.len()).over("piece")).to_series()
    clock, timed = _clock(frame, rows)
    entries = Entries(
        keys=keys[rows["messages"].to_numpy()],
        pieces=rows["piece"].to_numpy().astype(np.int64),
        sessions=rows["unit"].to_numpy().astype(np.int64),
        places=place.to_numpy(),
        clock=clock,
        anomalous=rows["anomalous"].to_numpy().astype(np.bool_),
        marked=rows["item_anomalous"].to_numpy().astype(np.bool_) if is_labelled else None,
    )
    return entries, timed


def _clock(frame: pl.DataFrame, rows: pl.DataFrame) -> tuple[npt.NDArray[np.float64], bool]:
    """When each line was written.

    It is known where a session begins or ends, and lies between these in proportion to the lines.
    Without times it counts records.
    """
    timed = not frame["start"].null_count()
    begins, ends = ("start", "end") if timed else ("first", "last")
    unit = 1e6 if timed else 1.0  # times are microseconds

    # Each line's place in the log, and which of them are a session's first and last.
    by_place = pl.struct("files", "lines").rank("dense").alias("order")
    order = rows.select(by_place)["order"].to_numpy().astype(np.int64)
    lengths = frame["messages"].list.len().to_numpy().astype(np.int64)
    last = lengths.cumsum() - 1
    first = last - lengths + 1
    edges = np.concatenate([order[first], order[last]])
    if not len(edges):
        return np.zeros(0), timed

    # The times there, which must not go back for `interp` to hold between them.
    known = pl.concat([frame[begins].to_physical(), frame[ends].to_physical()])
    seconds = known.cast(pl.Float64).to_numpy() / unit
    by_order = np.argsort(edges, kind="stable")
    rising = np.maximum.accumulate(seconds[by_order])
    return np.interp(order, edges[by_order], rising), timed


class Wholes:
    """The sets of messages of whole sessions."""

    def __init__(self, wholes: Counts, messages: Keys, *, counts: Counts) -> None:
        """Sets, as pairs of a number and a message.

        Args:
            wholes: for each pair the set, from 0 (n,).
            messages: and the message (n,).
            counts: normal and anomalous sessions of each set (k, 2).
        """
        self.wholes = wholes
        self.messages = messages
        self.counts = counts
        self._known, columns = np.unique(messages, return_inverse=True)
        self._holds = np.zeros((len(self._known), len(counts)), dtype=np.bool_)
        self._holds[columns, wholes] = True

    @classmethod
    def learn(cls, wholes: Counts, messages: Keys, *, anomalous: npt.NDArray[np.bool_]) -> Self:
        """Count the sets of some sessions.

        Args:
            wholes: for each pair of a session and a message it holds, the session, rising (n,).
            messages: the message; each once a session.
            anomalous: whether a session is (sessions,).
        """
        if not len(wholes):
            return cls(wholes, messages, counts=np.zeros((0, 2), dtype=np.int64))
        # A set's name is the sum of its messages' keys: sessions with the same sum are counted as
        # one. `starts` are the rows at which the sessions begin.
        starts = np.flatnonzero(np.diff(wholes, prepend=-1))
        sums = np.add.reduceat(messages, starts)
        _, first, inverse = np.unique(sums, return_index=True, return_inverse=True)
        counts = np.zeros((len(first), 2), dtype=np.int64)
        labels = anomalous[wholes[starts]].astype(np.int64)
        np.add.at(counts, (inverse, labels), 1)

        # The commonest sets are remembered, each by the messages of the first session that has it.
        most = np.argsort(-counts.sum(axis=1), kind="stable")[:_MOST]
        ends = np.append(starts[1:], len(wholes))
        members = [messages[starts[row] : ends[row]] for row in first[most]]
        sizes = [len(keys) for keys in members]
        numbers = np.repeat(np.arange(len(most)), sizes)
        return cls(numbers, np.concatenate(members), counts=counts[most])

    @classmethod
    def known(cls, arrays: Arrays) -> Self:
        """Those of `arrays`, saved under `wholes`."""
        wholes = arrays["wholes.wholes"].astype(np.int64)
        messages = arrays["wholes.messages"].astype(np.uint64)
        return cls(wholes, messages, counts=arrays["wholes.counts"].astype(np.int64))

    def arrays(self) -> Arrays:
        """What the constructor needs, by name."""
        return {"wholes": self.wholes, "messages": self.messages, "counts": self.counts}

    def anomalous(self, messages: Keys) -> float:
        """Share of the sessions that hold all of some messages that were anomalous.

        Nan of fewer than five.
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
