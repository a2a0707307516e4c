"""A log that has been judged, and what a page is wanted of it."""

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
    """Gave them, and has been read to its end; where the log was judged against others it has
    counted its messages."""
    detector: "Detector"
    """What judged."""

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
    """When."""
    how_read: str = ""
    """What was found out about the logs, a sentence a line."""
    good: Sequence[str] = ()
    """The logs that were judged against."""
    redact: bool = False
    """Nothing secret may be shown."""
    aside: PutAside | None = None
    """What `-` has read, where it was put aside."""
