"""Chunks side by side on a processor's cores: each core takes whole chunks instead of a part of every product."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Lock, local
from typing import TypeVar

import torch

from logllm.model.fast.packing import Room

Item = TypeVar("Item")

_AHEAD = 2
"""Chunks that each lane must have, at least, for lanes to pay; fewer are computed one after the other by all of torch's threads."""
_TURN = Lock()
"""Held by the caller whose turn it is: while lanes run, torch's process-wide number of threads is another."""
_HERE = local()
"""`_HERE.busy`: whether this thread has its turn, or is a lane of one that has."""


class Lanes:
    """As many threads as torch has, each with kernels of one thread and memory of its own.

    A chunk's states then stay in one core's cache, cores wait only for what another one's chunk gives theirs instead of once a kernel,
    and what is no matrix product runs beside products. On other devices than processors there is one lane, the caller's thread.

    Callers in several threads take turns, each with all lanes. A call from inside a lane has that lane alone.
    """

    def __init__(self, device: torch.device, *, chunks: int) -> None:
        """Start nothing yet.

        Args:
            device: where tensors are.
            chunks: how many there are to pass.
        """
        self._device = device
        self._chunks = chunks
        self._own = local()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def room(self) -> Room:
        """The lane's memory."""
        if not hasattr(self._own, "room"):
            self._own.room = Room(self._device)
        room: Room = self._own.room
        return room

    def each(self, work: Callable[[Item], None], items: Sequence[Item], *, told: Callable[[int], None] | None = None) -> None:
        """Do some work for every item; items are begun in their order, so that one may wait for those before it.

        Meanwhile torch has one thread a kernel in the whole process, as its matrix library knows one number only; it is set back after.

        Args:
            work: what is done with an item.
            items: what there is.
            told: in the caller's thread, how many items are done, those before them too.

        Raises:
            Exception: whatever the work raised first, by the items' order.
        """
        told = told or (lambda count: None)
        if self._device.type != "cpu" or getattr(_HERE, "busy", False):
            _one_by_one(work, items, told=told)
            return
        with _turn() as threads:
            if threads > 1 and self._chunks >= _AHEAD * threads:
                self._pool = self._pool or ThreadPoolExecutor(threads)
                _side_by_side(self._pool, work, items=items, told=told)
            else:
                _one_by_one(work, items, told=told)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def _one_by_one(work: Callable[[Item], None], items: Sequence[Item], *, told: Callable[[int], None]) -> None:
    """Do all work in the caller's thread."""
    for count, item in enumerate(items, 1):
        work(item)
        told(count)


def _side_by_side(pool: ThreadPoolExecutor, work: Callable[[Item], None], *, items: Sequence[Item], told: Callable[[int], None]) -> None:
    """Do the work in a pool's threads; it ends when nothing runs any more."""

    def alone(item: Item) -> None:
        _HERE.busy = True
        torch.set_num_threads(1)
        with torch.inference_mode():
            work(item)

    begun = [pool.submit(alone, item) for item in items]
    try:
        for count, outcome in enumerate(begun, 1):
            outcome.result()
            told(count)
    finally:
        for outcome in begun:
            outcome.cancel()
        wait(begun)


@contextmanager
def _turn() -> Iterator[int]:
    """Wait for the caller's turn; gives torch's number of threads, which it is again afterwards.

    A thread keeps the number that torch had when the thread first asked, be it that of another
    caller's lanes. A new thread has that of the process: what was set last, and nobody's lanes run now.
    """
    with _TURN:
        with ThreadPoolExecutor(1) as fresh:
            threads = fresh.submit(torch.get_num_threads).result()
        _HERE.busy = True
        try:
            torch.set_num_threads(threads)
            yield threads
        finally:
            torch.set_num_threads(threads)
            _HERE.busy = False
