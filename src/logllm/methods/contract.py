"""The contract of all that gives sessions a score, and checks of what methods learn from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import polars as pl

from logllm.errors import DataError
from logllm.metrics import Labels, Scores
from logllm.progress import Progress, Report
from logllm.sessions.message_table import Rows, occurring

ScoreBeginnings = Callable[[Sequence[Rows]], Scores]
"""Scores beginnings of some sessions, as a method's `score` does, (b,)."""
BeginningsInGroups = Iterable[tuple[Rows, ScoreBeginnings]]
"""Numbers of some sessions, and what scores their beginnings until the next group is asked for."""


class Needs(StrEnum):
    """Which labels a method learns from."""

    NOTHING = "nothing"
    """None: it learns from any sessions, and leaves the anomalous ones out where there are
    labels."""
    SESSIONS = "labels of sessions"
    LINES = "labels of lines"


@dataclass(frozen=True)
class Workplace:
    """What a method is made with besides its recipe; a method that has no use for it ignores it."""

    folder: Path | None = None
    """Where a method that `resumes` keeps what it needs to go on after an interruption; None: it
    keeps nothing that lasts."""
    begun: Mapping[str, Any] = field(default_factory=dict)
    """The manifest of a run that is resumed or loaded; empty for a new one."""
    verify: bool = False
    """Whether base models' files are read in full to hash them, whatever is remembered of them."""
    threshold: float = 0.5
    """Scores from here on will be called anomalous; a method that rounds must not round near it."""
    report: Report | None = None
    """Told of fetches, conversions and other waits."""
    watch: Callable[[Any], None] | None = None
    """Told of each step of a long `fit`."""


class Opinion(NamedTuple):
    """What a method says of some sessions."""

    scores: Scores
    """How anomalous they are, in [0, 1], (b,)."""
    more: pl.DataFrame | None = None
    """Further columns of their verdicts, one row for each session, of values that JSON has; None:
    there is nothing more to say."""


class Method(Protocol):
    """Fitted once, it scores any sessions, also those of other logs.

    A class that names this one as its base inherits what has a body here: the default `opinion`,
    `score_lines`, `about`, `check`, `scale`, `resumes`, `reads_lines` and `judges_beginnings`. It
    is made by `logllm.methods.registry.make(name, recipe, workplace=...)`.

    Messages are known by their text: a table with other rows than the one of `fit` is no obstacle,
    and what a message never seen means is each method's own affair, said in its docstring. The same
    seed on the same machine gives the same scores. `score` and `score_lines` may be called from
    several threads at once.
    """

    needs: ClassVar[Needs]
    """Which labels `fit` must be given."""
    scale: ClassVar[Literal["logits", "scores"]] = "scores"
    """Where the middle between two neighbouring scores is taken when a threshold is chosen."""
    resumes: ClassVar[bool] = False
    """Whether `fit` takes long, keeps checkpoints in the workplace's folder, and goes on with those
    it finds there."""
    copies: int = 0
    """How many of the sessions that `fit` learns from, the last ones, are copies of others in other
    languages (`logllm.methods.translations`); whoever has it fitted says so first."""

    @property
    def reads_lines(self) -> bool:
        """Whether `score_lines` knows more of a line than its message says as a session of its own.

        For a run this is known from its manifest, before it is loaded.
        """
        return False

    @property
    def judges_beginnings(self) -> bool:
        """Whether it was taught to judge sessions that have only begun.

        Its threshold is then chosen on beginnings, too.
        """
        return False

    def check(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
    ) -> None:
        """Raise what `fit` would raise of its data and its models, in seconds.

        It is asked by `train --check`, and before an older run gives way to one of a method that
        `resumes`; of the others the older run stays until `fit` is done.
        """
        return None

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Learn from sessions.

        Args:
            sessions: for each session the rows of its messages, (b,).
            messages: the message table: every distinct masked message of the data, also those that
                no session here holds.
            labels: True for anomalous, (b,); None: not known.
            line_labels: for each session which of its messages are anomalous; None: not known.
            seed: the seed of all that is drawn.

        Raises:
            DataError: sessions that the method cannot learn from.
        """

    def score(
        self, sessions: Sequence[Rows], messages: pl.Series, *, progress: Progress | None = None
    ) -> Scores:
        """How anomalous sessions are, in [0, 1], (b,).

        A probability where the method gives one, else of the same order.

        Args:
            sessions: for each session the rows of its messages; a session without messages has a
                score, too.
            messages: the table that they are rows of.
            progress: told how many distinct sessions are scored, and of how many, where that takes
                long.
        """

    def opinion(
        self, sessions: Sequence[Rows], messages: pl.Series, *, progress: Progress | None = None
    ) -> Opinion:
        """What `score` gives, and what else verdicts say, at no further cost."""
        return Opinion(self.score(sessions, messages, progress=progress))

    def meet(self, messages: pl.Series) -> None:
        """Remember of distinct messages what a call that scores sessions of them would remember.

        A process that did not get the earlier calls then gives the same scores, to the last bit.
        The default is for methods that remember nothing.
        """
        return None

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """How much each message speaks for "anomalous", in [0, 1], one array for each session.

        The default scores each distinct message as a session of its own. It says nothing of
        anomalies that are order or absence.
        """
        return alone(self, sessions, messages=messages)

    def beginnings(self, sessions: Sequence[Rows], messages: pl.Series) -> BeginningsInGroups:
        """What scores beginnings of sessions, for those who ask in several rounds.

        The default is one group, and `score`. A method that keeps what it has read of a session
        need not read it again in each round.
        """
        yield np.arange(len(sessions)), lambda beginnings: self.score(beginnings, messages)

    def learning_on(self) -> "LearningOn | None":
        """A method that scores as this one does and goes on to learn; None: there is none."""
        return None

    def about(self) -> dict[str, Any]:
        """What a run's manifest says of it besides settings and files, as JSON.

        Before `fit` it is what is known by then.
        """
        return {}

    def save(self, folder: Path) -> None:
        """Write everything that `load` needs, as safetensors, JSON, TOML or an open text format.

        Pickle is not allowed.

        Args:
            folder: exists; what else it holds is left alone.
        """

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; the scores are then the same.

        Raises:
            ModelError: files are missing or do not fit.
        """


