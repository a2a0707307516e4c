"""Sources whose lines cannot be had twice: a listener's lines, by way of a spool on disk."""

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Protocol

import polars as pl

from logllm.errors import LogLLMError, ServeError
from logllm.serve.sources.contract import Arrival, Claim, Place, Taken
from logllm.serve.sources.spool.segments import Group, Spool
from logllm.serve.sources.spool.writer import Writer

SPOOL_BYTES = 1 << 30
"""Bytes on disk at which a source stops to listen, unless something else is asked for."""
LINGER = 0.05
"""Seconds that a line waits for others where nobody waits for the line."""
_SEGMENTS = 16  # of the least spool
_SEGMENT = 16 << 20
_TAKEN = 4096  # lines at once


class Listener(Protocol):
    """What takes lines from somebody and gives them to a spool, in threads of its own."""

    linger: float
    """Seconds that a line waits for others before all are flushed."""

    def start(self, writer: Writer) -> None:
        """Begin to listen.

        Raises:
            ServeError: the address is taken, or there is nothing to read.
        """

    def stop(self) -> None:
        """Stop; what was taken has been given to the writer."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will ever come."""

    @property
    def fault(self) -> LogLLMError | None:
        """What it ended with, if not well."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What went on."""


class Spooled:
    """A `Source` of one partition: what a listener hears, by way of its spool.

    Lines are given in the order in which they were flushed.
    """

    def __init__(
        self,
        name: str,
        partition: str,
        *,
        listener: Listener,
        folder: Path,
        limit: int = SPOOL_BYTES,
    ) -> None:
        """A source that has not begun.

        Args:
            name: what people call it.
            partition: the name under which the store knows its lines.
            listener: what takes lines from somebody.
            folder: where the spool is.
            limit: bytes on disk at which the listener has to wait.
        """
        self.name = name
        self.partition = partition
        self._listener = listener
        self._spool = Spool(folder, segment=min(_SEGMENT, limit // _SEGMENTS))
        self._writer = Writer(self._spool, limit=limit, linger=listener.linger)
        self._next = 1
        self._running = False

    def begin(self, claim: Claim) -> None:
        """Open the spool, find where the store left it, and begin to listen.

        Raises:
            ServeError: the spool is in use or cannot be written; what the listener cannot do.
        """
        self._spool.open()
        self._next = self._spool.first
        resumed = claim(self.partition)
        if resumed is not None:
            # The spool may have been deleted: numbers go on all the same.
            self._spool.skip_to(resumed.low)
            self._next = int(resumed.place.get("line", resumed.low))
        # The writer first: what the listener hears must have somewhere to go.
        self._writer.start()
        self._running = True
        try:
            self._listener.start(self._writer)
        except ServeError:
            self.close()
            raise

    def take(self, wait: float) -> Taken:
        """What has been flushed since, some thousand lines at most.

        Raises:
            ServeError: the listener ended with a fault, and all that it heard was taken; the spool
                cannot be read.
        """
        # What is there is given at once; only where nothing is, it is waited for.
        groups = self._groups()
        if not groups:
            self._spool.wait(self._next, wait)
            groups = self._groups()
        if not groups and self._listener.fault is not None and self._all_taken:
            raise ServeError(str(self._listener.fault)) from self._listener.fault

        # What came within one second is one arrival: a frame for each line would be slow.
        arrivals: list[Arrival] = []
        for _, several in groupby(groups, key=lambda group: int(group.arrived)):
            together = list(several)
            lines = pl.concat([group.lines for group in together])
            arrivals.append(Arrival(self.partition, lines, together[-1].arrived))
        return Taken(arrivals)

    def place(self, partition: str, line: int) -> Place:
        """The line's number: the spool finds it."""
        return {"line": line}

    def stored(self, lows: Mapping[str, int]) -> None:
        """Delete what lies below."""
        if self.partition in lows:
            self._spool.forget(lows[self.partition])

    @property
    def over(self) -> bool:
        """Whether the listener has ended, and all was taken."""
        return self._listener.ended and self._listener.fault is None and self._all_taken

    @property
    def lag(self) -> int:
        """Lines on disk that were not taken."""
        return self._spool.next - self._next

    @property
    def counts(self) -> Mapping[str, int]:
        """What went on: at the listener, in the spool, and while writing it."""
        counts = Counter(self._listener.counts)
        counts.update(self._spool.counts)
        counts.update(self._writer.counts)
        return {name: count for name, count in counts.items() if count}

    @property
    def trouble(self) -> str | None:
        """What keeps it from going on now, in words: a full disk, a full spool."""
        if self._writer.trouble is not None:
            return f"{self.name}: {self._writer.trouble}; nothing more is taken until there is room"
        if self._running and not self._writer.room(0):
            full = f"the spool {self._spool.folder} is full"
            return f"{self.name}: {full}; nothing more is taken until lines of it are stored"
        return None

    def close(self) -> None:
        """Stop to listen, and flush what was heard."""
        if self._running:
            self._running = False
            # In this order: what was heard is given to the writer, then flushed, then the files are
            # closed.
            self._listener.stop()
            self._writer.close()
        self._spool.close()

    @property
    def _all_taken(self) -> bool:
        return self._writer.idle and self._next >= self._spool.next

    def _groups(self) -> list[Group]:
        """Entries from the next line on, until they are enough."""
        groups: list[Group] = []
        taken = 0
        try:
            while taken < _TAKEN and (group := self._spool.read(self._next)) is not None:
                self._next = int(group.lines["line"][-1]) + 1
                taken += group.lines.height
                groups.append(group)
        except OSError as exc:
            raise ServeError(f"{self._spool.folder} cannot be read: {exc.strerror}") from exc
        return groups
