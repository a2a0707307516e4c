"""What a stream is made of, and what all streams of a watch share."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.config.watch import WatchSection
from logllm.detect.cache import ScoreCache
from logllm.detect.judge import Judge
from logllm.serve.sources.contract import Source
from logllm.serve.store.verdict_store import Also, Store


class Recognised(NamedTuple):
    """A format that was found by the first lines."""

    settings: PrepareSection
    notes: tuple[str, ...]
    """What a person should know of it."""


class Watched(NamedTuple):
    """What a stream is made of."""

    name: str
    """In the store."""
    source: Source
    settings: PrepareSection | None
    """How lines are read and grouped; none: it is found by the first lines."""
    apart: bool
    """Whether sessions never cross partitions."""
    recognise: Callable[[pl.Series], Recognised] | None = None
    """Finds the settings."""


class Surroundings(NamedTuple):
    """What all streams of a watch share."""

    run: Judge
    """What judges."""
    how: WatchSection
    """When sessions close."""
    store: Store
    """Where verdicts go."""
    owner: str
    """Who watches, for people."""
    told: Callable[[str], None]
    """Told what a person should know, a sentence."""
    cache: ScoreCache | None = None
    """Scores that are kept on this machine."""
    clock: Callable[[], float] = time.time
    """Seconds since 1970."""
    also: Sequence[Also] = ()
    """Called in the transaction of verdicts."""
