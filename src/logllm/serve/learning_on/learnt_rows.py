"""What was learnt, as rows of the store: entries, and now and then all of it in one."""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from logllm.serve.store.frames import stored_time
from logllm.serve.store.service_schema import learnt
from logllm.serve.store.verdict_store import Store


class Learning(NamedTuple):
    """Whose learning it is: another run of the same stream begins anew."""

    stream: str
    model: str
    """What verdicts call the run."""


class LearntRow(NamedTuple):
    """An entry, or all that was learnt up to it."""

    number: int
    """Entries count from 1; numbers of one learning only rise."""
    whole: bool
    body: dict[str, Any]


def numbers_from(connection: Connection, learning: Learning, *, number: int) -> list[int]:
    """Numbers of entries from one on, rising."""
    wanted = select(learnt.c.number).where(*_of(learning), learnt.c.number >= number)
    return list(connection.scalars(wanted.order_by(learnt.c.number)))


def rows_after(connection: Connection, learning: Learning, *, number: int) -> list[LearntRow]:
    """Entries after one, in order; after 0 all there are."""
    columns = (learnt.c.number, learnt.c.whole, learnt.c.body)
    wanted = select(*columns).where(*_of(learning), learnt.c.number > number)
    rows = connection.execute(wanted.order_by(learnt.c.number))
    return [LearntRow(row.number, row.whole, json.loads(row.body)) for row in rows]


def put(connection: Connection, learning: Learning, *, row: LearntRow) -> None:
    """Write an entry; one that is whole stands instead of all before it, and of one of its own number."""
    # The entries that it stands for go in the same transaction: nobody reads both.
    if row.whole:
        connection.execute(delete(learnt).where(*_of(learning), learnt.c.number <= row.number))
    body = json.dumps(row.body, ensure_ascii=False, separators=(",", ":"))
    made = stored_time(datetime.now(UTC))
    values = row._asdict() | learning._asdict() | {"body": body, "made": made}
    connection.execute(insert(learnt).values(values))


def forget(store: Store, learning: Learning) -> None:
    """Forget what was learnt; a watch that goes on notices with its next verdicts.

    What is left says so: a watch that was away meanwhile knows by its number that it is another
    beginning.
    """
    with store.transaction() as connection:
        # An empty one with a higher number, not nothing: numbers would begin again, and a watch
        # would take the new entry 5 for the one that it knows.
        last = connection.scalar(select(func.max(learnt.c.number)).where(*_of(learning)))
        if last is not None:
            put(connection, learning, row=LearntRow(last + 1, True, {}))


def _of(learning: Learning) -> list[ColumnElement[bool]]:
    """The rows of one learning."""
    return [learnt.c.stream == learning.stream, learnt.c.model == learning.model]
