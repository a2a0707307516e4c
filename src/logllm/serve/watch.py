"""The watch: takes lines from its sources, and stores verdicts, until it is told to stop."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from logllm.config.watch import WatchSection
from logllm.detect.cache import ScoreCache
from logllm.detect.judge import Judge
from logllm.serve.incidents.grouping import Incidents
from logllm.serve.source_rows import SourceRows
from logllm.serve.sources.beginning import beginning, going_on
from logllm.serve.sources.contract import BeginsAtEnd
from logllm.serve.store.troubles import StoreAway, StoreFull
from logllm.serve.store.verdict_store import Store
from logllm.serve.stream import Stream
from logllm.serve.surroundings import Surroundings, Watched

_WAIT = 0.1
"""Seconds that a source is waited for."""
_TRY_AGAIN = 1.0
"""Seconds until a store that is full or away is tried again, at first."""
_LONGEST_WAIT = 30.0
_TELL_AGAIN = 60.0
"""Seconds after which what keeps a source from going on is told again."""
_TIDY_EVERY = 60.0
"""Seconds between two looks for verdicts that are too old."""
_DELETED = 5_000
"""Verdicts that are deleted at once: what is too old goes bit by bit, while lines are read."""
Told = Callable[[str], None]
"""Told what a person should know, a sentence."""


class Watch:
    """Sources that are watched together, by one thread.

    Each in turn gives what has come; what has closed is judged and stored. Nothing is taken while
    the store is full or away: what comes waits at its source.
    """

    def __init__(
        self,
        watched: Sequence[Watched],
        *,
        run: Judge,
        how: WatchSection,
        store: Store,
        told: Told,
    ) -> None:
        """Nothing read yet.

        Args:
            watched: the sources.
            run: what judges.
            how: when sessions close.
            store: where verdicts go.
            told: told of what is wrong, and of what is right again.
        """
        owner = f"{socket.gethostname()}:{os.getpid()}"
        self._cache = _cache_of(run)
        self._incidents = Incidents(how.incidents)
        # One cache of scores and one board of incidents for all streams: a fault shows in several.
        also = [self._incidents]
        around = Surroundings(run, how, store, owner, told, self._cache, also=also)
        self.streams = [Stream(source, around) for source in watched]
        self.stopping = False
        """Set, from any thread or a signal's handler, to stop after what is in hand."""
        self.newer: Callable[[], Judge | None] | None = None
        """Asked now and then for a run that is to judge from now on."""
        self._store = store
        self._how = how
        self._told = told
        self._source_rows = SourceRows(store, owner=owner, run=run.name)
        self._tidied = 0.0
        self._tell_again: dict[str, float] = {}
        self._beginnings_told: set[str] = set()

    def run(self, *, status: Callable[["Watch"], None]) -> None:
        """Watch until told to stop, or until nothing more can come.

        Open sessions stay open when it is told to stop: the next start goes on with them.

        Args:
            status: told several times a second how far things are.

        Raises:
            ServeError: a source cannot be read on, or another process watches the same.
        """
        try:
            for stream in self.streams:
                stream.begin()
                self._tell_going_on(stream)
            while not self.stopping and not self._over():
                self._round(status)
            # What is open stays open and is read again; what has closed is stored before the
            # sources close.
            self._finish()
            self._source_rows.write(self.streams, at_once=True)
            status(self)
        finally:
            for stream in self.streams:
                stream.source.close()
            if self._cache is not None:
                self._cache.close()

    def _round(self, status: Callable[["Watch"], None]) -> None:
        """Take from each stream and store once; wait only where no other stream has anything."""
        self._take_up()
        # Only until one has something: a stream that is silent must not hold up one that floods.
        wait = _WAIT / len(self.streams)
        for stream in self.streams:
            came = stream.take(wait)
            wait = 0.0 if came else wait
            self._stored(stream)
            self._tell_beginning(stream)
            self._tell_trouble(stream)
        self._tidy()
        self._source_rows.write(self.streams)
        status(self)

    def _take_up(self) -> None:
        """Judge by another run, if there is one: what is open goes on, and is judged anew."""
        run = None if self.newer is None else self.newer()
        if run is None:
            return
        if self._cache is not None:
            self._cache.close()
        self._cache = _cache_of(run)
        for stream in self.streams:
            stream.judge_by(run, cache=self._cache)
        self._source_rows.run = run.name

    def _tell_going_on(self, stream: Stream) -> None:
        """Tell where logs go on that the store knows."""
        words = going_on(stream.goes_on)
        if words is not None:
            self._told(words)

    def _tell_beginning(self, stream: Stream) -> None:
        """Tell what was passed over of logs that are new to the store, once it is counted."""
        source = stream.source
        if stream.name in self._beginnings_told or not isinstance(source, BeginsAtEnd):
            return
        passed_over = source.passed_over
        if passed_over is None:
            return
        self._beginnings_told.add(stream.name)
        words = beginning(passed_over)
        if words is not None:
            self._told(words)

    def _tell_trouble(self, stream: Stream) -> None:
        """Tell what keeps a source from going on."""
        trouble = stream.trouble
        now = time.monotonic()
        # Once a minute, not at each of ten looks a second.
        if trouble is not None and now > self._tell_again.get(stream.name, 0.0):
            self._tell_again[stream.name] = now + _TELL_AGAIN
            self._told(trouble)

    def _over(self) -> bool:
        """Whether nothing more will come."""
        return all(stream.source.over for stream in self.streams)

    def _finish(self) -> None:
        """Store what is left; of sources that have ended all sessions close."""
        for stream in self.streams:
            # A source that has ended closes all of its sessions; one that is only left does not.
            if stream.source.over and not self.stopping:
                stream.end()
            self._stored(stream, at_once=True)

    def _stored(self, stream: Stream, *, at_once: bool = False) -> None:
        """Store, as soon as the store can be written."""
        wait = _TRY_AGAIN
        troubled = False
        while True:
            try:
                stream.store(at_once=at_once or troubled)
            except (StoreFull, StoreAway) as exc:
                if not troubled:
                    # Once: the tries that follow fail for the same reason.
                    self._told(f"{exc}; nothing more is read until then")
                troubled = True
                if self.stopping:
                    return
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                if troubled:
                    self._told("the store can be written again; continuing")
                return

    def _tidy(self) -> None:
        """End quiet incidents, delete what is too old, and close rows that nobody will revise."""
        now = time.time()
        today = datetime.now(UTC)
        try:
            self._incidents.tidy(self._store)
            if now < self._tidied + _TIDY_EVERY:
                return
            self._tidied = now
            self._store.retain(days=self._how.retain_days, now=today, most=_DELETED)
            for stream in self.streams:
                # Twice as long as a session may be open: whoever watched it is gone, and nobody
                # will close it.
                stale = today - timedelta(seconds=2 * self._how.max_open_age)
                self._store.settle(stream.name, before=stale)
        except (StoreFull, StoreAway):
            return  # the next write says so


def _cache_of(run: Judge) -> ScoreCache | None:
    """The scores that are kept of a run on this machine."""
    return run.cache() if run.recipe.detect.cache_sessions > 0 else None
