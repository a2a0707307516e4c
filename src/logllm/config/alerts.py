"""How anomalous sessions become incidents, and who is told of them."""

from typing import Literal

from pydantic import Field

from logllm.config.section import Section

Event = Literal["opened", "continues", "closed"]
"""What messages tell of an incident."""
SinkKind = Literal["webhook", "slack", "alertmanager"]


class IncidentSection(Section):
    """When anomalous sessions are one incident, and how often it is told."""

    quiet: int = Field(default=900, ge=1)
    """Seconds without another session after which an incident is over: by the time of the log, and
    by that of this machine."""
    together: int = Field(default=10, ge=0)
    """Seconds after the first session within which other kinds of message belong to the same
    incident; later ones do where a warning or an error is common to both."""
    repeat: int = Field(default=14_400, ge=60)
    """Seconds after which an incident that goes on is told again."""


class SinkSection(Section):
    """One place that messages go to."""

    # Where messages go, and in which form.
    url: str
    """Where: `https://...`, or `$NAME` for the value of an environment variable."""
    kind: SinkKind | None = None
    """The form of messages; none: told by the URL, where nothing tells it a webhook."""
    name: str | None = None
    """What people call it; none: its kind, host and a short hash of the URL."""
    token: str | None = None
    """Sent as `Authorization: Bearer`; `$NAME` for the value of an environment variable."""
    headers: dict[str, str] = Field(default_factory=dict)
    """More headers of each request."""
    # What is told there.
    streams: tuple[str, ...] = ()
    """Only incidents of these; none named: of all."""
    events: tuple[Event, ...] = ("opened", "continues", "closed")
    """What is told."""
    # How often, and for how long it is tried.
    budget: int = Field(default=20, ge=1)
    """Messages an hour at most. What is more is told in one summary. Alertmanager has none: it
    groups by itself."""
    wait: int = Field(default=10, ge=0)
    """Seconds that a message of a new incident waits for what else comes of it."""
    resend: int = Field(default=60, ge=5)
    """Alertmanager: seconds after which it is told again that an alert still holds. After three
    times as long without a word it takes the alert for over."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Alertmanager: more labels of each alert, such as `severity`."""
    timeout: int = Field(default=10, ge=1, le=30)
    """Seconds that an answer is waited for."""
    give_up: int = Field(default=72, ge=1)
    """Hours after which a message that could not be sent is a dead letter."""


class AlertsFile(Section):
    """A file that says who is told: `--alerts alerts.toml`."""

    incidents: IncidentSection = IncidentSection()
    """When anomalous sessions are one incident."""
    alerts: tuple[SinkSection, ...] = ()
    """Where messages go."""
    public_url: str | None = None
    """Address at which people open the page of `logllm serve`; messages link to it."""
