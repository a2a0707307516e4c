"""Kinds of message that nobody wants to be told of, each until a time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select

from logllm.errors import DataError
from logllm.serve.incidents.open_incidents import load, save
from logllm.serve.store.frames import stored_time
from logllm.serve.store.service_schema import mutes as table
from logllm.serve.store.verdict_store import Store
from logllm.serve.store.writing import next_change

_COLUMNS = ("id", "stream", "kind", "until", "made", "by", "why", "change")
_LONGEST_WORDS = 1_000


class Muting(NamedTuple):
    """What nobody wants to be told of."""

    stream: str
    kind: str
    """As verdicts and incidents have it."""
    until: datetime
    """There is always an end."""
    by: str
    """Who gives the answer."""
    why: str


def mute(store: Store, muting: Muting, *, now: datetime) -> dict[str, Any]:
    """Mute a kind of message: what is open of it is told no further, and what comes is not told.

    Raises:
        DataError: the end is not in the future.
    """
    with store.transaction() as connection:
        (made,) = put_mutes(connection, [muting], now=now, change=next_change(connection))
        return made


def put_mutes(
    connection: Connection,
    mutings: Sequence[Muting],
    *,
    now: datetime,
    change: int,
) -> list[dict[str, Any]]:
    """Mute kinds of message of one stream, in a transaction that does more.

    An open incident that has other kinds as well goes on without these; what comes of them is an
    incident of its own, which nobody is told of.

    Args:
        connection: Of the transaction.
        mutings: What, and until when; of one stream.
        now: This machine's time.
        change: The number of the transaction.

    Raises:
        DataError: an end is not in the future.
    """
    made = [_put(connection, muting, now=now, change=change) for muting in mutings]

    # What is open already must follow, or people are told of it until it ends. All are muted by
    # now: an incident of several kinds loses none of them before it is known whether any is left.
    stream = mutings[0].stream
    kinds = {muting.kind for muting in mutings}
    muted = muted_kinds(connection, stream, now=now)
    for incident in load(connection, stream):
        concerned = kinds & incident.kinds.keys()
        if incident.muted or not concerned:
            continue
        # All that it shows is muted: it goes on silently. Else only these kinds leave it.
        if incident.kinds.keys() <= muted:
            incident.muted = True
        else:
            for kind in concerned:
                del incident.kinds[kind]
        save(connection, incident, now=now, change=change)
    return made


def _put(connection: Connection, muting: Muting, *, now: datetime, change: int) -> dict[str, Any]:
    """Store a mute; as people get it.

    Raises:
        DataError: its end is not in the future.
    """
    # It would be stored, and mute nothing, without a word.
    if muting.until <= now:
        until = f"{muting.until:%Y-%m-%d %H:%M}"
        raise DataError(f"muted until {until}, which is past: name a later time")
    words = {"by": muting.by[:_LONGEST_WORDS], "why": muting.why[:_LONGEST_WORDS]}
    times = {"until": stored_time(muting.until), "made": stored_time(now)}
    values = muting._asdict() | times | words | {"change": change}
    new = insert(table).values(values).returning(*_columns())
    row = connection.execute(new).one()
    return dict(row._mapping)


def unmute(store: Store, number: int, *, now: datetime) -> bool:
    """Take a mute back; whether there was one."""
    with store.transaction() as connection:
        change = next_change(connection)
        return take_mute_back(connection, number, now=now, change=change)


def take_mute_back(connection: Connection, number: int, *, now: datetime, change: int) -> bool:
    """Take a mute back, in a transaction that does more; whether there was one."""
    this = table.c.id == number
    deletion = delete(table).where(this)
    stream = connection.scalar(deletion.returning(table.c.stream))
    if stream is None:
        return False

    muted = muted_kinds(connection, stream, now=now)
    for incident in load(connection, stream):
        # Another mute may still be in force for each of its kinds.
        if incident.muted and not incident.kinds.keys() <= muted:
            incident.muted = False
            save(connection, incident, now=now, change=change)
    return True


def mutes(store: Store, *, now: datetime) -> list[dict[str, Any]]:
    """What is muted now, the newest first: `id, stream, kind, until, made, by, why, change`."""
    is_in_force = table.c.until > stored_time(now)
    in_force = select(*_columns()).where(is_in_force)
    newest = in_force.order_by(table.c.id.desc())
    with store.transaction(reading=True) as connection:
        return [dict(row._mapping) for row in connection.execute(newest)]


def muted_kinds(connection: Connection, stream: str, *, now: datetime) -> set[str]:
    """The kinds of a stream that are muted now."""
    of_stream = table.c.stream == stream
    is_in_force = table.c.until > stored_time(now)
    muted = select(table.c.kind).where(of_stream, is_in_force)
    return set(connection.scalars(muted))


def _columns() -> list[Any]:
    """What people get of a mute."""
    return [table.c[name] for name in _COLUMNS]
