"""Numbered records to sessions: the one place that knows a session's columns."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

import polars as pl

from logllm.config.sessions import SessionSection
from logllm.logs.times import UTC_MICROSECONDS
from logllm.sessions.cut import Span, cut_at
from logllm.sessions.keyed import KeySessions
from logllm.sessions.message_table import Schema
from logllm.sessions.windows import CountWindows, TimeWindows

SESSIONS: Schema = {
    "session": pl.String,
    "part": pl.UInt32,
    "messages": pl.List(pl.UInt32),
    "lines": pl.List(pl.UInt64),
    "files": pl.List(pl.UInt32),
    "start": UTC_MICROSECONDS,
    "end": UTC_MICROSECONDS,
    "anomalous": pl.Boolean,
    "item_anomalous": pl.List(pl.Boolean),
    "closed": pl.String,
    "cut": pl.String,
    "first": pl.UInt64,
    "last": pl.UInt64,
}
"""Columns of sessions.

`part` numbers the pieces of a long session and is 1 where it was not divided; `lines`, `files` and
`item_anomalous` go with `messages`; `closed` is `early` for a key session that could have gone on;
`cut` is `start`, `end` or `both` for a session that the beginning or the end of the input may have
cut; `first` and `last` are record numbers.
"""


def base_name() -> pl.Expr:
    """A session's name without the number of its piece."""
    without_number = pl.col("session").str.replace(r"#\d+$", "")
    is_later_piece = pl.col("part") > 1
    return pl.when(is_later_piece).then(without_number).otherwise("session")


class Kind(Protocol):
    """A kind of session: says which records are one.

    Any division of the records into frames gives the same sessions.
    """

    counts: dict[str, int]
    """Records in no session, by what they lack: `keyless`, `late`; and sessions `closed_early`."""

    def push(self, records: pl.DataFrame) -> pl.DataFrame | None:
        """Rows of the sessions that close with these records, in the order in which they close.

        Args:
            records: of `logllm.sessions.message_table.NUMBERED`.

        Returns:
            The records' columns, `group` (any type), `session` (text, the same throughout a group),
            and `closed` where a session could have gone on. None where no session closes.
        """

    def flush(self, before: datetime | None = None) -> pl.DataFrame | None:
        """Rows of the sessions still open, all of them or those idle since `before`."""

    clock: int | None
    """The log's clock, in microseconds since 1970, which a restart takes up; None: no time has
    come."""

    @property
    def open_count(self) -> int:
        """How many sessions are open."""

    def open(self, since: int) -> pl.DataFrame:
        """Rows of open sessions that have had a record after number `since`; they stay open."""

    def lows(self) -> dict[int, int]:
        """The first line of each file that an open session holds."""

    def quiet(self, *, last: int, first: int) -> pl.DataFrame | None:
        """Rows of the sessions that close: those with no record after number `last`.

        Sessions with a record up to number `first` close as well, early.
        """

    def renumber(self, numbers: pl.Series) -> None:
        """Replace the number of each message by the one at its place in a series."""


class _New(Protocol):
    """Makes a kind of session."""

    def __call__(self, settings: SessionSection, *, live: bool) -> Kind:
        """One that has seen nothing yet."""


_KINDS: Mapping[str, _New] = {
    "key": KeySessions,
    "file": KeySessions,
    "folder": KeySessions,
    "count": CountWindows,
    "time": TimeWindows,
}
"""A kind by its name in `SessionSection.by`."""


