"""What is told: of one incident, or of many that were held back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from logllm.config.alerts import Event

Incident = Mapping[str, Any]
"""As `logllm.serve.incidents.incident_objects` gives it."""
_KEY_LENGTH = 32


@dataclass(frozen=True)
class Note:
    """What is new of one incident."""

    key: str
    """The same key whenever a message is sent again: who gets it twice can tell."""
    events: tuple[Event, ...]
    """What happened since the last message that was sent, in order."""
    incident: Incident
    """As it is now."""
    link: str | None
    """Its page."""

    @property
    def event(self) -> Event:
        """What happened last."""
        return self.events[-1]


@dataclass(frozen=True)
class Summary:
    """What was held back, for too many messages had been sent."""

    key: str
    notes: tuple[Note, ...]
    link: str | None
    """The page of all incidents."""


class Form(Protocol):
    """How messages look at a kind of place; each method gives a JSON value."""

    def note(self, note: Note, *, now: str) -> Any:
        """What is new of an incident."""
        ...

    def summary(self, summary: Summary, *, now: str) -> Any:
        """What was held back."""
        ...


def key_of(messages: Sequence[int], incident: Incident) -> str:
    """What tells a message from all others, also from those of other stores.

    >>> key_of([7], {"id": 3, "stream": "app", "opened": "2026-11-27T12:00:00.000000Z"})
    '8f7becdf99b1cc8be9a002c37863f97b'
    """
    # Numbers of incidents are a store's own: with stream and time another store's are told apart.
    parts = (incident["stream"], incident["opened"], incident["id"], *messages)
    return sha256("\n".join(map(str, parts)).encode()).hexdigest()[:_KEY_LENGTH]
