"""The state of alerts, for people: places, what waits, what was given up."""

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from logllm.serve.store.frames import stored_time
from logllm.serve.store.service_schema import deliveries, outbox, sinks
from logllm.serve.store.verdict_store import Store

STATES = ("waiting", "held", "sent", "folded", "dead", "withdrawn")
_MOST_LETTERS = 50
_OF_SINK = ("name", "kind", "error", "failures", "due")
_OF_LETTER = ("sink", "incident", "event", "tries", "error", "made", "updated")


def alerts(store: Store, *, now: datetime) -> dict[str, Any]:
    """How alerts are.

    Returns:
        `sinks`, each with `name, kind, error` (null where all is well), `failures` in a row, `due`
        (when it is tried again after them), `last_hour` (messages sent), and counts of messages by
        their state: `waiting`, `held`, `sent`, `folded`, `dead`, `withdrawn`; and `dead_letters`,
        the newest first: `message, sink, incident, event, title, tries, error, made, updated`.
    """
    with store.transaction(reading=True) as connection:
        places = connection.execute(select(sinks).order_by(sinks.c.name)).all()
        counts = _counts(connection)
        an_hour_ago = now - timedelta(hours=1)
        last_hour = _sent_since(connection, an_hour_ago)
    objects = []
    for row in places:
        sink = {name: getattr(row, name) for name in _OF_SINK}
        sink["last_hour"] = last_hour.get(row.name, 0)
        # A place that was never told anything has no counts at all.
        by_state = counts.get(row.name, {})
        every_state = {state: by_state.get(state, 0) for state in STATES}
        objects.append(sink | every_state)
    dead = letters(store, state="dead", limit=_MOST_LETTERS)
    return {"sinks": objects, "dead_letters": dead}


def letters(store: Store, *, state: str, limit: int) -> list[dict[str, Any]]:
    """Messages of a state; those that came to it last come first."""
    # A message has one row in the outbox, and one here for each place that is told.
    of_delivery = [deliveries.c[name] for name in ("sink", "tries", "error", "updated")]
    its_message = deliveries.c.message == outbox.c.id
    joined = select(outbox, *of_delivery).join(deliveries, its_message)
    mine = joined.where(deliveries.c.state == state)
    # Of several of one moment the one with the highest number comes first.
    order = (deliveries.c.updated.desc(), outbox.c.id.desc())
    newest = mine.order_by(*order)
    with store.transaction(reading=True) as connection:
        rows = connection.execute(newest.limit(limit)).all()
    return [_letter(row) for row in rows]


def revive(store: Store, *, message: int | None, sink: str | None, now: datetime) -> int:
    """Send dead letters again, at once. Returns how many there are.

    Args:
        store: Whose.
        message: The number of one; none: all.
        sink: For one place; none: for all.
        now: The time.
    """
    wanted = [deliveries.c.state == "dead"]
    if message is not None:
        wanted.append(deliveries.c.message == message)
    if sink is not None:
        wanted.append(deliveries.c.sink == sink)
    written = stored_time(now)
    # As if it had never been tried: its next failures count from the first.
    again = {"state": "waiting", "tries": 0, "due": written, "updated": written}
    revival = update(deliveries).where(*wanted).values(again)
    revived = revival.returning(deliveries.c.sink)
    with store.transaction() as connection:
        places = list(connection.scalars(revived))

        # A place that was waited for is asked at once.
        theirs = sinks.c.name.in_(set(places))
        connection.execute(update(sinks).where(theirs).values(due=written))
    return len(places)


def _counts(connection: Connection) -> dict[str, dict[str, int]]:
    """How many messages there are, by place and state."""
    sink_and_state = (deliveries.c.sink, deliveries.c.state)
    counted = select(*sink_and_state, func.count()).group_by(*sink_and_state)
    counts: dict[str, dict[str, int]] = {}
    for sink, state, count in connection.execute(counted):
        counts.setdefault(sink, {})[state] = count
    return counts


def _sent_since(connection: Connection, time: datetime) -> dict[str, int]:
    """How many messages were sent since a time, by place."""
    is_recent = deliveries.c.updated > stored_time(time)
    is_sent = deliveries.c.state == "sent"
    sent = select(deliveries.c.sink, func.count()).where(is_sent, is_recent)
    rows = connection.execute(sent.group_by(deliveries.c.sink))
    return {sink: count for sink, count in rows}


def _letter(row: Row[Any]) -> dict[str, Any]:
    """A message as people get it."""
    # From the message as it was written: the incident may be deleted by now.
    title = json.loads(row.body)["title"]
    rest = {name: getattr(row, name) for name in _OF_LETTER}
    return {"message": row.id, "title": title} | rest
