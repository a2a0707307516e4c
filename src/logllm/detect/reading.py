"""One pass over a log: the verdicts on it, and what was read on the way."""

from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Self

import polars as pl

from logllm.data.reader import Reader
from logllm.detect.verdict import Verdict, verdicts


class Reading(Iterator[Verdict]):
    """Verdicts as sessions close, iterable once; the rest grows as the verdicts are taken.

    It belongs to one caller: several readings of one detector go on side by side, each with counts
    of its own. One that is not read to its end is to be closed, or used in a `with` block.
    """

    def __init__(
        self,
        reader: Reader,
        frames: Callable[["Reading"], Generator[pl.DataFrame]],
        *,
        close: Callable[[], None] | None = None,
    ) -> None:
        """Join what reads with what makes verdict frames of it.

        Args:
            reader: reads the log.
            frames: given this reading, whose counts it adds to, gives the verdict frames.
            close: ends what the reader reads from.
        """
        self._reader = reader
        self._frames = frames(self)
        self._verdicts = self._each()
        self._close = close
        self.counts: dict[str, int] = reader.counts
        """Plain counts of what was read so far: `lines`, `rejected`, and all else worth knowing."""

    @property
    def rejects(self) -> list[dict[str, object]]:
        """The first three lines that did not parse: `file`, `line`, `text` (shortened)."""
        return self._reader.first_rejects

    @property
    def messages(self) -> pl.Series:
        """The distinct masked messages so far."""
        return self._reader.messages.messages

    def __iter__(self) -> Iterator[Verdict]:
        return self

    def __next__(self) -> Verdict:
        return next(self._verdicts)

    def frames(self) -> Iterator[pl.DataFrame]:
        """The verdicts as frames, one for the sessions that close together.

        Raises:
            DataError: an input cannot be read, is empty, or most of its lines are not in the format.
        """
        try:
            yield from self._frames
        finally:
            self.close()

    def close(self) -> None:
        """Read no further."""
        if self._close is not None:
            self._close()
        if not getattr(self._frames, "gi_running", False):  # closed by another thread, it ends when its read does
            self._frames.close()

    def _each(self) -> Iterator[Verdict]:
        """The verdicts one by one."""
        for frame in self.frames():
            yield from verdicts(frame)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
