"""The store in SQLite: the contract, and what may be wrong with a file."""

import os
import shutil
import sqlite3
from importlib.resources import files
from pathlib import Path

import pytest

from logllm.errors import DataError, ServeError
from logllm.serve.store.address import address
from logllm.serve.store.connecting import set_sqlite
from logllm.serve.store.schema import REVISION, metadata
from logllm.serve.store.troubles import StoreAway, StoreFull
from logllm.serve.store.verdict_store import Store
from tests.serve.store_contract import StoreContract, frame, kept, verdict


@pytest.fixture
def where(tmp_path):
    return tmp_path / "verdicts.db"


@pytest.fixture
def fresh(tmp_path):
    return tmp_path / "fresh.db"


@pytest.fixture
def store(where, clock, empty):
    shutil.copy(empty, where)
    opened = Store.open(where, clock=clock)
    yield opened
    opened.close()


class TestSqlite(StoreContract):
    """The contract."""


def test_others_read_the_table_by_sql(store, where):
    mine = store.claim("app", "p", owner="me")
    rows = [
        verdict("a", 1, 2, anomalous=True, evidence='[{"line":2}]'),
        verdict("b", 3, 1, files=["p", "q"]),
    ]
    there = store.claim("app", "q", owner="me")
    store.write("app", verdicts=frame(*rows), kept=kept(mine) | {"q": there})
    with sqlite3.connect(where) as connection:
        columns = (
            "stream, session, piece, first_position, state, score, lines, evidence, start, end,"
            " model"
        )
        row = connection.execute(f"SELECT {columns} FROM verdicts WHERE anomalous").fetchall()  # noqa: S608
        files = connection.execute(
            "SELECT json_extract(files, '$[1]') FROM verdicts WHERE files IS NOT NULL"
        ).fetchall()
    connection.close()
    noon = "2026-11-27T12:00:00.000000Z"
    assert row == [
        ("app", "a", 1, 1, "closed", 0.25, "[1,2]", '[{"line":2}]', noon, noon, "runs/app")
    ]
    assert files == [("q",)]


def test_the_file_is_kept_as_promised(store, where):
    store.claim("app", "p", owner="me")
    with sqlite3.connect(where) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
def test_a_path_is_written_in_two_ways(tmp_path, form):
    Store.open(form.format(tmp_path / "a b?.db")).close()
    assert (tmp_path / "a b?.db").is_file()


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("", "a store is a file that stays"),
        (":memory:", "a store is a file that stays"),
        ("sqlite://verdicts.db", "three slashes"),
        ("mysql://me:hush@db/logs", "no store"),
        ("postgresql://me:hush@db:port/logs", "cannot be read"),
    ],
    ids=["empty", "memory", "two-slashes", "mysql", "no-port"],
)
def test_what_is_no_address(where, words):
    with pytest.raises(DataError, match=words) as told:
        Store.open(where)
    assert "hush" not in str(told.value)
    assert told.value.__cause__ is None


def test_no_password_in_a_name():
    assert (
        address("postgresql+psycopg://me:hush@db/logs?password=hush").name == "postgresql://db/logs"
    )


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(DataError, match="is a folder: name a file"):
        Store.open(tmp_path)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="the folder .* is not there: make it"):
        Store.open(tmp_path / "none" / "verdicts.db")


