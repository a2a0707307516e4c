"""One stream: a source, its sessions, and what one transaction stores of them."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.detect.cache import ScoreCache
from logllm.detect.judge import Judge
from logllm.errors import RecipeError, ServeError
from logllm.serve.assembly import Assembly, Counters, Leaning
from logllm.serve.learning_on.learner import Learner
from logllm.serve.partition import Claimed
from logllm.serve.session_homes import SessionHomes
from logllm.serve.sources.contract import Arrival, Resumed, Shared
from logllm.serve.store.frames import VERDICTS
from logllm.serve.store.troubles import OwnershipLost, StoreAway, StoreFull
from logllm.serve.store.verdict_store import Also, Kept
from logllm.serve.surroundings import Surroundings, Watched

_EVERY = 0.15
"""Seconds between two transactions."""
_LOOK = 0.5
"""Seconds after which open sessions are judged again."""
_SHARE = 4
"""Judging open sessions takes at most one part in so many of the time."""
_FIRST_LINES = 1_000
"""Lines by which a format is told."""
_PATIENCE = 3.0
"""Seconds after which it is told by what has come."""
_ENOUGH = 2_000
"""Closed sessions that are stored at once though the time has not come."""


class Claim(NamedTuple):
    """What was claimed, and what a restart takes up."""

    claimed: Claimed
    counters: Counters


class Stored(NamedTuple):
    """What a transaction stored."""

    closed: int
    anomalous: int


class Stream:
    """Lines come in, verdicts go into the store; nothing is accounted for before it is stored."""

    def __init__(self, watched: Watched, around: Surroundings) -> None:
        """Nothing read yet.

        Args:
            watched: the source, and how its lines are read.
            around: what it shares with others.
        """
        self.name = watched.name
        self.source = watched.source
        self.lines = 0
        """Lines taken so far."""
        self.sessions = 0
        """Sessions that have closed so far."""
        self.anomalous = 0
        """How many of them are anomalous."""
        self.goes_on: dict[str, int] = {}
        """The first line to read of each partition that the store knew."""
        self._watched = watched
        self._around = around
        self._settings = watched.settings
        self._claims: dict[str, Claim] = {}  # of partitions whose format is not known yet
        self._first: list[Arrival] = []  # what came of them
        self._assemblies: dict[str, Assembly] = {}  # by partition
        self._due = 0.0
        self._look = 0.0
        self._pending: list[pl.DataFrame] = []  # judged, and not stored yet
        self._changed = False
        self._clocks: dict[str, Any] = {}  # of partitions, as they are stored
        self._homes = SessionHomes()
        self.learner: Learner | None = None
        """Learns what is normal; none: nothing is learnt."""
        if around.how.learn:
            self._begin_to_learn(Learner(around.run, stream=self.name, redacted=around.how.redact))

    @property
    def assemblies(self) -> list[Assembly]:
        """Each once."""
        return list(dict.fromkeys(self._assemblies.values()))

    def begin(self) -> None:
        """Begin to read, from where the store says that it was left."""
        if self.learner is not None:
            self.learner.load(self._around.store)
        self.source.begin(self._claim)

    def take(self, wait: float) -> bool:
        """Take what has come, and close what is idle; whether anything came."""
        begun = self._around.clock()
        taken = self.source.take(wait)
        for name in taken.lost:
            self._drop(name)
        for arrival in taken.arrivals:
            self.lines += arrival.lines.height
            self._push(arrival)
        now = self._around.clock()
        if self._first and self._may_recognise(now):
            self._recognise()
        # While lines wait at the source that came earlier, nothing is idle by the time of now.
        reached = max((arrival.arrived for arrival in taken.arrivals), default=begun)
        sound_time = min(reached, begun)
        for assembly in self.assemblies:
            assembly.tick(sound_time)
        return bool(taken.arrivals)

    def store(self, *, at_once: bool = False) -> Stored:
        """Store closed sessions, open ones that have changed, and lows, when it is time.

        A low says how far a partition is accounted for. What is judged and cannot be stored is
        stored with the next call: until then lows go no further. Where something is to be learnt
        from sessions before others are judged, it takes several transactions.

        Raises:
            ServeError: the store is full or away; nothing is lost by trying again.
        """
        stored = self._store_once(at_once=at_once)
        while any(assembly.closing for assembly in self.assemblies):
            more = self._store_once(at_once=True)
            closed = stored.closed + more.closed
            anomalous = stored.anomalous + more.anomalous
            stored = Stored(closed, anomalous)
        return stored

    def _store_once(self, *, at_once: bool) -> Stored:
        """Store in one transaction, when it is time."""
        now = self._around.clock()
        self._judge_closed()
        waiting = sum(frame.height for frame in self._pending)
        to_be_learnt = any(assembly.closing for assembly in self.assemblies)
        is_time = now >= self._due or waiting >= _ENOUGH
        if not (is_time or at_once or to_be_learnt):
            return Stored(0, 0)
        # Open ones first: a session that has closed since has the last word.
        self._pending = [*self._open(now), *self._pending]
        rows = pl.concat([pl.DataFrame(schema=VERDICTS), *self._pending])
        # Nothing is accounted for that is not in these rows: lows are asked after all was judged.
        lows: dict[str, int] = {}
        for assembly in self.assemblies:
            lows |= assembly.lows()
        kept: Mapping[str, Kept] = {name: self._kept(name, low) for name, low in lows.items()}
        self._look_for_divided(rows)
        if kept and (self._changed or rows.height):
            kept = self._write(rows, kept)
            self._changed = False
            self._told_stored(kept)
        self._pending = []
        # Only now may the source forget: what another process has taken over is not among them.
        stored_lows = {name: place.low for name, place in kept.items()}
        self.source.stored(stored_lows)
        for assembly in self.assemblies:
            assembly.tidy(lows)
        self._due = self._around.clock() + _EVERY
        closed = rows.filter(pl.col("state") != "open")
        anomalous = int(closed["anomalous"].sum())
        self.sessions += closed.height
        self.anomalous += anomalous
        return Stored(closed.height, anomalous)

    def judge_by(self, run: Judge, *, cache: ScoreCache | None) -> None:
        """Judge by another run from now on; no line is read again."""
        self._around = self._around._replace(run=run, cache=cache)
        if self._around.how.learn:
            self._learn_by(run)
        for assembly in self.assemblies:
            assembly.judge_by(self._around.run, cache=self._around.cache, learner=self.learner)

    def end(self) -> None:
        """Close all sessions: nothing more will ever come."""
        if self._first:
            self._recognise()
        for assembly in self.assemblies:
            assembly.end(self._around.clock())

    @property
    def trouble(self) -> str | None:
        """What keeps the source from going on, such as a full spool."""
        return self.source.trouble

    @property
    def counts(self) -> dict[str, int]:
        """What was read and what was not, in plain counts by name."""
        counts: dict[str, int] = dict(self.source.counts)
        if self.learner is not None:
            counts |= self.learner.counts
        if self._homes.divided:
            counts["divided_sessions"] = self._homes.divided
        for assembly in self.assemblies:
            for name, count in assembly.counts.items():
                counts[name] = counts.get(name, 0) + count
        return counts

    def _begin_to_learn(self, learner: Learner) -> None:
        """Judge by what is learnt, too; scores that were kept of the run do not hold then."""
        self.learner = learner
        self._around = self._around._replace(run=learner.judge, cache=None)

    def _learn_by(self, run: Judge) -> None:
        """Learn beside another run, if its method can, from what the store holds of it on."""
        self.learner = None
        try:
            learner = Learner(run, stream=self.name, redacted=self._around.how.redact)
        except RecipeError as exc:
            self._around.told(f"{self.name}: nothing more is learnt: {exc}")
            return
        self._begin_to_learn(learner)
        # While the store is away its next transaction takes that up.
        with suppress(StoreFull, StoreAway):
            learner.load(self._around.store)

    def _judge_closed(self) -> None:
        """Judge what has closed, no further than to where something is to be learnt."""
        for assembly in self.assemblies:
            most = None
            if self.learner is not None:
                over = [frame["state"] != "open" for frame in self._pending]
                judged = sum(int(column.sum()) for column in over)
                most = max(0, self.learner.room - judged)
            self._pending.append(assembly.closed(most))

    def _look_for_divided(self, rows: pl.DataFrame) -> None:
        """Say once that a session has lines in two partitions: each part is judged by itself."""
        by_key = self._settings is not None and self._settings.sessions.by_key
        if not self._watched.apart or not by_key:
            return
        divided = self._homes.look(rows)
        if divided is not None:
            session, home, other = divided
            what = f"session {session} has lines in {home} and in {other}"
            remedy = "the key of the producer's messages must be the session's"
            self._around.told(f"{self.name}: {what}, and each part is judged by itself: {remedy}")

    def _told_stored(self, kept: Mapping[str, Kept]) -> None:
        """Tell those who wait for it that a transaction is stored."""
        for name, place in kept.items():
            self._clocks[name] = place.counters["clock"]
        for assembly in self.assemblies:
            assembly.kinds.stored()
        if self.learner is not None and self.learner.stored():
            for assembly in self.assemblies:
                assembly.learnt()

    def _claim(self, partition: str) -> Resumed | None:
        """Take a partition over."""
        around = self._around
        claimed = around.store.claim(self.name, partition, owner=around.owner)
        new = claimed.low == 0
        if new and around.how.begin == "stored":
            remedy = "leave out --from stored to begin with it"
            raise ServeError(f"the store knows nothing of {partition}: {remedy}")
        accounted = around.store.accounted(self.name, partition, low=claimed.low)
        own = Claimed(claimed.epoch, claimed.low, claimed.place, accounted)
        self._claims[partition] = Claim(own, claimed.counters)
        # A format that was found is kept in the store: after a restart no first lines are needed.
        if self._settings is None and "format" in claimed.counters:
            self._settings = PrepareSection.read(claimed.counters["format"], source="the store")
        if self._settings is not None:
            self._open_partitions(self._settings)
        if new:
            return None
        self.goes_on[partition] = claimed.low
        return Resumed(claimed.low, claimed.place)

    def _may_recognise(self, now: float) -> bool:
        """Whether enough has come to tell the format."""
        lines = sum(arrival.lines.height for arrival in self._first)
        waited = now - self._first[0].arrived
        return lines >= _FIRST_LINES or waited > _PATIENCE

    def _recognise(self) -> None:
        """Find the format by the first lines, and say it."""
        assert self._watched.recognise is not None  # noqa: S101 - or there are settings
        texts = pl.concat([arrival.lines["text"] for arrival in self._first])
        recognised = self._watched.recognise(texts)
        for words in recognised.notes:
            self._around.told(f"{self.name}: {words}")
        self._settings = recognised.settings
        self._open_partitions(recognised.settings)
        first, self._first = self._first, []
        for arrival in first:
            self._push(arrival)

    def _open_partitions(self, settings: PrepareSection) -> None:
        """Begin to put lines of the claimed partitions into sessions."""
        claims, self._claims = self._claims, {}
        apart = self._watched.apart or not settings.sessions.by_key
        for partition, (claimed, counters) in claims.items():
            # Sessions by key may lie in several partitions, which then share one assembly.
            new = apart or not self._assemblies
            around = self._around
            leaning = Leaning(settings, around.run, around.how, around.cache, self.learner)
            assembly = Assembly(leaning) if new else self.assemblies[0]
            assembly.add(partition, claimed, counters=counters)
            self._assemblies[partition] = assembly
            self._clocks[partition] = counters.get("clock")

    def _drop(self, partition: str) -> None:
        """Forget a partition that another process has now, and what is open of it."""
        self._assemblies.pop(partition, None)
        self._claims.pop(partition, None)
        self._first = [arrival for arrival in self._first if arrival.partition != partition]
        own = pl.col("partition") == partition
        self._pending = [frame.filter(~own) for frame in self._pending]
        self._homes.leave(partition)

    def _push(self, arrival: Arrival) -> None:
        """Take lines of one partition."""
        self._changed = True
        if arrival.partition in self._claims:
            if arrival.lines.height:  # one without lines says only that the partition is there
                self._first.append(arrival)
            return
        # None: another process has the partition, as the store said before the source did.
        assembly = self._assemblies.get(arrival.partition)
        if assembly is not None:
            assembly.push(arrival.partition, arrival.lines, arrived=arrival.arrived)

    def _open(self, now: float) -> list[pl.DataFrame]:
        """Rows of open sessions that have changed, when it is time."""
        if now < self._look:
            return []
        begun = self._around.clock()
        frames = [assembly.open() for assembly in self.assemblies]
        took = self._around.clock() - begun
        # Judging open ones is a service beside the work: where it takes long it is done less often.
        self._look = now + max(_LOOK, _SHARE * took)
        return frames

    def _kept(self, name: str, low: int) -> Kept:
        """How far a partition is accounted for."""
        assembly = self._assemblies[name]
        counters = assembly.counters(name, low)
        if assembly.closing:
            # A restart is to find that these sessions have closed, and not that they closed before.
            counters["clock"] = self._clocks[name]
        if self._watched.settings is None and self._settings is not None:
            counters["format"] = self._settings.model_dump(mode="json")
        epoch = assembly.partitions[name].epoch
        place = self.source.place(name, low)
        return Kept(epoch, low, place, counters)

    def _write(self, rows: pl.DataFrame, kept: Mapping[str, Kept]) -> Mapping[str, Kept]:
        """Write in one transaction, except partitions that another process has taken over.

        Returns what was stored.
        """
        around = self._around
        kinds_seen = [assembly.kinds for assembly in self.assemblies]
        also: list[Also] = [*around.also, *kinds_seen]
        if self.learner is not None:
            also.append(self.learner)  # last: what incidents count is not learnt
        while True:
            try:
                around.store.write(self.name, verdicts=rows, kept=kept, also=also)
            except OwnershipLost as exc:
                lost = set(exc.partitions)
                # Sessions that lie in several partitions cannot be given up for one of them.
                if not self._watched.apart:
                    what = f"another process watches {self.name} now"
                    raise ServeError(f"{what}, and this one stops: {exc}") from exc
                for name in lost:
                    self._drop(name)
                if isinstance(self.source, Shared):
                    self.source.refused(sorted(lost))
                kept = {name: place for name, place in kept.items() if name not in lost}
                rows = rows.filter(~pl.col("partition").is_in(list(lost)))
            else:
                return kept
