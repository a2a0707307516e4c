"""Incidents of a store, for reading."""

import operator
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
    """Incidents, those that changed last first, as `incident_object` gives them.

    Where several changed in one transaction there may be a few more than `limit`.

    Of muted ones `muted_until` says until when.
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
        ordered = _with_mutes(now).where(*conditions).order_by(order, table.c.id.desc())
        return [_object(row) for row in connection.execute(ordered)]


def incident(store: Store, number: int, *, now: datetime) -> dict[str, Any] | None:
    """One incident; none: there is none of this number."""
    wanted = _with_mutes(now).where(table.c.id == number)
    with store.transaction(reading=True) as connection:
        row = connection.execute(wanted).one_or_none()
    return None if row is None else _object(row)


def _conditions(wished: Wished) -> list[ColumnElement[bool]]:
    """What is asked for, for the database."""
    since = None if wished.since is None else stored_time(wished.since)
    # Each with how it is compared and with what; a wish that is none says nothing.
    compared = (
        (wished.stream, operator.eq, table.c.stream),
        (wished.state, operator.eq, table.c.state),
        (since, operator.ge, table.c.updated),
        (wished.before, operator.lt, table.c.change),
        (wished.after, operator.gt, table.c.change),
    )
    return [holds(column, value) for value, holds, column in compared if value is not None]


def _with_mutes(now: datetime) -> Select[Any]:
    """Incidents, each with the end of its mute."""
    same = (mutes.c.stream == table.c.stream, mutes.c.kind == table.c.kind)
    # Of several mutes of a kind the one that lasts longest counts.
    in_force = mutes.c.until > stored_time(now)
    until = select(func.max(mutes.c.until)).where(*same, in_force).scalar_subquery()
    return select(table, until.label("muted_until"))


def _object(row: Row[Any]) -> dict[str, Any]:
    """One incident."""
    until = {"muted_until": row.muted_until} if row.muted and row.muted_until else {}
    return incident_object(row) | until
