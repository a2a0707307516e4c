"""Chunks side by side on a processor's cores: each core takes whole chunks instead of a part of every product."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import local
from typing import TypeVar

import torch

from logllm.model.packing import Room

Item = TypeVar("Item")

_AHEAD = 2
"""Chunks that each lane must have, at least, for lanes to pay; fewer are computed one after the other by all of torch's threads."""


class Lanes:
    """As many threads as torch has, each with kernels of one thread and memory of its own.

    A chunk's states then stay in one core's cache, cores wait only for what another one's chunk gives theirs instead of once a kernel,
    and what is no matrix product runs beside products. On other devices than processors there is one lane, the caller's thread.
    """

    def __init__(self, device: torch.device, *, chunks: int) -> None:
        """Start nothing yet.

        Args:
            device: where tensors are.
            chunks: how many there are to pass.
        """
        threads = torch.get_num_threads() if device.type == "cpu" else 1
        self._threads = threads if chunks >= _AHEAD * threads else 1
        self._device = device
        self._own = local()
        self._pool = ThreadPoolExecutor(self._threads)

    @property
    def room(self) -> Room:
        """The lane's memory."""
        if not hasattr(self._own, "room"):
            self._own.room = Room(self._device)
        held: Room = self._own.room
        return held

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
        if self._threads == 1:
            for count, item in enumerate(items, 1):
                work(item)
                told(count)
            return

        def alone(item: Item) -> None:
            torch.set_num_threads(1)
            with torch.inference_mode():
                work(item)

        begun = [self._pool.submit(alone, item) for item in items]
        try:
            for count, each in enumerate(begun, 1):
                each.result()
                told(count)
        finally:
            for each in begun:
                each.cancel()
            wait(begun)
            torch.set_num_threads(self._threads)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
