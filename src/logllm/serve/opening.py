"""Sources whose lines can be read, from the command line or from a file of settings."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from logllm.config.prepare import PrepareSection
from logllm.config.watch import SourceSection
from logllm.datasets.settings import for_format, in_zone, suited
from logllm.errors import DataError
from logllm.extras import require
from logllm.formats.description import load_format
from logllm.formats.postgres_prefix import POSTGRES
from logllm.formats.recognition import AUTO
from logllm.logs.lines import STDIN
from logllm.serve.sources.contract import From, Source
from logllm.serve.surroundings import Recognised, Watched

KAFKA = "kafka://"
_JOURNALD = "journald:"
_SYSLOG = "syslog://"
_OTLP = "otlp://"
_POLL = 0.1
"""Seconds between two looks at a file."""


def watched(
    section: SourceSection,
    *,
    settings: PrepareSection,
    begin: From,
    spools: Path,
    only_postgres: bool = False,
) -> Watched:
    """A source, and how its lines are read.

    Args:
        section: what is said of it.
        settings: how the run's data was read.
        begin: where a log begins that the store knows nothing of.
        spools: the folder in which lines are kept that cannot be read twice.
        only_postgres: whether what judges knows logs of PostgreSQL only.

    Raises:
        DataError, RecipeError, ServeError: there is no such format, zone or address, or an extra is
        not installed.
    """
    patterns = (section.source,) if isinstance(section.source, str) else section.source
    name = section.stream or ",".join(patterns)
    encoding = settings.format.encoding
    source = _source(patterns, section, begin=begin, spools=spools, encoding=encoding)
    # Kafka keeps the order within a partition alone, and may move one to another process: no
    # session can lie in two.
    apart = patterns[0].startswith(KAFKA)
    # The run that comes with logllm knows PostgreSQL's messages, whose lines have a prefix that
    # every server sets for itself: it is found by the first lines.
    is_own_postgres = section.format is None and only_postgres
    if section.format == AUTO or is_own_postgres:
        recognise = _recogniser(settings, zone=section.time_zone, only_postgres=only_postgres)
        return Watched(name, source, None, apart, recognise)
    # What is said of the source goes before how the run's own log was read.
    read_as = settings
    if section.format is not None:
        read_as = for_format(settings, load_format(section.format))
    if section.time_zone is not None:
        read_as = in_zone(read_as, section.time_zone)
    return Watched(name, source, read_as, apart)


def _source(
    patterns: tuple[str, ...],
    section: SourceSection,
    *,
    begin: From,
    spools: Path,
    encoding: Any,
) -> Source:
    """The source that is meant; libraries that only one takes are imported with it."""
    # Named after the stream, where it has a name: another port or topic then goes on with the
    # spool.
    first = patterns[0]
    spool = spools / _file_name(section.stream or first)
    if len(patterns) > 1 and any(map(_is_address, patterns)):
        several = ", ".join(patterns)
        remedy = "give the others each a source of its own"
        raise DataError(f"{several}: only files are watched together as one source; {remedy}")
    if first == STDIN:
        from logllm.serve.sources.stdin import StdinSource

        return StdinSource(spool, encoding=encoding)
    if first.startswith(_JOURNALD):
        from logllm.serve.sources.journald import JournaldSource

        return JournaldSource(first.removeprefix(_JOURNALD).split(), begin=begin)
    if first.startswith(_SYSLOG):
        from logllm.serve.sources.syslog import SyslogSource

        return SyslogSource(first, spool, name=section.stream)
    if first.startswith(_OTLP):
        require("otlp", to="take OTLP")
        from logllm.serve.sources.otlp import OtlpSource

        return OtlpSource(first, spool, token=section.token, name=section.stream)
    if first.startswith(KAFKA):
        require("kafka", to="read Kafka")
        from logllm.serve.sources.kafka.kafka_source import KafkaSource

        return KafkaSource(first, begin=begin, settings=section.kafka)
    from logllm.serve.sources.files import FilesSource

    return FilesSource(patterns, begin=begin, encoding=encoding, poll=_POLL)


def _is_address(pattern: str) -> bool:
    """Whether it names something else than files."""
    return pattern == STDIN or pattern.startswith((_JOURNALD, _SYSLOG, _OTLP, KAFKA))


def _file_name(name: str) -> str:
    """A name as one of a folder.

    >>> _file_name("syslog://0.0.0.0:5514"), _file_name("-")
    ('syslog-0.0.0.0-5514', 'stdin')
    """
    if name == STDIN:
        return "stdin"
    letters = (letter if letter.isalnum() or letter in "._" else "-" for letter in name)
    words = "".join(letters).split("-")
    return "-".join(filter(None, words))


def _recogniser(
    settings: PrepareSection,
    *,
    zone: str | None,
    only_postgres: bool,
) -> Callable[[pl.Series], Recognised]:
    """Finds the format of a log by its first lines."""

    def recognise(lines: pl.Series) -> Recognised:
        # As if the lines were a file: the format is found as `logllm detect` finds it.
        text = BytesIO("\n".join(lines).encode(errors="replace"))
        today = datetime.now(UTC).date()
        log = suited([STDIN], today=today, stdin=text, zone=zone)
        if only_postgres and not log.format.innermost.name.startswith(POSTGRES):
            raise DataError(
                f"{log.notes[0]}, and the run that comes with logllm knows only PostgreSQL logs: "
                "name a run after `logllm watch`, such as one of `logllm train novelty --data "
                "...`"
            )
        return Recognised(for_format(settings, log.format), log.notes)

    return recognise
