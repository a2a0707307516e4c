"""What a reading asks of whatever judges sessions.

That is a run, or what was learnt from good logs a moment ago.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import polars as pl

from logllm.config.recipe import Recipe
from logllm.detect.cache import ScoreCache
from logllm.detect.evidence.turning import Turns
from logllm.detect.judging.known_scores import JudgesMany
from logllm.methods.contract import LearningOn, Method, Opinion
from logllm.metrics import Labels, Scores
from logllm.progress import Progress
from logllm.sessions.ends import Ends
from logllm.sessions.message_table import Rows


class Judgement(NamedTuple):
    """The judgement of sessions that close together."""

    scores: Scores
    """Their scores, (b,)."""
    anomalous: Labels
    """Which of them are anomalous, (b,)."""
    p: Scores | None = None
    """The share of the sessions learnt from that are at least as strange, (b,); None: not known."""


class Judge(Protocol):
    """Gives scores, and says which of them are anomalous."""

    @property
    def together(self) -> bool:
        """Whether all sessions of a log are judged at once, when it has ended."""

    @property
    def name(self) -> str:
        """What verdicts call it."""

    @property
    def recipe(self) -> Recipe:
        """Its method and settings."""

    @property
    def manifest(self) -> dict[str, Any]:
        """Its run's manifest; empty where there is no run."""

    @property
    def method(self) -> Method:
        """The method that scores."""

    @property
    def threshold(self) -> float:
        """Scores from here on are anomalous."""

    @property
    def doubt(self) -> float:
        """How likely it must be that a session is cut for it to be judged as one."""

    @property
    def ends(self) -> Ends | None:
        """How sessions begin and end; None where that is not known."""

    def learn(self, sessions: pl.DataFrame, messages: pl.Series) -> None:
        """Learn from all sessions before they are scored, where they are judged together."""

    def opinion(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Opinion:
        """How anomalous sessions are, and what their verdicts say besides."""

    @property
    def many(self) -> JudgesMany | None:
        """Judges several lots of sessions where processes share the work.

        None: this process does all of the work.
        """

    def line_scores(self, rows: Rows, messages: pl.Series) -> Scores | None:
        """How much messages speak for "anomalous", (u,).

        None: score each as a session of its own.
        """

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores] | None:
        """How much each message of sessions speaks for "anomalous".

        None: each speaks as much as it would in a session of its own.
        """

    def turns(self, sessions: Sequence[Rows], messages: pl.Series) -> Turns:
        """Where sessions turned that are anomalous as a whole.

        Asked only where there is a `line_level`.
        """

    @property
    def line_level(self) -> float | None:
        """A line that says less than this does not tell by itself.

        None: lines are named whatever they say.
        """

    def seen_scores(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores | None:
        """Scores of sessions that are cut, by what was seen of them, (b,).

        None: the judge's `ends` say whether what was seen is enough.
        """

    def judged(
        self,
        scores: Scores,
        sessions: pl.Series,
        *,
        messages: pl.Series,
        count: int,
    ) -> Judgement:
        """The judgement of sessions that close together.

        Args:
            scores: what `opinion` gave.
            sessions: for each session the places of its messages.
            messages: the message table.
            count: how many sessions there were so far, these included.
        """

    def cache(self) -> ScoreCache:
        """The scores that are kept on this machine."""


@runtime_checkable
class LearnsOn(Protocol):
    """A judge that may go on to learn while it judges, if its method can."""

    def learning_on(self) -> LearningOn | None:
        """What goes on to learn beside the judge's method; None: the method cannot."""

    def judging_by(self, method: Method) -> Judge:
        """The same judge with another method, which knows all that its own knows."""
