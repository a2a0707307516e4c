"""The store in a real PostgreSQL: the contract, many writers, a server that goes and comes back."""

import signal
import threading
import time

import pytest

from logllm.errors import DataError, ServeError
from logllm.serve.store.schema import metadata
from logllm.serve.store.troubles import OwnershipLost, StoreAway
from logllm.serve.store.verdict_store import Kept, Store
from tests.serve.postgres import serving
from tests.serve.store_contract import StoreContract, frame, kept, verdict

pytestmark = pytest.mark.real


@pytest.fixture
def where(databases):
    return databases.fresh()


@pytest.fixture
def fresh(databases):
    return databases.fresh()


@pytest.fixture
def store(where, clock):
    opened = Store.open(where, clock=clock)
    yield opened
    opened.close()


class TestPostgres(StoreContract):
    """The contract."""


def test_migrations_lead_to_the_tables_that_the_code_knows(where):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import create_engine

    Store.open(where).close()
    engine = create_engine(where.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "logllm_version"})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_a_database_may_hold_others_tables(databases, where):
    databases.rule(
        where,
        "CREATE TABLE songs (title text)",
        "CREATE TABLE alembic_version (version_num text)",
    )
    Store.open(where).close()


def test_another_programs_verdicts_are_not_ours(databases, where):
    databases.rule(where, "CREATE TABLE verdicts (court text)")
    with pytest.raises(DataError, match=r"another program's tables \(verdicts\)"):
        Store.open(where)


def test_no_password_in_what_is_said(databases):
    port = databases.server.port
    with pytest.raises(StoreAway) as told:
        Store.open(f"postgresql://postgres:hush@127.0.0.1:{port}/none")
    assert 'database "none" does not exist' in str(told.value)
    assert "hush" not in str(told.value)
    with pytest.raises(StoreAway, match="does not answer"):
        Store.open("postgresql://postgres:hush@127.0.0.1:1/none")


def test_a_database_of_another_encoding(databases):
    databases.server.rule(
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    with pytest.raises(DataError, match="UTF8"):
        Store.open(f"postgresql://postgres@127.0.0.1:{databases.server.port}/latin")


def test_who_may_only_read_is_told_what_is_missing(databases, where):
    Store.open(where).close()
    databases.rule(
        where,
        "CREATE ROLE reader LOGIN",
        "DO $$ BEGIN EXECUTE 'GRANT USAGE ON SCHEMA ' || current_schema() || ' TO reader'; END $$",
    )
    with pytest.raises(DataError, match="permission denied"):
        Store.open(where.replace("postgres:hush", "reader"))


def test_pg_dump_is_named_for_a_copy(store, tmp_path):
    with pytest.raises(ServeError, match="pg_dump"):
        store.backup(tmp_path / "copy")


def test_four_writers_in_one_stream(where):
    """A partition each, and one that they take from each other: no error but lost ownership."""
    steps, together = 40, 50
    troubles, written, lost = [], [], []

    def work(number: int) -> None:
        own = f"p{number}"
        try:
            store = Store.open(where)
            mine = store.claim("app", own, owner=own)
            for step in range(steps):
                lines = range(step * together, (step + 1) * together)
                rows = frame(*(verdict(f"s{line}", line, partition=own) for line in lines))
                written.append(store.write("app", verdicts=rows, kept={own: place(mine, step)}).new)
                contend(store, own)
            store.close()
        except Exception as exc:  # noqa: BLE001 - the test shows it
            troubles.append(exc)

    def contend(store: Store, owner: str) -> None:
        taken = store.claim("app", "all", owner=owner)
        rows = frame(verdict("s", taken.low, partition="all"))
        try:
            store.write("app", verdicts=rows, kept={"all": place(taken, taken.low + 1)})
        except OwnershipLost as exc:
            lost.append(exc.partitions)

    def place(claimed, low: int) -> Kept:
        return Kept(claimed.epoch, low, {}, {})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert sum(written) == 4 * steps * together

    # Of the contended partition every write that was not refused is there, in a row of its own.
    store = Store.open(where)
    rows = store.verdicts("app", limit=100_000)
    contended = rows.filter(partition="all")["first_position"]
    assert rows.height - contended.len() == sum(written)
    assert sorted(contended) == list(range(4 * steps - len(lost)))
    assert store.claim("app", "all", owner="me").epoch == 4 * steps + 1
    assert store.check() == []
    store.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
def test_a_server_that_goes_and_comes_back(how):
    with serving() as databases:
        where = databases.fresh()
        store = Store.open(where)
        mine = store.claim("app", "p", owner="me")
        store.write("app", verdicts=frame(verdict("a", 1)), kept=kept(mine, 2))
        databases.server.stop(how)
        write = {"verdicts": frame(verdict("b", 2)), "kept": kept(mine, 3)}
        with pytest.raises(StoreAway, match="does not answer"):
            store.write("app", **write)
        databases.server.start()
        assert store.write("app", **write).new == 1
        assert sorted(store.verdicts()["session"]) == ["a", "b"]
        store.close()


def test_a_stopped_owner_holds_nobody_up_for_ever(databases):
    """Its transaction stays open, as that of a process that was stopped; the server ends it, or the
    wait for it ends."""
    import psycopg

    where = databases.fresh("-c lock_timeout=200ms")
    store = Store.open(where)
    store.claim("app", "p", owner="me")
    with psycopg.connect(where) as zombie:
        zombie.execute("SELECT * FROM places FOR UPDATE")
        began = time.monotonic()
        with pytest.raises(StoreAway):
            store.claim("app", "p", owner="you")
        assert time.monotonic() - began < 5
        zombie.rollback()
    assert store.claim("app", "p", owner="you").epoch == 2
    store.close()
