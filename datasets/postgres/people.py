"""People, reports, releases and maintenance.

The part of normal running that is different every time.
"""

import contextlib
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import psycopg
from application import ANALYSTS
from load import Client, Load, quarrel, quiet, web, worker
from server import BINARIES, OWNER
from statements import ALIASES, COLUMNS, comment, mistake, question


def analyst(load: Load, dice: random.Random) -> None:
    """An analyst's session: questions, mistakes, a query broken off.

    Sometimes the password is mistyped first.
    """
    name = dice.choice(ANALYSTS)
    if dice.random() < 0.12:
        with contextlib.suppress(psycopg.Error):
            load.session(name, "psql", password="mistyped").close()
        time.sleep(0.5)
    if dice.random() < 0.05:
        with contextlib.suppress(psycopg.Error):
            load.server.connect(
                dice.choice(
                    [
                        "root",
                        "ubuntu",
                        "jenkins",
                        "developer",
                        load.app.say(name) + dice.choice("xyz"),
                    ]
                ),
                load.app.database,
                local=True,
            )
    if dice.random() < 0.04:
        with contextlib.suppress(psycopg.Error):
            load.server.connect(
                load.app.say(name), load.app.database + dice.choice(["_test", "_old", "2", "_copy"])
            )
    with load.session(
        name,
        dice.choice(["psql", "DBeaver", "pgAdmin 4", "notebook", "metabase"]),
        cursor_factory=psycopg.ClientCursor,
    ) as session:
        for _ in range(dice.randint(1, 6)):
            load.attempt(session, mistake(dice) if dice.random() < 0.22 else question(dice))
            time.sleep(dice.uniform(0.05, 0.5))
        chance = dice.random()
        if chance < 0.12:
            broken_off(load, session, dice)
        elif chance < 0.16:
            load.attempt(session, "BEGIN")
            load.attempt(session, question(dice))
            session.autocommit = True
            time.sleep(3.5 if name == "chen" else 0.5)


def broken_off(load: Load, session: "psycopg.Connection[object]", dice: random.Random) -> None:
    """A question that takes too long, and a hand on Ctrl-C, or the limit of the role."""
    pairs = (
        f"FROM visits a, visits b WHERE a.seconds < b.seconds AND a.id < {dice.randint(900, 90000)}"
    )
    slow = f"{comment(dice)}SELECT count(*) AS {dice.choice(ALIASES)} {pairs}"
    timer = threading.Timer(dice.uniform(0.2, 0.5), session.cancel)
    timer.start()
    load.attempt(session, slow)
    timer.cancel()


def report(load: Load, dice: random.Random) -> None:
    """The reports: heavy, with files for sorting.

    Some meet their limit, which is known and accepted.
    """
    with load.session(
        "shop_report", "nightly-report", cursor_factory=psycopg.ClientCursor
    ) as session:
        for _ in range(dice.randint(1, 3)):
            alias, table = dice.choice(ALIASES), dice.choice(["visits", "searches"])
            column = dice.choice(COLUMNS[table])
            heavy = [
                (
                    f"SELECT {column} AS {alias}, id FROM {table} WHERE id <"
                    f" {dice.randint(30000, 60000)} ORDER BY {column}, id DESC OFFSET 25000"
                ),
                (
                    f"SELECT customer_id, count(DISTINCT id) AS {alias} FROM {table} WHERE id <"
                    " 40000 GROUP BY customer_id ORDER BY 2 DESC LIMIT 9"
                ),
                (
                    f"SELECT count(*) AS {alias} FROM {table} a JOIN {table} b ON a.{column} <>"
                    f" b.{column} WHERE a.id < 9000 AND b.id < 90000"
                ),
            ]
            load.attempt(session, dice.choices(heavy, [3, 3, 1])[0])


def release(load: Load, dice: random.Random) -> None:
    """A release of the application: changes of the schema that wait no longer than they should."""
    table = dice.choice(["carts", "reviews", "shipments", "coupons", "searches"])
    name = f"{dice.choice(ALIASES)}_{dice.choice(ALIASES)}"
    with load.session(
        "deploy",
        dice.choice(["flyway", "liquibase", "alembic"]),
        cursor_factory=psycopg.ClientCursor,
    ) as session:
        steps = [
            (
                f"ALTER TABLE {table} ADD COLUMN {name} text",
                f"COMMENT ON COLUMN {table}.{name} IS 'see ticket'",
                f"ALTER TABLE {table} DROP COLUMN {name}",
            ),
            (f"CREATE INDEX CONCURRENTLY {name} ON {table} (id)", f"DROP INDEX {name}"),
            (
                f"CREATE TABLE {name} (id int PRIMARY KEY, {dice.choice(ALIASES)}_of text)",
                f"CREATE TABLE {name} (id int)",
                f"DROP TABLE {name}",
            ),
            (
                f"CREATE VIEW {name} AS SELECT id FROM {table}",
                f"ALTER TABLE {table} DROP COLUMN id",
                f"DROP VIEW {name}",
            ),
            (
                f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK (id < 100)",
                f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK (id > 0)",
                f"ALTER TABLE {table} DROP CONSTRAINT {name}",
            ),
            (
                f"CREATE FUNCTION {name}() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                f"DROP FUNCTION {name}()",
                f"DROP FUNCTION {name}()",
            ),
        ]
        for statement in dice.choice(steps):
            load.attempt(session, statement)
            time.sleep(0.1)
        if dice.random() < 0.5:
            blocked(load, session, table)


