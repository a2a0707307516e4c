"""Connections to a store, set so that what was written stays written and nobody waits for ever."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from logllm.errors import DataError
from logllm.extras import lacking
from logllm.serve.store.address import Address

WAIT = 10.0
"""Seconds to wait for another's lock, or for a server's first answer."""
_AGAIN = 0.01
"""Seconds until a file that somebody else changes at this moment is asked for again."""
_PRAGMAS = (
    "PRAGMA synchronous = FULL",  # a transaction is on the disk when it is over
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -32768",
)
_POSTGRES: dict[str, Any] = {
    "connect_timeout": int(WAIT),
    # A network that swallows everything is noticed, and a process that was stopped in
    # the middle of a transaction does not hold its locks for ever.
    "tcp_user_timeout": 30_000,
    "keepalives_idle": 30,
    "application_name": "logllm",
}
# Queries are short: to compile one takes longer than to answer it.
_OPTIONS = "-c lock_timeout=30s -c idle_in_transaction_session_timeout=60s -c jit=off"
_DURABLE = """
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'
"""


def connected(address: Address, *, create: bool) -> Engine:
    """What gives connections to a store; none is made yet.

    Args:
        address: Where it is.
        create: Make the file where it is not there.

    Raises:
        DataError: the file is not there, or is a folder.
        RecipeError: a package is not installed that this database needs.
    """
    if address.file is not None:
        _check_file(address.file, create=create)
        engine = create_engine(address.url, hide_parameters=True, connect_args={"timeout": WAIT})
        event.listen(engine, "connect", set_sqlite)
        event.listen(engine, "begin", _begin)
        return engine
    # What the URL itself says goes first; a connection that was lost is noticed before it is used.
    query = address.url.query
    arguments = {name: value for name, value in _POSTGRES.items() if name not in query}
    arguments["options"] = f"{_OPTIONS} {query.get('options', '')}"
    options: dict[str, Any] = {"connect_args": arguments, "pool_pre_ping": True}
    try:
        engine = create_engine(address.url, hide_parameters=True, **options)
    except ModuleNotFoundError as exc:
        raise lacking("psycopg", to="keep verdicts in PostgreSQL") from exc
    event.listen(engine, "connect", _set_postgres)
    return engine


def _check_file(file: Path, *, create: bool) -> None:
    """Whether a file may be a store.

    Raises:
        DataError: it may not.
    """
    if file.is_dir():
        raise DataError(f"{file} is a folder: name a file, such as {file / 'verdicts.db'}")
    if not create and not file.exists():
        raise DataError(f"{file} is not there: name the store that `logllm watch --store` writes")
    if not file.parent.is_dir():
        raise DataError(f"the folder {file.parent} is not there: make it, or name another file")


def set_sqlite(connection: Any, record: object) -> None:
    """Settings of a new connection to SQLite."""
    del record
    # Python would begin transactions by itself, and not before a change of tables: `_begin` does.
    connection.isolation_level = None
    _write_ahead(connection)
    for pragma in _PRAGMAS:
        connection.execute(pragma).fetchall()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Have changes kept in a log of their own: who reads never waits for who writes.

    Raises:
        sqlite3.OperationalError: the file was locked for `WAIT` seconds.
    """
    deadline = time.monotonic() + WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError as exc:
            # Of several who open a new file at once, SQLite refuses some without any wait.
            busy = exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
        time.sleep(_AGAIN)


def _begin(connection: Connection) -> None:
    """Begin a transaction; one that will write says so at once.

    A lock that is asked for only after something was read may be refused for good.
    """
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _set_postgres(connection: Any, record: object) -> None:
    """A new connection's commits wait for the disk, whatever the server's own setting."""
    del record
    # A commit that is answered before it is on the disk would move places past verdicts that a
    # crash of the server takes away.
    connection.execute(_DURABLE)
    connection.commit()
