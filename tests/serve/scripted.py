"""A source whose lines a test gives, a judge that needs no model, and a store on disk: what a watch
is tried with."""

import time
from collections.abc import Mapping

import numpy as np
import polars as pl

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection
from logllm.config.recipe import Recipe
from logllm.config.sessions import SessionSection
from logllm.config.watch import WatchSection
from logllm.detect.judge import Judgement
from logllm.methods.contract import Opinion
from logllm.serve.sources.contract import Arrival, Taken
from logllm.serve.store.verdict_store import Store
from logllm.serve.stream import Stream
from logllm.serve.surroundings import Surroundings, Watched

KEYED = FormatSection(
    name="app",
    kind="pattern",
    pattern=r"^(?<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?<key>\w+) (?<message>.*)$",
    time="time",
    time_format=("%Y-%m-%d %H:%M:%S",),
)


def settings(**sessions) -> PrepareSection:
    """How the tests' lines are read: by key, unless something else is said."""
    grouping = SessionSection(**({"by": "key", "key_field": "key"} | sessions))
    return PrepareSection(format=KEYED, sessions=grouping)


class Errors:
    """Judges sessions that hold the word ERROR anomalous."""

    together = False
    name = "errors@1"
    recipe = Recipe.of_method("grep")
    manifest: Mapping = {}
    threshold = 0.5
    doubt = 0.2
    ends = None
    line_level = None

    def learn(self, sessions, messages):
        pass

    def opinion(self, sessions, messages, *, progress=None):
        wrong = messages.str.contains("ERROR").to_numpy()
        return Opinion(np.array([0.9 if wrong[rows].any() else 0.1 for rows in sessions]))

    def line_scores(self, rows, messages):
        return np.where(messages.gather(rows).str.contains("ERROR").to_numpy(), 0.9, 0.1)

    def score_lines(self, sessions, messages):
        return [self.line_scores(rows, messages) for rows in sessions]

    def seen_scores(self, sessions, messages):
        return None

    def judged(self, scores, sessions, *, messages, count):
        return Judgement(scores, scores >= self.threshold)


class Script:
    """Lines of partitions, given as a test says; after a restart from where the store says."""

    name = "script"
    counts: Mapping[str, int] = {}
    lag = None
    trouble = None

    def __init__(self, lines: Mapping[str, list[str]]) -> None:
        self.lines = lines
        self.given: dict[str, int] = {}
        self.lows: dict[str, int] = {}
        self.closed = False
        self._waiting: list[Arrival] = []

    @property
    def over(self) -> bool:
        return not self._waiting and all(
            self.given.get(name, 0) >= len(lines) for name, lines in self.lines.items()
        )

    def begin(self, claim) -> None:
        for name in self.lines:
            resumed = claim(name)
            self.given[name] = resumed.place["line"] - 1 if resumed else 0

    def give(self, partition: str, count: int, *, arrived: float | None = None) -> None:
        """Have the next lines of a partition come."""
        start = self.given[partition]
        texts = self.lines[partition][start : start + count]
        self.given[partition] += len(texts)
        numbers = pl.int_range(start + 1, start + 1 + len(texts), dtype=pl.UInt64, eager=True)
        frame = pl.DataFrame({"line": numbers, "text": pl.Series(texts, dtype=pl.String)})
        if len(texts):
            self._waiting.append(
                Arrival(partition, frame, time.time() if arrived is None else arrived)
            )

    def take(self, wait: float) -> Taken:
        waiting, self._waiting = self._waiting, []
        return Taken(waiting)

    def place(self, partition: str, line: int) -> dict[str, int]:
        return {"line": line}

    def stored(self, lows: Mapping[str, int]) -> None:
        self.lows.update(lows)

    def close(self) -> None:
        self.closed = True


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def begun(
    source: Script, store: Store, prepare: PrepareSection, *, clock=time.time, **how
) -> Stream:
    """A stream of a source that has begun."""
    watched = Watched("app", source, prepare, apart=False)
    around = Surroundings(
        Errors(),
        WatchSection(**({"begin": "start"} | how)),
        store,
        "test",
        lambda words: None,
        clock=clock,
    )
    stream = Stream(watched, around)
    stream.begin()
    return stream
