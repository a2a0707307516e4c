"""Open incidents as the store has them."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from logllm.logs.tally import printable
from logllm.serve.incidents.board import Kind, OpenIncident
from logllm.serve.store.frames import stored_time
from logllm.serve.store.service_schema import incidents

IS_OPEN = incidents.c.state == "open"
_PLAIN = ("stream", "sessions", "score", "evidence", "muted")
_TIMES = ("start", "end", "opened", "updated", "first", "told")
_LONGEST_TITLE = 300
_WITHOUT_LINE = "sessions that are anomalous as a whole"
"""The title of an incident no line of which tells."""


def load(connection: Connection, stream: str) -> list[OpenIncident]:
    """The open incidents of a stream, the oldest first."""
    of_stream = incidents.c.stream == stream
    matching = select(incidents).where(of_stream, IS_OPEN)
    rows = connection.execute(matching.order_by(incidents.c.id))
    return [_from_row(row) for row in rows]


def save(connection: Connection, incident: OpenIncident, *, now: datetime, change: int) -> None:
    """Write an incident; a new one gets its number."""
    values = _to_values(incident) | {"change": change}
    # Until then it is open, as `_to_values` says.
    if incident.over:
        values |= {"state": "closed", "closed": stored_time(now)}
    # A new one's number is the database's: two processes never give the same.
    if incident.number is None:
        new = insert(incidents).values(values).returning(incidents.c.id)
        incident.number = connection.scalars(new).one()
    else:
        this = incidents.c.id == incident.number
        connection.execute(update(incidents).where(this).values(values))


def time_of(written: str | None) -> datetime | None:
    """A time of the store."""
    return None if written is None else datetime.fromisoformat(written)


def _from_row(row: Row[Any]) -> OpenIncident:
    """An incident as it is stored."""
    kinds: dict[str, Kind] = {}
    # In their order: the first one names the incident.
    for entry in json.loads(row.kinds):
        kinds[entry["kind"]] = Kind(entry["text"], entry["sessions"])
    plain = {name: getattr(row, name) for name in _PLAIN}
    times: dict[str, Any] = {}
    for name in _TIMES:
        times[name] = time_of(getattr(row, name))
    top = json.loads(row.top)
    return OpenIncident(**plain, **times, kinds=kinds, top=top, number=row.id)


def _to_values(incident: OpenIncident) -> dict[str, Any]:
    """An incident as it is stored."""
    kinds = []
    for name, kind in incident.kinds.items():
        kinds.append({"kind": name, "text": kind.text, "sessions": kind.sessions})
    # The kind that opened it names it, and stays first: dictionaries keep the order of insertion.
    foremost, first = next(iter(incident.kinds.items()))
    written: dict[str, str | None] = {}
    for name in _TIMES:
        time = getattr(incident, name)
        written[name] = time and stored_time(time)
    lists = {"top": _json(incident.top), "kinds": _json(kinds)}
    plain = {name: getattr(incident, name) for name in _PLAIN}
    title = printable(first.text[:_LONGEST_TITLE]) or _WITHOUT_LINE
    named = {"kind": foremost, "title": title, "state": "open"}
    return written | lists | plain | named


def _json(value: object) -> str:
    """A value as text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
