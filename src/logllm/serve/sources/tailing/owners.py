"""Which log a file is read for: no file is read twice, under whatever names it is met."""

from collections import OrderedDict
from collections.abc import MutableMapping
from typing import NamedTuple

from logllm.serve.sources.tailing.file_bytes import Descriptors
from logllm.serve.sources.tailing.generation import Generation
from logllm.serve.sources.tailing.marks import Mark
from logllm.serve.sources.tailing.rotated_names import Entry, holds

_REMEMBERED = 10_000
"""Files that were read to their end, of all logs."""


class Owners:
    """The files that are read and those read last, by their number in the file system."""

    def __init__(self, descriptors: Descriptors) -> None:
        """None is read yet."""
        self._descriptors = descriptors
        self._reading: dict[tuple[int, int], Generation] = {}
        self._finished: OrderedDict[tuple[int, int], Mark] = OrderedDict()

    def begin(self, generation: Generation) -> None:
        """A file is read from now on."""
        self._reading[generation.device, generation.inode] = generation

    def release(self, generation: Generation) -> None:
        """A file is read no longer, or has another number."""
        number = generation.device, generation.inode
        if self._reading.get(number) is generation:
            del self._reading[number]

    def finish(self, mark: Mark) -> None:
        """A file was read to its end."""
        self._finished[mark.device, mark.inode] = mark
        # A program that rotates each minute for a year has half a million files; the oldest come
        # back least likely.
        if len(self._finished) > _REMEMBERED:
            self._finished.popitem(last=False)

    def owned(self, entry: Entry) -> bool:
        """Whether a file is read, or was read.

        Numbers of deleted files are used again for others.
        """
        number = entry.device, entry.inode
        generation = self._reading.get(number)
        if generation is not None:
            is_open = self._descriptors.of(generation) is not None
            # While it is open its number cannot be used again. An empty file holds nothing to tell
            # it by.
            if is_open or generation.empty or holds(entry, generation.mark):
                return True
        mark = self._finished.get(number)
        # A file that is read again after its end would give all of its lines twice.
        return mark is not None and mark.offset > 0 and holds(entry, mark)


class Shared(NamedTuple):
    """What all logs of a source have in common."""

    descriptors: Descriptors
    owners: Owners
    counts: MutableMapping[str, int]
