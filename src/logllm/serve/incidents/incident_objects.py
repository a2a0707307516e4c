"""Incidents as people and programs get them: JSON objects."""

import json
from typing import Any

from sqlalchemy import Row

_PLAIN = ("id", "stream", "kind", "title", "state", "start", "end", "opened", "updated", "closed")
_JSON = ("kinds", "top", "evidence")


def incident_object(row: Row[Any]) -> dict[str, Any]:
    """A row of the table `incidents`, its JSON read.

    `start` and `end` are times of the log, null where it has none; `opened`, `updated` and `closed`
    those of the machine that watches. `kinds` are its kinds of message, each with a line and how
    many sessions it tells of; `top` the sessions with the highest scores.
    """
    lists = {name: json.loads(getattr(row, name) or "null") for name in _JSON}
    plain = {name: getattr(row, name) for name in _PLAIN}
    rest = {
        "sessions": row.sessions,
        "score": row.score,
        "muted": row.muted,
        "change": row.change,
    }
    return plain | rest | lists