def blocked(load: Load, session: "psycopg.Connection[object]", table: str) -> None:
    """A release gives way to a transaction in its way, and tries again when that is gone."""
    with load.session("shop_worker", "order-worker") as other:
        load.attempt(other, "BEGIN")
        load.attempt(other, f"SELECT id FROM {table} LIMIT 1")
        load.attempt(session, f"ALTER TABLE {table} ADD COLUMN later text")
        load.attempt(other, "COMMIT")
        load.attempt(session, f"ALTER TABLE {table} ADD COLUMN later text")
        load.attempt(session, f"ALTER TABLE {table} DROP COLUMN later")


def patience(load: Load, dice: random.Random) -> None:
    """Two visits want the same row, and the second waits a moment for it."""
    row = dice.randint(1, 800)
    with (
        load.session("shop_web", "checkout-service") as one,
        load.session("shop_web", "checkout-service") as two,
    ):
        load.attempt(one, "BEGIN")
        load.attempt(one, f"UPDATE products SET stock = stock WHERE id = {row}")
        helper = threading.Thread(
            target=lambda: quiet(
                load, two, f"UPDATE products SET stock = stock - 1 WHERE id = {row}"
            )
        )
        helper.start()
        time.sleep(0.33)
        load.attempt(one, "COMMIT")
        helper.join()


def checks(load: Load, dice: random.Random) -> None:
    """The monitoring asks its questions over and over."""
    with load.server.connect(
        load.app.say("monitor"), "postgres", application_name="check_postgres"
    ) as session:
        session.execute("SELECT count(*) FROM pg_stat_activity")
        session.execute("SELECT pg_database_size(datname) FROM pg_database WHERE datallowconn")
        if dice.random() < 0.15:
            load.attempt(session, "SELECT count(*) FROM pg_stat_statements")


def bench(load: Load, dice: random.Random) -> None:
    """Transactions of pgbench, each in a session of its own."""
    where = ["-h", str(load.server.root), "-p", str(load.server.port), "-U", "bench", "bench"]
    kind = dice.choice(["tpcb-like", "simple-update", "select-only"])
    command = [
        str(BINARIES / "pgbench"),
        "-n",
        "-C",
        "-c",
        "1",
        "-t",
        str(dice.randint(1, 4)),
        "-b",
        kind,
        *where,
    ]
    subprocess.run(command, check=False, capture_output=True, user=OWNER, timeout=30)


def upkeep(load: Load, dice: random.Random) -> None:
    """The administrator at work: maintenance, settings, idle sessions sent away, a base backup."""
    table, app = load.app.say(dice.choice(list(COLUMNS))), load.app
    works: list[Callable[[], object]] = [
        lambda: load.server.rule(
            f"VACUUM (ANALYZE) {table}",
            f"REINDEX TABLE CONCURRENTLY {table}",
            database=app.database,
        ),
        lambda: load.server.rule(
            f"ALTER SYSTEM SET checkpoint_timeout = '{dice.randint(30, 90)}s'",
            "SELECT pg_reload_conf()",
        ),
        lambda: load.server.rule(
            f"ALTER SYSTEM SET random_page_cost = '{dice.randint(11, 40) / 10}'",
            "SELECT pg_reload_conf()",
        ),
        lambda: load.server.rule("CHECKPOINT", "SELECT pg_switch_wal()"),
        lambda: sent_away(load, dice),
        lambda: load.server.rule(f"SELECT count(*) FROM {table}_old", database=app.database),
        lambda: load.server.rule(
            f"CREATE STATISTICS {dice.choice(ALIASES)} ON id FROM {table}", database=app.database
        ),
    ]
    dice.choice(works)()


def sent_away(load: Load, dice: random.Random) -> None:
    """An analyst's forgotten session is ended by the administrator."""
    with load.session(
        dice.choice(ANALYSTS), "psql", cursor_factory=psycopg.ClientCursor
    ) as session:
        load.attempt(session, question(dice))
        # A session is ended twice as often as its statement is cancelled.
        way = dice.choice(["pg_terminate_backend", "pg_terminate_backend", "pg_cancel_backend"])
        load.server.rule(f"SELECT {way}({session.info.backend_pid})")
        load.attempt(session, question(dice))


def planned_restart(load: Load) -> None:
    """A restart in the maintenance window.

    Open sessions are ended by the administrator's command.
    """
    load.server.stop(signal.SIGINT)
    load.server.start()


CLIENTS: tuple[tuple[Client, float], ...] = (
    (web, 0.9),
    (web, 0.9),
    (lambda load, dice: web(load, dice, user="shop_api"), 1.1),
    (worker, 2.5),
    (worker, 4.0),
    (analyst, 1.1),
    (analyst, 1.6),
    (report, 5.0),
    (release, 6.0),
    (checks, 3.0),
    (bench, 2.5),
    (upkeep, 7.0),
    (quarrel, 9.0),
    (patience, 9.0),
)
"""Who connects, and the seconds between two sessions."""
