"""Incidents as people and programs get them: JSON objects."""

import json
from typing import Any

from sqlalchemy import Row

_TEXTS = ("id", "stream", "kind", "title", "state", "start", "end", "opened", "updated", "closed")
_FIGURES = ("sessions", "score", "muted", "change")
_JSON = ("kinds", "top", "evidence")


def incident_object(row: Row[Any]) -> dict[str, Any]:
    """A row of the table `incidents`, its JSON read.

    `start` and `end` are times of the log, null where it has none; `opened`, `updated` and `closed`
    those of the machine that watches. `kinds` are its kinds of message, each with a line and how
    many sessions it tells of; `top` the sessions with the highest scores.
    """
    plain = {name: getattr(row, name) for name in (*_TEXTS, *_FIGURES)}
    # `evidence` may be null in the store, which is null in JSON, too.
    lists = {name: json.loads(getattr(row, name) or "null") for name in _JSON}
    return plain | lists
