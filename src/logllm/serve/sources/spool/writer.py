"""The thread that writes lines to a spool, many senders' at once."""

import errno
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Condition, Event, Lock, Thread

from logllm.serve.sources.spool.segments import Spool

_PENDING = 8 << 20  # characters that wait to be written before senders have to
_AGAIN = 0.2  # seconds after which what could not be written is tried again
_LOOK = 0.1  # seconds after which who waits for room looks again
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(eq=False)
class Lot:
    """Lines that one sender gave at once."""

    lines: Sequence[str]
    """Their texts, none of which holds a line break."""
    arrived: float
    """When they came: seconds since 1970."""
    size: int
    """Their characters."""
    stored: Event = field(default_factory=Event)
    """Set once they are flushed to disk."""
    withdrawn: bool = False
    """Whether the sender was told that they were refused."""


class Writer:
    """Takes lines from the threads of senders, and writes all that wait with one flush.

    Who gives lines asks for room first, and takes nothing from its own sender while there is none:
    what was taken is never dropped. A disk that is full is tried again and again.
    """

    def __init__(self, spool: Spool, *, limit: int, linger: float) -> None:
        """A writer that has not begun.

        Args:
            spool: where to; open.
            limit: bytes on disk at which there is no more room.
            linger: seconds to wait for more lines before a flush.
        """
        self.limit = limit
        self.trouble: str | None = None
        """What keeps it from writing now, in words."""
        self.counts: Counter[str] = Counter()
        """`spool_refused_writes`: tries that the disk refused, all made again; `lost_lines`: those
        that could not be written until the end."""
        self._spool = spool
        self._linger = linger
        self._lots: list[Lot] = []
        self._pending = 0
        self._closing = False
        self._changed = Condition()
        self._attempt = Lock()
        self._thread = Thread(target=self._write, name="logllm-spool", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written."""
        return self._pending == 0

    def room(self, wait: float) -> bool:
        """Whether lines may be added; waits for it at most so many seconds."""
        until = time.monotonic() + wait
        with self._changed:
            while self._is_full():
                left = until - time.monotonic()
                if left <= 0 or self._closing:
                    return False
                self._changed.wait(min(left, _LOOK))
        return True

    def add(self, lines: Sequence[str]) -> Lot:
        """Give lines to be written.

        None of them holds a line break; somebody has asked for room before.
        """
        # With a line end each.
        size = sum(map(len, lines)) + len(lines)
        lot = Lot(lines, time.time(), size)
        if not lines:
            lot.stored.set()
            return lot
        with self._changed:
            self._lots.append(lot)
            self._pending += lot.size
            self._changed.notify_all()
        return lot

    def confirmed(self, lot: Lot, wait: float) -> bool:
        """Whether lines are on disk.

        Waits at most so many seconds, and then they are withdrawn: they never will be.
        """
        if not lot.stored.wait(wait):
            # Not while a write is under way: it might be stored after the sender was told that it
            # is not.
            with self._attempt:
                lot.withdrawn = not lot.stored.is_set()
        return not lot.withdrawn

    def close(self) -> None:
        """Write what waits, with one more try where the disk refuses it, and end."""
        # The thread may wait for lines, for others to join them, or for room on the disk.
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def _is_full(self) -> bool:
        if self._pending >= _PENDING:
            return True
        return self._spool.size + self._pending >= self.limit

    def _write(self) -> None:
        """Write until the end."""
        while lots := self._waiting():
            while not self._written(lots):
                with self._changed:
                    # At the end one more try, and then what is lost is counted: a full disk must
                    # not keep the program from ending.
                    last = self._closing or self._changed.wait_for(lambda: self._closing, _AGAIN)
                if last and not self._written(lots):
                    # What was withdrawn is not lost: its sender was told.
                    expected = [lot for lot in lots if not lot.withdrawn]
                    self.counts["lost_lines"] += sum(len(lot.lines) for lot in expected)
                    return
                if last:
                    break
            with self._changed:
                self._pending -= sum(lot.size for lot in lots)
                self._changed.notify_all()

    def _waiting(self) -> list[Lot]:
        """All that waits to be written; nothing only at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._lots or self._closing)
            # A flush takes as long for many lines as for one.
            self._changed.wait_for(lambda: self._closing, self._linger)
            lots, self._lots = self._lots, []
        return lots

    def _written(self, lots: Sequence[Lot]) -> bool:
        """Try to write."""
        with self._attempt:
            current = [lot for lot in lots if not lot.withdrawn]
            try:
                self._spool.append(current)
            except OSError as exc:
                self.counts["spool_refused_writes"] += 1
                self.trouble = f"{self._spool.folder} cannot be written: {exc.strerror}"
                if exc.errno in _FULL:
                    self.trouble = f"the disk that holds {self._spool.folder} is full"
                return False
            for lot in current:
                lot.stored.set()
        self.trouble = None
        return True
