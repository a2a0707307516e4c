"""Sessions of partitions whose records may belong together, from lines to rows of the store."""

from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.config.watch import WatchSection
from logllm.detect.cache import ScoreCache
from logllm.detect.evidence.whole_records import reaching, titles, with_further
from logllm.detect.evidence.written_lines import shown, tells
from logllm.detect.judge import Judge
from logllm.detect.judging.closed_sessions import Judging, Seen
from logllm.detect.judging.known_scores import KnownScores
from logllm.logs.reader import Reader
from logllm.serve.idle_time import idle_seconds
from logllm.serve.kinds_seen import KindsSeen
from logllm.serve.learning_on.learner import Learner
from logllm.serve.partition import Claimed, Partition
from logllm.serve.store.frames import VERDICTS
from logllm.serve.verdict_rows import rows, shown_of
from logllm.sessions.cut import Span
from logllm.sessions.message_table import MessageTable
from logllm.sessions.sessionizer import SESSIONS, Sessionizer

_AT_ONCE = 5_000
"""Open sessions that are judged at once."""
_FEWEST_MESSAGES = 20_000
"""A message table is begun anew when it has more, and most of them are in no open session."""
_FEWEST_LINES = 50_000
"""Lines are forgotten when more are remembered, and most of them are in no open session."""
_NOTHING = pl.DataFrame(schema=SESSIONS)
_REMEMBERED = 20_000
"""Scores of distinct sessions that are remembered."""
Counters = Mapping[str, Any]
"""What a restart takes up besides places: plain numbers."""


class Leaning(NamedTuple):
    """What an assembly uses."""

    settings: PrepareSection
    """How lines are read and grouped."""
    run: Judge
    """What judges."""
    how: WatchSection
    """When sessions close, and what is shown of them."""
    cache: ScoreCache | None = None
    """Scores that are kept on this machine."""
    learner: Learner | None = None
    """Learns closed sessions that are normal; none: nothing is learnt."""


class _Batch(NamedTuple):
    """Records that came together, of one partition."""

    numbers: pl.DataFrame
    """Numbers of the records and of their lines: `record`, `file`, `line`."""
    clock: int | None
    """The log's clock before them."""


