"""Alerts as Prometheus' Alertmanager takes them (API v2).

Each incident is one alert, which lasts as long as it is sent again and again.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from logllm.config.alerts import SinkSection
from logllm.serve.alerts import alert_texts
from logllm.serve.alerts.notes import Incident, Note, Summary
from logllm.serve.store.frames import stored_time

PATH = "/api/v2/alerts"
_TIMES_RESEND = 3
"""An alert ends by itself after so many times the interval at which it is told again: one that was
missed once or twice does not flap."""
_LONGEST_LABEL = 200


class AlertmanagerForm:
    """A list of alerts."""

    def __init__(self, section: SinkSection, *, page: str | None) -> None:
        """A form with a user's own labels.

        Args:
            section: Labels, and how often an alert is told again.
            page: Where people reach the page; none: nowhere.
        """
        self._labels = section.labels
        self._holds = timedelta(seconds=_TIMES_RESEND * section.resend)
        self._page = page

    def note(self, note: Note, *, now: str) -> list[dict[str, Any]]:
        """What is new of an incident."""
        return [self._alert(note.incident, now=now, link=note.link)]

    def summary(self, summary: Summary, *, now: str) -> list[dict[str, Any]]:
        """What was held back: here, too, each incident is an alert of its own."""
        return [alert for note in summary.notes for alert in self.note(note, now=now)]

    def open(self, incidents: Iterable[Incident], *, now: str) -> list[dict[str, Any]]:
        """The incidents that go on, told again."""
        links = ((incident, link_to(self._page, incident)) for incident in incidents)
        return [self._alert(incident, now=now, link=link) for incident, link in links]

    def _alert(self, incident: Incident, *, now: str, link: str | None) -> dict[str, Any]:
        """One alert; what tells it from others are its labels."""
        # It has no "open": an alert whose end is not moved on ends by itself.
        holds_until = stored_time(datetime.fromisoformat(now) + self._holds)
        # Nothing here changes while the incident goes on, or it would be another alert each time.
        stream = alert_texts.shortened(incident["stream"], _LONGEST_LABEL)
        number = str(incident["id"])
        labels = {"alertname": "LogAnomaly", "stream": stream, "incident": number}
        # What may change stands in annotations, which tell no alert from another.
        description = "\n".join(alert_texts.lines(incident))
        when = alert_texts.when(incident)
        annotations = {"summary": incident["title"], "description": description, "when": when}
        ends_at = incident["closed"] or holds_until
        alert = {
            "labels": labels | self._labels,
            "annotations": annotations,
            "startsAt": incident["opened"],
            "endsAt": ends_at,
        }
        return alert if link is None else {**alert, "generatorURL": link}


def link_to(page: str | None, incident: Incident) -> str | None:
    """The page of an incident; none where people reach no page."""
    return None if page is None else f"{page.rstrip('/')}/?incident={incident['id']}"
