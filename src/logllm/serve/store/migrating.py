"""The tables of a store made, and brought up to date where an older logllm made them."""

from importlib.resources import files

from sqlalchemy import Connection, Engine, String, column, inspect, select, table, text

from logllm.errors import DataError, ServeError
from logllm.serve.store.schema import REVISION, VERSION_TABLE, metadata

_LOCK = 7_106_045_210
"""The advisory lock of PostgreSQL that who migrates takes: any number that others do not take."""


def migrate(engine: Engine, name: str, *, to: str = REVISION) -> None:
    """Bring a store's tables up to date, all or nothing.

    Args:
        engine: Gives connections.
        name: What people call the store.
        to: The revision to reach.

    Raises:
        ServeError: a newer logllm made it.
        DataError: it holds tables of another program.
    """
    # Nearly always there is nothing to do: looked at without a lock, or every start would wait for
    # whoever writes.
    with engine.connect().execution_options(reading=True) as connection, connection.begin():
        if revision(connection) == to:
            return
    with engine.connect() as connection, connection.begin():
        # Another process may have done it meanwhile.
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        present = revision(connection)
        if present is None:
            _check_empty(connection, name)
        if present != to:
            _upgrade(connection, name, present=present, to=to)


def revision(connection: Connection) -> str | None:
    """The revision of a store's tables; none where there are none."""
    # A file of SQLite that was just made is an empty database.
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    versions = select(column("version_num", String)).select_from(table(VERSION_TABLE))
    return connection.scalar(versions)


def _check_empty(connection: Connection, name: str) -> None:
    """Whether tables may be made here.

    Raises:
        DataError: another program's are here. A server's database may hold some, as long as they
            have other names.
    """
    present = set(inspect(connection).get_table_names())
    if connection.dialect.name == "postgresql":
        present &= set(metadata.tables)
        _check_encoding(connection, name)
    if present:
        names = ", ".join(sorted(present)[:3])
        raise DataError(f"{name} holds another program's tables ({names}): name another place")


def _check_encoding(connection: Connection, name: str) -> None:
    """Whether a server's database takes every character.

    Raises:
        DataError: it does not.
    """
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        remedy = "make a database with ENCODING 'UTF8'"
        raise DataError(f"{name} has the encoding {encoding}, which lacks characters: {remedy}")


def _upgrade(connection: Connection, name: str, *, present: str | None, to: str) -> None:
    """Run the migrations that a store lacks."""
    # Here, not above: loading it takes longer than to open a store that is up to date.
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(files("logllm.serve.store.migrations")))
    revisions = {script.revision for script in scripts.walk_revisions()}
    if present is not None and present not in revisions:
        newer = f"a newer logllm (revision {present}, where this one has {to})"
        raise ServeError(
            f"{name} was written by {newer}: install the newer one again, or put a backup from"
            " before it in its place"
        )

    # The newest comes first of those that stand between the two.
    lacking = reversed(list(scripts.iterate_revisions(to, present or "base")))
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    with Operations.context(context):
        for script in lacking:
            script.module.upgrade()
    context.stamp(scripts, to)
