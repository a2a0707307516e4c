"""How alerts are, for people: places, what waits, what was given up."""

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update

from logllm.serve.store.frames import stored_time
from logllm.serve.store.service_schema import deliveries, outbox, sinks
from logllm.serve.store.verdict_store import Store

STATES = ("waiting", "held", "sent", "folded", "dead", "withdrawn")
_MOST_LETTERS = 50


def alerts(store: Store, *, now: datetime) -> dict[str, Any]:
    """How alerts are.

    Returns:
        `sinks`, each with `name, kind, error` (null where all is well), `failures` in a row, `due`
        (when it is tried again after them), `last_hour` (messages sent), and counts of messages by
        their state: `waiting`, `held`, `sent`, `folded`, `dead`, `withdrawn`; and `dead_letters`,
        the newest first: `message, sink, incident, event, title, tries, error, made, updated`.
    """
    columns = deliveries.c
    counted = select(columns.sink, columns.state, func.count()).group_by(columns.sink, columns.state)
    in_last_hour = (columns.state == "sent", columns.updated > stored_time(now - timedelta(hours=1)))
    sent = select(columns.sink, func.count()).where(*in_last_hour).group_by(columns.sink)
    with store.transaction(reading=True) as connection:
        places = connection.execute(select(sinks).order_by(sinks.c.name)).all()
        counts = {(sink, state): count for sink, state, count in connection.execute(counted)}
        last_hour = {sink: count for sink, count in connection.execute(sent)}
    told = [
        {"name": row.name, "kind": row.kind, "error": row.error, "failures": row.failures}
        | {"due": row.due, "last_hour": last_hour.get(row.name, 0)}
        | {state: counts.get((row.name, state), 0) for state in STATES}
        for row in places
    ]
    return {"sinks": told, "dead_letters": letters(store, state="dead", limit=_MOST_LETTERS)}


def letters(store: Store, *, state: str, limit: int) -> list[dict[str, Any]]:
    """Messages of a state, those that came to it last first."""
    columns = ("sink", "tries", "due", "error", "updated")
    wanted = select(outbox, *(deliveries.c[name] for name in columns))
    joined = wanted.join(deliveries, deliveries.c.message == outbox.c.id)
    newest = joined.where(deliveries.c.state == state).order_by(deliveries.c.updated.desc())
    with store.transaction(reading=True) as connection:
        rows = connection.execute(newest.order_by(outbox.c.id.desc()).limit(limit)).all()
    return [
        {
            "message": row.id,
            "sink": row.sink,
            "incident": row.incident,
            "event": row.event,
            "title": json.loads(row.body)["title"],
            "tries": row.tries,
            "error": row.error,
            "made": row.made,
            "updated": row.updated,
        }
        for row in rows
    ]


def revive(store: Store, *, message: int | None, sink: str | None, now: datetime) -> int:
    """Have dead letters sent again, at once; how many there are.

    Args:
        store: Whose.
        message: The number of one; none: all.
        sink: For one place; none: for all.
        now: The time.
    """
    columns = deliveries.c
    wanted = [columns.state == "dead"]
    wanted += [] if message is None else [columns.message == message]
    wanted += [] if sink is None else [columns.sink == sink]
    written = stored_time(now)
    again = {"state": "waiting", "tries": 0, "due": written, "updated": written}
    revived = update(deliveries).where(*wanted).values(again).returning(columns.sink)
    with store.transaction() as connection:
        places = list(connection.scalars(revived))
        at_once = update(sinks).where(sinks.c.name.in_(set(places))).values(due=written)
        connection.execute(at_once)
    return len(places)
