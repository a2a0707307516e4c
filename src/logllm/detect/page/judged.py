"""A log that has been judged, and what a page about it is to be made of."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from logllm.detect.page.written import PutAside
from logllm.detect.unlabelled import Ranking

if TYPE_CHECKING:
    from logllm.detect.detector import Detector
    from logllm.detect.reading import Reading


class Judged(NamedTuple):
    """A log that has been judged."""

    verdicts: pl.DataFrame
    """All of them, with `messages`."""
    reading: "Reading"
    """The reading that gave them, read to its end; where the log was judged against others it has
    counted the messages."""
    detector: "Detector"
    """The detector that judged."""

    @property
    def ranked(self) -> bool:
        """Whether sessions were ranked, not judged."""
        return isinstance(self.detector.run, Ranking)

    @property
    def messages(self) -> pl.Series:
        """The message table."""
        return self.reading.messages


class Wish(NamedTuple):
    """What a page is to be made of besides verdicts."""

    logs: Sequence[str]
    """The inputs, as they were given."""
    made: datetime
    """When the page is made."""
    how_read: str = ""
    """What was found out about the logs, a sentence a line."""
    good: Sequence[str] = ()
    """The good logs that the log was judged against."""
    redact: bool = False
    """Whether secrets must not be shown."""
    aside: PutAside | None = None
    """What `-` has read, where it was put aside."""
