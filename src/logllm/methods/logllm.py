"""LogLLM as a method: the network that training fits and an engine scores with."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import polars as pl

from logllm.config.recipe import Recipe
from logllm.errors import DataError, ModelError
from logllm.methods.contract import (
    BeginningsInGroups,
    Method,
    Needs,
    ScoreBeginnings,
    Workplace,
)
from logllm.metrics import Labels, Scores, sigmoid
from logllm.model.fast.rounding import DOUBT, measured, settled
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, distinct, lengths

if TYPE_CHECKING:  # torch is imported when something is to be fitted, loaded or scored
    from logllm.model.fast.light import Light
    from logllm.model.fast.scorer import Scorer
    from logllm.model.logllm import LogLLM
    from logllm.training.fit import Examples

_MANY = 64
"""From so many distinct sessions on, engine `auto` rounds."""
_BEGINNINGS = 65_536
"""How many beginnings of sessions are scored at once."""
_MEASURED = 512
"""On how many distinct sessions it is measured at most whether bfloat16 may be used."""


class LogLLMMethod(Method):
    """The paper's method: a decoder reads an encoder's projected vectors and gives the answer.

    A message that was never seen has a vector like any other. With labels of lines it can also be
    taught by recipes that crop, transplant or judge beginnings.
    """

    needs: ClassVar[Needs] = Needs.SESSIONS
    scale: ClassVar[Literal["logits", "scores"]] = "logits"
    resumes: ClassVar[bool] = True

    def __init__(self, recipe: Recipe, workplace: Workplace) -> None:
        """Make one that is neither fitted nor loaded yet."""
        self._recipe = recipe
        self._workplace = workplace
        self._network: LogLLM | Light | None = None
        self._tokenizer: Any = None
        self._fitted: dict[str, Any] = {}
        self.scorer: Scorer | None = None
        """The scorer, once the method is fitted or loaded."""

    @property
    def judges_beginnings(self) -> bool:
        """Whether a stage has it judge beginnings."""
        return any(stage.beginnings for stage in self._recipe.train.stages)

    def check(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
    ) -> None:
        """Raise what `fit` would raise before its first step, also for missing base models."""
        from logllm.training.fit import check_examples

        examples = _examples(sessions, messages, labels=labels, line_labels=line_labels)
        check_examples(self._recipe, examples)
        # It reads the base models' files: one that is missing raises.
        self.about()

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Run the recipe's stages, then measure on some sessions whether bfloat16 may be used.

        Raises:
            DataError: one class is missing, or a stage needs labels of lines.
            ModelError: weights are missing, or the disk is full.
        """
        import torch

        from logllm.training.fit import fit_network

        if (threads := self._workplace.begun.get("threads")) is not None:
            torch.set_num_threads(threads)  # as it was begun, so that the weights end the same
        section = self._recipe.train.model_copy(update={"seed": seed})
        recipe = self._recipe.model_copy(update={"train": section})
        examples = _examples(sessions, messages, labels=labels, line_labels=line_labels)
        # Checkpoints of a fold that is only tried for the threshold go with it.
        with TemporaryDirectory(prefix="logllm-") as scratch:
            trained = fit_network(
                recipe,
                examples,
                folder=self._workplace.folder or Path(scratch),
                watch=self._workplace.watch,
                progress=self._workplace.report,
            )
        self._network, self._tokenizer = trained.model, trained.tokenizer
        self.scorer = self._scorer_of("exact")
        engines = self._engines(sessions, messages, seed=seed)
        self._fitted = {"seconds": round(trained.seconds, 1), "engines": engines}

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """P(anomalous): the two answers' logits where they first differ, through a softmax.

        Raises:
            ModelError: it is neither fitted nor loaded.
        """
        return sigmoid(self.margins(sessions, messages, progress=progress))

    def margins(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """The logits of `score`, (b,).

        Raises:
            ModelError: it is neither fitted nor loaded.
        """
        if not sessions:
            return np.zeros(0)
        if self.scorer is None:
            raise ModelError("neither fitted nor loaded: it cannot score yet")
        if self._recipe.model.verdict == "largest":
            return self._largest(sessions, messages, scorer=self.scorer, progress=progress)
        return self.scorer.score(sessions, messages, progress=progress)

    def beginnings(self, sessions: Sequence[Rows], messages: pl.Series) -> BeginningsInGroups:
        """What scores beginnings; a session's messages are read once, whatever is asked."""

        def scores(asked: Sequence[Rows], *, margins: ScoreBeginnings) -> Scores:
            return sigmoid(margins(asked))

        for numbers, margins in self.margins_of_beginnings(sessions, messages):
            yield numbers, partial(scores, margins=margins)

    def margins_of_beginnings(
        self, sessions: Sequence[Rows], messages: pl.Series
    ) -> BeginningsInGroups:
        """The logits of `beginnings`."""
        # The largest verdict asks for all beginnings of a beginning: their questions cost most.
        if self.scorer is None or self._recipe.model.verdict == "largest":
            yield np.arange(len(sessions)), partial(self.margins, messages=messages)
            return
        for numbers, walks in self.scorer.groups(sessions):
            yield numbers, partial(self.scorer.score, messages=messages, walks=walks)

    def meet(self, messages: pl.Series) -> None:
        """Remember the messages' vectors."""
        if self.scorer is not None:
            self.scorer.memory.vectors(messages.to_list())

    def about(self) -> dict[str, Any]:
        """The number of threads, and the base models by name and fingerprint.

        After a fit it also says how long that took and what rounding costs.
        """
        from torch import get_num_threads

        from logllm.model.base.weights import base_models

        weights, full = self._recipe.model.weights, self._workplace.verify
        bases = base_models(weights, full=full, progress=self._workplace.report)
        return {"threads": get_num_threads(), "base_models": bases, **self._fitted}

    def save(self, folder: Path) -> None:
        """Write adapters in PEFT's format, and the projector."""
        from logllm.model.checkpoint import save_model
        from logllm.model.logllm import LogLLM

        if not isinstance(self._network, LogLLM):
            raise ModelError("nothing to save: fit it first")
        save_model(folder, self._network, section=self._recipe.model)

    def load(self, folder: Path) -> None:
        """Read a run: its files alone, or a network where those are not enough.

        Raises:
            ModelError: files or base models that are missing or have changed.
        """
        from logllm.model.fast.light import load_network

        manifest, report = self._workplace.begun, self._workplace.report
        try:
            loaded = load_network(folder, recipe=self._recipe, manifest=manifest, progress=report)
        except FileNotFoundError as exc:
            what = f"{folder} lacks a file that a run of LogLLM has ({exc})"
            raise ModelError(f"{what}: train it again") from exc
        self._network, self._tokenizer = loaded

        # Of few sessions rounding saves nothing that anybody would notice.
        wished = self._recipe.detect.engine
        least = _MANY if wished == "auto" else 0
        self.scorer = self._scorer_of(settled(wished, manifest), least=least)

    def _largest(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        scorer: "Scorer",
        progress: Progress | None,
    ) -> Scores:
        """The largest of a session's logits after each of its messages, (b,).

        Equal sessions are computed once.
        """
        once = distinct(sessions)
        # A session without messages has a verdict, too.
        counts = np.maximum(lengths(once.sessions), 1)
        margins = np.empty(len(counts))

        # As many sessions at once as have not too many beginnings: a new chunk where their sum has
        # gone past the next multiple.
        chunk = np.cumsum(counts) // _BEGINNINGS
        starts = np.flatnonzero(np.diff(chunk)) + 1
        for rows in np.split(np.arange(len(counts)), starts):
            # A session of (a, b, c) is judged as (a), (a, b) and (a, b, c).
            shorter: list[Rows] = []
            for row in rows:
                session = once.sessions[row]
                first = min(1, len(session))
                shorter += [session[:length] for length in range(first, len(session) + 1)]

            # The beginnings of each session stand together: the largest from first to first.
            firsts = np.cumsum(counts[rows]) - counts[rows]
            logits = scorer.score(shorter, messages)
            margins[rows] = np.maximum.reduceat(logits, firsts)
            if progress is not None:
                progress(int(rows[-1]) + 1, len(counts))
        return margins[once.of]

    def _engines(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        seed: int,
    ) -> dict[str, Any]:
        """Which engines that round may be used, measured on some of the distinct sessions."""
        once = distinct(sessions).sessions
        drawn = np.random.default_rng(seed).permutation(len(once))[:_MEASURED]
        sample = [once[place] for place in np.sort(drawn)]
        assert self.scorer is not None  # noqa: S101 - fitted before
        try:
            rounding = self._scorer_of("bf16", doubt=0)
        except ModelError:  # a decoder that no engine rounds
            return {}
        errors = rounding.score(sample, messages) - self.scorer.score(sample, messages)
        largest = float(np.abs(errors).max())
        return {"bf16": measured(largest, sessions=len(sample))}

    def _scorer_of(self, engine: str, *, least: int = 0, doubt: float = DOUBT) -> "Scorer":
        """A scorer by one engine.

        It rounds only calls of at least `least` sessions, and computes again exactly what lies
        within `doubt` of the threshold.
        """
        from logllm.model.fast.scorer import Engine, Scorer

        section = self._recipe.detect.model_copy(update={"engine": engine})
        assert self._network is not None  # noqa: S101 - only called once there is one
        threshold = self._workplace.threshold
        made = Engine(self._network, section=section, threshold=threshold, least=least, doubt=doubt)
        max_tokens = self._recipe.model.encoder.max_tokens
        return Scorer(made, self._tokenizer, max_tokens=max_tokens)


def _examples(
    sessions: Sequence[Rows],
    messages: pl.Series,
    *,
    labels: Labels | None,
    line_labels: Sequence[Labels] | None,
) -> "Examples":
    """What training learns from.

    Raises:
        DataError: there are no labels.
    """
    from logllm.training.fit import Examples

    if labels is None:
        raise DataError("LogLLM learns from labels of sessions, and these have none")
    return Examples(sessions, labels, messages, line_labels)
