"""What tests of spooled sources share."""

import time
from collections.abc import Callable, Mapping

import polars as pl

from logllm.serve.sources.contract import Resumed, Source

SOON = 60.0
"""Seconds after which a test gives up; nothing here takes as long."""


class Stored:
    """A store of positions, as the watch has one."""

    def __init__(self) -> None:
        self.resumed: dict[str, Resumed] = {}

    def claim(self, partition: str) -> Resumed | None:
        return self.resumed.get(partition)

    def keep(self, source: Source, lows: Mapping[str, int]) -> None:
        for partition, low in lows.items():
            self.resumed[partition] = Resumed(low, source.place(partition, low))
        source.stored(lows)


def taken(
    source: Source, *, lines: int = 0, until: Callable[[], bool] = lambda: False
) -> pl.DataFrame:
    """What a source gives until there are so many lines, or something is true."""
    frames: list[pl.DataFrame] = []
    end = time.monotonic() + SOON
    while not (until() or (lines and sum(frame.height for frame in frames) >= lines)):
        assert time.monotonic() < end, (
            f"{sum(frame.height for frame in frames)} lines of {lines}; {dict(source.counts)}"
        )
        frames += [arrival.lines for arrival in source.take(0.05).arrivals]
    frames += [arrival.lines for arrival in source.take(0).arrivals]
    return (
        pl.concat(frames) if frames else pl.DataFrame(schema={"line": pl.UInt64, "text": pl.String})
    )


def texts(source: Source, lines: int) -> list[str]:
    """Texts of so many lines."""
    return taken(source, lines=lines)["text"].to_list()


def eventually(true: Callable[[], bool]) -> bool:
    """Whether something becomes true soon; it is not asked again once it was."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.01)
    return False
