"""A run at work: sessions to scores, logs to verdicts."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from datetime import UTC, datetime
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from logllm.config.detect import DetectSection
from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection
from logllm.config.recipe import Recipe
from logllm.data.archives import Bytes
from logllm.data.choice import reading
from logllm.data.lines import STDIN, input_bytes, named_files
from logllm.data.messages import MessageTable
from logllm.data.reader import Reader
from logllm.data.sessions import sessionizer
from logllm.detect.cache import ScoreCache, identity
from logllm.detect.distinct import Distinct, Score
from logllm.detect.verdict import Verdict, to_frame, verdicts
from logllm.metrics import Progress, Scores, sigmoid
from logllm.model.guard import check_admitted
from logllm.model.run import read_recipe, verified
from logllm.model.weights import Progress as WeightsProgress

if TYPE_CHECKING:  # torch is imported when a session is to be scored: where all are known it is not needed
    from logllm.data.sequences import Rows
    from logllm.model.engine import Engine
    from logllm.model.scorer import Scorer


class Detector:
    """A trained run, ready to judge.

    Attributes:
        threshold: scores from here on are anomalous; chosen in training, see the manifest.
        manifest: the run's manifest.
        model: what verdicts call the run: its name and the first digits of its projector's hash.
        counts: what the last `read` or `detect` read so far: `lines`, `rejected`, and everything else worth knowing.
        first_rejects: the first three lines it could not parse.
        recipe: the run's.
        table: the distinct masked messages of what the last `read` or `detect` read so far.
    """

    def __init__(self, run: Path, *, recipe: Recipe, manifest: dict[str, Any], progress: WeightsProgress | None = None) -> None:
        """A verified run whose model is not loaded; `Detector.load` is the way from a run directory."""
        self.manifest = manifest
        self.threshold: float = manifest["threshold"]["value"]
        self.model = f"{manifest['name']}@{manifest['files']['projector.safetensors'][:8]}"
        self.counts: dict[str, int] = {}
        self.first_rejects: list[dict[str, object]] = []
        self._settings = PrepareSection.read(manifest["data"]["prepare"], source="the run's manifest")
        self.recipe = recipe
        self.table = MessageTable()
        self._run = run
        self._progress = progress
        self._cached = False

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        progress: WeightsProgress | None = None,
        cache: bool = False,
        engine: str | None = None,
        format: FormatSection | None = None,
    ) -> Self:
        """Load a run, verified against its manifest, onto a GPU where there is one.

        Args:
            run: a folder that `train` wrote.
            progress: told of fetches and conversions of base models.
            cache: `detect` and `read` take what they can from the scores that earlier calls of the same run kept on this machine, and
                keep what they score (`detect.cache_sessions`). The model is then loaded, and its base models verified, when a session
                comes that is not known. A score is that of the device which first computed it. `score` never reads the cache.
            engine: another engine than the recipe's `detect.engine`.
            format: another format to read logs by than that of the run's data (`logllm.data.choice.reading`).

        Raises:
            ModelError: not a finished run, it or its base models have changed (the message names the field), or the engine is not
                admitted to it.
            RecipeError: there is no such engine.
        """
        folder = Path(run)
        manifest = verified(folder)
        recipe = read_recipe(folder)
        if engine is not None:
            detect = DetectSection.read({**recipe.detect.model_dump(), "engine": engine}, source="engine")
            recipe = recipe.model_copy(update={"detect": detect})
        check_admitted(manifest, recipe.detect.engine)
        detector = cls(folder, recipe=recipe, manifest=manifest, progress=progress)
        if format is not None:
            detector._settings = reading(detector._settings, format)
        detector._cached = cache and recipe.detect.cache_sessions > 0
        if not detector._cached:
            detector.engine  # noqa: B018 - loads it
        return detector

    @cached_property
    def _loaded(self) -> "tuple[Engine, Any]":
        """The engine and the encoder's tokenizer, on the first call or before it."""
        from logllm.model.loading import load_engine

        return load_engine(self._run, recipe=self.recipe, manifest=self.manifest, threshold=self.threshold, progress=self._progress)

    @property
    def engine(self) -> "Engine":
        """What scores; loaded now if it is not here yet.

        Raises:
            ModelError: as `load`.
        """
        return self._loaded[0]

    @property
    def tokenizer(self) -> Any:
        """The encoder's."""
        return self._loaded[1]

    def _scorer(self) -> "Scorer":
        """A scorer for one message table."""
        from logllm.model.scorer import Scorer

        return Scorer(self.engine, self.tokenizer, max_tokens=self.recipe.model.encoder.max_tokens)

    def score(self, sessions: "Sequence[Rows]", messages: pl.Series, *, progress: Progress | None = None) -> Scores:
        """P(anomalous) of sessions over a table of masked messages.

        Args:
            sessions: for each session the places of its messages in the table.
            messages: distinct masked messages, such as `Prepared.messages`.
            progress: told of the distinct sessions scored.
        """
        return sigmoid(self._scorer().score(sessions, messages, progress=progress))

    def detect(self, lines: Iterable[str]) -> Iterator[Verdict]:
        """Verdicts on the sessions of a log's lines, read and grouped as the run's data was.

        Raises:
            DataError: no lines, or most of them are not in the run's format.
        """
        text = "".join(line.rstrip("\n") + "\n" for line in lines)
        stream = BytesIO(text.encode(self._settings.format.encoding, errors="replace"))
        for frame in self.read([STDIN], stdin=stream):
            yield from verdicts(frame)

    def read(
        self,
        sources: Sequence[str | Path],
        *,
        progress: Progress | None = None,
        stdin: Bytes | None = None,
        messages: bool = False,
        redact: bool = False,
    ) -> Iterator[pl.DataFrame]:
        """Verdict frames on the sessions of files, globs, or `-` for standard input, as sessions close.

        Args:
            sources: read one after the other as one log.
            progress: told the bytes read and all there are (0: not known), then sessions scored and all there are.
            stdin: what `-` reads; none: the process's standard input.
            messages: add a column `messages` (list[u32]), which goes with `lines`: places in `table`.
            redact: no secrets in verdicts, rejects and errors, though the run's data was prepared without redaction; the model still
                reads the messages as in training. A run prepared with it needs no telling.

        Raises:
            DataError: an input cannot be read, is empty, or most of its lines are not in the run's format.
        """
        names = named_files(sources)
        today = datetime.now(UTC).date()
        reader = Reader(self._settings, today=today, batch_lines=self.recipe.detect.read_lines, stdin=stdin, redact=redact)
        grouping = sessionizer(self._settings.sessions)
        total = 0 if STDIN in names else input_bytes(names)
        self.counts, self.first_rejects, self.table = reader.counts, reader.first_rejects, reader.messages
        with self._cache() as cache:
            distinct = Distinct(self._scoring(), cache=cache)

            def judged(sessions: pl.DataFrame, told: Progress | None = None) -> pl.DataFrame:
                scores = sigmoid(distinct.logits(sessions["messages"], reader.messages.messages, progress=told))
                if cache is not None:
                    self.counts["scores_from_cache"] = distinct.from_cache
                frame = to_frame(sessions, scores, threshold=self.threshold, model=self.model, files=reader.files)
                return frame.with_columns(sessions["messages"]) if messages else frame

            for records in reader.read(names):
                sessions = grouping.push(records)
                if progress is not None:
                    progress(reader.bytes_read, total)
                if sessions.height:
                    yield judged(sessions)
            last = grouping.flush()
            for name, count in (*grouping.counts.items(), ("cut_messages", grouping.grouping.messages_cut)):
                self.counts[name] = self.counts.get(name, 0) + count
            if last.height:
                yield judged(last, progress)

    def _scoring(self) -> Score:
        """Scores sessions over one message table; the model is loaded with the first ones."""
        scorer: Scorer | None = None

        def score(sessions: "list[Rows]", messages: pl.Series, *, progress: Progress | None) -> Scores:
            nonlocal scorer
            scorer = scorer or self._scorer()
            return scorer.score(sessions, messages, progress=progress)

        return score

    def _cache(self) -> AbstractContextManager[ScoreCache | None]:
        """The scores on disk, where they are asked for."""
        if not self._cached:
            return nullcontext()
        return closing(ScoreCache(identity(self.manifest, self.recipe), most=self.recipe.detect.cache_sessions))
