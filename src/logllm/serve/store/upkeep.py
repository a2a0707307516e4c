"""What keeps a store sound and small: settling, retention, backup, a look at what may be wrong."""

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, bindparam, delete, exists, func, select, text, tuple_, update
from sqlalchemy.sql.elements import ColumnElement

from logllm.errors import DataError
from logllm.serve.store.connecting import WAIT
from logllm.serve.store.migrating import revision
from logllm.serve.store.schema import IS_OPEN, REVISION, SAME_SESSION, places, spans, verdicts
from logllm.serve.store.service_schema import (
    UNSENT,
    deliveries,
    incidents,
    kinds,
    learnt,
    mutes,
    outbox,
    sources,
)
from logllm.serve.store.writing import next_change
from logllm.storage import write_atomic

_STEP = 1000
"""Verdicts that are deleted in one transaction."""
_STATES = ("open", "closed", "early")
_KEY = [column.name for column in verdicts.primary_key.columns]


def settle(
    connection: Connection,
    stream: str,
    *,
    before: str,
    updated: str,
) -> int:
    """Close as `early` the sessions that are open and were last written before a time.

    Returns how many there were. Where there are none, nothing is written.

    Args:
        connection: Of a transaction that writes.
        stream: What the watch is called.
        before: The time.
        updated: The time now.
    """
    of_stream = verdicts.c.stream == stream
    is_old = verdicts.c.updated < before
    idle = (of_stream, IS_OPEN, is_old)

    # Asked every minute, and nearly always there is nothing: a number taken for it would tell
    # everyone who waits for changes that there is one.
    any_idle = select(exists().where(*idle))
    if not connection.scalar(any_idle):
        return 0
    change = next_change(connection)
    early = {"state": "early", "updated": updated, "change": change}
    closing = update(verdicts).where(*idle).values(early)
    return connection.execute(closing).rowcount


def days_before(now: datetime, days: int) -> datetime:
    """A time so many days ago."""
    return now - timedelta(days=days)


def delete_some(connection: Connection, stream: str, *, before: str) -> int:
    """Delete some of the oldest verdicts that are over and were written before a time; how many."""
    columns = verdicts.c
    # Oldest first and bounded: one large deletion would lock out the watch, and grow the
    # write-ahead log by all that it deletes.
    key = [columns[name] for name in _KEY]
    of_stream = columns.stream == stream
    is_old = columns.updated < before
    is_over = columns.state != "open"
    old = select(*key).where(of_stream, is_old, is_over)
    oldest = old.order_by(columns.updated).limit(_STEP)
    rows = [dict(zip(_KEY, row, strict=True)) for row in connection.execute(oldest)]
    if not rows:
        return 0

    # In a span the verdict's partition is called its home.
    homes = [spans.c["home" if name == "partition" else name] for name in _KEY]
    for table, keys in ((verdicts, key), (spans, homes)):
        named = zip(keys, _KEY, strict=True)
        same = [column == bindparam(name) for column, name in named]
        connection.execute(delete(table).where(*same), rows)
    return len(rows)


def delete_service_rows(connection: Connection, *, before: str) -> None:
    """Delete what is over and older than a time, except verdicts.

    These are incidents, messages, mutes, kinds, sources and what was learnt. Feedback stays,
    because people gave it.
    """
    # An open incident may be old, and yet go on.
    is_closed = incidents.c.state == "closed"
    over = is_closed & (incidents.c.updated < before)
    connection.execute(delete(incidents).where(over))

    # What still waits at a place that is told stays, however old it is.
    unsent = deliveries.c.state.in_(UNSENT)
    waiting = select(deliveries.c.message).where(unsent)
    is_told = outbox.c.id.not_in(waiting)
    told = (outbox.c.made < before) & is_told
    old_messages = select(outbox.c.id).where(told)
    of_old_messages = deliveries.c.message.in_(old_messages)
    connection.execute(delete(deliveries).where(of_old_messages))
    connection.execute(delete(outbox).where(told))
    connection.execute(delete(mutes).where(mutes.c.until < before))
    connection.execute(delete(kinds).where(kinds.c.first_seen < before))
    connection.execute(delete(sources).where(sources.c.updated < before))

    # What was learnt stays as long as something is learnt beside the same run.
    run = (learnt.c.stream, learnt.c.model)
    alive = select(*run).where(learnt.c.made >= before)
    is_left = tuple_(*run).not_in(alive)
    connection.execute(delete(learnt).where(is_left))


def faults(connection: Connection) -> list[str]:
    """What is wrong with a store, in words."""
    own = _faults_of_file if connection.dialect.name == "sqlite" else _faults_of_server
    lines = own(connection)
    # The database's own look comes first: of a damaged file nothing else can be believed.
    present = revision(connection)
    if present != REVISION:
        lines.append(f"its revision is {present}, not {REVISION}")

    # What one transaction writes belongs together.
    for what, condition in _ORPHANS.items():
        table = spans if what.startswith("spans") else verdicts
        wrong = select(func.count()).select_from(table).where(condition)
        count = connection.scalar(wrong)
        if count:
            lines.append(f"{what}: {count:,}")
    return lines


_SAME_STREAM = places.c.stream == verdicts.c.stream
_SAME_PARTITION = places.c.partition == verdicts.c.partition
_HAS_PLACE = exists().where(_SAME_STREAM, _SAME_PARTITION)
_HAS_VERDICT = exists().where(SAME_SESSION)
_OF_NO_STATE = verdicts.c.state.not_in(_STATES)
_NO_LIST = verdicts.c.lines.not_like("[%]")
_ORPHANS: dict[str, ColumnElement[bool]] = {
    "verdicts of partitions without a place": ~_HAS_PLACE,
    "verdicts of no known state": _OF_NO_STATE,
    "verdicts whose lines are no list": _NO_LIST,
    "spans without a verdict": ~_HAS_VERDICT,
}


def _faults_of_file(connection: Connection) -> list[str]:
    """What SQLite itself says of the file."""
    rows = connection.exec_driver_sql("PRAGMA integrity_check")
    lines = [str(row[0]) for row in rows]
    return [] if lines == ["ok"] else lines


def _faults_of_server(connection: Connection) -> list[str]:
    """Settings of a server under which a crash loses what was stored."""
    lines = []
    for name in ("fsync", "full_page_writes"):
        setting = connection.scalar(text(f"SHOW {name}"))
        if setting == "off":
            lines.append(f"the server's {name} is off: a crash can damage what it holds")
    return lines


def copy(file: Path, path: Path) -> None:
    """Write a compact copy of a file, as it is at one moment.

    Raises:
        DataError: the place of the copy is full or not writable.
    """

    def write(temporary: Path) -> None:
        # It only reads: whoever writes goes on.
        with closing(sqlite3.connect(file, timeout=WAIT, isolation_level=None)) as connection:
            connection.execute("VACUUM INTO ?", (str(temporary),))

    # A copy that fails leaves the file of an earlier backup alone.
    try:
        write_atomic(path, write)
    except sqlite3.Error as exc:
        remedy = "see whether there is room, and what `logllm store check` says"
        raise DataError(f"{path} cannot become a copy of {file} ({exc}): {remedy}") from exc
