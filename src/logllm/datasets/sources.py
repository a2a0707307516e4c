"""What `prepare` reads: the log of a data set by its name, and the log of the test part."""

import shlex
from collections.abc import Sequence
from datetime import date
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection
from logllm.datasets.published.fetching import Source
from logllm.datasets.published.packaged import PACKAGED, PackagedSet
from logllm.datasets.published.public import CATALOG, Dataset, paper_settings
from logllm.datasets.settings import meaning_normal
from logllm.errors import RecipeError
from logllm.formats.description import known
from logllm.formats.recognition import fitting_format
from logllm.logs.first_lines import first_lines, read_again
from logllm.logs.lines import STDIN, named_files

_OF_LOGS = {".log", ".txt", ".jsonl", ".ndjson", ".gz", ".bz2", ".xz", ".zst"}
"""How names of logs end, those of files that are not here too."""

Inputs = dict[str, Any]
"""Arguments of `logllm.datasets.prepare.prepare`: what is read, and what is said of where it is
from."""


def told_apart(arguments: Sequence[str], raw: Sequence[str]) -> tuple[str | None, list[str] | None]:
    """The format or data set that comes first among arguments, and the logs.

    The logs are the other arguments and those named as such.

    >>> told_apart(["hdfs", "a.log"], []), told_apart(["nothing.log"], [])
    (('hdfs', ['a.log']), ('nothing.log', None))
    """
    first = arguments[0] if arguments else None
    logs = list(arguments[1:])
    is_data_set = first is None or first in CATALOG
    if first is not None and not is_data_set and is_log(first) and _here(first):
        first, logs = None, list(arguments)
    logs += raw
    return first, logs or None


def _here(name: str) -> bool:
    """Whether a log, a folder of logs or something that a glob matches is here."""
    if name == STDIN or Path(name).exists():
        return True
    return has_magic(name) and bool(glob(name, recursive=True))  # noqa: PTH207


def format_of(name: str | None) -> str | None:
    """The format of a data set; the format of a public one has its name.

    Raises:
        RecipeError: the name is a log's.
    """
    if name is not None and is_log(name):
        raise RecipeError(
            f"{name} is neither a format nor a data set: did you mean --raw {shlex.quote(name)}? A"
            " log is named with --raw"
        )
    return PACKAGED[name].format if name in PACKAGED else name


def is_log(name: str) -> bool:
    """Whether a log stands where a format or a data set is named.

    A log is standard input, a glob, or a file that describes no format.

    >>> is_log("-"), is_log("*.log"), is_log("hdfs"), is_log("own.toml")
    (True, True, False, False)
    """
    path = Path(name)
    if name in (*known(), *PACKAGED) or path.suffix == ".toml":
        return False
    if name == STDIN or has_magic(name):
        return True
    return path.exists() or path.suffix in _OF_LOGS


def own_masks(described: FormatSection) -> Inputs:
    """The masks of a log of one's own: codes are kept, traces are short, and ends come early.

    In the formats of the paper's data sets they are the paper's.

    >>> own_masks(FormatSection(name="own", kind="json"))
    {'keep': 'codes', 'traces': 'short', 'ends': 'early'}
    """
    if described.name in CATALOG or described.twin in CATALOG:
        return {}
    return {"keep": "codes", "traces": "short", "ends": "early"}


def packaged_inputs(ours: PackagedSet, *, labels: Path | None) -> Inputs:
    """The log to train on of a data set that comes with logllm, and the one to test on."""
    train, test, *_ = ours.logs
    train_labels = labels or ours.labels(train)
    to_train = {"raw": [ours.log(train)], "labels": train_labels, "source": ours.about()}
    to_test = {"test_raw": [ours.log(test)], "test_labels": ours.labels(test)}
    return to_train | to_test


def public_inputs(
    dataset: Dataset, source: Source, *, labels: Path | None, settings: PrepareSection
) -> Inputs:
    """The log of a public data set.

    It is compared with the paper's counts where it is prepared as in the paper.
    """
    as_in_paper = settings == paper_settings(dataset)
    paper = dataset.paper if as_in_paper else None
    of_log = {"raw": [source.log], "labels": labels or source.labels}
    return of_log | {"source": source.about, "paper": paper}


def second_log(logs: Sequence[str], name: str | None, *, labels: Path | None) -> Inputs:
    """The log that is the test part as a whole.

    Args:
        logs: files, globs or `-`, or the name of a log of a data set that comes with logllm; empty:
            there is none.
        name: the data set.
        labels: the log's labels; none: those of the data set.

    Raises:
        RecipeError: labels of no log.
    """
    if not logs and labels is not None:
        raise RecipeError("--test-labels belong to --test-raw: name that log, too")
    # `test`, `changed` and `german` are logs of the set that comes with logllm.
    ours = PACKAGED.get(name or "")
    if not logs:
        return {}
    first = logs[0]
    if ours is not None and len(logs) == 1 and first in ours.logs:
        return {"test_raw": [ours.log(first)], "test_labels": labels or ours.labels(first)}
    return {"test_raw": logs, "test_labels": labels}


def second_format(
    logs: Sequence[str | Path],
    settings: PrepareSection,
    *,
    normal: Sequence[str] | None,
    today: date,
) -> FormatSection | None:
    """The format to read such a log by: the first log's where it fits, else its own.

    None where it can be read only once.

    Args:
        logs: files, globs or `-`.
        settings: how the first log is prepared.
        normal: labels that mean normal in a format of its own.
        today: gives times without a year theirs.
    """
    names = named_files(logs)
    if settings.services or not all(map(read_again, names)):
        return None
    text = first_lines(logs).text
    described = fitting_format(text, settings.format, today=today)
    if described == settings.format:
        return described
    return meaning_normal(described, normal)
