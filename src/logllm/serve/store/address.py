"""Where a store is: a file of SQLite, or a database of PostgreSQL by its URL."""

from pathlib import Path
from typing import NamedTuple

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from logllm.errors import DataError

_FORMS = "PATH, sqlite:///PATH or postgresql://USER@HOST/DATABASE"
_POSTGRES = {"postgresql", "postgres", "postgresql+psycopg"}


class Address(NamedTuple):
    """Where a store is."""

    url: URL
    """For SQLAlchemy; holds a password where one was given."""
    file: Path | None
    """The file, where it is one of SQLite."""
    name: str
    """What people are told: no user and no password."""


def address(where: str | Path) -> Address:
    """Read what stands on the command line.

    >>> address("app.db").name, address("sqlite:////data/app.db").file
    ('app.db', PosixPath('/data/app.db'))
    >>> address("postgresql://me:secret@db.example:5433/logs").name
    'postgresql://db.example:5433/logs'

    Raises:
        DataError: it is none of the forms.
    """
    # A `Path` is always a file, even one that is called like a URL.
    scheme, separator, rest = str(where).partition("://")
    if isinstance(where, Path) or not separator:
        return _of_file(str(where))
    if scheme == "sqlite":
        # As SQLAlchemy has it: sqlite:///app.db is relative, sqlite:////data/app.db is not.
        if not rest.startswith("/"):
            raise DataError(f"{where}: write sqlite:///PATH, with three slashes before the path")
        return _of_file(rest[1:])
    if scheme in _POSTGRES:
        return _of_server(rest)
    raise DataError(f"{scheme}://... is no store: write {_FORMS}")


def _of_file(path: str) -> Address:
    """A file of SQLite."""
    # Both would be a database that is gone with its connection.
    if path in ("", ":memory:"):
        raise DataError(f"a store is a file that stays: write {_FORMS}")
    return Address(URL.create("sqlite+pysqlite", database=path), Path(path), path)


def _of_server(rest: str) -> Address:
    """A database of PostgreSQL."""
    try:
        url = make_url(f"postgresql+psycopg://{rest}")
    except (ArgumentError, ValueError):
        # Whatever it says may hold a part of the password.
        raise DataError(
            "the store's postgresql:// URL cannot be read: write "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
            "with %40 for @, %2F for / and %3A for : inside user and password"
        ) from None
    port = "" if url.port is None else f":{url.port}"
    host, database = url.host or "", url.database or ""
    return Address(url, None, f"postgresql://{host}{port}/{database}")
