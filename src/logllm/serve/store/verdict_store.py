"""Verdicts, how far each partition is accounted for, and who owns it: all in one transaction."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Self

import polars as pl
from sqlalchemy import Connection, Engine

from logllm.errors import DataError, LogLLMError, ServeError
from logllm.serve.store import reading, upkeep, writing
from logllm.serve.store.address import Address, address
from logllm.serve.store.connecting import connected
from logllm.serve.store.frames import VERDICTS, spans_of, stored_time, to_rows
from logllm.serve.store.migrating import migrate
from logllm.serve.store.troubles import told

_LONGEST_NAMES = 1500
"""Bytes of a stream's and a partition's name: they are a part of every key."""


Clock = Callable[[], datetime]


def machine_time() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


Also = Callable[[Connection, str, int], None]
"""Called in the transaction of a stream's verdicts, with the number of their change."""


class Claimed(NamedTuple):
    """A partition that is ours, and where it was left."""

    epoch: int
    """One more than its former owner's, whose writes are refused from now on."""
    low: int
    """The first line that is not accounted for; 0 of a new partition."""
    place: Mapping[str, Any]
    """From where the source reads again."""
    counters: Mapping[str, Any]
    """What the writer counts on, such as records."""


class Kept(NamedTuple):
    """How far a partition is accounted for, as the next one to claim it will find it."""

    epoch: int
    low: int
    place: Mapping[str, Any]
    counters: Mapping[str, Any]


class Written(NamedTuple):
    """What became of verdicts that were written."""

    new: int
    """Sessions that were not there."""
    revised: int
    """Open ones, written anew."""
    ignored: int
    """Ones that were closed already, as after a replay."""


