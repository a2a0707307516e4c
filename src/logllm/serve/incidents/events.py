"""What is to be told of incidents: written with them, told later."""

import json
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select

from logllm.config.alerts import Event
from logllm.serve.incidents.board import OpenIncident
from logllm.serve.incidents.incident_objects import incident_object
from logllm.serve.incidents.open_incidents import save
from logllm.serve.store.frames import stored_time
from logllm.serve.store.service_schema import incidents, outbox


def keep(
    connection: Connection,
    incident: OpenIncident,
    *,
    now: datetime,
    change: int,
    repeat: timedelta,
) -> None:
    """Write an incident, and what is to be told of it.

    Args:
        connection: Of a transaction that writes.
        incident: As it is now.
        now: This machine's time.
        change: The number of the transaction.
        repeat: After how long it is told again that it goes on.
    """
    events = _events(incident, now=now, repeat=repeat)
    if events:
        incident.told = now
    save(connection, incident, now=now, change=change)
    if not events:
        return

    # A message holds the incident as it was then, for a time when that is deleted for its age.
    this = incidents.c.id == incident.number
    row = connection.execute(select(incidents).where(this)).one()
    body = json.dumps(incident_object(row), ensure_ascii=False)
    made = {"incident": incident.number, "made": stored_time(now), "body": body}
    messages = [made | {"event": event} for event in events]
    connection.execute(insert(outbox), messages)


def _events(incident: OpenIncident, *, now: datetime, repeat: timedelta) -> list[Event]:
    """What is new of an incident that people are told of."""
    if incident.muted:
        return []
    last_told = incident.told
    # One that came and went between two looks is told of all the same, in one message.
    if incident.over:
        return ["opened", "closed"] if last_told is None else ["closed"]
    if last_told is None:
        return ["opened"]
    return ["continues"] if last_told + repeat <= now else []
