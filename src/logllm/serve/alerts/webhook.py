"""Messages as JSON objects, for programs."""

from typing import Any

from logllm.serve.alerts.notes import Note, Summary

SCHEMA = 1
"""Number of the schema: it grows when a key goes or means something else, not when one is added."""


class WebhookForm:
    """One object a message."""

    def note(self, note: Note, *, now: str) -> dict[str, Any]:
        """What is new of an incident."""
        events = list(note.events)
        incident = dict(note.incident)
        return {
            "schema": SCHEMA,
            "key": note.key,
            "event": note.event,
            "events": events,
            "incident": incident,
            "link": note.link,
            "sent": now,
        }

    def summary(self, summary: Summary, *, now: str) -> dict[str, Any]:
        """What was held back."""
        # The keys that a message of its own would have, but for what stands once around them all.
        held_back = []
        for note in summary.notes:
            events = list(note.events)
            incident = dict(note.incident)
            held_back.append({"events": events, "incident": incident, "link": note.link})
        return {
            "schema": SCHEMA,
            "key": summary.key,
            "event": "summary",
            "held_back": held_back,
            "link": summary.link,
            "sent": now,
        }
