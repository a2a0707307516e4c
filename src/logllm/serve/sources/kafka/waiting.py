"""What waits between the thread that asks the broker and the one that takes: bounded."""

from collections import deque
from collections.abc import Iterable
from threading import Condition, RLock
from typing import NamedTuple

import polars as pl

from logllm.errors import ServeError
from logllm.serve.sources.contract import Arrival

_MOST_BYTES = 64 << 20
_AT_ONCE = 4_000
"""Lines that are taken at once; more only where one arrival alone holds more."""


class Handed(NamedTuple):
    """What is given to the thread that takes."""

    arrivals: list[Arrival]
    lost: list[str]
    """Partitions that were claimed, and that this process has no longer."""
    unclaimed: list[str]
    """Partitions that were given to this process, and that it has not claimed."""


class Waiting:
    """Lines of several partitions, and which partitions came and went."""

    def __init__(self, most_lines: int) -> None:
        """Nothing waits yet.

        Args:
            most_lines: Where it is full; what was on its way then is still put in.
        """
        self.owning = RLock()
        """Held while a partition is claimed, and while one is taken away: so that no partition is
        claimed after another process has it."""
        self._most_lines = most_lines
        self._ready = Condition()
        self._arrivals: deque[Arrival] = deque()
        self._lines = 0
        self._bytes = 0
        self._unclaimed: dict[str, None] = {}
        self._lost: list[str] = []
        self._fault: ServeError | None = None

    @property
    def full(self) -> bool:
        """Whether no more is to be asked for."""
        return self._lines >= self._most_lines or self._bytes >= _MOST_BYTES

    @property
    def roomy(self) -> bool:
        """Whether less than half of what may wait is waiting."""
        few_lines = self._lines < self._most_lines / 2
        few_bytes = self._bytes < _MOST_BYTES / 2
        return few_lines and few_bytes

    def put(self, arrival: Arrival) -> None:
        """Lines that came."""
        with self._ready:
            self._arrivals.append(arrival)
            self._count(arrival, 1)
            self._ready.notify()

    def fail(self, fault: ServeError) -> None:
        """What came is still given, then this is raised."""
        with self._ready:
            self._fault = fault
            self._ready.notify()

    def offer(self, partitions: Iterable[str]) -> None:
        """Partitions are this process's, once it claims them."""
        with self._ready:
            self._unclaimed |= dict.fromkeys(partitions)
            self._ready.notify()

    def withdraw(self, partitions: Iterable[str]) -> None:
        """Partitions are another process's: what waits of them goes."""
        with self._ready:
            for partition in partitions:
                # It was never claimed: whoever takes has not heard of it, and need not hear that it
                # is gone.
                if partition in self._unclaimed:
                    del self._unclaimed[partition]
                else:
                    self._lost.append(partition)
            # Its lines are the next owner's to give; what others brought stays in order.
            waiting, self._arrivals = self._arrivals, deque()
            for arrival in waiting:
                if arrival.partition in self._lost:
                    self._count(arrival, -1)
                else:
                    self._arrivals.append(arrival)
            self._ready.notify()

    def claiming(self, partition: str) -> bool:
        """Whether a partition may still be claimed; to be asked while `owning` is held."""
        with self._ready:
            return partition in self._unclaimed

    def claimed(self, partition: str) -> None:
        """A partition is claimed; to be told while `owning` is held."""
        with self._ready:
            del self._unclaimed[partition]

    def hand(self, wait: float) -> Handed:
        """What is there, after at most some seconds.

        Raises:
            ServeError: it cannot be read on.
        """
        with self._ready:
            self._ready.wait_for(self._anything, wait)
            # What was lost is told before anything else comes, of the same partition above all.
            if self._lost:
                lost, self._lost = self._lost, []
                return Handed([], lost, [])
            # What came before the fault is good: it is taken first.
            if self._fault is not None and not self._arrivals:
                raise self._fault
            return Handed(self._next(), [], list(self._unclaimed))

    def _anything(self) -> bool:
        """Whether there is something to hand."""
        return bool(self._arrivals or self._unclaimed or self._lost or self._fault)

    def _next(self) -> list[Arrival]:
        """The next lines, each partition's together."""
        # Judging many lines at once costs little more than judging a few.
        together: dict[str, list[Arrival]] = {}
        lines = 0
        while self._arrivals and lines < _AT_ONCE:
            arrival = self._arrivals.popleft()
            self._count(arrival, -1)
            lines += arrival.lines.height
            together.setdefault(arrival.partition, []).append(arrival)
        return [_joined(arrivals) for arrivals in together.values()]

    def _count(self, arrival: Arrival, sign: int) -> None:
        """Lines and bytes come, or go."""
        self._lines += sign * arrival.lines.height
        self._bytes += sign * int(arrival.lines.estimated_size())


def _joined(arrivals: list[Arrival]) -> Arrival:
    """Arrivals of one partition as one, which came when the last of them did."""
    if len(arrivals) == 1:
        return arrivals[0]
    lines = pl.concat([arrival.lines for arrival in arrivals])
    return arrivals[-1]._replace(lines=lines)
