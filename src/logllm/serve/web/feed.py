"""The live stream: one reader of the store for all who follow, each at a speed of his own."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from logllm import __version__
from logllm.errors import first_line
from logllm.serve.source_rows import source_rows
from logllm.serve.store.verdict_store import Store
from logllm.serve.web import changes
from logllm.serve.web.changes import Event, event, told_up_to
from logllm.serve.web.request_models import Cursor

_EVERY = 0.2
"""Seconds between two looks for changes."""
_LOOK_AT_SOURCES = 2.0
"""Seconds between two looks at how the sources are."""
_TRY_AGAIN = 1.0
"""Seconds until a store that is away is asked again."""
_KEEP_ALIVE = 10.0
"""Seconds without an event after which something is sent, so that nobody thinks the line dead."""
_WAITING = 64
"""Events that may wait for one client."""
T = TypeVar("T")


class Feed:
    """Gives what changes to all who follow; belongs to one event loop.

    While someone follows, one task looks for changes. What it reads goes into the queue of each
    client. A client that is slower than that is taken out: it reads from the store itself until it
    has caught up with the others. So it misses nothing, and nothing piles up for it.
    """

    def __init__(self, store: Store, *, every: float = _EVERY) -> None:
        """A feed that nobody follows yet.

        Args:
            store: where changes are looked for.
            every: seconds between two looks.
        """
        self.followers = 0
        """Clients that follow now."""
        self._store = store
        self._every = every
        self._place: Cursor | None = None  # how far all in `_queues` were told; none: nobody looks
        self._queues: set[_Queue] = set()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._sources: list[dict[str, Any]] = []

    async def follow(self, after: int | None) -> AsyncGenerator[Event | None]:
        """Events from a change on, or from now on; none is a sign of life.

        The first one, `hello`, says the newest change. `reset` says that the client knows of
        changes which this store does not: what he has is to be read again.

        Args:
            after: the last change that the client has; none: he has read all.
        """
        # Counted before anything is waited for: who looks goes on as long as somebody follows.
        self.followers += 1
        try:
            shared = await self._looking()
            place = Cursor(told_up_to(shared) if after is None else after)
            latest = told_up_to(shared)
            yield event("hello", {"change": latest, "version": __version__}, number=place.change)
            # The store was replaced, or restored from a backup: numbers begin lower than the
            # client's.
            if place.change > latest:
                place = Cursor(latest)
                yield event("reset", {"change": latest}, number=latest)
            # Left where a client goes, whatever is in hand: nothing of it waits to be collected.
            async with aclosing(self._from(place)) as events:
                async for event_told in events:
                    yield event_told
        finally:
            self.followers -= 1

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        for queue in self._queues:
            queue.end()

    async def _from(self, place: Cursor) -> AsyncGenerator[Event | None]:
        """Events after a place: from the store what has passed, then with all others."""
        while not self._closed:
            async for missed in self._missed(place):
                yield missed
                # After each event, so that nothing is told twice should the client have to read on
                # by himself.
                place = Cursor(missed.id)
            # From here to the end of the line nothing else runs: what comes next is in the queue.
            queue = _Queue()
            self._queues.add(queue)
            try:
                async for live in queue:
                    yield live
                    place = place if live is None else Cursor(live.id)
            finally:
                self._queues.discard(queue)

    async def _missed(self, place: Cursor) -> AsyncIterator[Event]:
        """What lies between a place and where all others are."""
        while not self._closed:
            shared = await self._looking()
            # In the middle of a change nobody can join: its beginning has gone to the others.
            if shared.key is not None:
                await asyncio.sleep(self._every / 4)
                continue
            if told_up_to(place) >= shared.change:
                return
            read = partial(changes.changes_after, self._store, place, until=shared.change)
            missed = await self._read(read)
            place = missed.place
            for missed_event in missed.events:
                yield missed_event

    async def _looking(self) -> Cursor:
        """How far all others are; begins to look for changes where nobody did."""
        # The last look ended because nobody followed: where it was left says nothing any more.
        if self._task is None or self._task.done():
            self._place = None
            self._task = asyncio.create_task(self._look())
        while self._place is None:
            if self._closed:
                return Cursor(0)
            await asyncio.sleep(self._every / 10)
        return self._place

    async def _look(self) -> None:
        """Look for changes as long as someone follows."""
        # Begins where the store is now: who has to know of what came before reads it himself.
        self._place = await self._read(partial(changes.newest, self._store))
        self._sources = await self._read(partial(source_rows, self._store))
        loop = asyncio.get_running_loop()
        due = loop.time() + _LOOK_AT_SOURCES
        while self.followers and not self._closed:
            place = self._place
            read = await self._read(partial(changes.changes_after, self._store, place))
            self._place = read.place
            self._give(read.events)
            if loop.time() > due:
                due = loop.time() + _LOOK_AT_SOURCES
                await self._tell_sources()
            # Not while there is more of a change: a large one is read on at once.
            if read.place.key is None:
                await asyncio.sleep(self._every)

    async def _tell_sources(self) -> None:
        """Give how the sources are, where that has changed."""
        now = await self._read(partial(source_rows, self._store))
        # Watches write every few seconds, mostly the same.
        if now != self._sources and self._place is not None:
            self._sources = now
            number = told_up_to(self._place)
            self._give((event("source", {"sources": now}, number=number),))

    def _give(self, events: tuple[Event, ...]) -> None:
        """Give events to all."""
        for queue in self._queues:
            queue.give(events)

    async def _read(self, read: Callable[[], T]) -> T:
        """Read from the store, as soon as it answers."""
        while True:
            try:
                return await asyncio.to_thread(read)
            except Exception as exc:  # whatever it is, who follows waits for its end
                if self._closed:
                    raise
                # Whoever runs the service sees it; clients see only that nothing comes.
                sys.stderr.write(f"the live stream is waiting: {first_line(exc)}\n")
                await asyncio.sleep(_TRY_AGAIN)


class _Queue:
    """What waits for one client: bounded, and at its end when he is too slow."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._over = False

    def give(self, events: tuple[Event, ...]) -> None:
        """Take events, or where that would be too many end, without those that wait."""
        if self._over:
            return
        # The queue is bounded by giving up what waits: the store still has all of it.
        if self._events.qsize() + len(events) > _WAITING:
            self.end()
            return
        for new_event in events:
            self._events.put_nowait(new_event)

    def end(self) -> None:
        """Nothing more comes, nor what waits."""
        self._over = True
        while not self._events.empty():
            self._events.get_nowait()
        self._events.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Event | None]:
        """Events until the end; none is a sign of life."""
        while True:
            try:
                async with asyncio.timeout(_KEEP_ALIVE):
                    next_event = await self._events.get()
            except TimeoutError:
                yield None
                continue
            if next_event is None:
                return
            yield next_event
