"""Several minds in one verdict: LogLLM, the words of sessions, and single lines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.methods.contract import Method, Needs, Opinion, Workplace, of_both_kinds
from logllm.methods.line_words import LineWords
from logllm.methods.logllm import LogLLMMethod
from logllm.methods.words import Words, WordTrees
from logllm.metrics import Labels, Scores, sigmoid
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, occurring

LOGLLM, WORDS, LINES = "logllm", "words", "lines"
"""The minds; the folders in a run that hold what the other two have learnt are called by their names."""
_WEIGHTS = {LOGLLM: 0.25}
"""How much a mind's logit counts, where that is not 1. On kinds of fault that were held out LogLLM
is two to three times as sure of itself as it may be, and the best threshold moves with it: one that
is chosen on some kinds is worth most on others where its logit counts a quarter (`docs/figures.md`).
"""


class Both(Method):
    """The mean of the logits of LogLLM, of `words`, and, where labels are per line, of `lines`; LogLLM's count a quarter.

    Their errors are others: LogLLM knows what is meant by words that it has never seen here, a learner of words
    knows exactly those that it has, and a learner of lines is not led astray by what surrounds a line.
    """

    needs: ClassVar[Needs] = Needs.SESSIONS
    scale: ClassVar[Literal["logits", "scores"]] = "logits"
    resumes: ClassVar[bool] = True

    def __init__(self, recipe: Recipe, workplace: Workplace) -> None:
        """Make one that is neither fitted nor loaded yet."""
        self.logllm = LogLLMMethod(_exact(recipe), workplace)
        """The mind that reads."""
        self._words = Words(recipe, workplace)
        self._lines = LineWords(recipe, workplace)
        self._others: dict[str, WordTrees] = {WORDS: self._words, LINES: self._lines}
        finished = workplace.begun.get("files", {})
        if finished and not any(name.startswith(f"{LINES}/") for name in finished):
            self._others.pop(LINES)

    @property
    def reads_lines(self) -> bool:
        """Whether one of its minds has learnt from lines."""
        return LINES in self._others

    @property
    def judges_beginnings(self) -> bool:
        """Whether LogLLM does."""
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
        if line_labels is None:
            self._others.pop(LINES, None)
        for mind in (*self._others.values(), self.logllm):
            mind.fit(sessions, messages, labels=labels, line_labels=line_labels, seed=seed)

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """P(anomalous), as the weighted mean of the minds' logits has it."""
        return _mean(self.minds(sessions, messages, progress=progress))

    def opinion(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Opinion:
        """The same; what each mind says, as probabilities; and how many of a session's words `words` has never seen."""
        logits = self.minds(sessions, messages, progress=progress)
        minds = pl.DataFrame({name: sigmoid(logit) for name, logit in logits.items()})
        new_words = self._words.new_words(sessions, messages)
        more = pl.DataFrame({"minds": minds.to_struct(), "new_words": new_words})
        return Opinion(_mean(logits), more)

    def minds(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Scores]:
        """What each mind says, as logits, (b,)."""
        minds = {LOGLLM: self.logllm.margins(sessions, messages, progress=progress)}
        return minds | {name: mind.margins(sessions, messages) for name, mind in self._others.items()}

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """How much each line speaks for "anomalous".

        Without labels of lines that is what all minds say of its message as a session of its own. With them it is the
        mean of two logits: what the learner of lines says of it, twice, and what the others say of its message.
        """
        if LINES not in self._others:
            return super().score_lines(sessions, messages)
        rows = occurring(sessions)
        alone = [rows[place : place + 1] for place in range(len(rows))]
        others = np.zeros(len(messages))
        others[rows] = np.mean([mind.margins(alone, messages) for mind in (self.logllm, self._words)], axis=0)
        lines = self._lines.line_margins(sessions, messages)
        return [sigmoid((2.0 * line + others[session]) / 3.0) for line, session in zip(lines, sessions, strict=True)]

    def about(self) -> dict[str, Any]:
        """What LogLLM says of itself."""
        return self.logllm.about()

    def save(self, folder: Path) -> None:
        """Write LogLLM's files, and a folder for each of the other minds."""
        self.logllm.save(folder)
        for name, mind in self._others.items():
            (folder / name).mkdir()
            mind.save(folder / name)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ModelError: files or base models that are missing or have changed.
        """
        self.logllm.load(folder)
        if not (folder / LINES).is_dir():
            self._others.pop(LINES, None)
        for name, mind in self._others.items():
            mind.load(folder / name)


def _mean(logits: dict[str, Scores]) -> Scores:
    """The probability that the weighted mean of the minds' logits is."""
    weights = [_WEIGHTS.get(name, 1.0) for name in logits]
    return sigmoid(np.average(list(logits.values()), axis=0, weights=weights))


def _exact(recipe: Recipe) -> Recipe:
    """A recipe by whose engine LogLLM does not round of its own accord.

    Where it may, it computes again what is in doubt; but here its own logit does not tell what is.
    """
    if recipe.detect.engine != "auto":
        return recipe
    section = recipe.detect.model_copy(update={"engine": "exact"})
    return recipe.model_copy(update={"detect": section})
