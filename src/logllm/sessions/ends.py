"""How sessions begin and end, learnt from whole ones, and so which ones the ends of a log cut."""

from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
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
from logllm.sessions.pauses import Flags, Pauses, Seen
from logllm.sessions.sessionizer import base_name
from logllm.sessions.wholes import Entries, Wholes, entries_of, message_counts, wholes_of
from logllm.storage import write_atomic

ENDS = "ends.safetensors"
"""File of a run."""
_TELLING = 0.95
"""From this share of anomalous sessions on, messages are enough to call a session that holds them
anomalous."""
_LIKELY = 0.75
"""The same share of the sessions that were in the same state and had nothing more for as long: no
others are as much alike."""
DOUBT = 0.2
"""How likely it must be that a session is cut for it to be taken for one."""
_PERHAPS = 0.05
"""How likely it must be for the other end of a session that is cut."""
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
        kinds: keys of the messages without quoted words, rising; None: not learnt.
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
            rarely: arrays of `wholes`, `following` and `kinds`, as they are saved: most logs need
                none.
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
        """What normal sessions go on with; None in a run that has not learnt it."""
        return Following.known(self._rarely)

    @classmethod
    def learn(
        cls, sessions: pl.DataFrame, messages: pl.Series, *, settings: SessionSection
    ) -> Self:
        """Learn from whole sessions.

        Args:
            sessions: of `logllm.sessions.sessionizer.SESSIONS`, with or without `cut`.
            messages: the message table.
            settings: how they were grouped; of windows, which begin and end anywhere, no pauses are
                learnt.
        """
        unlabelled = sessions["anomalous"].null_count()
        labelled = sessions.height > 0 and not unlabelled
        table = keys_of_messages(messages)
        entries, timed = entries_of(sessions, table)
        keys, counts = message_counts(entries)
        wholes = wholes_of(entries)
        rarely = under("wholes", wholes.arrays())
        occurring = messages.filter(places(keys, table) >= 0)
        kinds = kinds_of(occurring)
        rarely["kinds"] = np.unique(keys_of_messages(kinds))

        # Pauses at both ends of sessions by key, and what follows which message. A window begins
        # and ends where its size says: its ends tell nothing of what was written there.
        by_key = settings.by_key
        ahead, behind, anomalous = _NOTHING, _NOTHING, _NOTHING_ANOMALOUS
        if by_key:
            ahead = _seen(entries, forward=True)
            behind = _seen(entries, forward=False)
            anomalous = entries.anomalous
            following = _following(entries, ahead)
            rarely |= under("following", following.arrays())

        # Of a session that was cut for its length the last message is not known: its 128th line is
        # no end, and would teach that sessions stop there.
        whole = np.ones(len(ahead.pauses), dtype=np.bool_)
        if by_key and settings.long == "cut":
            nothing_follows = np.isinf(ahead.pauses)
            at_the_limit = entries.places >= settings.max_messages - 1
            whole = ~(nothing_follows & at_the_limit)
        stopped = Seen(ahead.sets[whole], ahead.messages[whole], ahead.pauses[whole])

        beginnings = Beginnings.learn(table, messages)
        starts = Pauses.learn(behind, anomalous, beginnings=beginnings)
        stops = Pauses.learn(stopped, anomalous[whole], beginnings=beginnings)
        first_words = Beginnings(keys, beginnings.of(keys))
        line_score = float("nan")
        return cls(
            starts=starts,
            stops=stops,
            lines=(first_words, counts),
            facts=(timed, labelled, line_score),
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
        """Which sessions by key an input cuts, and where (`start`, `end`, `both`, or null).

        A session is cut if it goes on beyond one of its ends with a chance of at least `doubt`. Its
        other end then counts as cut from a smaller chance on.

        Args:
            sessions: of `logllm.sessions.sessionizer.SESSIONS`, that close together.
            table: the message table's keys, as of these sessions.
            span: the records so far; with times, where pauses are seconds.
            over: whether no more come.
            doubt: the chance from which on a session is cut.
        """
        before, after = self.seen(sessions, table.keys, span=span)
        messages = sessions["messages"].list
        starts_with = messages.first().to_numpy()
        stops_with = messages.last().to_numpy()
        start_chances = self.starts.chances(before, lambda new: table.beginnings(starts_with[new]))
        end_chances = self.stops.chances(after, lambda new: table.beginnings(stops_with[new]))
        chances = pl.DataFrame({"start": start_chances, "end": end_chances})

        # The later pieces of a long session have not begun before, the earlier ones go on in sight.
        name, piece = base_name(), pl.col("part")
        start, end = pl.col("start"), pl.col("end")
        is_first = piece == 1
        is_last_piece = piece == piece.max().over(name)
        went_on = pl.col("closed").is_null()
        is_last = is_last_piece & went_on & over
        rows = sessions.select(piece, "session", "closed").with_columns(chances)
        start_counts, end_counts = is_first.cast(pl.Float64), is_last.cast(pl.Float64)
        rows = rows.select(start=start_counts * start, end=end_counts * end)

        # One end must be likely to be cut; the other one then counts from a smaller chance on.
        likely = pl.max_horizontal(start, end) >= doubt
        perhaps = min(_PERHAPS, doubt)
        start_is_cut = likely & (start >= perhaps)
        end_is_cut = likely & (end >= perhaps)
        return rows.select(cut=cut_at(start_is_cut, end_is_cut))["cut"]

    def seen(self, sessions: pl.DataFrame, keys: Keys, *, span: Span) -> tuple[Seen, Seen]:
        """What was seen of sessions at their starts, and at their ends.

        The arguments are those of `cut`.
        """
        # The set of a session's messages is the sum of their keys, each distinct one once: it does
        # not depend on their order, and one pass over all sessions gives it.
        distinct = sessions["messages"].list.unique()
        lengths = distinct.list.len().to_numpy().astype(np.int64)
        begins = lengths.cumsum() - lengths
        flat = distinct.explode().to_numpy()
        sets = np.add.reduceat(keys[flat], begins) if len(begins) else _NO_KEYS

        # How long the log had been read before the session began, and was read after its last line.
        if self.timed:
            time_before = pl.col("start") - span.began
            time_after = span.ended - pl.col("end")
            before = time_before.dt.total_microseconds() / _SECOND
            after = time_after.dt.total_microseconds() / _SECOND
        else:
            before = pl.col("first").cast(pl.Float64) - span.first
            after = span.last - pl.col("last").cast(pl.Float64)
        messages = pl.col("messages").list
        first, last = messages.first(), messages.last()
        before = before.clip(0.0).fill_null(0.0)
        after = after.clip(0.0).fill_null(0.0)
        pauses = sessions.select(first=first, last=last, before=before, after=after)
        firsts, lasts, pauses_before, pauses_after = (column.to_numpy() for column in pauses)
        at_starts = Seen(sets, keys[firsts], pauses_before)
        at_ends = Seen(sets, keys[lasts], pauses_after)
        return at_starts, at_ends

    def enough(self, sessions: pl.DataFrame, keys: Keys, *, span: Span) -> Flags:
        """Whether what was seen of each cut session is enough to call it anomalous (sessions,).

        It is where nearly all sessions of training that could be the whole of it were anomalous.
        For a session that is cut at one end, these are the sessions that were in the same state and
        then had nothing more for as long. For others, they are all that hold the same messages.
        """
        before, after = self.seen(sessions, keys, span=span)
        cut = sessions["cut"].to_numpy()
        share_at_end = self.stops.anomalous(after)
        share_at_start = self.starts.anomalous(before)
        by_end = np.where(cut == "end", share_at_end, np.nan)
        of_state = np.where(cut == "start", share_at_start, by_end)
        enough: Flags = of_state >= _LIKELY

        # Cut at both ends, or in a state that was too rare: then all sessions of training count
        # that hold these messages. Many sessions hold the same ones, so each set is looked up once.
        of_set: dict[int, bool] = {}
        of_sessions = rows_of(sessions["messages"])
        without_state = np.flatnonzero(np.isnan(of_state))
        for row in without_state:
            name = int(before.sets[row])
            if name not in of_set:
                distinct = np.unique(of_sessions[row])
                anomalous_share = self.wholes.anomalous(keys[distinct])
                of_set[name] = anomalous_share >= _TELLING
            enough[row] = of_set[name]
        return enough

    def telling(self, keys: Keys) -> Flags:
        """Which messages are in anomalous sessions only, or nearly so."""
        rows = places(self.keys, keys)
        counts = self.lines[rows]
        sessions_with = np.maximum(counts.sum(axis=1), 1)
        share = counts[:, 1] / sessions_with
        is_known = rows >= 0
        telling: Flags = is_known & (share >= _TELLING)
        return telling

    def new(self, keys: Keys) -> Flags:
        """Which messages were in no session of training."""
        return places(self.keys, keys) < 0

    def save(self, folder: Path) -> None:
        """Write `ends.safetensors`; it holds no text of the log."""
        from safetensors.numpy import save

        facts = [self.timed, self.labelled, self.line_score]
        arrays: Arrays = {
            "facts": np.array(facts, dtype=np.float64),
            "lines.keys": self.keys,
            "lines.beginnings": self.beginnings.words,
            "lines.counts": self.lines,
        }
        arrays |= under("starts", self.starts.arrays())
        arrays |= under("stops", self.stops.arrays())
        arrays |= self._rarely
        # safetensors writes an array's memory as it lies, whatever its strides say.
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        write_atomic(folder / ENDS, save(contiguous))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What `save` wrote; None where the run has no such file.

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
            starts = Pauses.known(arrays, "starts", beginnings=beginnings)
            stops = Pauses.known(arrays, "stops", beginnings=beginnings)
            timed, labelled, line_score = arrays["facts"].tolist()
            of_few_logs = ("wholes.", "following.", "kinds")
            rarely = {name: array for name, array in arrays.items() if name.startswith(of_few_logs)}
            return cls(
                starts=starts,
                stops=stops,
                lines=(beginnings, arrays["lines.counts"]),
                facts=(bool(timed), bool(labelled), line_score),
                rarely=rarely,
            )
        except (OSError, ValueError, KeyError, IndexError, SafetensorError) as exc:
            fault = first_line(exc)
            raise ModelError(f"{path} cannot be read: {fault}; train the run again") from exc


def marked(
    sessions: pl.DataFrame, messages: pl.Series, *, settings: SessionSection, span: Span
) -> pl.DataFrame:
    """A whole log's sessions by key with `cut`, learnt from some two thousand among them.

    Args:
        sessions: of `logllm.sessions.sessionizer.SESSIONS`, all that there are.
        messages: the message table.
        settings: how they were grouped.
        span: the log's records.
    """
    if settings.by != "key" or not sessions.height:
        return sessions
    # Every n-th session, from the whole log: some thousand tell as much as all, in a constant time.
    names = sessions.filter(pl.col("part") == 1)["session"]
    nth = -(-len(names) // _TO_MARK)
    names_of_sample = names.gather_every(nth)
    in_sample = base_name().is_in(names_of_sample.implode())
    sample = sessions.filter(in_sample)
    ends = Ends.learn(sample, messages, settings=settings)
    if ends.timed and span.began is None:
        return sessions
    keys = MessageKeys(messages)
    cut = ends.cut(sessions, keys, span=span, over=True)
    return sessions.with_columns(cut)


_NO_KEYS: Keys = np.zeros(0, dtype=np.uint64)
_NOTHING = Seen(_NO_KEYS, _NO_KEYS, np.zeros(0))
_NOTHING_ANOMALOUS = np.zeros(0, dtype=np.bool_)


def _seen(entries: Entries, *, forward: bool) -> Seen:
    """What remains of sessions in a log that is cut at each message, and the pause beyond it.

    What came before the message remains, or (not `forward`) what came after it.
    """
    # Backwards the same sums count what comes after: all arrays are turned round, and back again.
    step = 1 if forward else -1
    keys, clock = entries.keys[::step], entries.clock[::step]
    pieces, sessions = entries.pieces[::step], entries.sessions[::step]

    # Running sums over all entries, to which a message that came before in its piece adds nothing;
    # what had been summed before the piece began is taken off again.
    pairs = pl.DataFrame({"piece": pieces, "key": keys})
    first_in_piece = pl.struct("piece", "key").is_first_distinct()
    is_new = pairs.select(first_in_piece).to_series()
    added = np.where(is_new.to_numpy(), keys, np.uint64(0))
    sums = added.cumsum(dtype=np.uint64)
    begins = np.flatnonzero(np.diff(pieces, prepend=-1))
    lengths = np.diff(begins, append=len(pieces))
    zero = np.zeros(1, dtype=np.uint64)
    sum_before = np.concatenate([zero, sums])[begins]
    sets = sums - np.repeat(sum_before, lengths)

    # Infinite where the session has nothing beyond; its next piece counts as the same session.
    pauses = np.full(len(keys), np.inf)
    goes_on = sessions[1:] == sessions[:-1]
    steps = np.abs(np.diff(clock))
    pauses[:-1][goes_on] = steps[goes_on]
    return Seen(sets[::step], keys[::step], pauses[::step])


def _following(entries: Entries, seen: Seen) -> Following:
    """What follows which messages of normal sessions."""
    session_changes = entries.sessions[1:] != entries.sessions[:-1]
    is_last = np.append(session_changes, True)[: len(entries.keys)]
    next_keys = np.roll(entries.keys, -1)
    following = np.where(is_last, END, next_keys)
    normal = ~entries.anomalous
    return Following.learn(seen.sets[normal], seen.messages[normal], following=following[normal])
