"""How logs are watched: when sessions close, and what is kept."""

from typing import Literal

from pydantic import Field

from logllm.config.alerts import IncidentSection, SinkSection
from logllm.config.section import Section
from logllm.config.serve import ServeSection


class WatchSection(Section):
    """When sessions of a live log close, and what is shown of them."""

    # What is read, and when a session is over: a live log never says so itself.
    begin: Literal["start", "end", "stored"] = "end"
    """Where a log begins that the store knows nothing of: at its first line, or after its last one;
    `stored`: it is refused."""
    idle: int | None = Field(default=None, ge=1)
    """Seconds without a record after which a session has ended, by the clock of this machine and by
    that of the log; none: longer than 999 of 1,000 pauses in sessions of training, and at least
    300."""
    max_open_age: int = Field(default=86_400, ge=1)
    """Seconds after which a session is closed early, though records still come."""
    # What is kept.
    redact: bool = False
    """Nothing secret in what is stored."""
    learn: bool = False
    """Go on to learn from normal sessions while they are judged; only with a run of method
    `novelty`."""
    retain_days: int = Field(default=90, ge=1)
    """Number of days to keep verdicts."""
    incidents: IncidentSection = IncidentSection()
    """When anomalous sessions are one incident."""


class SourceSection(Section):
    """One source of lines among several."""

    source: str | tuple[str, ...]
    """As on the command line: files and globs, `-`, `journald:`, `syslog://HOST:PORT`,
    `otlp://HOST:PORT`, `kafka://HOST:PORT/TOPIC`."""
    stream: str | None = None
    """Its name in the store; none: the source itself."""
    format: str | None = None
    """A built-in format, a TOML file, or `auto`; none: the run's."""
    time_zone: str | None = None
    """Of times that name none, or one of several meanings."""
    token: str | None = None
    """What senders of OTLP must bring as a bearer token."""
    kafka: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """librdkafka's own settings, such as `security.protocol`."""


class WatchFile(WatchSection):
    """A file that says what is watched: `logllm watch --config watch.toml`."""

    run: str
    """What judges: a folder that `logllm train` wrote, or `postgres` for the one that comes with
    logllm."""
    store: str
    """Where verdicts are kept: a file of SQLite's, `sqlite:///PATH`, or `postgresql://...`."""
    sources: tuple[SourceSection, ...] = Field(min_length=1)
    """What is watched."""
    alerts: tuple[SinkSection, ...] = ()
    """Who is told of incidents."""
    public_url: str | None = None
    """Address at which people open the page of `logllm serve`; messages link to it."""
    serve: ServeSection = ServeSection()
    """How `logllm serve` answers; a watch passes over it."""


class ServeFile(WatchFile):
    """The same file for `logllm serve --config watch.toml`, which may show what others watch."""

    run: str = ""
    """What judges; nothing: what clients send is not judged."""
    sources: tuple[SourceSection, ...] = ()
    """What is watched in the process of the service; nothing: it shows what others watch."""