def test_a_store_that_is_only_read_must_be_there(tmp_path):
    with pytest.raises(DataError, match="is not there: name the store"):
        Store.open(tmp_path / "verdicts.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(where):
    where.write_text("2026-11-27 12:00:00 a log that is no database\n" * 50)
    with pytest.raises(DataError, match="is no store, or is damaged"):
        Store.open(where)


def test_another_programs_database(where):
    with sqlite3.connect(where) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    with pytest.raises(DataError, match=r"another program's tables \(songs\)"):
        Store.open(where)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written(where):
    Store.open(where).close()
    where.chmod(0o400)
    with pytest.raises(DataError, match="cannot be written"):
        Store.open(where).claim("app", "p", owner="me")


def test_an_empty_file_becomes_a_store(where):
    where.touch()
    store = Store.open(where)
    assert store.check() == []
    store.close()


def test_a_store_of_a_newer_version_is_refused(store, where):
    with sqlite3.connect(where) as connection:
        connection.execute("UPDATE logllm_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(ServeError, match="written by a newer logllm .*9999.*install the newer one"):
        Store.open(where)


def test_a_file_that_was_moved_away_is_noticed(store, where):
    mine = store.claim("app", "p", owner="me")
    where.rename(where.with_name("elsewhere.db"))
    with pytest.raises(ServeError, match="moved, deleted or replaced"):
        store.write("app", verdicts=frame(verdict("a", 1)), kept=kept(mine))


def test_what_is_damaged_is_said(store, where):
    mine = store.claim("app", "p", owner="me")
    store.write("app", verdicts=frame(verdict("a", 1), verdict("b", 2)), kept=kept(mine))
    with sqlite3.connect(where) as connection:
        connection.execute("UPDATE verdicts SET state = 'dead' WHERE session = 'a'")
        connection.execute("UPDATE verdicts SET lines = '' WHERE session = 'b'")
        connection.execute("DELETE FROM places")
        connection.execute("INSERT INTO spans VALUES ('app', 'p', 'q', 'c', 1, 1, 1)")
    connection.close()
    assert sorted(store.check()) == [
        "spans without a verdict: 1",
        "verdicts of no known state: 1",
        "verdicts of partitions without a place: 2",
        "verdicts whose lines are no list: 1",
    ]
    with pytest.raises(DataError, match="holds rows that no logllm wrote"):
        store.verdicts("app")


def test_a_lock_that_stays_is_said_and_the_same_write_is_right_later(store, where, monkeypatch):
    mine = store.claim("app", "p", owner="me")
    holder = sqlite3.connect(where, isolation_level=None)
    monkeypatch.setattr("logllm.serve.store.connecting.WAIT", 0.05)
    hasty = Store.open(where)
    holder.execute("BEGIN IMMEDIATE")
    write = {"verdicts": frame(verdict("a", 1)), "kept": kept(mine, 2)}
    with pytest.raises(StoreAway, match="locked by another process"):
        hasty.write("app", **write)
    holder.execute("ROLLBACK")
    holder.close()
    assert hasty.write("app", **write).new == 1
    hasty.close()


def test_a_full_disk_is_said_and_the_same_write_is_right_later(store, where):
    from sqlalchemy import Engine, event

    mine = store.claim("app", "p", owner="me")
    most = 60

    def bound(connection, _) -> None:
        connection.execute(f"PRAGMA max_page_count = {most}").fetchall()

    event.listen(Engine, "connect", bound)
    try:
        small = Store.open(where)
        write = {
            "verdicts": frame(*(verdict(f"s{at}", at, texts="x" * 900) for at in range(500))),
            "kept": kept(mine, 500),
        }
        with pytest.raises(StoreFull, match="disk .* is full: free some space"):
            small.write("app", **write)
        small.close()
        assert store.verdicts("app").is_empty()
        assert store.claim("app", "q", owner="me").epoch == 1
        most = 10_000
        assert Store.open(where).write("app", **write).new == 500
    finally:
        event.remove(Engine, "connect", bound)
    assert store.check() == []


class Refusing(sqlite3.Connection):
    """One that SQLite refuses without any wait, as it does while another makes the same file."""

    refusals = 3

    def execute(self, sql, *args):
        if "journal_mode" in sql and self.refusals:
            self.refusals -= 1
            busy = sqlite3.OperationalError("database is locked")
            busy.sqlite_errorcode = sqlite3.SQLITE_BUSY | 2 << 8  # a kind of busy
            raise busy
        return super().execute(sql, *args)


def test_a_file_that_another_makes_at_this_moment_is_asked_for_again(where, monkeypatch):
    connection = sqlite3.connect(where, factory=Refusing)
    set_sqlite(connection, None)
    assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    connection.close()

    monkeypatch.setattr("logllm.serve.store.connecting.WAIT", 0.0)
    refused = sqlite3.connect(where, factory=Refusing)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        set_sqlite(refused, None)
    refused.close()


def test_a_copy_is_made_while_a_writer_goes_on(store, tmp_path):
    mine = store.claim("app", "p", owner="me")
    store.write("app", verdicts=frame(verdict("a", 1)), kept=kept(mine, 2))
    store.backup(tmp_path / "copy.db")
    store.write("app", verdicts=frame(verdict("b", 2)), kept=kept(mine, 3))
    copy = Store.open(tmp_path / "copy.db")
    assert copy.verdicts()["session"].to_list() == ["a"]
    assert copy.claim("app", "p", owner="me").low == 2
    assert copy.check() == []
    copy.close()


def test_a_copy_that_has_no_place_leaves_nothing(store, tmp_path):
    with pytest.raises(DataError):
        store.backup(tmp_path / "none" / "copy.db")
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == []


def test_a_store_of_the_first_version_stays_readable(where):
    """Its tables and rows are those that the first version wrote, and are never changed here."""
    first = Path(__file__).with_name("store_revision_1.sql").read_text(encoding="utf-8")
    with sqlite3.connect(where) as connection:
        connection.executescript(first)
    connection.close()

    store = Store.open(where)
    rows = store.verdicts("app").sort("session")
    assert rows["state"].to_list() == ["closed", "open", "early"]
    assert rows["lines"].to_list() == [[1, 3], [2], [4, 1]]
    assert rows["files"].to_list() == [None, None, ["p", "q"]]
    assert store.accounted("app", "q", low=0).rows() == [("c", 1)]
    mine = store.claim("app", "p", owner="me")
    assert mine == (2, 2, {"offset": 90}, {"records": 4})
    closed = frame(verdict("b", 2, 5), verdict("a", 1))
    assert store.write("app", verdicts=closed, kept=kept(mine)) == (0, 1, 1)
    assert store.verdicts("app").sort("session")["change"].to_list() == [0, 1, 0]
    assert store.check() == []
    store.close()


def test_the_last_revision_is_the_one_that_the_code_names():
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(files("logllm.serve.store.migrations")))
    assert scripts.get_heads() == [REVISION]


def test_migrations_lead_to_the_tables_that_the_code_knows(where):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import create_engine

    Store.open(where).close()
    engine = create_engine(f"sqlite:///{where}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "logllm_version"})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
