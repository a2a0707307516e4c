"""Incidents of a store, for reading."""

from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, func, select

from logllm.serve.incidents.incident_objects import incident_object
from logllm.serve.store.frames import stored_time
from logllm.serve.store.service_schema import incidents as table
from logllm.serve.store.service_schema import mutes
from logllm.serve.store.verdict_store import Store


class Wished(NamedTuple):
    """Which incidents are asked for; what is none says nothing."""

    stream: str | None = None
    state: Literal["open", "closed"] | None = None
    since: datetime | None = None
    """Sessions joined at this time or later, by this machine's clock."""
    before: int | None = None
    """With a smaller number of their last change."""
    after: int | None = None
    """With a larger number of their last change; the oldest change comes first."""
    limit: int = 100


def incidents(store: Store, wished: Wished, *, now: datetime) -> list[dict[str, Any]]:
    """Incidents as `incident_object` gives them, those that changed last first.

    Where several changed in one transaction there may be a few more than `limit`. In muted ones
    `muted_until` says until when they are muted.
    """
    backwards = wished.after is None
    order = table.c.change.desc() if backwards else table.c.change.asc()
    conditions = _conditions(wished)
    changes = select(table.c.change).where(*conditions).order_by(order)
    with store.transaction(reading=True) as connection:
        # What one transaction changed is not divided: who goes on after its number misses nothing.
        # The number at which the page ends; none: there are fewer incidents than a page holds.
        last = connection.scalar(changes.offset(wished.limit - 1).limit(1))
        if last is not None:
            within = table.c.change >= last if backwards else table.c.change <= last
            conditions.append(within)
        matching = _with_mutes(now).where(*conditions)
        ordered = matching.order_by(order, table.c.id.desc())
        return [_object(row) for row in connection.execute(ordered)]


def incident(store: Store, number: int, *, now: datetime) -> dict[str, Any] | None:
    """One incident; none: there is none of this number."""
    wanted = _with_mutes(now).where(table.c.id == number)
    with store.transaction(reading=True) as connection:
        row = connection.execute(wanted).one_or_none()
    return None if row is None else _object(row)


def _conditions(wished: Wished) -> list[ColumnElement[bool]]:
    """What is asked for, for the database."""
    columns = table.c
    conditions: list[ColumnElement[bool]] = []
    # A wish that is none says nothing.
    if wished.stream is not None:
        conditions.append(columns.stream == wished.stream)
    if wished.state is not None:
        conditions.append(columns.state == wished.state)
    if wished.since is not None:
        conditions.append(columns.updated >= stored_time(wished.since))
    # Changes are numbered: pages go back through them, followers go on after the last they have.
    if wished.before is not None:
        conditions.append(columns.change < wished.before)
    if wished.after is not None:
        conditions.append(columns.change > wished.after)
    return conditions


def _with_mutes(now: datetime) -> Select[Any]:
    """Incidents, each with the end of its mute."""
    same_stream = mutes.c.stream == table.c.stream
    same_kind = mutes.c.kind == table.c.kind
    in_force = mutes.c.until > stored_time(now)
    # Of several mutes of a kind the one that lasts longest counts.
    last_end = select(func.max(mutes.c.until)).where(same_stream, same_kind, in_force)
    until = last_end.scalar_subquery()
    return select(table, until.label("muted_until"))


def _object(row: Row[Any]) -> dict[str, Any]:
    """One incident."""
    until = {"muted_until": row.muted_until} if row.muted and row.muted_until else {}
    return incident_object(row) | until
