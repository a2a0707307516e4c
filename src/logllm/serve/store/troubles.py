"""What can go wrong with a store: what passes, what does not, and how databases say it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from polars.exceptions import PolarsError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from logllm.errors import DataError, LogLLMError, ServeError, first_line

_FULL = {"53100"}
"""PostgreSQL's codes for a full disk."""
_AWAY = ("08", "25006", "40", "53", "55P03", "57", "58")
"""How PostgreSQL's codes begin of what passes: connections, a standby, deadlocks, too little of
something, locks waited for too long, a server that stops, the disk."""
_REFUSED = {"42501": "grant it", "42P01": "the tables are gone: restore a backup"}
_DAMAGED = {"SQLITE_NOTADB", "SQLITE_CORRUPT"}
_READ_ONLY = {"SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"}
_NO_ROOM = {"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"}
"""The second is what SQLite says where its index of the write-ahead log finds no room."""


class StoreFull(ServeError):
    """The disk of the store is full.

    Nothing of the write is stored; when there is room, the same write is right.
    """


class StoreAway(ServeError):
    """The store does not answer: locked, or the connection is lost.

    The same write again is right, whether or not the first one was stored.
    """


class OwnershipLost(ServeError):
    """Another process has taken partitions over; nothing was written."""

    def __init__(self, partitions: Sequence[str]) -> None:
        """Of these partitions."""
        self.partitions = tuple(partitions)
        names = ", ".join(self.partitions)
        remedy = "nothing was written; stop one of the two if both watch the same"
        super().__init__(f"another process has taken over {names}: {remedy}")


@contextmanager
def told(store: str) -> Iterator[None]:
    """Turn what a database says into an error that says what to do.

    Args:
        store: What people call it; never holds a password.

    Raises:
        StoreFull: there is no room.
        StoreAway: it is locked, or the connection is lost.
        DataError: it is damaged, or cannot be written.
    """
    try:
        yield
    except NoFreeConnection as exc:
        # The pool's own error is none of a database: it is not told by a code.
        raise StoreAway(f"{store} is busy: no connection came free; try again") from exc
    except DBAPIError as exc:
        raise _translated(exc, store) from exc
    except PolarsError as exc:
        # What does not parse was never written by `frames.to_rows`: another program, or damage.
        remedy = "`logllm store check` says how many; restore a backup"
        raise DataError(f"{store} holds rows that no logllm wrote: {remedy}") from exc


def _translated(exc: DBAPIError, store: str) -> LogLLMError:
    """The error that says what a database's means."""
    cause = exc.orig
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause, store)
    # A connection that broke has no code: the server could not send one.
    code = getattr(cause, "sqlstate", None)
    return _of_postgres(code, store, reason=first_line(cause or exc))


def _of_sqlite(cause: sqlite3.Error, store: str) -> LogLLMError:
    """What an error of SQLite means."""
    # An extended name, such as SQLITE_IOERR_FSYNC, goes on after a code's own.
    name: str = getattr(cause, "sqlite_errorname", "")
    kind = "_".join(name.split("_")[:2])
    if name in _NO_ROOM:
        return StoreFull(f"the disk that holds {store} is full: free some space")
    # The driver has waited `connecting.WAIT` seconds by now.
    if kind in ("SQLITE_BUSY", "SQLITE_LOCKED"):
        return StoreAway(f"{store} is locked by another process: end what holds it, or wait")
    if kind in ("SQLITE_IOERR", "SQLITE_PROTOCOL"):
        remedy = "see whether it is sound, and no network's"
        return StoreAway(f"the disk that holds {store} does not answer ({name}): {remedy}")
    if kind in _DAMAGED:
        remedy = "name another file, or restore a backup"
        return DataError(f"{store} is no store, or is damaged ({cause}): {remedy}")
    if kind in _READ_ONLY:
        remedy = "give its folder and files to this user, or name another file"
        return DataError(f"{store} cannot be written ({cause}): {remedy}")
    return DataError(f"{store} refused what was to be written: {cause}")


def _of_postgres(code: str | None, store: str, *, reason: str) -> LogLLMError:
    """What a code of PostgreSQL means; none: the connection failed."""
    # Asked first: the code of a full disk, 53100, begins as those of what passes do.
    if code in _FULL:
        return StoreFull(f"the disk of {store} is full: free some space there")
    if code is None or code.startswith(_AWAY):
        return StoreAway(f"{store} does not answer: {reason}")
    if code in _REFUSED:
        return DataError(f"{store}: {reason}: {_REFUSED[code]}")
    return DataError(f"{store} refused what was to be written: {reason}")
