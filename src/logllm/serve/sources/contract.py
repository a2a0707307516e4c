"""What the watch asks of a source of lines, and what it tells it in return."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import polars as pl

LINES: dict[str, pl.DataType | type[pl.DataType]] = {"line": pl.UInt64, "text": pl.String}
"""Columns of lines that arrive: the number of each in its partition; its text, no line end."""
Place = Mapping[str, Any]
"""Where a source begins to read again: a JSON object that only the source itself understands."""
From = Literal["start", "end", "stored"]
"""Where a partition begins that the store knows nothing of: at the first line there is, or after
the last; `stored`: such a partition is refused."""


class Arrival(NamedTuple):
    """Lines of one partition that came together, in their order."""

    partition: str
    """What keeps its own order of lines.

    Examples: `/var/log/app.log`, `orders/3` of Kafka, `syslog:5514`.
    """
    lines: pl.DataFrame
    """`LINES`; numbers rise through all arrivals of a partition, and through restarts.

    They may leave gaps.
    """
    arrived: float
    """When they came: seconds since 1970."""


class Taken(NamedTuple):
    """What a source gave at once."""

    arrivals: list[Arrival]
    """Lines that came."""
    lost: Sequence[str] = ()
    """Partitions that another process has taken over. Their open sessions are forgotten, and
    nothing of them is written. They are dealt with before the arrivals.
    """


class Resumed(NamedTuple):
    """Where the store says that a partition was left."""

    low: int
    """The first line that is not accounted for yet. Earlier lines that the source gives once more
    are passed over.
    """
    place: Place
    """What the source itself gave as the place of that line, or of one before it."""


Claim = Callable[[str], Resumed | None]
"""Takes a partition over from whoever had it, and says where it was left; none: it is new.
To be called from the thread that calls `take`, before the partition's first line is given."""


class Source(Protocol):
    """Lines that keep coming.

    One thread calls all of these. A source that has threads of its own holds a bounded number of
    lines, and has its own sender wait when nobody takes them: it never drops any in silence.
    """

    name: str
    """What people call it: as it was written on the command line."""

    def begin(self, claim: Claim) -> None:
        """Start to listen or to look.

        Raises:
            ServeError: the address is taken, the broker does not answer, nothing is there to read.
        """

    def take(self, wait: float) -> Taken:
        """What has come, at most some thousand lines at once.

        Waits at most so many seconds for a first line.

        Raises:
            ServeError: it cannot be read on, whatever one waits for. What passes by itself (a
                broker that is away, a file that is not there yet) is counted and tried again
                instead.
        """

    def place(self, partition: str, line: int) -> Place:
        """From where this line of a partition, and all after it, will be given once more."""

    def stored(self, lows: Mapping[str, int]) -> None:
        """Called after a transaction: lines below these numbers are stored, and not needed."""

    @property
    def over(self) -> bool:
        """Whether nothing more will ever come, as when standard input has ended; all was taken."""

    @property
    def lag(self) -> int | None:
        """How much waits to be taken, in bytes or lines; none: not known."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What went on, in plain counts by name: `rotations`, `truncated_bytes`, `refused`..."""

    @property
    def trouble(self) -> str | None:
        """What keeps it from going on, such as a full spool, in words; none: nothing does.

        People are told of it again and again until it has passed. What concerns a part of it, or
        what is waited for without end, such as a file or a broker, is counted instead.
        """

    def close(self) -> None:
        """Stop to listen; what was given and not stored will be given again at the next start."""


@runtime_checkable
class BeginsAtEnd(Protocol):
    """A source that may begin behind lines that are there already."""

    @property
    def passed_over(self) -> Mapping[str, int | None] | None:
        """How many lines it passed over of each partition that it began at its end.

        The number is None where nobody counts them. There is no mapping as long as lines are
        being counted.
        """


@runtime_checkable
class Shared(Protocol):
    """A source whose partitions several processes share."""

    def alone(self) -> None:
        """Read without taking a partition from those who watch. To be called before `begin`."""

    def refused(self, partitions: Sequence[str]) -> None:
        """Called when the store refused writes: another process has claimed these partitions.

        They are given in `Taken.lost`, and no line of them comes. Where the partition is this
        process's nevertheless, as after a claim by a process that had been stopped and did not
        know it yet, it is claimed again later.
        """
