"""A run at work: verified, its settings as wanted, its method loaded when it is first needed."""

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
import polars as pl

from logllm.config.detect import DetectSection
from logllm.config.recipe import Recipe
from logllm.detect.cache import ScoreCache, identity
from logllm.detect.evidence.turning import Turns, turns
from logllm.detect.judge import Judgement
from logllm.detect.judging.known_scores import JudgesMany
from logllm.errors import RecipeError
from logllm.methods.contract import LearningOn, Method, Opinion, Workplace
from logllm.methods.novelty import Novelty
from logllm.methods.registry import make
from logllm.metrics import Scores
from logllm.model.fast.rounding import settled
from logllm.progress import Progress, Report
from logllm.runs.card import MERGED
from logllm.runs.manifest import check_base_models, find_run, model_name, read_recipe, verified
from logllm.sessions.ends import DOUBT, Ends
from logllm.sessions.message_table import Rows

_HELD_BACK = "held_back"
"""A field that only the manifest of a run of novelty has."""


class OpenedRun:
    """A run that may be used from several threads at once.

    Of a run's folder it needs, besides what its method has written there:

        manifest.json       what has been learnt, the threshold, and the hash of every file
        recipe.toml         the settings it was trained with
        ends.safetensors    how sessions begin and end, where that has been learnt

    Attributes:
        threshold: scores from here on are anomalous.
        manifest: the run's manifest.
        name: what verdicts call the run: its name and the first digits of what it has learnt.
        recipe: the run's recipe, with the engine that will score.
        folder: the run's folder.
        workplace: what its method is made with.
        ends: how sessions begin and end; None in a run that has not learnt it.
    """

    doubt = DOUBT
    """How likely it must be that a session is cut for it to be judged as one."""
    together = False
    """Sessions are judged as they close."""

    def __init__(
        self,
        folder: Path,
        *,
        recipe: Recipe,
        manifest: dict[str, Any],
        workplace: Workplace,
    ) -> None:
        """A verified run whose method is not loaded; `open` is the way from a folder."""
        self.recipe = recipe
        self.manifest = manifest
        self.threshold = workplace.threshold
        self.name = model_name(manifest)
        self.ends = Ends.load(folder)
        self.folder = folder
        self.workplace = workplace
        self._loading = Lock()
        self._method: Method | None = None

    @classmethod
    def open(
        cls,
        run: str | Path,
        *,
        progress: Report | None,
        engine: str | None,
        threshold: float | None,
        verify: bool,
    ) -> Self:
        """Verify a run against its manifest; the arguments are those of `Detector.load`.

        Raises:
            ModelError: not a finished run, it has changed, or the engine cannot serve it.
            RecipeError: there is no such engine, or the threshold is not in [0, 1].
        """
        if threshold is not None and not 0 <= threshold <= 1:
            raise RecipeError(f"threshold {threshold:g}: scores are between 0 and 1")
        folder = find_run(run)
        manifest = verified(folder, full=verify)
        recipe = read_recipe(folder)
        # The engine: the recipe's unless another is asked for, and exact where rounding may not be
        # or does not help.
        settings = {**recipe.detect.model_dump(), "engine": engine or recipe.detect.engine}
        detect = DetectSection.read(settings, source="detect")
        if settled(detect.engine, manifest) == "exact":
            detect = detect.model_copy(update={"engine": "exact"})
        chosen = manifest["threshold"]["value"] if threshold is None else threshold
        workplace = Workplace(
            folder=folder, begun=manifest, verify=verify, threshold=chosen, report=progress
        )
        recipe = recipe.model_copy(update={"detect": detect})
        return cls(folder, recipe=recipe, manifest=manifest, workplace=workplace)

    @property
    def method(self) -> Method:
        """The method that scores; it is loaded now if it is not here yet.

        Raises:
            ModelError: its base models are not those of the manifest, or its files do not fit.
        """
        # Several threads may want it at once: one loads it, the others wait for it.
        with self._loading:
            if self._method is None:
                method = make(self.recipe.method, self.recipe, workplace=self.workplace)
                # A merged bundle brings its base models itself.
                if "base_models" in self.manifest and self.manifest.get("bundle") != MERGED:
                    here = method.about().get("base_models", {})
                    check_base_models(self.folder, self.manifest, found=here)
                method.load(self.folder)
                self._method = method
        return self._method

    def opinion(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Opinion:
        """How anomalous sessions are, and what their verdicts say besides; see `Method.opinion`."""
        return self.method.opinion(sessions, messages, progress=progress)

    @property
    def many(self) -> JudgesMany | None:
        """None: this process does all of the work."""
        return None

    def learn(self, sessions: pl.DataFrame, messages: pl.Series) -> None:
        """Learn nothing more: it knows what it needs."""

    def learning_on(self) -> LearningOn | None:
        """What goes on to learn beside the run's method; None: the method cannot."""
        return self.method.learning_on()

    def judging_by(self, method: Method) -> Self:
        """The same run with another method, which knows all that its own knows."""
        other = copy(self)
        other._method = method
        return other

    @cached_property
    def _reads_lines(self) -> bool:
        """Whether lines have scores of their own.

        The method need not be loaded to tell: where all scores are known, no model is needed.
        """
        unloaded = make(self.recipe.method, self.recipe, workplace=self.workplace)
        return unloaded.reads_lines

    def line_scores(self, rows: Rows, messages: pl.Series) -> Scores | None:
        """How surprising messages are to novelty, (u,).

        None: score each as a session of its own.
        """
        if _HELD_BACK not in self.manifest:
            return None
        return self.method.score_lines([rows], messages)[0]

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores] | None:
        """How much each message of sessions speaks for "anomalous".

        None: each speaks as much as it would in a session of its own.
        """
        return self.method.score_lines(sessions, messages) if self._reads_lines else None

    def turns(self, sessions: Sequence[Rows], messages: pl.Series) -> Turns:
        """Where sessions turned that are anomalous as a whole."""
        groups = self.method.beginnings(sessions, messages)
        return turns(sessions, groups, threshold=self.threshold)

    @property
    def line_level(self) -> float | None:
        """A line that says less than this does not tell by itself.

        Hardly any line of normal sessions says as much. None: lines are named whatever they say.
        """
        if _HELD_BACK in self.manifest:
            return None
        if self._reads_lines:
            frozen = self.manifest.get("line_threshold")
            return min(self.threshold, 0.5) if frozen is None else frozen["value"]
        # The next number above what normal lines score: to reach it is to say more than they do.
        normal = np.nan if self.ends is None else self.ends.line_score
        highest = np.nan_to_num(normal, nan=0.0)
        above = float(np.nextafter(highest, 2.0))
        return max(self.threshold, above)

    def seen_scores(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores | None:
        """For novelty, the scores of sessions that are cut, by what was seen of them, (b,).

        None for other methods.
        """
        if _HELD_BACK not in self.manifest:
            return None
        novelty: Novelty = self.method  # type: ignore[assignment]
        return novelty.score_seen(sessions, messages)

    def judged(
        self,
        scores: Scores,
        sessions: pl.Series,
        *,
        messages: pl.Series,
        count: int,
    ) -> Judgement:
        """The same scores, and which of them reach the threshold.

        For novelty also how strange the sessions are.
        """
        anomalous = scores >= self.threshold
        if _HELD_BACK not in self.manifest:
            return Judgement(scores, anomalous)
        novelty: Novelty = self.method  # type: ignore[assignment]
        return Judgement(scores, anomalous, novelty.tail.p_values(scores))

    def cache(self) -> ScoreCache:
        """The scores of this run that are kept on this machine."""
        named = identity(self.manifest, self.recipe, threshold=self.threshold)
        return ScoreCache(named, most=self.recipe.detect.cache_sessions)
