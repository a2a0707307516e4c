"""Several minds in one verdict: LogLLM, the words of sessions, and single lines."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.methods.contract import (
    BeginningsInGroups,
    Method,
    Needs,
    Opinion,
    ScoreBeginnings,
    Workplace,
    of_both_kinds,
)
from logllm.methods.line_words import LineWords
from logllm.methods.logllm import LogLLMMethod
from logllm.methods.mixture import Weights, mixed, read_weights, write_weights
from logllm.methods.words import Words, WordTrees
from logllm.metrics import Labels, Scores, sigmoid
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, occurring

LOGLLM, WORDS, LINES = "logllm", "words", "lines"
"""The minds; the folders in a run that hold what the other two have learnt are called by their
names."""
_BESIDE_LINES = (0.25, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""How much LogLLM's logit counts where that of each other mind counts 1: the first where nothing is
chosen, the others are tried on kinds of fault that are held out."""
_BESIDE_WORDS = (6.0, 3.0, 12.0)
"""The same where lines have no labels. `words` then knows only whole sessions, and is misled where
other lines come into a log (`docs/figures.md`); what is held out does not show that."""


class Quick(Method):
    """The mean of the logits of the minds that learn in seconds.

    They are `words` and, where labels are per line, `lines`.
    """

    needs: ClassVar[Needs] = Needs.SESSIONS
    scale: ClassVar[Literal["logits", "scores"]] = "logits"

    def __init__(self, recipe: Recipe, workplace: Workplace) -> None:
        """Make one that has learnt nothing yet."""
        self.words = Words(recipe, workplace)
        """The mind that knows a session by its words."""
        self.lines: LineWords | None = LineWords(recipe, workplace)
        """The mind that knows single lines; None where lines have no labels."""

    @property
    def by_name(self) -> dict[str, WordTrees]:
        """The minds, by name."""
        lines = {} if self.lines is None else {LINES: self.lines}
        return {WORDS: self.words, **lines}

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Fit each mind.

        Raises:
            DataError: there are no labels, or all sessions are of one kind.
            RecipeError: XGBoost is not installed.
        """
        # Without labels of lines there is no mind of lines, and so no folder of it in the run.
        if line_labels is None:
            self.lines = None
        for mind in self.by_name.values():
            mind.copies = self.copies
            mind.fit(sessions, messages, labels=labels, line_labels=line_labels, seed=seed)

    def minds(self, sessions: Sequence[Rows], messages: pl.Series) -> dict[str, Scores]:
        """What each mind says, as logits, (b,); those of trees are called margins."""
        return {name: mind.margins(sessions, messages) for name, mind in self.by_name.items()}

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """P(anomalous), by the mean of the minds' logits."""
        logits = self.minds(sessions, messages)
        equal = dict.fromkeys(logits, 1.0)
        return sigmoid(mixed(logits, equal))

    def save(self, folder: Path) -> None:
        """Write a folder for each mind."""
        for name, mind in self.by_name.items():
            (folder / name).mkdir()
            mind.save(folder / name)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ModelError: files that are missing or of another method.
        """
        # A run without the folder was learnt without labels of lines.
        if not (folder / LINES).is_dir():
            self.lines = None
        for name, mind in self.by_name.items():
            mind.load(folder / name)


class Both(Method):
    """The weighted mean of the logits of LogLLM, of `words` and of `lines`.

    `lines` takes part where labels are per line. The three make different errors: LogLLM knows what
    is meant by words that it has never seen here, a learner of words knows exactly those that it
    has seen, and a learner of lines is not led astray by what surrounds a line. How much LogLLM's
    logit counts beside the others' is chosen on kinds of fault that are held out
    (`logllm.methods.mixture.Mixture`). Else it counts a quarter, or six times where lines have no
    labels.
    """

    needs: ClassVar[Needs] = Needs.SESSIONS
    scale: ClassVar[Literal["logits", "scores"]] = "logits"
    resumes: ClassVar[bool] = True

    def __init__(self, recipe: Recipe, workplace: Workplace) -> None:
        """Make one that is neither fitted nor loaded yet."""
        self.logllm = LogLLMMethod(_exact(recipe), workplace)
        """The mind that reads."""
        self._quick = Quick(recipe, workplace)
        self._new_quick = partial(Quick, recipe, workplace)
        self.weights: Weights = {LOGLLM: _BESIDE_LINES[0], WORDS: 1.0, LINES: 1.0}
        """How much each mind's logit counts; before it is fitted or loaded, what it is in runs that
        do not say so."""
        # The manifest of a finished run lists its files: whether one of them is of the mind of
        # lines has to be known before the run is loaded (`reads_lines`).
        files = workplace.begun.get("files", {})
        if files and not any(name.startswith(f"{LINES}/") for name in files):
            self._quick.lines = None

    @property
    def reads_lines(self) -> bool:
        """Whether one of its minds has learnt from lines."""
        return self._quick.lines is not None

    @property
    def judges_beginnings(self) -> bool:
        """Whether LogLLM judges beginnings."""
        return self.logllm.judges_beginnings

    def check(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
    ) -> None:
        """Raise what `fit` would raise before its first step."""
        of_both_kinds(labels)
        self.logllm.check(sessions, messages, labels=labels, line_labels=line_labels)

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Fit the trees, which take seconds, then LogLLM.

        Raises:
            DataError: one class is missing, or a stage of LogLLM's needs labels of lines.
            ModelError: weights that are missing, or a disk that is full.
            RecipeError: XGBoost is not installed.
        """
        for mind in (self._quick, self.logllm):
            mind.copies = self.copies
            mind.fit(sessions, messages, labels=labels, line_labels=line_labels, seed=seed)
        # Training chooses others where it holds kinds of fault out.
        self.weights = self.weighings()[0]

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """P(anomalous), by the weighted mean of the minds' logits."""
        logits = self.minds(sessions, messages, progress=progress)
        return sigmoid(mixed(logits, self.weights))

    def opinion(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Opinion:
        """The scores, each mind's probabilities, and the share of words never seen.

        Words never seen are those of a session that `words` has not learnt.
        """
        # The logits are there already: to say what each mind said costs nothing.
        logits = self.minds(sessions, messages, progress=progress)
        probabilities = {name: sigmoid(logit) for name, logit in logits.items()}
        minds = pl.DataFrame(probabilities)
        new_words = self._quick.words.new_words(sessions, messages)
        more = pl.DataFrame({"minds": minds.to_struct(), "new_words": new_words})
        return Opinion(sigmoid(mixed(logits, self.weights)), more)

    def beginnings(self, sessions: Sequence[Rows], messages: pl.Series) -> BeginningsInGroups:
        """What scores beginnings; LogLLM reads a session's messages once, whatever is asked."""

        def scores(asked: Sequence[Rows], *, margins: ScoreBeginnings) -> Scores:
            logits = {LOGLLM: margins(asked)} | self._quick.minds(asked, messages)
            return sigmoid(mixed(logits, self.weights))

        for numbers, margins in self.logllm.margins_of_beginnings(sessions, messages):
            yield numbers, partial(scores, margins=margins)

    def meet(self, messages: pl.Series) -> None:
        """Have LogLLM remember the messages' vectors."""
        self.logllm.meet(messages)

    def minds(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Scores]:
        """What each mind says, as logits, (b,)."""
        reads = {LOGLLM: self.logllm.margins(sessions, messages, progress=progress)}
        return reads | self._quick.minds(sessions, messages)

    def weighings(self) -> list[Weights]:
        """The weights that are tried: first those that hold where none are chosen."""
        others = self._quick.by_name
        tried = _BESIDE_LINES if LINES in others else _BESIDE_WORDS
        beside = [{LOGLLM: weight, **dict.fromkeys(others, 1.0)} for weight in tried]
        # LogLLM alone is tried as well: on some logs the others only do harm.
        alone = {LOGLLM: 1.0, **dict.fromkeys(others, 0.0)}
        return [*beside, alone]

    def quick(self) -> Quick:
        """Its other minds, new, to be fitted once more without some kinds of fault."""
        return self._new_quick()

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """How much each line speaks for "anomalous".

        Without labels of lines, that is what all minds say of its message as a session of its own.
        With them it is the weighted mean of two logits: what the learner of lines says of it counts
        2, and what the others say of its message counts 1.
        """
        if self._quick.lines is None:
            return super().score_lines(sessions, messages)

        # The two that know sessions see each distinct message as a session of its own.
        rows = occurring(sessions)
        alone = [rows[place : place + 1] for place in range(len(rows))]
        others = np.zeros(len(messages))
        margins = [mind.margins(alone, messages) for mind in (self.logllm, self._quick.words)]
        others[rows] = np.mean(margins, axis=0)

        # A learner of lines sees each line where it stands: of equal messages each has its own.
        lines = self._quick.lines.line_margins(sessions, messages)
        scores = []
        for line, session in zip(lines, sessions, strict=True):
            logits = (2.0 * line + others[session]) / 3.0
            scores.append(sigmoid(logits))
        return scores

    def about(self) -> dict[str, Any]:
        """What LogLLM says of itself."""
        return self.logllm.about()

    def save(self, folder: Path) -> None:
        """Write LogLLM's files, a folder for each of the other minds, and the weights."""
        self.logllm.save(folder)
        self._quick.save(folder)
        names = (LOGLLM, *self._quick.by_name)
        write_weights(folder, {name: self.weights[name] for name in names})

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ModelError: files or base models that are missing or have changed.
        """
        self.logllm.load(folder)
        self._quick.load(folder)
        self.weights = read_weights(folder, otherwise=self.weights)


def _exact(recipe: Recipe) -> Recipe:
    """A recipe with an engine that does not round of its own accord.

    An engine that rounds computes again what is near the threshold; but here LogLLM's own logit
    does not tell what is.
    """
    if recipe.detect.engine != "auto":
        return recipe
    section = recipe.detect.model_copy(update={"engine": "exact"})
    return recipe.model_copy(update={"detect": section})
