"""Faults of processes: killed, out of memory, and a replica that is lost."""

import contextlib
import os
import signal
import threading
import time

import psycopg
from faults import Case, fault
from load import quiet


@fault("backend_killed", train="kill segv", only_later="abrt bus", latest="abrt ill", messages=[
    "%s (PID %d) was terminated by signal %d: %s",
    "terminating any other active server processes",
    "all server processes terminated; reinitializing",
    "database system was interrupted; last known up at %s",
    "database system was not properly shut down; automatic recovery in progress",
    "redo starts at %X/%X",
    "redo done at %X/%X system usage: %s",
    "the database system is in recovery mode",
    "the database system is not yet accepting connections",
])  # fmt: skip
def backend_killed(case: Case) -> None:
    """A backend dies of a signal.

    The server ends all others and recovers, and who connects meanwhile is refused.
    """
    number = {
        "kill": signal.SIGKILL,
        "segv": signal.SIGSEGV,
        "abrt": signal.SIGABRT,
        "bus": signal.SIGBUS,
        "ill": signal.SIGILL,
    }[case.variant]
    session = case.load.session(
        "shop_report", "nightly-report", cursor_factory=psycopg.ClientCursor
    )
    slow = "SELECT sum(seconds * 1.5) FROM visits, generate_series(1, 99)"
    threading.Thread(target=quiet, args=(case.load, session, slow), daemon=True).start()
    time.sleep(0.2)
    os.kill(session.info.backend_pid, number)
    threads = [
        threading.Thread(target=hurried, args=(case, turn * 0.03))
        for turn in range(case.dice.randint(4, 6))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(1)
    case.server.wait()


def hurried(case: Case, pause: float) -> None:
    """A client that tries at once, while the server recovers."""
    time.sleep(pause)
    with contextlib.suppress(psycopg.Error):
        case.load.session(
            case.app.random.choice(["shop_web", "shop_api", "shop_worker"]), "checkout-service"
        ).close()


@fault("out_of_memory", train="locks buffer", only_later="request", latest="stack", messages=[
    "out of shared memory", "out of memory", "internal: invalid memory alloc request size %zu",
    "stack depth limit exceeded",
])  # fmt: skip
def out_of_memory(case: Case) -> None:
    """The lock table is full of one client's locks, or a statement asks for too much memory."""
    if case.variant == "locks":
        with case.load.session("shop_worker", "order-worker") as session:
            case.load.attempt(
                session, "SELECT pg_advisory_lock(n) FROM generate_series(1, 99999) n"
            )
            case.visits(
                case.dice.randint(4, 6),
                case.dice.choice(["order", "pay", "visit"]),
                "cart",
                user=case.dice.choice(["shop_web", "shop_api"]),
            )
        return
    if case.variant == "stack":
        endless(case)
        return
    tables = {"buffer": ["visits", "orders"], "request": ["searches", "customers", "reviews"]}[
        case.variant
    ]
    for _ in range(case.dice.randint(3, 5)):
        table = case.dice.choice(tables)
        text = {
            "buffer": (
                "SELECT string_agg(repeat(repeat('x', 9000), 10000), '') FROM (SELECT 1 FROM"
                f" {table} LIMIT 15) t"
            ),
            "request": (
                "SELECT repeat(repeat('x', 60000), 10000) || repeat(repeat(id::text, 60000 /"
                f" length(id::text)), 10000) FROM {table} LIMIT 1"
            ),
        }[case.variant]
        user = case.dice.choice(["shop_report", "shop_api", "shop_worker"])
        with (
            contextlib.suppress(psycopg.Error),
            case.load.session(
                user, "nightly-report", cursor_factory=psycopg.ClientCursor
            ) as session,
        ):
            case.pids.append(session.info.backend_pid)
            session.execute("SET statement_timeout = 0")
            case.load.attempt(session, text)


def endless(case: Case) -> None:
    """A function that calls itself without an end, which the services call."""
    calls = (
        "CREATE FUNCTION price_of(level int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN"
        " price_of(level + 1); END'"
    )
    case.rule(calls)
    for _ in range(case.dice.randint(3, 5)):
        user = case.dice.choice(["shop_web", "shop_api", "shop_worker"])
        with (
            contextlib.suppress(psycopg.Error),
            case.load.session(user, "checkout-service") as session,
        ):
            case.pids.append(session.info.backend_pid)
            case.load.attempt(session, f"SELECT price_of({case.dice.randint(1, 9)})")
    case.rule("DROP FUNCTION price_of(int)")


def impatient(case: Case) -> None:
    """A visitor whose entry is not confirmed, and who breaks it off."""
    statement = case.dice.choice(
        [
            "INSERT INTO visits (customer_id, page, seconds) VALUES (5, '/sale', 3)",
            "UPDATE carts SET touched = now() WHERE customer_id = 44",
            "INSERT INTO searches (customer_id, words, hits) VALUES (8, 'blue', 3)",
        ]
    )
    with (
        contextlib.suppress(psycopg.Error),
        case.load.session("shop_web", "checkout-service") as session,
    ):
        timer = threading.Timer(1.2, session.cancel)
        timer.start()
        case.load.attempt(session, statement)
        timer.cancel()
        case.load.attempt(session, "SELECT 1")


@fault("replica_lost", train="killed slot", only_later="frozen removed", messages=[
    "unexpected EOF on standby connection",
    "terminating walsender process due to replication timeout",
    "replication slot \"%s\" does not exist",
    "requested WAL segment %s has already been removed",
    "canceling wait for synchronous replication due to user request",
    "canceling statement due to lock timeout",
    "canceling statement due to statement timeout",
])  # fmt: skip
def replica_lost(case: Case) -> None:
    """The replica dies, hangs, or cannot come back; commits that wait for it are broken off."""
    replica = case.replica
    if replica is None:
        return
    # visits also meet the locks of those that wait for the replica
    case.users = ["", "[unknown]", "replicator", "shop_web", "shop_api", "shop_worker"]
    if case.variant in {"killed", "frozen"}:
        case.rule(
            "ALTER SYSTEM SET synchronous_standby_names = 'replica'", "SELECT pg_reload_conf()"
        )
        time.sleep(0.5)
        replica.signal(signal.SIGKILL if case.variant == "killed" else signal.SIGSTOP)
        visits = [
            threading.Thread(target=impatient, args=(case,)) for _ in range(case.dice.randint(4, 6))
        ]
        for thread in visits:
            thread.start()
        for thread in visits:
            thread.join()
        time.sleep(2.5 if case.variant == "frozen" else 0.3)
        case.rule("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        replica.signal(signal.SIGCONT)
        if case.variant == "killed":
            replica.stop()
            replica.start()
        return
    replica.stop()
    if case.variant == "removed":
        replica.configure("primary_slot_name = ''")
        case.rule("ALTER SYSTEM SET wal_keep_size = 0", "SELECT pg_reload_conf()")
    with contextlib.suppress(psycopg.Error):
        case.rule("SELECT pg_drop_replication_slot('replica')")
    for _ in range(5 if case.variant == "removed" else 0):
        case.rule(
            "INSERT INTO visits (customer_id, page) VALUES (0, 'x')",
            "SELECT pg_switch_wal()",
            "CHECKPOINT",
        )
    replica.start()
    time.sleep(case.dice.uniform(3, 5))
    replica.stop()
    case.rule(
        "ALTER SYSTEM RESET wal_keep_size",
        "SELECT pg_reload_conf()",
        "SELECT pg_create_physical_replication_slot('replica', true)",
    )
    replica.copy(case.server)
