"""How each watch is, as a row of the store: written by the watch, read by whoever shows it."""

import json
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select

from logllm.serve.store.frames import stored_time
from logllm.serve.store.service_schema import sources
from logllm.serve.store.troubles import StoreAway, StoreFull
from logllm.serve.store.verdict_store import Store
from logllm.serve.stream import Stream

_EVERY = 2.0
"""Seconds between two rows of a watch."""
_RATE_OVER = 10.0
"""Seconds over which lines a second are counted."""
ALIVE = timedelta(seconds=15)
"""A watch that has not said anything for so long is no longer there."""


class Rate:
    """Lines a second, of late."""

    def __init__(self) -> None:
        """None yet."""
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, lines: int, *, now: float) -> float:
        """The rate, now that so many lines have come.

        >>> rate = Rate()
        >>> rate.of(0, now=0.0), rate.of(50, now=2.0)
        (0.0, 25.0)
        """
        seen = self._seen
        seen.append((now, lines))
        # Two are always left, to have a rate where looks are far apart.
        while len(seen) > 2 and seen[0][0] < now - _RATE_OVER:
            seen.popleft()
        since, before = seen[0]
        return (lines - before) / (now - since) if now > since else 0.0


class SourceRows:
    """Writes how the streams of a watch are, every two seconds."""

    def __init__(self, store: Store, *, owner: str, run: str) -> None:
        """Nothing written yet.

        Args:
            store: where to.
            owner: who watches, for people: a host and a process.
            run: the name of what judges.
        """
        self._store = store
        self._owner = owner
        self.run = run
        """The name of what judges."""
        self._due = 0.0
        self._rates: dict[str, Rate] = {}

    def write(self, streams: Sequence[Stream], *, at_once: bool = False) -> None:
        """Write, when it is time; not at all where the store is full or away.

        Args:
            streams: of the watch.
            at_once: whether the time has come in any case.
        """
        now = time.monotonic()
        if now < self._due and not at_once:
            return
        self._due = now + _EVERY
        # Worked out before the transaction begins, which holds a lock that judging waits for.
        rows = [self._row(stream, now) for stream in streams]
        try:
            with self._store.transaction() as connection:
                for row in rows:
                    _replace(connection, row)
        except (StoreFull, StoreAway):
            return  # who writes verdicts says so

    def _row(self, stream: Stream, now: float) -> dict[str, Any]:
        """How a stream is."""
        counts = {name: count for name, count in stream.counts.items() if count}
        rate = self._rates.setdefault(stream.name, Rate()).of(stream.lines, now=now)
        open_sessions = sum(assembly.open_sessions for assembly in stream.assemblies)
        updated = stored_time(datetime.now(UTC))
        who = {"stream": stream.name, "owner": self._owner, "run": self.run}
        # Whole numbers since this start, and what is now.
        totals = {"lines": stream.lines, "sessions": stream.sessions}
        totals |= {"anomalous": stream.anomalous, "open_sessions": open_sessions}
        state = {"lag": stream.source.lag, "rate": rate, "trouble": stream.trouble}
        return {**who, **totals, **state, "counts": json.dumps(counts), "updated": updated}


def _replace(connection: Connection, row: dict[str, Any]) -> None:
    """Write a row in the place of the last one, and of those of watches that are gone."""
    columns = sources.c
    same_stream = columns.stream == row["stream"]
    # A watch that was killed leaves its row: the next one of the stream takes it away.
    alive_since = stored_time(datetime.now(UTC) - ALIVE)
    gone = columns.updated < alive_since
    same_owner = columns.owner == row["owner"]
    superseded = same_stream & (same_owner | gone)
    connection.execute(delete(sources).where(superseded))
    connection.execute(sources.insert().values(row))


def source_rows(store: Store) -> list[dict[str, Any]]:
    """How each watch is that a store knows of, by stream.

    Returns:
        Objects with the table's columns, `counts` as an object, and `alive`: whether the watch has
        said anything in the last fifteen seconds.
    """
    alive_since = stored_time(datetime.now(UTC) - ALIVE)
    in_order = select(sources).order_by(sources.c.stream, sources.c.owner)
    with store.transaction(reading=True) as connection:
        rows = connection.execute(in_order)
        objects = [dict(row) for row in rows.mappings()]
    for source in objects:
        source["counts"] = json.loads(source["counts"])
        source["alive"] = source["updated"] >= alive_since
    return objects
