"""What waits for each place that is told, and what has become of it, in the store."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Row,
    case,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from logllm.serve.alerts.sinks import Sink
from logllm.serve.store.frames import stored_time
from logllm.serve.store.service_schema import UNSENT, deliveries, incidents, outbox, sinks

_STEPS = 3
"""A request waits this often, each time for at most the timeout: to connect, to send, to be
answered.
"""
_MARGIN = 15
"""Seconds more for which a process has a place to itself than its request may take."""
_HOUR = timedelta(hours=1)
_MOST_AT_ONCE = 1_000
"""Messages that one request tells of."""
_WAITING = "waiting"
_HELD = "held"


class Leased(NamedTuple):
    """A place that this process has to itself."""

    failures: int
    """How many requests have failed in a row."""


def introduce(connection: Connection, sink: Sink, *, now: datetime) -> None:
    """Make a place known: it is told what comes from now on, and no history."""
    this = sinks.c.name == sink.name
    # A place that was known keeps how far it was told, across restarts and changes of its kind.
    known_again = update(sinks).where(this).values(kind=sink.kind)
    if connection.execute(known_again).rowcount:
        return
    written = stored_time(now)
    times = {"due": written, "updated": written}
    newest = _newest(connection)
    row = {"name": sink.name, "kind": sink.kind, "reached": newest, "failures": 0}
    connection.execute(insert(sinks).values(row | times))


def has_work(connection: Connection, sink: Sink, *, now: datetime, room: bool) -> bool:
    """Whether anything may be sent now, or is new.

    Args:
        connection: Of a transaction that reads.
        sink: The place.
        now: The time.
        room: Whether it may be told anything.
    """
    written = stored_time(now)
    # Asked every second of every place: three looks at indexes, and no lock.
    unread = exists().where(outbox.c.id > sinks.c.reached)
    mine = deliveries.c.sink == sinks.c.name
    is_waiting = deliveries.c.state == _WAITING
    is_due = deliveries.c.due <= written
    waits = exists().where(mine, is_waiting, is_due)
    held_back = exists().where(mine, deliveries.c.state == _HELD)
    # Without room only what is new matters: it must be held back, not sent.
    anything = or_(unread, waits, held_back) if room else unread
    this = sinks.c.name == sink.name
    may_be_asked = sinks.c.due <= written
    question = select(anything).where(this, may_be_asked)
    return bool(connection.scalar(question))


def take(connection: Connection, sink: Sink, *, owner: str, now: datetime) -> Leased | None:
    """Take a place for this process; none: another process has it, or it is not due yet."""
    this = sinks.c.name == sink.name
    # Locked, so that of two processes that ask at once one sees the other's lease.
    locked = select(sinks).where(this).with_for_update()
    row = connection.execute(locked).one()
    written = stored_time(now)
    taken = row.owner not in (None, owner) and row.until > written
    if taken or row.due > written:
        return None
    # A process that was killed gives nothing back: its lease ends by itself, but not before its
    # request could have ended.
    seconds = _STEPS * sink.section.timeout + _MARGIN
    until = now + timedelta(seconds=seconds)
    lease = {"owner": owner, "until": stored_time(until)}
    connection.execute(update(sinks).where(this).values(lease))
    return Leased(row.failures)


def release(connection: Connection, sink: Sink, *, owner: str) -> None:
    """Leave a place to other processes."""
    this = sinks.c.name == sink.name
    is_ours = sinks.c.owner == owner
    given_back = update(sinks).where(this, is_ours).values(owner=None, until=None)
    connection.execute(given_back)


def spread(connection: Connection, sink: Sink, *, now: datetime) -> None:
    """Make new messages of the outbox wait for a place, if the place is to be told of them."""
    this = sinks.c.name == sink.name
    # Looked up once: what is written meanwhile has a higher number, and is spread the next time.
    newest = _newest(connection)
    reached = connection.scalar(select(sinks.c.reached).where(this))
    if reached is None or reached >= newest:
        return
    section = sink.section
    wanted = [outbox.c.event.in_(section.events)]
    if section.streams:
        wanted.append(incidents.c.stream.in_(section.streams))
    written = literal(stored_time(now))
    # An incident that opens often grows within seconds: told a little later, it is told with all of
    # its first sessions.
    told_later = now + timedelta(seconds=section.wait)
    later = literal(stored_time(told_later))
    due = case((outbox.c.event == "opened", later), else_=written)
    values = (literal(sink.name), literal(_WAITING), literal(0), due, written)
    # Joined to incidents for the stream alone; one that is deleted already is told of no more.
    its_incident = incidents.c.id == outbox.c.incident
    with_incidents = outbox.join(incidents, its_incident)
    rows = select(outbox.c.id, *values).select_from(with_incidents)
    is_new = (outbox.c.id > reached, outbox.c.id <= newest)
    unread = rows.where(*is_new, *wanted)
    columns = ["message", "sink", "state", "tries", "due", "updated"]
    connection.execute(insert(deliveries).from_select(columns, unread))
    # What a place does not want is passed over for good: later changes of settings bring no
    # history.
    connection.execute(update(sinks).where(this).values(reached=newest))


def hurry(connection: Connection, sink: Sink, *, now: datetime) -> None:
    """Make messages due that were never tried and only wait for more of their incident."""
    mine = deliveries.c.sink == sink.name
    untried = deliveries.c.tries == 0
    waits = deliveries.c.state == _WAITING
    due_now = update(deliveries).where(mine, untried, waits).values(due=stored_time(now))
    connection.execute(due_now)


def next_rows(connection: Connection, sink: Sink, *, now: datetime) -> Sequence[Row[Any]]:
    """What is to be sent in one request, in order: rows of the outbox with `tries`.

    That is all that waits of one incident or, where messages are held back, all that waits.
    """
    mine = deliveries.c.sink == sink.name
    with_outbox = deliveries.join(outbox, outbox.c.id == deliveries.c.message)
    columns: list[Any] = [outbox, deliveries.c.tries]
    rows = select(*columns).select_from(with_outbox).where(mine)
    unsent = rows.where(deliveries.c.state.in_(UNSENT))
    in_order = unsent.order_by(outbox.c.id).limit(_MOST_AT_ONCE)
    # What was held back goes all at once in a summary, when there is room again.
    held_back = select(exists().where(mine, deliveries.c.state == _HELD))
    if connection.scalar(held_back):
        return connection.execute(in_order).all()

    # A message that fails again and again lets others pass.
    is_waiting = deliveries.c.state == _WAITING
    is_due = deliveries.c.due <= stored_time(now)
    waits = rows.where(is_waiting, is_due)
    fewest_tries = waits.order_by(deliveries.c.tries, outbox.c.id)
    first = connection.execute(fewest_tries.limit(1)).first()
    if first is None:
        return []
    # All that waits of one incident goes together, in order: nobody hears of an end before its
    # start.
    same_incident = outbox.c.incident == first.incident
    return connection.execute(in_order.where(same_incident)).all()


def room_at(connection: Connection, sink: Sink, *, now: datetime) -> datetime | None:
    """When a place may be told again that has been told as often as an hour allows.

    None: it may be told now.
    """
    if sink.budget is None:
        return None
    updated = deliveries.c.updated
    mine = deliveries.c.sink == sink.name
    is_sent = deliveries.c.state == "sent"
    is_recent = updated > stored_time(now - _HOUR)
    this_hour = select(updated).where(mine, is_sent, is_recent)
    newest_first = this_hour.order_by(updated.desc())
    # With a budget of 20 the twentieth newest message of this hour: when it is an hour old, there
    # is room for one more. None: fewer than 20 went.
    oldest = connection.scalar(newest_first.offset(sink.budget - 1).limit(1))
    return None if oldest is None else datetime.fromisoformat(oldest) + _HOUR


def hold(connection: Connection, sink: Sink, *, now: datetime) -> None:
    """Hold back what waits."""
    mine = deliveries.c.sink == sink.name
    waits = deliveries.c.state == _WAITING
    values = {"state": _HELD, "updated": stored_time(now)}
    connection.execute(update(deliveries).where(mine, waits).values(values))


def settle(
    connection: Connection,
    sink: Sink,
    *,
    messages: Sequence[int],
    values: dict[str, Any],
) -> None:
    """Write what has become of messages that still wait."""
    # Only what still waits: what another process has sent or withdrawn stays so.
    mine = deliveries.c.sink == sink.name
    unsent = deliveries.c.state.in_(UNSENT)
    these = deliveries.c.message.in_(messages)
    connection.execute(update(deliveries).where(mine, unsent, these).values(values))


def set_sink(connection: Connection, sink: Sink, *, values: dict[str, Any]) -> None:
    """Write how a place is."""
    this = sinks.c.name == sink.name
    connection.execute(update(sinks).where(this).values(values))


def incidents_of(connection: Connection, numbers: Sequence[int]) -> dict[int, Row[Any]]:
    """Incidents by their numbers, as far as they are still there."""
    these = incidents.c.id.in_(numbers)
    rows = connection.execute(select(incidents).where(these))
    return {row.id: row for row in rows}


def open_incidents_of(connection: Connection, sink: Sink) -> Sequence[Row[Any]]:
    """The incidents that go on and that a place is told of."""
    streams = sink.section.streams
    conditions = [incidents.c.state == "open", ~incidents.c.muted]
    if streams:
        conditions.append(incidents.c.stream.in_(streams))
    matching = select(incidents).where(*conditions)
    in_order = matching.order_by(incidents.c.id)
    return connection.execute(in_order).all()


def _newest(connection: Connection) -> int:
    """The number of the last message."""
    return connection.scalar(select(func.max(outbox.c.id))) or 0