class Sessionizer:
    """Numbered records in, sessions out, the long ones cut or divided.

    >>> from logllm.sessions.message_table import NUMBERED
    >>> columns = {"record": [1, 2, 3], "line": [1, 2, 4], "message": [7, 7, 8]}
    >>> rest = {"keys": [[], [], []], "file": 0, "time": None, "anomalous": False}
    >>> records = pl.DataFrame(columns | rest).select(NUMBERED.keys()).cast(NUMBERED)
    >>> windows = Sessionizer(SessionSection(by="count", size=2))
    >>> windows.push(records)["session"].to_list(), windows.flush()["lines"].to_list()
    (['2@1'], [[4]])
    """

    def __init__(self, settings: SessionSection, *, live: bool = False) -> None:
        """Begin with nothing read.

        Args:
            settings: which records are one session.
            live: the log is still being written: idle sessions have ended, and no single record
                moves the clock that says which are idle.
        """
        self._kind = _KINDS[settings.by](settings, live=live)
        self._by_key = settings.by_key
        self._most = settings.max_messages
        self._split = settings.long == "split"
        self.counts = self._kind.counts
        """Records in no session, by what they lack: `keyless`, `late`; and sessions
        `closed_early`."""
        self.long = 0
        """Sessions longer than `max_messages` so far."""
        self.messages_cut = 0
        """Messages left out of them so far."""
        self.span = Span()
        """The records that have come."""
        self.over = False
        """Whether the input has ended: all open sessions have been flushed."""

    def push(self, records: pl.DataFrame) -> pl.DataFrame:
        """Sessions (`SESSIONS`) that close with these records."""
        self.span = self.span.longer(records)
        return self._sessions(self._kind.push(records))

    def flush(self, before: datetime | None = None) -> pl.DataFrame:
        """Sessions still open, all of them or those idle since `before`."""
        self.over = before is None
        return self._sessions(self._kind.flush(before))

    @property
    def clock(self) -> int | None:
        """The log's clock, in microseconds since 1970, which a restart takes up.

        None before the first time.
        """
        return self._kind.clock

    @clock.setter
    def clock(self, now: int | None) -> None:
        self._kind.clock = now

    @property
    def open_count(self) -> int:
        """How many sessions are open."""
        return self._kind.open_count

    def open(self, since: int = 0) -> pl.DataFrame:
        """Open sessions (`SESSIONS`) as far as they have come; they stay open.

        Only those with a record after number `since` are given.
        """
        # What is open now comes again when it closes: it is counted then.
        counted = self.long, self.messages_cut
        sessions = self._sessions(self._kind.open(since))
        self.long, self.messages_cut = counted
        return sessions

    def lows(self) -> dict[int, int]:
        """The first line of each file that an open session holds."""
        return self._kind.lows()

    def quiet(self, *, last: int, first: int) -> pl.DataFrame:
        """Sessions that close: those with no record after number `last`.

        Sessions with a record up to number `first` close as well, early.
        """
        return self._sessions(self._kind.quiet(last=last, first=first))

    def renumber(self, numbers: pl.Series) -> None:
        """Replace the number of each message by the one at its place in a series."""
        self._kind.renumber(numbers)

    def _sessions(self, rows: pl.DataFrame | None) -> pl.DataFrame:
        """One session a group, in the order in which groups first appear.

        A session's records stay in the order of the rows.
        """
        if rows is None or not rows.height:
            return pl.DataFrame(schema=SESSIONS)
        # A long session goes on as piece 2 (`<session>#2`), or loses what is beyond the limit.
        frame = _aggregated(rows, ["group"])
        lengths = frame["messages"].list.len()
        long = lengths.filter(lengths > self._most)
        self.long += len(long)
        if len(long) and self._split:
            place = pl.int_range(pl.len()).over("group")
            pieces = place // self._most + 1
            rows = rows.with_columns(part=pieces)
            frame = _aggregated(rows, ["group", "part"])
        elif len(long):
            self.messages_cut += int(long.sum()) - self._most * len(long)
            lists = pl.col("messages", "lines", "files", "item_anomalous")
            frame = frame.with_columns(lists.list.head(self._most))
        piece = pl.col("part") if "part" in frame.columns else pl.lit(1)
        # Of windows it is known which are short; of keys, that whoever has the first or the last
        # record of all may have had others before or after it.
        has_cut = "cut" in frame.columns
        cut = pl.col("cut") if has_cut else pl.lit(None)
        if self._by_key:
            cut = self._touching(piece)
        closed = pl.col("closed") if "closed" in frame.columns else pl.lit(None)
        numbered = pl.format("{}#{}", "session", piece)
        name = pl.when(piece > 1).then(numbered).otherwise("session")
        is_labelled = pl.col("any_anomalous").is_not_null()
        item_anomalous = pl.when(is_labelled).then("item_anomalous")
        sessions = frame.select(
            session=name,
            part=piece,
            messages="messages",
            lines="lines",
            files="files",
            start="start",
            end="end",
            anomalous="any_anomalous",
            item_anomalous=item_anomalous,
            closed=closed,
            cut=cut,
            first="first",
            last="last",
        )
        return sessions.cast(SESSIONS)  # type: ignore[arg-type]

    def _touching(self, piece: pl.Expr) -> pl.Expr:
        """The `cut` of key sessions by what is seen of them alone."""
        has_first_record = pl.col("first") == self.span.first
        has_last_record = pl.col("last") == self.span.last
        return cut_at(has_first_record & (piece == 1), has_last_record & self.over)


def _aggregated(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """One row a group."""
    name = pl.col("session").first()
    time = pl.col("time")
    anomalous = pl.col("anomalous")
    record = pl.col("record")
    by_group = rows.group_by(keys, maintain_order=True)
    return by_group.agg(
        name.cast(pl.String),
        pl.col("^closed|cut$").first(),
        messages="message",
        lines="line",
        files="file",
        start=time.min(),
        end=time.max(),
        any_anomalous=anomalous.max(),
        item_anomalous=anomalous,
        first=record.first(),
        last=record.last(),
    )
