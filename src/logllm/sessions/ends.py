"""How sessions begin and end, learnt from whole ones: which sessions the ends of a log cut, and what may be said of those."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from logllm.config.sessions import SessionSection
from logllm.errors import ModelError, first_line
from logllm.sessions.cut import Span, cut_at
from logllm.sessions.following import END, Following
from logllm.sessions.message_sets import (
    Arrays,
    Beginnings,
    Counts,
    Keys,
    MessageKeys,
    keys_of_messages,
    places,
    under,
)
from logllm.sessions.message_table import kinds_of, rows_of
from logllm.sessions.pauses import Pauses, Seen
from logllm.sessions.sessionizer import base_name
from logllm.sessions.wholes import Wholes
from logllm.storage import write_atomic

ENDS = "ends.safetensors"
"""File of a run."""
_TELLING = 0.95
"""From this share of anomalous sessions on, messages are enough to call a session that holds them anomalous."""
_LIKELY = 0.75
"""The same share of sessions in the same state, with nothing more for as long: they are as like as can be."""
DOUBT = 0.2
"""How likely it must be that a session is cut for it to be taken for one."""
_PERHAPS = 0.05
"""The same of the other end of a session that is cut."""
_MOST_SESSIONS = 50_000
_TO_MARK = 2_000  # sessions that tell how the others of a log pause
_SECOND = 1_000_000


class Ends:
    """What a run knows of the beginnings and ends of sessions.

    Attributes:
        starts: pauses before each message of a session, by it and all that come after it.
        stops: pauses after each message, by it and all that came before it.
        beginnings: the first words of the messages.
        lines: how many normal and anomalous sessions hold each message, or its lines, if labelled.
        timed: whether pauses are seconds; else records.
        labelled: whether the sessions were labelled; else `normal` counts all of them.
        line_score: the highest score of a message of normal sessions by itself; nan: not known.
        kinds: keys of the messages without quoted words, rising; none: it has not learnt them.
    """

    def __init__(
        self,
        *,
        starts: Pauses,
        stops: Pauses,
        lines: tuple[Beginnings, Counts],
        facts: tuple[bool, bool, float],
        rarely: Arrays,
    ) -> None:
        """Join what was learnt.

        Args:
            starts: pauses at the beginnings.
            stops: pauses at the ends.
            lines: the messages by their first words, and in how many sessions or lines they are.
            facts: `timed`, `labelled` and `line_score`.
            rarely: arrays of `wholes`, `following` and `kinds`, as they are saved: most logs need none.
        """
        self.starts = starts
        self.stops = stops
        self.beginnings, self.lines = lines
        self.keys = self.beginnings.keys
        self.timed, self.labelled, self.line_score = facts
        self._rarely = rarely
        self.kinds = rarely.get("kinds")

    @cached_property
    def wholes(self) -> Wholes:
        """The messages that sessions hold together."""
        return Wholes.known(self._rarely)

    @cached_property
    def following(self) -> Following | None:
        """What normal sessions go on with; none in a run that has not learnt it."""
        return Following.known(self._rarely)

    @classmethod
    def learn(cls, sessions: pl.DataFrame, messages: pl.Series, *, settings: SessionSection) -> Self:
        """Learn from whole sessions.

        Args:
            sessions: of `logllm.sessions.sessionizer.SESSIONS`, with or without `cut`.
            messages: the message table.
            settings: how they were grouped; of windows, which begin and end anywhere, no pauses are learnt.
        """
        labelled = bool(sessions.height) and not sessions["anomalous"].null_count()
        table = keys_of_messages(messages)
        rows, timed = _rows(sessions, table)
        keys, counts = _lines(rows)
        rarely = under("wholes", _wholes(rows).arrays())
        occurring = messages.filter(places(keys, table) >= 0)
        rarely["kinds"] = np.unique(keys_of_messages(kinds_of(occurring)))

        # Pauses at both ends of sessions by key, and what follows which message.
        by_key = settings.by_key
        ahead = _seen(rows, forward=True) if by_key else _NOTHING
        behind = _seen(rows, forward=False) if by_key else _NOTHING
        anomalous = rows.anomalous if by_key else _NOTHING_ANOMALOUS
        if by_key:
            rarely |= under("following", _following(rows, ahead).arrays())

        # Of a session that was cut for its length the last message is not known.
        whole = np.ones(len(ahead.pauses), dtype=np.bool_)
        if by_key and settings.long == "cut":
            whole = ~(np.isinf(ahead.pauses) & (rows.places >= settings.max_messages - 1))
        stopped = Seen(ahead.sets[whole], ahead.messages[whole], ahead.pauses[whole])
        beginnings = Beginnings.learn(table, messages)
        return cls(
            starts=Pauses.learn(behind, anomalous, beginnings=beginnings),
            stops=Pauses.learn(stopped, anomalous[whole], beginnings=beginnings),
            lines=(Beginnings(keys, beginnings.of(keys)), counts),
            facts=(timed, labelled, float("nan")),
            rarely=rarely,
        )

    def cut(
        self,
        sessions: pl.DataFrame,
        table: MessageKeys,
        *,
        span: Span,
        over: bool,
        doubt: float = DOUBT,
    ) -> pl.Series:
        """Which sessions by key an input cuts, and where (`start`, `end`, `both`, or none).

        One is cut if at one of its ends it goes on with a chance of `doubt`; what then is said of it
        must hold for the other end as well, which counts from a smaller chance on.

        Args:
            sessions: of `logllm.sessions.sessionizer.SESSIONS`, that close together.
            table: the message table's keys, as of these sessions.
            span: the records so far; with times, where pauses are seconds.
            over: whether no more come.
            doubt: the chance from which on a session is cut.
        """
        before, after = self.seen(sessions, table.keys, span=span)
        messages = sessions["messages"].list
        starts_with, stops_with = messages.first().to_numpy(), messages.last().to_numpy()
        chances = pl.DataFrame(
            {
                "start": self.starts.chances(before, lambda new: table.beginnings(starts_with[new])),
                "end": self.stops.chances(after, lambda new: table.beginnings(stops_with[new])),
            }
        )

        # The later pieces of a long session have not begun before, the earlier ones go on in sight.
        name, part = base_name(), pl.col("part")
        first = part == 1
        last = (part == part.max().over(name)) & pl.col("closed").is_null() & over
        rows = sessions.select(part, "session", "closed").with_columns(chances)
        rows = rows.select(start=first.cast(pl.Float64) * pl.col("start"), end=last.cast(pl.Float64) * pl.col("end"))
        start, end = pl.col("start"), pl.col("end")
        likely = pl.max_horizontal(start, end) >= doubt
        perhaps = min(_PERHAPS, doubt)
        return rows.select(cut=cut_at(likely & (start >= perhaps), likely & (end >= perhaps)))["cut"]

    def seen(self, sessions: pl.DataFrame, keys: Keys, *, span: Span) -> tuple[Seen, Seen]:
        """What was seen of sessions at their starts, and at their ends; the arguments are those of `cut`."""
        held = sessions["messages"].list.unique()
        lengths = held.list.len().to_numpy().astype(np.int64)
        begins = lengths.cumsum() - lengths
        sets = np.add.reduceat(keys[held.explode().to_numpy()], begins) if len(begins) else _NO_KEYS
        if self.timed:
            before = (pl.col("start") - span.began).dt.total_microseconds() / _SECOND
            after = (span.ended - pl.col("end")).dt.total_microseconds() / _SECOND
        else:
            before = pl.col("first").cast(pl.Float64) - span.first
            after = span.last - pl.col("last").cast(pl.Float64)
        pauses = sessions.select(
            first=pl.col("messages").list.first(),
            last=pl.col("messages").list.last(),
            before=before.clip(0.0).fill_null(0.0),
            after=after.clip(0.0).fill_null(0.0),
        )
        return (
            Seen(sets, keys[pauses["first"].to_numpy()], pauses["before"].to_numpy()),
            Seen(sets, keys[pauses["last"].to_numpy()], pauses["after"].to_numpy()),
        )

    def enough(self, sessions: pl.DataFrame, keys: Keys, *, span: Span) -> npt.NDArray[np.bool_]:
        """Whether nearly all sessions of training that could be the whole of a cut one were anomalous, one truth value a session.

        Where it is cut at one end these are the sessions that were in the same state, and then had
        nothing more for as long; else all that hold the same messages and others.
        """
        before, after = self.seen(sessions, keys, span=span)
        cut = sessions["cut"].to_numpy()
        of_state = np.where(cut == "start", self.starts.anomalous(before), np.where(cut == "end", self.stops.anomalous(after), np.nan))
        enough: npt.NDArray[np.bool_] = of_state >= _LIKELY
        of_set: dict[int, bool] = {}
        of_sessions = rows_of(sessions["messages"])
        for row in np.flatnonzero(np.isnan(of_state)):
            name = int(before.sets[row])
            if name not in of_set:
                held = np.unique(of_sessions[row])
                of_set[name] = self.wholes.anomalous(keys[held]) >= _TELLING
            enough[row] = of_set[name]
        return enough

    def telling(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Which messages only anomalous sessions hold, but for a few."""
        rows = places(self.keys, keys)
        counts = self.lines[rows]
        share = counts[:, 1] / np.maximum(counts.sum(axis=1), 1)
        telling: npt.NDArray[np.bool_] = (rows >= 0) & (share >= _TELLING)
        return telling

    def new(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Which messages no session held that was learnt from."""
        return places(self.keys, keys) < 0

    def save(self, folder: Path) -> None:
        """Write `ends.safetensors`; it holds no text of the log."""
        from safetensors.numpy import save

        arrays: Arrays = {
            "facts": np.array([self.timed, self.labelled, self.line_score], dtype=np.float64),
            "lines.keys": self.keys,
            "lines.beginnings": self.beginnings.words,
            "lines.counts": self.lines,
        }
        arrays |= under("starts", self.starts.arrays()) | under("stops", self.stops.arrays()) | self._rarely
        write_atomic(folder / ENDS, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What `save` wrote; none where the run has no such file.

        Raises:
            ModelError: the file is broken.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = folder / ENDS
        if not path.is_file():
            return None
        try:
            arrays = load(path.read_bytes())
            beginnings = Beginnings.known(arrays["lines.keys"], arrays.get("lines.beginnings"))
            pauses = {name: Pauses.known(arrays, name, beginnings=beginnings) for name in ("starts", "stops")}
            timed, labelled, line_score = arrays["facts"].tolist()
            rarely = {name: array for name, array in arrays.items() if name.startswith(("wholes.", "following.", "kinds"))}
            return cls(
                **pauses,
                lines=(beginnings, arrays["lines.counts"]),
                facts=(bool(timed), bool(labelled), line_score),
                rarely=rarely,
            )
        except (OSError, ValueError, KeyError, IndexError, SafetensorError) as exc:
            raise ModelError(f"{path} cannot be read: {first_line(exc)}; train the run again") from exc


def marked(sessions: pl.DataFrame, messages: pl.Series, *, settings: SessionSection, span: Span) -> pl.DataFrame:
    """A whole log's sessions by key with `cut` as the others among them say it, of which some thousand are learnt from.

    Args:
        sessions: of `logllm.sessions.sessionizer.SESSIONS`, all that there are.
        messages: the message table.
        settings: how they were grouped.
        span: the log's records.
    """
    if settings.by != "key" or not sessions.height:
        return sessions
    names = sessions.filter(pl.col("part") == 1)["session"]
    some = names.gather_every(-(-len(names) // _TO_MARK))
    ends = Ends.learn(sessions.filter(base_name().is_in(some.implode())), messages, settings=settings)
    if ends.timed and span.began is None:
        return sessions
    return sessions.with_columns(ends.cut(sessions, MessageKeys(messages), span=span, over=True))


class _Rows(NamedTuple):
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


_NO_KEYS: Keys = np.zeros(0, dtype=np.uint64)
_NOTHING = Seen(_NO_KEYS, _NO_KEYS, np.zeros(0))
_NOTHING_ANOMALOUS = np.zeros(0, dtype=np.bool_)


def _rows(sessions: pl.DataFrame, keys: Keys) -> tuple[_Rows, bool]:
    """Messages of at most so many sessions, their pieces together; and whether their clock is one of seconds."""
    # A key that came back after its session had closed is another session.
    again = (pl.col("part") == 1).cum_sum().over("name")
    frame = sessions.with_columns(name=base_name()).with_columns(unit=pl.struct("name", again.alias("again")).rank("dense"))
    frame = frame.sort("unit", "part", maintain_order=True)
    step = -(-frame["unit"].n_unique() // _MOST_SESSIONS) if frame.height else 1
    frame = frame.filter(pl.col("unit") % step == 0).with_columns(
        pl.col("unit").rle_id(),
        anomalous=pl.col("anomalous").max().over("unit").fill_null(False),
    )
    marked = frame.height > 0 and not frame["item_anomalous"].null_count()
    lists = ["messages", "lines", "files", *(["item_anomalous"] if marked else [])]
    rows = frame.with_row_index("piece").explode(lists)
    clock, timed = _clock(frame, rows)
    return _Rows(
        keys=keys[rows["messages"].to_numpy()],
        pieces=rows["piece"].to_numpy().astype(np.int64),
        sessions=rows["unit"].to_numpy().astype(np.int64),
        places=rows.select(pl.int_range(pl.len()).over("piece")).to_series().to_numpy(),
        clock=clock,
        anomalous=rows["anomalous"].to_numpy().astype(np.bool_),
        marked=rows["item_anomalous"].to_numpy().astype(np.bool_) if marked else None,
    ), timed


def _clock(frame: pl.DataFrame, rows: pl.DataFrame) -> tuple[npt.NDArray[np.float64], bool]:
    """When each line was written: known where a session begins or ends, between these in proportion to the lines.

    Without times it counts records.
    """
    timed = not frame["start"].null_count()
    begins, ends = ("start", "end") if timed else ("first", "last")
    unit = 1e6 if timed else 1.0
    order = rows.select(pl.struct("files", "lines").rank("dense").alias("order"))["order"].to_numpy().astype(np.int64)
    lengths = frame["messages"].list.len().to_numpy().astype(np.int64)
    last = lengths.cumsum() - 1
    edges = np.concatenate([order[last - lengths + 1], order[last]])
    known = pl.concat([frame[begins].to_physical(), frame[ends].to_physical()]).cast(pl.Float64).to_numpy() / unit
    by_order = np.argsort(edges, kind="stable")
    times = np.maximum.accumulate(known[by_order]) if len(known) else known
    return np.interp(order, edges[by_order], times) if len(known) else np.zeros(0), timed


def _seen(rows: _Rows, *, forward: bool) -> Seen:
    """For each message all that a log which is cut there leaves: before it, or (not `forward`) after it; and the pause beyond."""
    step = 1 if forward else -1
    keys, clock = rows.keys[::step], rows.clock[::step]
    pieces, sessions = rows.pieces[::step], rows.sessions[::step]
    first = pl.DataFrame({"piece": pieces, "key": keys}).select(pl.struct("piece", "key").is_first_distinct()).to_series()
    sums = np.where(first.to_numpy(), keys, np.uint64(0)).cumsum(dtype=np.uint64)
    begins = np.flatnonzero(np.diff(pieces, prepend=-1))
    before = np.concatenate([np.zeros(1, dtype=np.uint64), sums])[begins]
    lengths = np.diff(np.append(begins, len(pieces)))
    pauses = np.full(len(keys), np.inf)
    same = sessions[1:] == sessions[:-1]
    pauses[:-1][same] = np.abs(np.diff(clock))[same]
    sets = sums - np.repeat(before, lengths)
    return Seen(sets[::step], keys[::step], pauses[::step])


def _following(rows: _Rows, seen: Seen) -> Following:
    """What follows which messages of normal sessions."""
    last = np.append(rows.sessions[1:] != rows.sessions[:-1], True)[: len(rows.keys)]
    following = np.where(last, END, np.roll(rows.keys, -1))
    normal = ~rows.anomalous
    return Following.learn(seen.sets[normal], seen.messages[normal], following=following[normal])


def _wholes(rows: _Rows) -> Wholes:
    """The sets of messages of the sessions."""
    pairs = pl.DataFrame({"session": rows.sessions, "message": rows.keys}).unique(maintain_order=True)
    labels = np.zeros(int(rows.sessions[-1]) + 1 if len(rows.sessions) else 0, dtype=np.bool_)
    labels[rows.sessions] = rows.anomalous
    return Wholes.learn(pairs["session"].to_numpy(), pairs["message"].to_numpy(), anomalous=labels)


def _lines(rows: _Rows) -> tuple[Keys, Counts]:
    """Of each message how many lines, or sessions, are normal and anomalous."""
    frame = pl.DataFrame({"session": rows.sessions, "message": rows.keys, "anomalous": rows.anomalous})
    frame = frame.unique() if rows.marked is None else frame.with_columns(anomalous=pl.Series(rows.marked))
    counted = frame.group_by("message").agg(normal=(~pl.col("anomalous")).sum(), anomalous=pl.col("anomalous").sum()).sort("message")
    return counted["message"].to_numpy(), counted.select("normal", "anomalous").to_numpy().astype(np.int64)
