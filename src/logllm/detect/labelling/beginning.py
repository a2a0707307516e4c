"""What labelling begins with: a run, its verdicts, and the log that they are of."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from logllm.config.format import LabelFileSection
from logllm.config.prepare import PrepareSection
from logllm.detect.labelling.judged_log import JudgedLog, files_of, read_judged, read_verdicts
from logllm.detect.labelling.questions import Question, questions
from logllm.detect.opened_run import OpenedRun
from logllm.detect.unlabelled import METHOD
from logllm.progress import Progress


class Labelling(NamedTuple):
    """A log that can be labelled."""

    files: list[str]
    """Its files, as they were named."""
    log: JudgedLog
    questions: list[Question]
    """All that could be asked, what is worth most first."""
    written_as: LabelFileSection
    """How the run's format writes labels."""


def open_labelling(
    run: Path,
    verdicts: Path,
    *,
    logs: Sequence[str],
    redacted: bool,
    progress: Progress | None,
) -> Labelling:
    """Bring a run, its verdicts and their log together.

    Args:
        run: a folder that `train` wrote.
        verdicts: what the run said of the log.
        logs: the log's files; empty: those that the verdicts name.
        redacted: take what is secret out of the lines that are shown.
        progress: told the bytes read and all there are (0: not known).

    Raises:
        DataError: the verdicts are of another run or of another log, or do not name the log.
        ModelError: the run cannot be used.
    """
    opened = OpenedRun.open(run, progress=None, engine=None, threshold=None, verify=False)
    judged = read_verdicts(verdicts, model=opened.name)
    settings = PrepareSection.read(opened.manifest["data"]["prepare"], source="the run's manifest")
    files = list(logs) or files_of(judged, verdicts)
    log = read_judged(files, judged, settings=settings, redacted=redacted, progress=progress)

    # Novelty says at once which line is to blame; a network would have to be loaded.
    score_lines = opened.method.score_lines if opened.recipe.method == METHOD else None
    asked = questions(log, threshold=opened.threshold, score_lines=score_lines)
    return Labelling(files, log, asked, settings.format.label_file)
