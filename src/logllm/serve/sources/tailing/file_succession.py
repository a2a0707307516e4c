"""The files of a log, one after the other: what its path names, named, and what came in between."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from logllm.logs.archives import FAULTS
from logllm.serve.sources.tailing.file_bytes import OpenFile, open_numbered
from logllm.serve.sources.tailing.generation import Generation
from logllm.serve.sources.tailing.given_lines import Recorded
from logllm.serve.sources.tailing.marks import Mark
from logllm.serve.sources.tailing.owners import Shared
from logllm.serve.sources.tailing.rotated_names import (
    Entry,
    begins,
    copied,
    entry_of,
    files_after,
    fitting,
    holds,
    listing,
    shorter_copy,
)
from logllm.serve.sources.tailing.succession_plan import Plan, moved, settled

_YOUNG = 4096
"""Bytes; files of one program may begin alike so far."""
_REMEMBERED = 8
"""Files that were read to their end and are known again after a restart."""


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
        entries = [*earlier_files, entry_of(self.path)]
        self._append([self._learnt(entry) for entry in entries])

    def resume(self, recorded: Sequence[Recorded], last: int) -> None:
        """Read on where the store says.

        Args:
            recorded: files, oldest first; of all but the last it is known where their lines end.
            last: the number of the last line that was given of them.
        """
        self.since = recorded[-1].changed
        # Files may have been rotated while nobody watched: their content says which they are.
        plan = self._decided(lambda entries: self._again_in(recorded, entries))
        ends = [*(after.line - 1 for after in recorded[1:]), last]
        for stretch, entry, end in zip(recorded, plan.again, ends, strict=True):
            # Nothing was read of an empty file, and nothing tells it from others: those that are
            # newer come next, in their order, and it is one of them.
            if stretch.mark.head_bytes:
                self._add(self._again(stretch, entry), until=end)
        self._append(plan.learnt)

    def _again_in(self, recorded: Sequence[Recorded], entries: list[Entry]) -> Plan:
        """The files of a folder where lines are read again, and those that come after them."""
        files = [fitting(stretch.reached, entries, since=stretch.changed) for stretch in recorded]
        newest = recorded[-1]
        # The newest no longer holds what was read: it was cut, perhaps after a copy was made.
        number = newest.mark[:2]
        copy = files[-1] if newest.mark.head_bytes else None
        is_there = any(number == (entry.device, entry.inode) for entry in entries)
        if copy is None and is_there:
            copy = self._shorter_copy(newest.reached, entries)
            files[-1] = copy if copy and holds(copy, newest.mark) else None
        following = files_after(copy, entries) if copy else self._newer(entries)
        return Plan(True, self.path, None, following, again=files)

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
        last = self.ahead[-1] if self.ahead else None
        newest = None if last is None or last.lost else last
        # Whoever still writes to an older file is read, too.
        for generation in self.ahead:
            if generation is not newest:
                self._see_open(generation, now)
        if newest is None:
            if entry is not None:
                self._append(self._decided(self._newest_in).learnt)
        elif entry is not None and newest.is_of(entry):
            self._grew(newest, entry, now=now)
        elif entry is None or not self._shared.owners.owned(entry):
            self._left(newest, entry, now=now)

    def _newest_in(self, entries: list[Entry]) -> Plan:
        """What is new in a folder where nothing was there to read."""
        return Plan(True, self.path, None, self._newer(entries))

    def _left(self, newest: Generation, entry: Entry | None, *, now: float) -> None:
        """The path names another file, or none."""
        # Lines may have come between the last look and the rotation.
        was_empty = newest.was_empty
        self.since = newest.sound[1]
        self._see_open(newest, now)
        # An empty file that is gone may have had lines that stand in another file.
        has_lines = entry is not None or not newest.was_empty
        if was_empty and has_lines:
            self._after_empty(newest)
        elif entry is not None:
            self._follow(newest, cut=False)

    def finish(self, first: Generation) -> None:
        """No more lines come from the first file."""
        self.ahead.popleft()
        self._shared.owners.release(first)
        self._shared.descriptors.close(first)
        # Remembered, so that a copy or a packed form of it is not read as a new file.
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
        file = open_numbered(generation.name, generation.number)
        while file is None:
            # It was rotated, or packed, while it was closed: it is looked for by its content.
            entry = self._decided(partial(moved, generation)).rest
            if entry is None:
                return None
            self._shared.owners.release(generation)
            generation.name, generation.device, generation.inode = entry[:3]
            self._shared.owners.begin(generation)
            # None where its name changed once more in between.
            file = open_numbered(generation.name, generation.number)
        self._shared.descriptors.keep(generation, file)
        return file

    def read_before(self, entry: Entry) -> bool:
        """Whether a file was read to its end, or is a copy of one that is read."""
        ends = [mark for mark in self.finished if mark.offset]
        if any(copied(entry, mark) for mark in ends):
            return True
        present = [file for file in self.ahead if not file.lost and not file.empty]
        others = [file for file in present if not file.is_of(entry)]
        return any(self._copied(entry, other) for other in others)

    def _copied(self, entry: Entry, other: Generation) -> bool:
        """Whether a file is a copy of one that is read, or of its beginning."""
        file = self._shared.descriptors.of(other)
        if file is None:
            return copied(entry, other.known_mark)
        return entry.size > 0 and begins(entry, file)

    def _see_open(self, generation: Generation, now: float) -> None:
        """Look at a file that is open, whatever it is called."""
        file = self._shared.descriptors.of(generation)
        if file is not None:
            status = file.status()
            grew = generation.grew(status.st_size, status.st_mtime_ns, now=now)
            if grew and generation.empty:
                generation.as_it_was(file)

    def _grew(self, newest: Generation, entry: Entry, *, now: float) -> None:
        """The path names the file that it named before."""
        newest.name = self.path
        grew = newest.grew(entry.size, entry.changed, now=now)
        if not grew and not newest.doubtful:
            return
        file = self.open(newest)
        if file is None:
            return
        newest.doubtful = False
        self.since = newest.sound[1]
        was_empty = newest.was_empty
        was_cut = self._copied_and_cut(newest, file) or not newest.as_it_was(file)
        if was_cut:
            self._follow(newest, cut=True)
        elif was_empty:
            self._after_empty(newest)

    def _copied_and_cut(self, newest: Generation, file: OpenFile) -> bool:
        """Whether a young file was copied and cut, and begins again as it did.

        Then another file holds the bytes that were seen of it, and goes on differently after them.
        """
        if not 0 < newest.sound[0] <= _YOUNG:
            return False
        mark, since = newest.known_mark, newest.sound[1]
        recent = [entry for entry in self._listing() if entry.changed >= since]
        others = [entry for entry in recent if not newest.is_of(entry)]
        unread = (entry for entry in others if not self._shared.owners.owned(entry))
        copies = (entry for entry in unread if holds(entry, mark))
        return any(not begins(entry, file) for entry in copies)

    def _after_empty(self, newest: Generation) -> None:
        """Read on where a file that was empty has lines, or another name.

        Other lines may have come before these, and may be in a copy. Then all newer files come
        next, in their order.
        """
        plan = self._decided(lambda entries: self._after_empty_in(newest, entries))
        newest.name = plan.name
        if not plan.stays:
            self._drop(newest)
        self._append(plan.learnt)

    def _after_empty_in(self, newest: Generation, entries: list[Entry]) -> Plan:
        """What comes after an empty file in a folder."""
        same = next((entry for entry in entries if newest.is_of(entry)), None)
        name = same.name if same else newest.name
        same = same or fitting(newest.known_mark, entries, since=newest.sound[1])
        if same is None:
            return Plan(True, name, None, self._newer(entries))
        file = self._shared.descriptors.of(newest)
        # Older than it, newer than what was read: copies, or lines from before it was emptied.
        between = self._newer(entries[: entries.index(same)])
        others = [entry for entry in between if not self._shared.owners.owned(entry)]
        if all(file is not None and begins(entry, file) for entry in others):
            return Plan(True, name, None, files_after(same, entries))
        return Plan(False, name, None, self._newer(entries))

    def _follow(self, newest: Generation, *, cut: bool) -> None:
        """Read on in the files after one that the path no longer names, or that was cut."""
        plan = self._decided(lambda entries: self._after_in(newest, entries, cut=cut))
        newest.name = plan.name
        if not plan.stays:
            self._replace(newest, plan.rest)
        self._append(plan.learnt)

    def _after_in(self, newest: Generation, entries: list[Entry], *, cut: bool) -> Plan:
        """What comes after a file in a folder."""
        # What was cut may have been written anew, and begin as it did.
        others = entries
        if cut:
            others = [entry for entry in entries if not newest.is_of(entry)]
        same = fitting(newest.known_mark, others, since=newest.sound[1])
        if same is not None and newest.is_of(same):
            return Plan(True, same.name, None, files_after(same, entries))
        file = self._shared.descriptors.of(newest)
        is_there = any(newest.is_of(entry) for entry in entries)
        if file is not None and not is_there and newest.as_it_was(file):
            # Deleted, moved elsewhere or compressed; it is still read by its descriptor.
            following = files_after(same, entries) if same else self._newer(entries)
            return Plan(True, newest.name, None, following)
        # Cut, as by logrotate's copytruncate: what was not read of it stands in the copy.
        copy = same or self._shorter_copy(newest.known_mark, entries)
        rest = copy if copy and holds(copy, newest.mark) else None
        following = files_after(copy, entries) if copy else self._newer(entries)
        return Plan(False, newest.name, rest, following)

    def _replace(self, newest: Generation, copy: Entry | None) -> None:
        """A file is no longer what it was: its rest is read from a copy, if there is one."""
        is_open = self._shared.descriptors.of(newest) is not None
        self._counts["truncations"] += is_open
        self._drop(newest)
        seen = newest.sound[0]
        if copy is not None and any(file.is_of(copy) for file in self.ahead):
            return
        if copy is not None:
            points = newest.mark, newest.known_mark
            unread = Recorded(*points, 0, 0, newest.text, None)
            rest = self._again(unread, copy)
            rest.seen = seen
            self._add(rest)
        else:
            self._counts["truncated_bytes"] += max(0, seen - newest.offset)
            # Where all of it was searched it is the beginning of one line.
            is_beginning = newest.searched == newest.sound
            self._counts["lost_lines"] += newest.offset < seen and is_beginning

    def _decided(self, decide: Callable[[list[Entry]], Plan]) -> Plan:
        """What is decided of the files of the folder, while none of them changes its name.

        Meanwhile the files that follow are opened, and their first and last bytes are learnt.
        """
        plan, is_settled = settled(
            decide, self._listing, learn=self._opened, close=self._shared.descriptors.close
        )
        if not is_settled:
            self._counts["unsettled_rotations"] += 1
        return plan

    def _opened(self, plan: Plan) -> list[Generation]:
        """The files that follow, opened; an empty one is nothing, or a copy about to be made."""
        files = [entry for entry in plan.following if entry.size or entry.name == self.path]
        return [self._learnt(entry) for entry in files]

    def _learnt(self, entry: Entry) -> Generation:
        """A new file, and its first bytes: it may be cut before it is read."""
        generation = Generation(entry)
        try:
            file = open_numbered(generation.name, generation.number)
            if file is not None:
                self._shared.descriptors.keep(generation, file)
                status = file.status()
                generation.grew(status.st_size, status.st_mtime_ns, now=time.monotonic())
                generation.as_it_was(file)
        except FAULTS:  # which are told when it is read
            pass
        return generation

    def _shorter_copy(self, mark: Mark, entries: list[Entry]) -> Entry | None:
        """The copy of a file that was cut, made before its last lines that were read."""
        copies = [entry for entry in self._newer(entries) if entry.name != self.path]
        return shorter_copy(mark, copies)

    def _again(self, stretch: Recorded, entry: Entry | None) -> Generation:
        """A file that is read on from a point; none: it is not there any more."""
        mark = stretch.mark
        gone = Entry(self.path, mark.device, mark.inode, mark.offset, stretch.changed, "")
        generation = Generation(entry or gone)
        generation.go_to(mark, stretch.reached)
        generation.text = stretch.text
        generation.stop = stretch.stop
        generation.lost = entry is None
        # Of another number than the file that was read: a copy, to which nobody writes.
        generation.whole = not generation.lost and generation.number != mark[:2]
        file = None if entry is None else self.open(generation)
        if file is not None:
            generation.go_on(file)
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

    def _append(self, generations: Sequence[Generation]) -> None:
        """Files come after those that are read, unless they are read already."""
        # Another log may have begun to read a file between the look and now.
        for generation in generations:
            if not self._shared.owners.owned(generation.entry):
                self._counts["rotations"] += bool(self.ahead)
                self._add(generation)
            else:
                self._shared.descriptors.close(generation)

    def _newer(self, entries: Sequence[Entry]) -> list[Entry]:
        """The files that changed since the newest one was left, without those that were read."""
        newer = []
        for entry in entries:
            may_be_new = entry.changed >= self.since or entry.name == self.path
            if may_be_new and not self.read_before(entry):
                newer.append(entry)
        return newer

    def _listing(self) -> list[Entry]:
        try:
            return listing(self.path)
        except OSError:  # the folder itself has gone, or may not be looked at for now
            return []
