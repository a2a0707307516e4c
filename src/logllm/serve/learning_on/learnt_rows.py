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
    numbers = learnt.c.number
    wanted = select(numbers).where(*_of(learning), numbers >= number)
    return list(connection.scalars(wanted.order_by(numbers)))


def rows_after(connection: Connection, learning: Learning, *, number: int) -> list[LearntRow]:
    """Entries after one, in order; after 0, all of them."""
    numbers = learnt.c.number
    columns = (numbers, learnt.c.whole, learnt.c.body)
    wanted = select(*columns).where(*_of(learning), numbers > number)
    rows = connection.execute(wanted.order_by(numbers))
    return [LearntRow(row.number, row.whole, json.loads(row.body)) for row in rows]


def put(connection: Connection, learning: Learning, *, row: LearntRow) -> None:
    """Write an entry.

    One that is whole replaces all entries up to its number, that number included.
    """
    # The entries that it stands for go in the same transaction: nobody reads both.
    if row.whole:
        replaced = learnt.c.number <= row.number
        connection.execute(delete(learnt).where(*_of(learning), replaced))
    body = json.dumps(row.body, ensure_ascii=False, separators=(",", ":"))
    made = stored_time(datetime.now(UTC))
    written = {"body": body, "made": made}
    values = row._asdict() | learning._asdict() | written
    connection.execute(insert(learnt).values(values))


def forget(store: Store, learning: Learning) -> None:
    """Forget what was learnt; a running watch notices with its next verdicts.

    An empty entry is left in its place. A watch that was away meanwhile sees by the entry's number
    that learning has begun anew.
    """
    with store.transaction() as connection:
        # An empty one with a higher number, not nothing: numbers would begin again, and a watch
        # would take the new entry 5 for the one that it knows.
        highest = select(func.max(learnt.c.number)).where(*_of(learning))
        last = connection.scalar(highest)
        if last is not None:
            nothing = LearntRow(last + 1, True, {})
            put(connection, learning, row=nothing)


def _of(learning: Learning) -> list[ColumnElement[bool]]:
    """The rows of one learning."""
    return [learnt.c.stream == learning.stream, learnt.c.model == learning.model]
