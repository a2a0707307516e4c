"""A message to see whether a place is told."""

from datetime import UTC, datetime

from logllm.serve.alerts.notes import Note, key_of
from logllm.serve.alerts.posting import Answer, post
from logllm.serve.alerts.sinks import Sink
from logllm.serve.store.frames import stored_time


def tried(sink: Sink, *, page: str | None) -> Answer:
    """What a place answers to a test message in its own form.

    The message says that it is a test. As an alert of Alertmanager it ends by itself.
    """
    now = stored_time(datetime.now(UTC))
    text = "This is a test message from logllm: incidents will look like this."
    # Every key that a form may read, so that what works here works with an incident.
    named = {"id": 0, "stream": "test", "kind": text, "title": text}
    # Open, as most that people are told of.
    times = dict.fromkeys(("start", "end", "opened", "updated"), now)
    state = {"state": "open", **times, "closed": None}
    figures = {"sessions": 1, "score": 1.0, "muted": False, "change": 0}
    kinds = [{"kind": text, "text": text, "sessions": 1}]
    rest = {"kinds": kinds, "top": [], "evidence": None}
    incident = {**named, **state, **figures, **rest}

    key = key_of([], incident)
    note = Note(key, ("opened",), incident, page)
    message = sink.form.note(note, now=now)
    return post(sink.target, message, key=key)
