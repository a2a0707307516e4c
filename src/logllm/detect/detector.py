"""A run at work: sessions to scores, logs to verdicts."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any, Self

import polars as pl

from logllm.config.detect import DetectSection
from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection
from logllm.config.recipe import Recipe
from logllm.data.archives import Bytes
from logllm.data.arriving import Arriving
from logllm.data.choice import reading
from logllm.data.lines import STDIN, CutOff, input_bytes, named_files
from logllm.data.reader import Reader
from logllm.data.redaction import redacted_errors
from logllm.data.sequences import Rows
from logllm.data.sessions import sessionizer
from logllm.detect.cache import ScoreCache, identity
from logllm.detect.known_scores import KnownScores
from logllm.detect.reading import Reading
from logllm.detect.verdict import to_frame
from logllm.errors import LogLLMError, RecipeError
from logllm.methods.contract import Method, Workplace
from logllm.methods.registry import make
from logllm.metrics import Scores
from logllm.model.fast.rounding import settled
from logllm.progress import Progress, Report
from logllm.runs.card import MERGED
from logllm.runs.manifest import check_base_models, find_run, model_name, read_recipe, verified


class Detector:
    """A trained run, ready to judge; one may be used from several threads at once.

    Attributes:
        threshold: scores from here on are anomalous.
        manifest: the run's manifest.
        model: what verdicts call the run: its name and the first digits of what it has learnt.
        recipe: the run's.
    """

    def __init__(self, run: Path, *, recipe: Recipe, manifest: dict[str, Any], workplace: Workplace) -> None:
        """A verified run whose method is not loaded; `Detector.load` is the way from a folder."""
        self.manifest = manifest
        self.recipe = recipe
        self.threshold = workplace.threshold
        self.model = model_name(manifest)
        self._settings = PrepareSection.read(manifest["data"]["prepare"], source="the run's manifest")
        self._run = run
        self._workplace = workplace
        self._cached = False
        self._loading = Lock()
        self._method: Method | None = None

    @classmethod
    def load(  # noqa: PLR0913 - the library's front door: what is loaded, and all that may differ
        cls,
        run: str | Path,
        *,
        progress: Report | None = None,
        cache: bool = False,
        engine: str | None = None,
        format: FormatSection | None = None,
        threshold: float | None = None,
        verify: bool = False,
    ) -> Self:
        """Load a run, verified against its manifest, onto a GPU where there is one.

        Args:
            run: a folder that `train` wrote, or `postgres` for the run that comes with logllm.
            progress: told of fetches and conversions of base models.
            cache: readings take what they can from the scores that earlier ones of the same run kept
                on this machine, and keep what they score (`detect.cache_sessions`). The method is
                then loaded, and its base models verified, when a session comes that is not known.
                A score is that of the device which first computed it. `score` never reads the cache.
            engine: another engine than the recipe's `detect.engine`.
            format: another format to read logs by than that of the run's data.
            threshold: another threshold than the run's, in [0, 1].
            verify: read the files of base models to hash them; else a file is taken for the one that
                was hashed before while its size, its time of change and its inode are the same.

        Raises:
            ModelError: not a finished run, it or its base models have changed (the message names
                the field), or the engine may not serve it.
            RecipeError: there is no such engine, or a threshold that is none.
        """
        folder = find_run(run)
        manifest = verified(folder, full=verify)
        recipe = read_recipe(folder)
        section = {**recipe.detect.model_dump(), "engine": engine or recipe.detect.engine}
        detect = DetectSection.read(section, source="detect")
        if settled(detect.engine, manifest) == "exact":
            detect = detect.model_copy(update={"engine": "exact"})
        recipe = recipe.model_copy(update={"detect": detect})
        if threshold is not None and not 0 <= threshold <= 1:
            raise RecipeError(f"threshold {threshold:g}: scores are between 0 and 1")
        workplace = Workplace(
            folder=folder,
            begun=manifest,
            verify=verify,
            threshold=manifest["threshold"]["value"] if threshold is None else threshold,
            report=progress,
        )
        detector = cls(folder, recipe=recipe, manifest=manifest, workplace=workplace)
        if format is not None:
            detector._settings = reading(detector._settings, format)
        detector._cached = cache and recipe.detect.cache_sessions > 0
        if not detector._cached:
            detector.method  # noqa: B018 - loads it
        return detector

    @property
    def method(self) -> Method:
        """What scores; loaded now if it is not here yet.

        Raises:
            ModelError: as `load`.
        """
        with self._loading:
            if self._method is None:
                self._method = self._loaded()
        return self._method

    def score(self, sessions: Sequence[Rows], messages: pl.Series, *, progress: Progress | None = None) -> Scores:
        """How anomalous sessions are, in [0, 1], (b,).

        Args:
            sessions: for each session the places of its messages in the table.
            messages: distinct masked messages, such as `Prepared.messages`.
            progress: told of the distinct sessions scored.
        """
        return self.method.score(sessions, messages, progress=progress)

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """How much each message of a session speaks for "anomalous", in [0, 1], an array a session."""
        return self.method.score_lines(sessions, messages)

    def detect(self, lines: Iterable[str]) -> Reading:
        """Verdicts on the sessions of a log's lines, read and grouped as the run's data was.

        An iterator is read as `stream` reads it. Of anything else, such as a list, all is there
        already.

        Raises:
            DataError: while the verdicts are taken: no lines, or most are not in the run's format.
        """
        if isinstance(lines, Iterator):
            return self.stream(lines)
        text = "".join(_ended(line) for line in lines)
        encoded = text.encode(self._settings.format.encoding, errors="replace")
        return self.read([STDIN], stdin=BytesIO(encoded))

    def stream(self, lines: Iterable[str]) -> Reading:
        """Verdicts as sessions close, on lines that are given on as they come.

        Lines are taken from another thread than the caller's and given on a fifth of a second
        after the first of them has come. Sessions by key close when the lines end, or by the
        settings `idle` and `max_open_sessions`; windows when they are full.

        Raises:
            DataError: as `detect`.
        """
        encoding = self._settings.format.encoding
        pieces = (_ended(line).encode(encoding, errors="replace") for line in lines)
        return self.read([STDIN], stdin=Arriving(pieces))

    def read(
        self,
        sources: Sequence[str | Path],
        *,
        progress: Progress | None = None,
        stdin: Bytes | None = None,
        messages: bool = False,
        redact: bool = False,
    ) -> Reading:
        """Verdicts on the sessions of files, globs, or `-` for standard input, as sessions close.

        Args:
            sources: read one after the other as one log.
            progress: told the bytes read and all there are (0: not known), then sessions scored and
                all there are.
            stdin: what `-` reads; none: the process's standard input.
            messages: add a column `messages` (list[u32]), which goes with `lines`, to the reading's
                frames: places in its `messages`.
            redact: no secrets in verdicts, rejects and errors, though the run's data was prepared
                without redaction; the model still reads the messages as in training. A run prepared
                with it needs no telling.

        Raises:
            DataError: an input that is not there; while the verdicts are taken, one that cannot be
                read, is empty, or whose lines are mostly not in the run's format.
        """
        with redacted_errors(on=redact or self._settings.redact):
            names = named_files(sources)
        reader = Reader(
            self._settings,
            today=datetime.now(UTC).date(),
            batch_lines=self.recipe.detect.read_lines,
            stdin=stdin,
            redact=redact,
        )
        close = stdin.close if isinstance(stdin, Arriving) else None
        frames = partial(self._frames, reader=reader, names=names, progress=progress, messages=messages)
        return Reading(reader, frames, close=close)

    def _frames(
        self,
        reading: Reading,
        *,
        reader: Reader,
        names: Sequence[str],
        progress: Progress | None,
        messages: bool,
    ) -> Generator[pl.DataFrame]:
        """Verdict frames of one reading."""
        grouping = sessionizer(self._settings.sessions)
        total = 0 if STDIN in names else input_bytes(names)
        with self._cache() as cache:
            known = KnownScores(self.score, cache=cache)

            def judged(sessions: pl.DataFrame, told: Progress | None = None) -> pl.DataFrame:
                table = reader.messages.messages
                scores = known.of(sessions["messages"], table, progress=told)
                if cache is not None:
                    reading.counts["scores_from_cache"] = known.from_cache
                frame = to_frame(
                    sessions,
                    scores,
                    threshold=self.threshold,
                    model=self.model,
                    files=reader.files,
                )
                return frame.with_columns(sessions["messages"]) if messages else frame

            faults: list[Exception] = []
            for records in _until_fault(reader.read(names), faults):
                sessions = grouping.push(records)
                if progress is not None:
                    progress(reader.bytes_read, total)
                if sessions.height:
                    yield judged(sessions)
            last = grouping.flush()
            cut = ("cut_messages", grouping.grouping.messages_cut)
            for name, count in (*grouping.counts.items(), cut):
                reading.counts[name] = reading.counts.get(name, 0) + count
            if last.height:
                yield judged(last, progress)
            if faults:
                raise faults[0]

    def _loaded(self) -> Method:
        """The run's method, after the base models have been compared with the manifest."""
        method = make(self.recipe.method, self.recipe, workplace=self._workplace)
        if "base_models" in self.manifest and self.manifest.get("bundle") != MERGED:  # a merged bundle brings its own
            check_base_models(self._run, self.manifest, found=method.about().get("base_models", {}))
        method.load(self._run)
        return method

    def _cache(self) -> AbstractContextManager[ScoreCache | None]:
        """The scores on disk, where they are asked for."""
        if not self._cached:
            return nullcontext()
        named = identity(self.manifest, self.recipe, threshold=self.threshold)
        return closing(ScoreCache(named, most=self.recipe.detect.cache_sessions))


def _until_fault(records: Iterator[pl.DataFrame], faults: list[Exception]) -> Iterator[pl.DataFrame]:
    """The records before an input ends in a fault, which is noted; what says that these are no records at all is raised."""
    try:
        yield from records
    except CutOff as exc:
        faults.append(exc)
    except LogLLMError:
        raise
    except Exception as exc:  # noqa: BLE001 - whatever lines that somebody else makes end with
        faults.append(exc)


def _ended(line: str) -> str:
    """A line with one line end."""
    return line.rstrip("\n") + "\n"