class Store:
    """A store of verdicts.

    One thread writes; any may read, and readers never make the writer wait. Times are the clock's
    own, UTC. Made by `open`.
    """

    @classmethod
    def open(cls, where: str | Path, *, create: bool = True, clock: Clock = machine_time) -> Self:
        """Open a store, and make its tables or bring them up to date.

        Args:
            where: A path, `sqlite:///PATH`, or `postgresql://...`.
            create: Make a file that is not there.
            clock: The time now.

        Raises:
            DataError: it cannot be one: a folder, not writable, another program's.
            ServeError: a newer logllm wrote it, or it does not answer (`StoreAway`).
        """
        # Tables before anything else: who reads may come before the first watch has written.
        place = address(where)
        engine = connected(place, create=create)
        try:
            with told(place.name):
                migrate(engine, place.name)
        except LogLLMError:
            # Otherwise a connection stays open that nobody can close, with its lock on the file.
            engine.dispose()
            raise
        return cls(place, engine, clock=clock)

    def __init__(self, place: Address, engine: Engine, *, clock: Clock) -> None:
        """A store at an address whose tables are up to date."""
        self._place = place
        self._engine = engine
        self._clock = clock
        self._writer = Lock()
        self._identity = _identity(place.file)

    @property
    def name(self) -> str:
        """What people are told of it: no user and no password."""
        return self._place.name

    def claim(self, stream: str, partition: str, *, owner: str) -> Claimed:
        """Take a partition over: whoever had it can write nothing of it any more.

        Args:
            stream: What the watch is called.
            partition: What keeps its own order of lines.
            owner: Who takes it, for people: a host and a process.
        """
        # PostgreSQL would refuse a key this long, but only when the first verdict is stored, hours
        # later.
        if len((stream + partition).encode()) > _LONGEST_NAMES:
            most = f"at most {_LONGEST_NAMES} bytes"
            raise DataError(f"the partition {partition[:80]}... has too long a name: {most}")
        now = self._now()
        with self.transaction() as connection:
            row = writing.claim(connection, stream, partition=partition, owner=owner, updated=now)
        place, counters = json.loads(row.place), json.loads(row.counters)
        return Claimed(row.epoch, row.low, place, counters)

    def accounted(self, stream: str, partition: str, *, low: int) -> pl.DataFrame:
        """Up to which line a replay passes over each session.

        Returns:
            `session: str, last: i64`: of every session that is stored as `closed` or `early` and
            has a line at or after `low` in a partition, the last one there. All lines up to it
            that name the session are accounted for. Names are as `frames.stored_names` makes them.
        """
        with self.transaction(reading=True) as connection:
            return reading.accounted(connection, stream, partition=partition, low=low)

    def write(
        self,
        stream: str,
        *,
        verdicts: pl.DataFrame,
        kept: Mapping[str, Kept],
        also: Sequence[Also] = (),
    ) -> Written:
        """Write verdicts and places, all or nothing.

        An `open` row is written anew; a `closed` or `early` one stays as it is, which makes a
        replay harmless.

        Args:
            stream: What the watch is called.
            verdicts: Of `frames.VERDICTS`.
            kept: By partition; every partition of the verdicts is among them.
            also: Done in the same transaction where there are verdicts; those that are new or
                revised have the change's number then.

        Raises:
            OwnershipLost: another process has claimed one of the partitions; nothing is written.
            StoreFull: nothing is written; the same write may be tried again.
            StoreAway: it is not known whether it is written; the same write may be tried again.
        """
        _check_partitions(verdicts, kept)
        # Asked before the transaction begins: what can be worked out outside of it holds no lock.
        updated = self._now()
        # Of sessions over several partitions alone: nearly always there is none.
        spans = spans_of(verdicts)
        epochs = {name: mine.epoch for name, mine in kept.items()}
        with self.transaction() as connection:
            # First of all, and with a lock on the rows: nobody takes a partition over between this
            # look and the commit.
            writing.compare_epochs(connection, stream, epochs=epochs)
            new, revised = 0, 0
            if verdicts.height:
                change = writing.next_change(connection)
                rows = to_rows(verdicts, stream=stream, updated=updated, change=change)
                new, revised = writing.put_verdicts(connection, writing.last_words(rows))
                writing.put_spans(connection, stream, last=spans, updated=updated)
                for act in also:
                    act(connection, stream, change)
            # In the same transaction as the verdicts: a place past what is stored would lose lines,
            # one before it judges them twice.
            writing.put_places(connection, stream, kept=kept, updated=updated)
        return Written(new, revised, verdicts.height - new - revised)

    def settle(self, stream: str, *, before: datetime) -> int:
        """Close as `early` what is open and was not revised since a time; how many they are."""
        with self.transaction() as connection:
            stale = stored_time(before)
            return upkeep.settle(connection, stream, before=stale, updated=self._now())

    def retain(self, *, days: int, now: datetime, most: int | None = None) -> int:
        """Delete verdicts that were last written more than so many days ago, open ones never.

        It goes in small steps, between which others can write.

        Args:
            days: How long they are kept.
            now: The time.
            most: About how many are deleted at once, for who has other things to do; none: all.

        Returns:
            How many they were.
        """
        # The same bound for all steps, so that they come to an end while others write.
        before = stored_time(upkeep.days_before(now, days))
        deleted = 0
        for stream in self.streams():
            step = 1
            # A step that deletes nothing was the last one of its stream.
            while step and (most is None or deleted < most):
                with self.transaction() as connection:
                    step = upkeep.delete_some(connection, stream, before=before)
                deleted += step
        with self.transaction() as connection:
            upkeep.delete_service_rows(connection, before=before)
        return deleted

    def verdicts(
        self,
        stream: str | None = None,
        *,
        anomalous: bool | None = None,
        state: str | None = None,
        since: datetime | None = None,
        limit: int = 1000,
    ) -> pl.DataFrame:
        """Verdicts for reading, the last written first.

        Args:
            stream: Of one stream; none: of all.
            anomalous: Only those that are, or are not.
            state: Only `open`, `closed` or `early` ones.
            since: Written or revised at this time or later.
            limit: Show at most this many.

        Returns:
            Of `frames.READ`.
        """
        since_text = None if since is None else stored_time(since)
        wanted = reading.Wanted(anomalous, state, since_text, limit)
        streams = self.streams() if stream is None else [stream]
        with self.transaction(reading=True) as connection:
            # Each stream by itself, as the index has it; the newest of all are among the newest of
            # each.
            frames = [reading.newest(connection, name, wanted=wanted) for name in streams]
            return reading.merged(frames, limit)

    def streams(self) -> Sequence[str]:
        """The streams whose verdicts are stored here, by name."""
        with self.transaction(reading=True) as connection:
            return reading.streams(connection)

    def check(self) -> list[str]:
        """What is wrong with the store, in words; nothing where all is well."""
        with self.transaction(reading=True) as connection:
            return upkeep.faults(connection)

    def backup(self, path: Path) -> None:
        """Write a copy, whole and compact, while others go on to write; it replaces a file.

        Raises:
            DataError: the place is full or not writable.
            ServeError: the store is PostgreSQL's, which has its own way.
        """
        if self._place.file is None:
            raise ServeError(f"{self.name}: save a PostgreSQL store with pg_dump or pg_basebackup")
        upkeep.copy(self._place.file, path)

    @contextmanager
    def transaction(self, *, reading: bool = False) -> Iterator[Connection]:
        """A transaction: all of it is stored when it ends well, else nothing.

        Args:
            reading: Nothing is written in it, so that it waits for nobody.

        Raises:
            StoreFull: there is no room; nothing is written.
            StoreAway: the store does not answer.
            DataError: it is damaged, or cannot be written.
        """
        with told(self.name):
            if reading:
                with (
                    self._engine.connect().execution_options(reading=True) as connection,
                    connection.begin(),
                ):
                    yield connection
                return
            # SQLite lets one write at a time anyway: in one process they wait here, without the
            # polling and the time limit of its lock.
            with self._writer, self._engine.connect() as connection, connection.begin():
                self._check_there()
                yield connection

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _now(self) -> str:
        """The time, as it is written."""
        return stored_time(self._clock())

    def _check_there(self) -> None:
        """Whether the file is still the one that was opened.

        Raises:
            ServeError: it was moved or deleted, and what is written would be lost with it.
        """
        if _identity(self._place.file) != self._identity:
            remedy = "stop, put it back and start again"
            raise ServeError(f"{self.name} was moved, deleted or replaced while in use: {remedy}")


def _identity(file: Path | None) -> tuple[int, int] | None:
    """What tells a file from another one of its name."""
    if file is None:
        return None
    try:
        # Not the name: a file that was moved and replaced has the same one.
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _check_partitions(verdicts: pl.DataFrame, kept: Mapping[str, Kept]) -> None:
    """Make sure that the owner of every partition will be compared.

    Raises:
        ValueError: a verdict lies in a partition whose place is not written with it.
    """
    # A session over several partitions names them in `files`, beside the one of its first line.
    files = verdicts["files"].cast(VERDICTS["files"]).explode().drop_nulls()
    named = {*verdicts["partition"].unique(), *files.unique()}
    absent = named - kept.keys()
    if absent:
        raise ValueError(f"verdicts of partitions whose places are not given: {sorted(absent)}")
