"""The files of a log, one after the other: what its path names, named, and what came in between."""

from collections import deque
from collections.abc import MutableMapping, Sequence
from typing import NamedTuple

from logllm.serve.sources.tailing.file_bytes import Descriptors, OpenFile, open_file
from logllm.serve.sources.tailing.generation import Generation
from logllm.serve.sources.tailing.given_lines import Recorded
from logllm.serve.sources.tailing.marks import Mark
from logllm.serve.sources.tailing.owners import Owners
from logllm.serve.sources.tailing.rotated_names import (
    Entry,
    entry_of,
    fitting,
    holds,
    listing,
    shorter_copy,
)

_REMEMBERED = 8
"""Files that were read to their end and are known again after a restart."""


class Shared(NamedTuple):
    """What all logs of a source have in common."""

    descriptors: Descriptors
    owners: Owners
    counts: MutableMapping[str, int]


class FileSuccession:
    """The files of a log that are read: the one that is being read first, the newest last."""

    def __init__(self, path: str, shared: Shared) -> None:
        """Nothing looked at yet.

        Args:
            path: what the log is called.
            shared: what all logs have in common.
        """
        self.path = path
        self.ahead: deque[Generation] = deque()
        self.finished: deque[Mark] = deque(maxlen=_REMEMBERED)
        """Where files ended that were read before."""
        self.since = 0
        """When the newest file was last seen as it should be: time of change, ns."""
        self._shared = shared
        self._counts = shared.counts

    def begin(self, earlier_files: Sequence[Entry]) -> None:
        """Read earlier files of the log, and then the one of the path.

        Raises:
            OSError: that is not there.
        """
        self._append([*earlier_files, entry_of(self.path)])

    def resume(self, recorded: Sequence[Recorded], last: int) -> None:
        """Read on where the store says.

        Args:
            recorded: files, oldest first; of all but the last it is known where their lines end.
            last: the number of the last line that was given of them.
        """
        entries = self._listing()
        ends = [following.line - 1 for following in recorded[1:]]
        for stretch, end in zip(recorded, ends, strict=False):
            self._add(self._again(stretch, fitting(stretch.reached, entries)), until=end)
        newest = recorded[-1]
        mark = newest.mark
        self.since = newest.changed
        # Nothing was read of an empty file, and nothing tells it from others: those that are newer
        # come next, in their order, and it is one of them.
        if not mark.head_bytes:
            self._append(self._newer(entries))
            return
        entry = fitting(newest.reached, entries)
        there = any(mark[:2] == (entry.device, entry.inode) for entry in entries)
        copy = entry
        if entry is None and there:
            copy = self._shorter_copy(newest.reached, entries)
            entry = copy if copy and holds(copy, mark) else None
        self._add(self._again(newest, entry), until=last)
        self._append(_after(copy, entries) if copy else self._newer(entries))

    def remember(self, finished: Sequence[Mark], since: int) -> None:
        """Files that were read before a restart, and when the newest was left."""
        self.finished.extend(finished)
        self.since = since
        for mark in finished:
            self._shared.owners.finish(mark)

    def look(self, now: float) -> None:
        """See whether the log grew, was rotated or cut.

        Raises:
            OSError: the path cannot be looked at.
        """
        try:
            entry = entry_of(self.path)
        except FileNotFoundError:
            entry = None
        newest = self.ahead[-1] if self.ahead and not self.ahead[-1].lost else None
        for generation in self.ahead:
            if generation is not newest:
                self._see_open(generation, now)
        if newest is None:
            self._append(self._newer(self._listing()) if entry else [])
        elif entry is not None and newest.is_of(entry):
            self._grew(newest, entry, now=now)
        elif entry is None or not self._shared.owners.owned(entry):
            self._left(newest, entry, now=now)

    def _left(self, newest: Generation, entry: Entry | None, *, now: float) -> None:
        """The path names another file, or none."""
        was_empty = newest.was_empty
        self.since = newest.sound[1]
        self._see_open(newest, now)
        if was_empty and (entry is not None or not newest.was_empty):
            self._after_empty(newest)
        elif entry is not None:
            self._follow(newest)

    def finish(self, first: Generation) -> None:
        """No more lines come from the first file."""
        self.ahead.popleft()
        self._shared.owners.release(first)
        self._shared.descriptors.close(first)
        if not first.lost:
            self.finished.append(first.mark)
            self._shared.owners.finish(first.mark)

    def open(self, generation: Generation) -> OpenFile | None:
        """A file that is read, under whatever name it now has; none: it is not there.

        Raises:
            OSError: it may not be read.
        """
        file = self._shared.descriptors.of(generation)
        if file is not None:
            return file
        file = _opened(generation)
        if file is None:
            entry = fitting(generation.mark, self._listing())
            if entry is None:
                return None
            self._shared.owners.release(generation)
            generation.name, generation.device, generation.inode = entry[:3]
            self._shared.owners.begin(generation)
            file = _opened(generation)
        if file is not None:
            self._shared.descriptors.keep(generation, file)
        return file

    def read_before(self, entry: Entry) -> bool:
        """Whether a file was read to its end, or is a copy of one that is read."""
        others = (file for file in self.ahead if not file.lost and not file.is_of(entry))
        marks = [*self.finished, *(file.known_mark for file in others)]
        return any(holds(entry, mark) for mark in marks if mark.offset)

    def _see_open(self, generation: Generation, now: float) -> None:
        """Look at a file that is open, whatever it is called."""
        file = self._shared.descriptors.of(generation)
        if file is not None:
            status = file.status()
            if generation.grew(status.st_size, status.st_mtime_ns, now=now) and generation.empty:
                generation.as_it_was(file)

    def _grew(self, newest: Generation, entry: Entry, *, now: float) -> None:
        """The path names the file that it named before."""
        newest.name = self.path
        if not newest.grew(entry.size, entry.changed, now=now) and not newest.doubtful:
            return
        file = self.open(newest)
        if file is None:
            return
        newest.doubtful = False
        self.since = newest.sound[1]
        was_empty = newest.was_empty
        if not newest.as_it_was(file):
            self._follow(newest)
        elif was_empty:
            self._after_empty(newest)

    def _after_empty(self, newest: Generation) -> None:
        """A file that was empty has lines, or another name: others may have come before its lines.

        Lines that it had in between may be in a copy. Then all files that are newer come next, in
        their order.
        """
        entries = self._listing()
        same = next((entry for entry in entries if newest.is_of(entry)), None)
        same = same or fitting(newest.known_mark, entries)
        if same is None:
            self._append(self._newer(entries))
            return
        between = self._newer(entries[: entries.index(same)])
        if all(self._shared.owners.owned(entry) for entry in between):
            newest.name = same.name if newest.is_of(same) else newest.name
            self._append(_after(same, entries))
        else:
            self._drop(newest)
            self._append(self._newer(entries))

    def _follow(self, newest: Generation) -> None:
        """Read on in the files after one that the path names no longer, or that was cut to nothing."""
        entries = self._listing()
        same = fitting(newest.known_mark, entries)
        there = any(newest.is_of(entry) for entry in entries)
        file = self._shared.descriptors.of(newest)
        if same is not None and newest.is_of(same):
            newest.name = same.name
            self._append(_after(same, entries))
        elif file is not None and not there and newest.as_it_was(file):
            # Deleted, moved elsewhere or compressed; it is still read by its descriptor.
            self._append(_after(same, entries) if same else self._newer(entries))
        else:
            self._counts["truncations"] += there or file is not None
            self._replaced(newest, same, entries=entries)

    def _replaced(self, newest: Generation, copy: Entry | None, *, entries: list[Entry]) -> None:
        """A file is no longer what it was: its rest is read from a copy, if there is one."""
        self._drop(newest)
        seen = newest.sound[0]
        copy = copy or self._shorter_copy(newest.known_mark, entries)
        if copy is not None and holds(copy, newest.mark):
            points = newest.mark, newest.known_mark
            rest = self._again(Recorded(*points, 0, 0, newest.text, None), copy)
            rest.seen = seen
            self._add(rest)
        else:
            self._counts["truncated_bytes"] += max(0, seen - newest.offset)
            # Where all of it was searched it is the beginning of one line.
            self._counts["lost_lines"] += newest.offset < seen and newest.searched == newest.sound
        self._append(_after(copy, entries) if copy else self._newer(entries))

    def _shorter_copy(self, mark: Mark, entries: list[Entry]) -> Entry | None:
        """The copy of a file that was cut, made before its last lines that were read."""
        copies = [entry for entry in self._newer(entries) if entry.name != self.path]
        return shorter_copy(mark, copies)

    def _again(self, stretch: Recorded, entry: Entry | None) -> Generation:
        """A file that is read on from a point; none: it is not there any more."""
        mark = stretch.mark
        gone = Entry(self.path, mark.device, mark.inode, mark.offset, stretch.changed, "")
        generation = Generation(entry or gone)
        generation.text, generation.stop = stretch.text, stretch.stop
        generation.lost = entry is None
        generation.whole = not generation.lost and generation.number != mark[:2]
        file = None if entry is None else self.open(generation)
        generation.go_to(mark)
        if file is not None:
            generation.go_on(file, stretch.reached)
        return generation

    def _add(self, generation: Generation, until: int | None = None) -> None:
        """A file comes after those that are read."""
        generation.until = until
        self.ahead.append(generation)
        if not generation.lost:
            self._shared.owners.begin(generation)

    def _drop(self, newest: Generation) -> None:
        """The newest file is not read on as such."""
        self.ahead.remove(newest)
        self._shared.owners.release(newest)
        self._shared.descriptors.close(newest)

    def _append(self, entries: Sequence[Entry]) -> None:
        """Files come after those that are read, unless they are read already."""
        for entry in entries:
            if not self._shared.owners.owned(entry):
                self._counts["rotations"] += bool(self.ahead)
                self._add(Generation(entry))
                self._learn(self.ahead[-1])

    def _learn(self, generation: Generation) -> None:
        """See a new file's first bytes: it may be cut before it is read."""
        try:
            file = self.open(generation)
        except OSError:  # which is told when it is read
            return
        if file is not None:
            generation.as_it_was(file)

    def _newer(self, entries: Sequence[Entry]) -> list[Entry]:
        """The files that changed since the newest one was left, without those that were read."""
        newer = (entry for entry in entries if entry.changed >= self.since or entry.name == self.path)
        return [entry for entry in newer if not self.read_before(entry)]

    def _listing(self) -> list[Entry]:
        try:
            return listing(self.path)
        except OSError:  # the folder itself has gone, or may not be looked at for now
            return []


def _opened(generation: Generation) -> OpenFile | None:
    """A file by its name; none: another one has that name, or none."""
    try:
        file = open_file(generation.name)
    except FileNotFoundError:
        return None
    status = file.status()
    if (status.st_dev, status.st_ino) == generation.number:
        return file
    file.close()
    return None


def _after(entry: Entry, entries: Sequence[Entry]) -> list[Entry]:
    """The files after one of them."""
    return list(entries[entries.index(entry) + 1 :])
