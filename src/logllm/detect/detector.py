"""A run and the settings that logs are read by: the library's front door to verdicts."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import polars as pl

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection, ServiceSection
from logllm.config.recipe import Recipe
from logllm.datasets.services_reader import ServicesReader, reader_of
from logllm.datasets.settings import for_format, for_services, in_zone
from logllm.detect.judge import Judge
from logllm.detect.opened_run import OpenedRun
from logllm.detect.reading import Manner, Reading, Reads
from logllm.detect.unlabelled import Against, Ranking, read_good
from logllm.errors import DataError
from logllm.logs.archives import Bytes
from logllm.logs.arriving import Arriving
from logllm.logs.lines import STDIN, named_files
from logllm.logs.reader import Reader
from logllm.logs.redaction import redacted_errors
from logllm.methods.contract import Method
from logllm.metrics import Scores
from logllm.progress import Progress, Report
from logllm.sessions.message_table import Rows


class Detector:
    """A trained run, ready to judge; one may be used from several threads at once.

    Attributes:
        run: the run.
        settings: how logs are read, masked and grouped: as the run's data was.
    """

    def __init__(self, run: Judge, *, settings: PrepareSection, cached: bool) -> None:
        """Join a run with settings; `Detector.load` is the way from a folder."""
        self.run = run
        self.settings = settings
        self._cached = cached

    @classmethod
    def load(  # noqa: PLR0913 - the library's front door: what is loaded, and all that may differ
        cls,
        run: str | Path,
        *,
        progress: Report | None = None,
        cache: bool = False,
        engine: str | None = None,
        format: FormatSection | tuple[ServiceSection, ...] | None = None,
        threshold: float | None = None,
        time_zone: str | None = None,
        verify: bool = False,
    ) -> Self:
        """Load a run, verified against its manifest, onto a GPU where there is one.

        Args:
            run: a folder that `train` wrote, or `postgres` for the run that comes with logllm.
            progress: told of fetches and conversions of base models.
            cache: take scores that earlier readings of the same run kept on this machine, and keep
                new ones (`detect.cache_sessions`). The method is then loaded, and its base models
                verified, when a session comes that is not known. A score is that of the device
                which first computed it. `score` never reads the cache.
            engine: another engine than the recipe's `detect.engine`.
            format: another format to read logs by than that of the run's data, or several, each for
                the files of its service.
            threshold: another threshold than the run's, in [0, 1].
            time_zone: another zone than that of the run's data for times that name none, or a name
                of several meanings: a name of the tz database or an offset such as `+05:30`.
            verify: read the files of base models to hash them; else a file is taken to be unchanged
                while its size, its time of change and its inode are the same.

        Raises:
            ModelError: not a finished run, it or its base models have changed (the message names
                the field), or the engine cannot serve it.
            RecipeError: there is no such engine or zone, or the threshold is not in [0, 1].
        """
        opened = OpenedRun.open(
            run,
            progress=progress,
            engine=engine,
            threshold=threshold,
            verify=verify,
        )
        # Logs are read as the run's data was, unless another format or zone is given.
        prepared = opened.manifest["data"]["prepare"]
        settings = PrepareSection.read(prepared, source="the run's manifest")
        if isinstance(format, tuple):
            settings = for_services(settings, format)
        elif format is not None:
            settings = for_format(settings, format)
        if time_zone is not None:
            settings = in_zone(settings, time_zone)
        # A run that may take scores from the cache is loaded only when a session comes that is not
        # known.
        cached = cache and opened.recipe.detect.cache_sessions > 0
        if not cached:
            opened.method  # noqa: B018 - loads it
        return cls(opened, settings=settings, cached=cached)

    @classmethod
    def against(
        cls,
        good: str | Path | Sequence[str | Path],
        *,
        settings: PrepareSection,
        together: bool = True,
        threshold: float | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Learn good logs without labels, to judge others against them; nothing is written.

        Args:
            good: logs in which nothing went wrong, or hardly anything, oldest first.
            settings: how they and the others are read, such as `logllm.datasets.settings.choose`
                gives.
            together: judge all sessions of a log at once, when it has ended; False for a log that
                does not end.
            threshold: scores from here on are anomalous; None: those beyond what the good logs
                reach.
            progress: told the bytes read and all there are (0: not known).

        Raises:
            DataError: a log cannot be read, or holds no session.
        """
        names = named_files(good)
        reader = reader_of(settings, names, today=datetime.now(UTC).date())
        learnt = read_good(reader, names, progress=progress)
        # How sessions end is learnt, too: so it is known which ones a log's ends cut.
        run = Against(
            learnt,
            settings=settings.sessions,
            together=together,
            threshold=threshold,
        )
        return cls(run, settings=settings, cached=False)

    @classmethod
    def ranking(cls, *, settings: PrepareSection) -> Self:
        """A detector for logs of which nothing is known.

        It ranks their sessions by how unusual they are among themselves.

        Args:
            settings: how logs are read.
        """
        return cls(Ranking(), settings=settings, cached=False)

    @property
    def threshold(self) -> float:
        """Scores from here on are anomalous."""
        return self.run.threshold

    @property
    def model(self) -> str:
        """What verdicts call the run: its name and the first digits of what it has learnt."""
        return self.run.name

    @property
    def recipe(self) -> Recipe:
        """The run's recipe, with the engine that scores."""
        return self.run.recipe

    @property
    def manifest(self) -> dict[str, Any]:
        """The run's manifest."""
        return self.run.manifest

    @property
    def method(self) -> Method:
        """The method that scores; it is loaded now if it is not here yet.

        Raises:
            ModelError: as `load`.
        """
        return self.run.method

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """How anomalous sessions are, in [0, 1], (b,).

        Args:
            sessions: for each session the places of its messages in the table.
            messages: distinct masked messages, such as `Prepared.messages`.
            progress: told of the distinct sessions scored.
        """
        return self.run.method.score(sessions, messages, progress=progress)

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """How much each message speaks for "anomalous", in [0, 1], one array for each session."""
        return self.run.method.score_lines(sessions, messages)

    def detect(self, lines: Iterable[str]) -> Reading:
        """Verdicts on the sessions of a log's lines, read and grouped as the run's data was.

        An iterator is read as by `stream`; anything else, such as a list, is read at once.

        Raises:
            DataError: one text instead of lines; while the verdicts are taken: no lines, or most
                are not in the run's format.
        """
        if isinstance(lines, Iterator):
            return self.stream(lines)
        whole = b"".join(self._encoded(lines))
        return self.read([STDIN], stdin=BytesIO(whole))

    def stream(self, lines: Iterable[str]) -> Reading:
        """Verdicts as sessions close, on lines that are judged as they come.

        Lines are taken in a thread of their own, and judged a fifth of a second after the first of
        them has come. Sessions by key close when the lines end, or by the settings `idle` and
        `max_open_sessions`; windows close when they are full.

        Raises:
            DataError: as `detect`.
        """
        return self.read([STDIN], stdin=Arriving(self._encoded(lines)))

    def read(  # noqa: PLR0913 - the library's front door: what is read, and all that may be wanted
        self,
        sources: str | Path | Sequence[str | Path],
        *,
        progress: Progress | None = None,
        stdin: Bytes | None = None,
        redact: bool = False,
        top_share: float | None = None,
        occurrences: bool = False,
        evidence: bool = True,
    ) -> Reading:
        """Verdicts on the sessions of files, globs, or `-` for standard input, as sessions close.

        Args:
            sources: one, or several that are read one after the other as one log.
            progress: told the bytes read and all there are (0: not known), then sessions scored and
                all there are.
            stdin: what `-` reads; None: the process's standard input.
            redact: take secrets out of verdicts, rejects and errors, though the run's data was
                prepared without redaction; the model still reads the messages as in training. For a
                run prepared with redaction this is always so.
            top_share: give sessions in order of their scores, when the log has ended, and call at
                most this share of them anomalous.
            occurrences: count each message's lines.
            evidence: say which lines speak most for anomalous verdicts, which takes some time.

        Raises:
            DataError: an input is missing; while the verdicts are taken, one cannot be read, is
                empty, or has mostly lines that are not in the run's format.
        """
        # A name may hold a secret, too, and an error would tell it.
        with redacted_errors() if redact or self.settings.redact else nullcontext():
            names = named_files(sources)
        manner = Manner(self._cached, progress, top_share, occurrences, evidence)
        reader = self.reader(names, stdin=stdin, redact=redact)
        return Reading(reader, names, run=self.run, manner=manner)

    def reader(self, names: Sequence[str], *, stdin: Bytes | None, redact: bool) -> Reads:
        """The reader of some inputs; the arguments are those of `read`."""
        today = self.today()
        most = self.run.recipe.detect.read_lines
        if self.settings.services:
            return ServicesReader(
                self.settings, names, today=today, batch_lines=most, redact=redact
            )
        return Reader(self.settings, today=today, batch_lines=most, stdin=stdin, redact=redact)

    def today(self) -> date:
        """Today, which gives times without a year their year."""
        return datetime.now(UTC).date()

    def _encoded(self, lines: Iterable[str]) -> Iterator[bytes]:
        """Lines as a file of the settings' format holds them, each with one line end."""
        # A text is an iterable of its letters, each of which would be taken for a line.
        if isinstance(lines, str):
            raise DataError(
                "this is one text, not an iterable of lines: give text.splitlines(), or name a"
                " file to Detector.read"
            )
        encoding = self.settings.format.encoding
        ended = (line.rstrip("\n") + "\n" for line in lines)
        return (line.encode(encoding, errors="replace") for line in ended)
