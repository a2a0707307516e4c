"""A log by its path: its lines, with numbers that go on from one of its files to the next."""

from typing import Any

import polars as pl

from logllm.errors import ServeError
from logllm.logs.archives import FAULTS
from logllm.logs.lines import lines_in
from logllm.serve.sources.contract import Place
from logllm.serve.sources.tailing.file_bytes import OpenFile
from logllm.serve.sources.tailing.file_succession import FileSuccession
from logllm.serve.sources.tailing.generation import ENDLESS, ChangedBelowError, Generation, Piece
from logllm.serve.sources.tailing.given_lines import GivenLines, Recorded
from logllm.serve.sources.tailing.marks import Mark
from logllm.serve.sources.tailing.owners import Shared
from logllm.serve.sources.tailing.rotated_names import Entry

_SKIPPED = 64 << 20
"""Bytes that are passed over at once, where reading begins at the end."""


class TailedPath:
    """A log by its path, through all its rotations."""

    def __init__(self, path: str, shared: Shared, *, encoding: str, quiet: float) -> None:
        """Nothing looked at yet.

        Args:
            path: what the log is called.
            shared: what all logs of a source have in common.
            encoding: `utf-8` or `latin-1`.
            quiet: seconds without a new byte after which nobody writes to a file that was rotated
                away.
        """
        self.files = FileSuccession(path, shared)
        self.last = 0
        """The number of the last line that was given or passed over."""
        self.given_bytes = 0
        """Bytes of all lines that were given."""
        self._descriptors = shared.descriptors
        self._counts = shared.counts
        self._encoding = encoding
        self._quiet = quiet
        self._given = GivenLines()
        self._begun: Generation | None = None
        self._skip_until: int | None = None
        self._skipped_lines = 0

    def begin(self, earlier_files: list[Entry]) -> None:
        """Read from the first line there is, in earlier files of the log before that of the path.

        Raises:
            OSError: that is not there.
        """
        self.files.begin(earlier_files)

    def begin_at_end(self) -> None:
        """Read what comes after the last whole line there is; those before it are numbered.

        Raises:
            OSError: it may not be read.
        """
        self.files.begin([])
        # Up to the size that it has now: what is written while it is passed over is read.
        newest = self.files.ahead[-1]
        file = self.files.open(newest)
        self._skip_until = ENDLESS if file is not None and file.packed else newest.size

    def resume(self, place: Place) -> None:
        """Read on from a place.

        Raises:
            ServeError: it is not a place of a file.
        """
        try:
            recorded = [Recorded.of_json(fields) for fields in place["stretches"]]
            finished = [Mark(*mark) for mark in place["before"]]
            since, last = int(place["since"]), int(place["last"])
        except (KeyError, TypeError, ValueError) as exc:
            words = f"another source or release wrote its place in the store ({exc!r})"
            raise ServeError(f"{self.files.path}: {words}; name another store") from exc
        self.files.remember(finished, since)
        self.last = recorded[0].line - 1 if recorded else last
        if recorded:
            self.files.resume(recorded, last)

    # Its lines.

    def take(self, most: int, now: float) -> pl.DataFrame | None:
        """The next lines, at most so many; none: there are none for now.

        Raises:
            OSError: they cannot be read for now.
        """
        # A file that is over may be empty: the next one's lines are given in the same call.
        while self.files.ahead:
            first = self.files.ahead[0]
            lines, over = self._of_file(first, most, now=now)
            if over:
                self._finish(first)
            if lines is not None or not over:
                return lines
        return None

    def _of_file(
        self,
        first: Generation,
        most: int,
        *,
        now: float,
    ) -> tuple[pl.DataFrame | None, bool]:
        """The next lines of a file, and whether none come after them."""
        file = None if first.lost else self.files.open(first)
        if file is None:
            # The newest may be back under its name in a moment.
            first.lost = first.lost or len(self.files.ahead) > 1
            return None, first.lost
        if self._skip_until is not None and not self._skipped(first, file):
            return None, False
        self._start(first)
        piece = self._piece(first, file, most=most)
        if piece is not None:
            return self._numbered(piece), False
        if first.lost or not self._over(first, file, now=now):
            return None, first.lost
        # Nobody will end the last line of a file to which nobody writes: it counts as it is.
        rest = self._rest(first, file)
        self._counts["unfinished_lines"] += rest is not None
        lines = self._numbered(rest) if rest else None
        has_next = len(self.files.ahead) > 1
        return lines, has_next

    def _rest(self, first: Generation, file: OpenFile) -> Piece | None:
        """What stands behind a file's last whole line."""
        self._counts["damaged_files"] += file.packed and not file.ended
        try:
            return first.rest(file)
        except FAULTS:
            return None

    def _piece(self, first: Generation, file: OpenFile, *, most: int) -> Piece | None:
        """The next whole lines of a file."""
        if first.searched == first.now:
            return None
        try:
            piece = first.next_lines(file, most)
        except ChangedBelowError:
            # The next look decides what it is; of an earlier file nothing more can come.
            first.doubtful = True
            first.lost = len(self.files.ahead) > 1
            return None
        except FAULTS:
            if not file.packed:
                self._descriptors.close(first)
                raise
            # It may still be in the making.
            piece = None
        if piece is None:
            first.searched = first.now
        return piece

    def _over(self, first: Generation, file: OpenFile, *, now: float) -> bool:
        """Whether nothing more is written to a file of which all whole lines were given."""
        if first.stop is not None or file.ended:
            return True
        if len(self.files.ahead) == 1:
            return False
        # Until the next file has a byte the program may still hold this one.
        following = list(self.files.ahead)[1:]
        has_bytes = any(generation.size for generation in following)
        is_quiet = now - first.quiet_since >= self._quiet
        return first.whole or (has_bytes and is_quiet)

    def _start(self, first: Generation) -> None:
        """Lines come from this file now."""
        if self._begun is not first:
            self._begun = first
            self._given.begin(first, self.last + 1)

    def _finish(self, first: Generation) -> None:
        """No more lines come from this file."""
        self.files.finish(first)
        self._skip_until = None
        # What was given stays given; what the store knows of its last line is passed over, so that
        # the numbers of later lines stay the same.
        if first.lost:
            unread = first.stop is None or first.offset < first.stop
            self._counts["lost_files"] += unread
        self._counts["truncated_bytes"] += max(0, first.seen - first.offset)
        if first.until is not None and first.until > self.last:
            self._counts["lost_lines"] += first.until - self.last
            self.last = first.until

    def _skipped(self, first: Generation, file: OpenFile) -> bool:
        """Pass over some of what was there before; whether all of it is passed over."""
        until = self._skip_until or 0
        lines, over = first.skip(file, until, most=_SKIPPED)
        self.last += lines
        self._skipped_lines += lines
        if over:
            self._skip_until = None
        return over

    def _numbered(self, piece: Piece) -> pl.DataFrame:
        """Lines as a frame, entered in the index."""
        self.given_bytes += len(piece.raw)
        raw, encoding = piece.raw, self._encoding
        # UTF-16 is found by each file itself, whatever encoding was named for the log.
        text = self.files.ahead[0].text
        if text:
            raw, encoding = raw.decode(text, errors="replace").encode(), "utf-8"
        lines = lines_in(raw, after=self.last, encoding=encoding)
        self._counts["replaced_characters"] += lines.replaced
        self._counts["cut_lines"] += lines.cut
        self._counts["coloured_lines"] += lines.coloured
        self._counts["nul_bytes"] += piece.nuls
        self._given.note(piece, self.last + 1)
        self.last += lines.frame.height
        return lines.frame

    # What the store is told.

    @property
    def unread(self) -> int:
        """Bytes that are there and were not given."""
        present = [generation for generation in self.files.ahead if not generation.lost]
        return sum(generation.unread for generation in present)

    @property
    def passed_over(self) -> int | None:
        """How many lines were passed over at the beginning; None: they are being counted."""
        return None if self._skip_until is not None else self._skipped_lines

    @property
    def waiting(self) -> bool:
        """Whether there may be lines to take."""
        ahead = self.files.ahead
        waits = len(ahead) > 1 or self._skip_until is not None
        return waits or any(file.lost or file.unread for file in ahead)

    def place(self, line: int) -> dict[str, Any]:
        """From where a line, and all after it, can be read again: a JSON object."""
        # A file that was never taken from must have an entry, too, or a restart would begin before
        # it.
        if self.files.ahead and not self.files.ahead[0].lost:
            self._start(self.files.ahead[0])
        stretches = self._given.from_line(line, self.last)
        recorded = [stretch.as_json() for stretch in stretches]
        before = [list(mark) for mark in self.files.finished]
        files = {"stretches": recorded, "before": before}
        return {**files, "last": self.last, "since": self.files.since}

    def stored(self, low: int) -> None:
        """Lines below `low` will not be asked for."""
        self._given.forget(low)
