"""A toy log, and a method that is tried on it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.methods.contract import Method, Needs, Workplace
from logllm.metrics import Labels, Scores
from logllm.sessions.message_table import Rows

OPEN, WRITE, SYNC, CLOSE, LOST, PANIC = range(6)
MESSAGES = pl.Series(
    [
        "file opened",
        "bytes written",
        "replica synced",
        "file closed",
        "replica lost at <*>",
        "kernel panic",
    ]
)
"""The message table of the toy log; no session of `toy` holds the last one."""
ALTERED = pl.concat([MESSAGES, pl.Series(["replica <*> was lost", "<*>", "something else entirely"])])
"""A table with messages that `MESSAGES` lacks."""


class Toy(NamedTuple):
    """Sessions of a toy log over `MESSAGES`."""

    sessions: list[Rows]
    labels: Labels
    line_labels: list[Labels]

    def only(self, kind: bool) -> "Toy":
        """The sessions of one kind."""
        rows = np.flatnonzero(self.labels == kind)
        line_labels = [self.line_labels[row] for row in rows]
        return Toy([self.sessions[row] for row in rows], self.labels[rows], line_labels)


def toy(*, sessions: int, seed: int) -> Toy:
    """Sessions that open, work and close, every tenth of which does not work but loses replicas."""
    rng = np.random.default_rng(seed)
    labels = np.arange(sessions) % 10 == 0
    made = []
    for label in labels:
        kinds = [LOST] if label else [WRITE, SYNC]
        work = rng.choice(kinds, size=rng.integers(1, 6) + 3 * label)
        made.append(np.array([OPEN, *work, CLOSE]))
    return Toy(made, labels, [session == LOST for session in made])


@dataclass(frozen=True)
class Trial:
    """A method to check."""

    make: Callable[[Recipe, Workplace], Method]
    folder: Path
    recipe: Recipe
    close: float

    @cached_property
    def train(self) -> Toy:
        """What it learns from."""
        return toy(sessions=80, seed=0)

    @cached_property
    def sessions(self) -> list[Rows]:
        """What it scores: sessions over `ALTERED`, some of messages never seen, one that is there twice, one of nothing."""
        sessions = toy(sessions=40, seed=1).sessions
        unknown = [np.array([OPEN, 6, 7, 8, CLOSE]), np.array([PANIC])]
        return [*sessions, *unknown, sessions[0], np.array([], dtype=np.int64)]

    @cached_property
    def fitted(self) -> Method:
        """One that has learnt, with seed 3."""
        return self.learnt(self.train, seed=3)

    def empty(self) -> Path:
        """A new folder."""
        return Path(mkdtemp(dir=self.folder))

    def learnt(self, train: Toy, *, seed: int) -> Method:
        """A new one that has learnt, with the labels that it needs and those below them."""
        method = self.make(self.recipe, Workplace())
        lines = train.line_labels if method.needs is Needs.LINES else None
        method.fit(train.sessions, MESSAGES, labels=train.labels, line_labels=lines, seed=seed)
        return method

    def same(self, first: Scores, second: Scores) -> bool:
        """Whether scores that should be the same are."""
        if self.close == 0.0:
            return np.array_equal(first, second)
        return np.allclose(first, second, rtol=0.0, atol=self.close)
