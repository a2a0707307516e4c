"""A run at work: sessions to scores, logs to verdicts."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.config.recipe import Recipe
from logllm.data.lines import STDIN, input_bytes, named_files
from logllm.data.reader import Reader
from logllm.data.sessions import sessionizer
from logllm.detect.metrics import Scores
from logllm.detect.scoring import Scorer, sigmoid
from logllm.detect.verdict import Verdict, to_frame, verdicts
from logllm.model.batch import Rows, rows_of
from logllm.model.checkpoint import load_run
from logllm.model.engine import Progress
from logllm.model.logllm import LogLLM
from logllm.model.weights import Progress as WeightsProgress


class Detector:
    """A trained run, ready to judge.

    Attributes:
        threshold: scores from here on are anomalous; chosen in training, see the manifest.
        manifest: the run's manifest.
        model: what verdicts call the run: its name and the first digits of its projector's hash.
        counts: what the last `read` or `detect` read so far: `lines`, `rejected`, and everything else worth knowing.
        first_rejects: the first three lines it could not parse.
    """

    def __init__(self, model: LogLLM, tokenizer: Any, *, recipe: Recipe, manifest: dict[str, Any]) -> None:
        """Use a loaded model; `Detector.load` is the way from a run directory."""
        self.manifest = manifest
        self.threshold: float = manifest["threshold"]["value"]
        self.model = f"{manifest['name']}@{manifest['files']['projector.safetensors'][:8]}"
        self.counts: dict[str, int] = {}
        self.first_rejects: list[dict[str, object]] = []
        self._settings = PrepareSection.read(manifest["data"]["prepare"], source="the run's manifest")
        self._recipe = recipe
        self._network, self._tokenizer = model, tokenizer

    @classmethod
    def load(cls, run: str | Path, *, progress: WeightsProgress | None = None) -> Self:
        """Load a run, verified against its manifest, onto the device that Accelerate chooses: a GPU where there is one.

        Args:
            run: a folder that `train` wrote.
            progress: told of fetches and conversions of base models.

        Raises:
            ModelError: not a finished run, or it or its base models have changed; the message names the field.
        """
        from accelerate import PartialState

        model, tokenizer, recipe, manifest = load_run(Path(run), progress=progress)
        return cls(model.to(PartialState().device), tokenizer, recipe=recipe, manifest=manifest)

    def score(self, sessions: Sequence[Rows], messages: pl.Series, *, progress: Progress | None = None) -> Scores:
        """P(anomalous) of sessions over a table of masked messages.

        Args:
            sessions: for each session the places of its messages in the table.
            messages: distinct masked messages, such as `Prepared.messages`.
            progress: told of the distinct sessions scored.
        """
        return sigmoid(Scorer(self._network, self._tokenizer, recipe=self._recipe).score(sessions, messages, progress=progress))

    def detect(self, lines: Iterable[str]) -> Iterator[Verdict]:
        """Verdicts on the sessions of a log's lines, read and grouped as the run's data was.

        Raises:
            DataError: no lines, or most of them are not in the run's format.
        """
        text = "".join(line.rstrip("\n") + "\n" for line in lines)
        stream = BytesIO(text.encode(self._settings.format.encoding, errors="replace"))
        for frame in self._read([STDIN], stdin=stream):
            yield from verdicts(frame)

    def read(self, sources: Sequence[str | Path], *, progress: Progress | None = None) -> Iterator[pl.DataFrame]:
        """Verdict frames on the sessions of files, globs, or `-` for standard input, as sessions close.

        Args:
            sources: read one after the other as one log.
            progress: told the bytes read and all there are (0: not known), then sessions scored and all there are.

        Raises:
            DataError: an input cannot be read, is empty, or most of its lines are not in the run's format.
        """
        yield from self._read(sources, progress=progress)

    def _read(self, sources: Sequence[str | Path], *, stdin: Any = None, progress: Progress | None = None) -> Iterator[pl.DataFrame]:
        names = named_files(sources)
        today = datetime.now(UTC).date()
        reader = Reader(self._settings, today=today, batch_lines=self._recipe.detect.read_lines, stdin=stdin)
        grouping = sessionizer(self._settings.sessions)
        scorer = Scorer(self._network, self._tokenizer, recipe=self._recipe)
        total = 0 if STDIN in names else input_bytes(names)

        def judged(sessions: pl.DataFrame, told: Progress | None = None) -> pl.DataFrame:
            scores = sigmoid(scorer.score(rows_of(sessions["messages"]), reader.messages.messages, progress=told))
            return to_frame(sessions, scores, threshold=self.threshold, model=self.model, files=reader.files)

        self.counts, self.first_rejects = reader.counts, reader.first_rejects
        for records in reader.read(names):
            sessions = grouping.push(records)
            if progress is not None:
                progress(reader.bytes_read, total)
            if sessions.height:
                yield judged(sessions)
        last = grouping.flush()
        for name, count in grouping.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        if last.height:
            yield judged(last, progress)