class Bag(NamedTuple):
    """Sessions that hold the same kinds of message, each as often."""

    times: Mapping[str, int]
    """How often each kind of message (`logllm.sessions.message_table.kinds_of`) is in each of the
    sessions."""
    sessions: int = 1
    """How many sessions these are."""


class LearntOn(NamedTuple):
    """What was learnt of the sessions given."""

    sessions: int
    """How many were learnt; there was no room for the others."""
    kinds: tuple[str, ...]
    """Kinds of message that were not known before."""


class LearningOn(Method, Protocol):
    """A method that goes on to learn sessions without labels beside those that a run has learnt.

    The same calls in the same order lead to the same scores, also where `state` and `restore` stand
    between them. What it holds is bounded, whatever comes.
    """

    def knows(self, kinds: Sequence[str]) -> list[bool]:
        """Which kinds of message the run itself has learnt."""

    def lacks(self, kinds: Sequence[str]) -> list[str]:
        """Those kinds that neither the run nor what came since holds."""

    def doubtful(self, kinds: Sequence[str]) -> list[str]:
        """Those kinds that should not be learnt unless a person calls them normal."""

    def learn(self, bags: Sequence[Bag]) -> LearntOn:
        """Learn sessions, as far as there is room for their kinds of message."""

    def learn_normal(self, bag: Bag, *, below: float) -> LearntOn:
        """Learn a session that a person called normal.

        Sessions like it should then score below a threshold.
        """

    def forget(self, kinds: Iterable[str]) -> None:
        """Forget kinds of message that came since."""

    def state(self) -> dict[str, Any]:
        """What came since, as JSON."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Replace what came since by what `state` gave."""


def alone(method: Method, sessions: Sequence[Rows], *, messages: pl.Series) -> list[Scores]:
    """For each message of the sessions the score that it has as a session of its own."""
    # A session of one message is judged as all sessions are; equal messages are asked for once.
    rows = occurring(sessions)
    table = np.zeros(len(messages))
    singly = [rows[at : at + 1] for at in range(len(rows))]
    table[rows] = method.score(singly, messages)
    return [table[session] for session in sessions]


def normal_sessions(sessions: Sequence[Rows], labels: Labels | None) -> list[Rows]:
    """The normal sessions, for methods that learn only from these; without labels all sessions.

    >>> sessions = [np.array([1]), np.array([2])]
    >>> normal_sessions(sessions, np.array([True, False]))
    [array([2])]

    Raises:
        DataError: there is none.
    """
    normal = list(sessions)
    if labels is not None:
        normal = [session for session, bad in zip(sessions, labels, strict=True) if not bad]
    if not normal:
        need = "this method learns what normal is, and needs some: prepare more of the log"
        raise DataError(f"no session to learn from is normal: {need}")
    return normal


def of_both_kinds(labels: Labels | None) -> Labels:
    """The same labels, for methods that tell two kinds apart.

    Raises:
        DataError: there are no labels, or all sessions are of one kind.
    """
    if labels is None:
        raise DataError(
            "the sessions to learn from have no labels: "
            "this method needs normal and anomalous ones; "
            "prepare the data with labels, or take a method that needs none, such as novelty"
        )
    if labels.all() or not labels.any():
        kind = "anomalous" if len(labels) and labels.all() else "normal"
        what = f"all {len(labels):,} sessions to learn from are {kind}"
        remedy = "prepare more of the log or with --split random, or take novelty, without labels"
        raise DataError(f"{what}: this method needs normal and anomalous ones; {remedy}")
    return labels


def anything(sessions: Sequence[Rows]) -> Sequence[Rows]:
    """The same sessions, for methods that need messages to learn from and no more.

    Raises:
        DataError: there is no session, or none has a message.
    """
    if not any(len(session) for session in sessions):
        raise DataError(f"the {len(sessions):,} sessions to learn from hold no message")
    return sessions