class Assembly:
    """Partitions whose sessions may be shared, and the sessions that are open."""

    def __init__(self, leaning: Leaning) -> None:
        """No partition yet."""
        settings, self._run, self._how, cache, self._learner = leaning
        self._idle = idle_seconds(self._how, self._run)
        grouping = settings.sessions
        if grouping.by_key and settings.format.time_formats:
            grouping = grouping.model_copy(update={"idle": self._idle})
        self._settings = settings.model_copy(update={"sessions": grouping})
        self._grouping = grouping
        self.partitions: dict[str, Partition] = {}
        today = datetime.now(UTC).date()
        self._reader = Reader(self._settings, today=today, redact=self._how.redact)
        self._sessionizer = Sessionizer(grouping, live=True)
        self._table = MessageTable()
        self._known = KnownScores(self._run.opinion, cache=cache, remembered=_REMEMBERED)
        self._judging = self._new_judging()
        self.kinds = KindsSeen(self._run.ends, self._titles, redacted=self.redacted)
        self._closed: list[pl.DataFrame] = []
        self._records = 0
        self._batches: list[_Batch] = []  # from the first open session on
        self._clocks: list[int | None] = []  # with which partitions were left
        self._arrived: deque[tuple[float, int]] = deque()
        self._shown = 0  # the last record of open sessions that were judged
        self._judged = 0  # sessions

    @property
    def counts(self) -> dict[str, int]:
        """What was read so far and what was not, in plain counts."""
        return self._reader.tally.counts | self._sessionizer.counts

    @property
    def rejects(self) -> list[dict[str, object]]:
        """The first lines that did not parse."""
        return self._reader.tally.first_rejects

    @property
    def redacted(self) -> bool:
        """Whether what is secret is taken out of lines."""
        return self._reader.redacts

    @property
    def messages(self) -> pl.Series:
        """The distinct masked messages that are known now."""
        return self._table.messages

    def add(self, name: str, claimed: Claimed, *, counters: Counters) -> None:
        """Take a partition over, with what was left of it.

        Args:
            name: what its source calls it.
            claimed: as the store knows it.
            counters: what `counters` gave.
        """
        # Windows that share lines, and those that a clock cuts, come out the same when they are
        # read again: the store leaves alone what it has.
        apart = self._grouping.by == "time" or self._grouping.overlapping
        if apart:
            claimed = claimed._replace(accounted=claimed.accounted.clear())
        pushed = self._reader.pushed(name)
        file = len(self._reader.files) - 1
        by_key = self._grouping.by_key
        self.partitions[name] = Partition(name, pushed, file=file, claimed=claimed, by_key=by_key)
        self._records = max(self._records, counters.get("records", 0))
        self._take_up_clock(counters)
        if "began" in counters:
            began = counters["began"] and datetime.fromisoformat(counters["began"])
            self._sessionizer.span = Span(1, self._records, began, began)

    def _take_up_clock(self, counters: Counters) -> None:
        """Go on with the clock that a partition was left with."""
        if "clock" not in counters:
            return
        self._clocks.append(counters["clock"])
        clocks = [clock for clock in self._clocks if clock is not None]
        if not self._grouping.by_key:
            # Of several partitions the latest: a clock that went back would open windows that are
            # stored.
            self._sessionizer.clock = max(clocks, default=None)
        elif not self._batches:
            # Of partitions that share sessions the one counts that is furthest behind.
            all_have_one = len(clocks) == len(self._clocks)
            self._sessionizer.clock = min(clocks) if all_have_one else None

    def judge_by(
        self, run: Judge, *, cache: ScoreCache | None, learner: Learner | None = None
    ) -> None:
        """Judge by another run from now on, beginning with open sessions.

        The time after which sessions end stays as it was.
        """
        self._run, self._learner = run, learner
        self._known = KnownScores(run.opinion, cache=cache, remembered=_REMEMBERED)
        self._judging = self._new_judging()
        self._shown = 0

    def push(self, name: str, lines: pl.DataFrame, *, arrived: float) -> None:
        """Take lines of a partition."""
        records = self.partitions[name].push(lines, arrived=arrived)
        self._take(self.partitions[name], records, arrived=arrived)

    def tick(self, now: float) -> None:
        """Close what is idle, and what has been open for too long, by the clock of arrival."""
        for partition in self.partitions.values():
            self._take(partition, partition.rest(now=now), arrived=now)
        # By arrival, not by the log's own times: a log that is read late has its pauses all the
        # same.
        idle = now - self._idle
        old = now - self._how.max_open_age
        last = _before(self._arrived, idle)
        first = _before(self._arrived, old)
        closed = self._sessionizer.quiet(last=last, first=first)
        if closed.height:
            self._closed.append(closed)
        # What came longer ago than any session may be open is asked for no more.
        while len(self._arrived) > 1 and self._arrived[1][0] <= old:
            self._arrived.popleft()

    def end(self, now: float) -> None:
        """Close all sessions: nothing more will ever come."""
        for partition in self.partitions.values():
            self._take(partition, partition.rest(now=float("inf")), arrived=now)
        self._closed.append(self._sessionizer.flush())

    def learnt(self) -> None:
        """Called when what judges has learnt: scores that were known hold no longer."""
        self._known = KnownScores(self._run.opinion, remembered=_REMEMBERED)
        self._judging = self._new_judging()

    @property
    def closing(self) -> bool:
        """Whether sessions have closed that `closed` has not given yet."""
        return any(frame.height for frame in self._closed)

    def closed(self, most: int | None = None) -> pl.DataFrame:
        """Rows of the store for the sessions that have closed since the last call.

        Args:
            most: at most so many sessions; the others come with the next call. None: all.
        """
        every = pl.concat([_NOTHING, *self._closed])
        count = every.height if most is None else most
        sessions = every.head(count)
        rest = every.slice(sessions.height)
        self._closed = [rest] if rest.height else []
        self._judged += sessions.height
        rows = self._rows(sessions, open=False)
        if self._learner is not None and rows.height:
            self._learner.offer(sessions, rows, messages=self.messages, texts=self._titles)
        return rows

    def open(self) -> pl.DataFrame:
        """Rows of the store for open sessions that have changed since they were last judged.

        Those that have been unchanged for longest come first.
        """
        # At most about 5,000: those that share the last one's record come with it, for what is
        # remembered is the number of a record.
        changed = self._sessionizer.open(self._shown).sort("last", maintain_order=True)
        if changed.height:
            last = changed["last"].head(_AT_ONCE).max()
            changed = changed.filter(pl.col("last") <= last)
        newest = int(changed["last"].max() or 0)  # type: ignore[arg-type]
        self._shown = max(self._shown, newest)
        return self._rows(changed, open=True)

    def lows(self) -> dict[str, int]:
        """The first line of each partition that is in no session that `closed` has given."""
        firsts = dict(self._sessionizer.lows())
        # Sessions that have closed and were not given yet hold their lines, too.
        for frame in self._closed:
            lines = frame.select("files", "lines").explode("files", "lines")
            for file, line in lines.group_by("files").min().iter_rows():
                firsts[file] = min(firsts.get(file, line), line)
        lows = {}
        for name, partition in self.partitions.items():
            held = firsts.get(partition.file)
            lows[name] = partition.low(held)
        return lows

    def counters(self, name: str, low: int) -> dict[str, Any]:
        """What a restart at that line of a partition takes up."""
        span = self._sessionizer.span
        file = self.partitions[name].file
        at_low = (pl.col("file") == file) & (pl.col("line") >= low)
        numbers = [batch.numbers.filter(at_low)["record"] for batch in self._batches]
        # Records are numbered through all partitions: the first one at or after the line, or the
        # next to come.
        firsts = (int(column[0]) for column in numbers if len(column))
        first = next(firsts, self._records + 1)
        began = span.began.isoformat() if span.began else None
        clock = self._sessionizer.clock
        if self._grouping.by_key:
            # What is read again is to find the clock as it was before: by a later one, two sessions
            # of one key with a pause between them would be one.
            pairs = zip(self._batches, numbers, strict=True)
            clocks = (batch.clock for batch, there in pairs if len(there))
            clock = next(clocks, clock)
        return {"records": first - 1, "clock": clock, "began": began}

    def tidy(self, lows: Mapping[str, int]) -> None:
        """Let go of what no open session needs.

        Args:
            lows: what `lows` gave.
        """
        if self.closing:
            return
        low_of = {partition.file: lows[name] for name, partition in self.partitions.items()}
        wanted = []
        # A batch is of one partition, and its lines rise: its last one tells whether it is needed.
        for batch in self._batches:
            file = batch.numbers["file"][0]
            last_line = batch.numbers["line"][-1]
            if last_line >= low_of[file]:
                wanted.append(batch)
        self._batches = wanted
        # Only where much is remembered, and most of it for nothing: each costs a pass over all of
        # it.
        written = sum(partition.written for partition in self.partitions.values())
        many_lines = written > _FEWEST_LINES
        many_messages = len(self._table.messages) > _FEWEST_MESSAGES
        if not many_lines and not many_messages:
            return
        lists = ("messages", "lines", "files")
        rows = self._sessionizer.open().select(lists).explode(lists)
        if many_lines:
            # The further lines of records are wanted, too.
            message = self._table.messages.gather(rows["messages"])
            wanted_lines = reaching(rows.select(file="files", line="lines", message=message))
            if written > 2 * wanted_lines.height:
                for partition in self.partitions.values():
                    own = wanted_lines.filter(pl.col("file") == partition.file)
                    partition.forget(own.select("line"))
        distinct = rows["messages"].n_unique()
        if many_messages and len(self._table.messages) > 2 * distinct:
            self._begin_table(rows["messages"])

    @property
    def open_sessions(self) -> int:
        """How many sessions are open."""
        return self._sessionizer.open_count

    def texts(self, places: pl.DataFrame) -> pl.Series:
        """What is written in some records, as it may be shown, their further lines too.

        Args:
            places: `file`, `line`, and `message`, the masked message.
        """
        by_field = self._grouping.key_field
        tell = tells(self._settings.format, key_field=by_field, redacted=self.redacted)
        schema = {"file": pl.UInt32, "line": pl.UInt64, "text": pl.String}
        frames = [pl.DataFrame(schema=schema)]
        lines = reaching(places)
        # Where a whole line may hold what is to be hidden, evidence is the masked message.
        for partition in self.partitions.values() if tell else ():
            own = lines.filter(pl.col("file") == partition.file)
            frames.append(partition.texts(own))
        written = pl.concat(frames)
        further = with_further(places, written=written, described=self._settings.format)
        return shown(places, further, redacted=self.redacted)

    def _titles(self, places: pl.DataFrame) -> pl.Series:
        """What some records are called in one line (`places` as `texts` takes them)."""
        return titles(places, self)

    def _take(self, partition: Partition, records: pl.DataFrame, *, arrived: float) -> None:
        """Put records into sessions."""
        if not records.height:
            return
        first = self._records + 1
        self._records += records.height
        numbers = pl.int_range(first, first + records.height, dtype=pl.UInt64, eager=True)
        records = records.with_columns(record=numbers)
        places = records.select("record", "file", "line")
        self._batches.append(_Batch(places, self._sessionizer.clock))
        self._arrived.append((arrived, self._records))
        before = len(self._table.messages)
        left = self._table.numbered(partition.not_stored(records))
        self.kinds.look(left, self._table.messages, before=before)
        closed = self._sessionizer.push(left)
        if closed.height:
            self._closed.append(closed)

    def _rows(self, sessions: pl.DataFrame, *, open: bool) -> pl.DataFrame:
        """Rows of the store for sessions that are judged now."""
        if not sessions.height:
            return pl.DataFrame(schema=VERDICTS)
        seen = Seen(self._sessionizer.span, over=False, sessions=self._judged, open=open)
        files, messages = self._reader.files, self._table.messages
        verdicts = self._judging.verdicts(sessions, messages, seen=seen, files=files)
        kept = shown_of(sessions, verdicts, written=self, messages=messages, over=not open)
        state: Literal["open", "closed"] = "open" if open else "closed"
        return rows(verdicts, sessions, names=files, state=state, shown=kept)

    def _new_judging(self) -> Judging:
        """What judges sessions of the message table."""
        return Judging(self._run, self._known, by_key=self._grouping.by_key, written=lambda: self)

    def _begin_table(self, wanted: pl.Series) -> None:
        """Begin the message table anew: with messages of open sessions and of those just closed."""
        # A table only ever grows, and lives for months: what no session holds any more is left
        # behind.
        closing = [frame["messages"].explode() for frame in self._closed]
        places = pl.concat([wanted, *closing]).unique().sort()
        table = MessageTable()
        numbers = table.push(self._table.messages.gather(places))
        # For each old number the new one; 0 where no session holds the message any more.
        zero = pl.Series([0], dtype=pl.UInt32)
        zeros = zero.new_from_index(0, len(self._table.messages))
        renumbered = zeros.scatter(places, numbers)
        self._sessionizer.renumber(renumbered)
        new_number = pl.lit(renumbered).gather(pl.element())
        in_lists = pl.col("messages").list.eval(new_number)
        self._closed = [frame.with_columns(in_lists) for frame in self._closed]
        self._table = table
        self._known.new_table()
        self._judging = self._new_judging()


def _before(arrived: deque[tuple[float, int]], moment: float) -> int:
    """The last record that had come by a moment; -1: none had."""
    last = -1
    for came, record in arrived:
        if came > moment:
            break
        last = record
    return last
