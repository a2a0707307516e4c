"""Faults of locking: one lock held for long, or many in the wrong order."""

import contextlib
import threading
import time

import psycopg
from faults import Case, fault


@fault("lock_held", train="migration row", only_later="table cursor", latest="cursor", messages=[
    "canceling statement due to lock timeout",
    "canceling statement due to statement timeout",
    "terminating connection due to idle-in-transaction timeout",
])  # fmt: skip
def lock_held(case: Case) -> None:
    """Somebody takes a lock and goes for coffee.

    The services run into their limits one after the other.
    """
    table = case.dice.choice(
        ["products", "carts"]
        if case.variant in {"migration", "row"}
        else ["coupons", "shipments", "reviews", "carts"]
    )
    case.users = ["shop_web", "shop_api", "shop_worker"]
    holder, taking = {
        "migration": ("deploy", f"ALTER TABLE {table} ADD COLUMN later text"),
        "row": ("shop_worker", f"SELECT id FROM {table} FOR UPDATE"),
        "table": ("shop_worker", f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"),
        "cursor": ("deploy", f"TRUNCATE {table} CASCADE"),
    }[case.variant]
    pages = {
        "products": ["order"],
        "carts": ["cart"],
        "coupons": ["coupon"],
        "shipments": ["dispatch"],
        "reviews": ["review"],
    }[table]
    if case.variant == "row" and table == "products":
        pages = ["order"]
    with case.load.session(holder, "psql", cursor_factory=psycopg.ClientCursor) as session:
        session.execute("SET idle_in_transaction_session_timeout = '9s'")
        session.execute("BEGIN")
        case.load.attempt(session, taking)
        case.pids.append(session.info.backend_pid)
        threads = [
            threading.Thread(
                target=case.visits,
                args=(case.dice.randint(1, 2), *pages * 2),
                kwargs={"user": user},
            )
            for user in ("shop_web", "shop_web", "shop_api", "shop_worker", "shop_worker")
        ]
        for thread in threads:
            thread.start()
            time.sleep(0.15)
        for thread in threads:
            thread.join()
        if case.dice.random() < 0.5:
            case.load.attempt(session, "SET LOCAL idle_in_transaction_session_timeout = '300ms'")
            time.sleep(0.6)
        with contextlib.suppress(psycopg.Error):
            session.execute("ROLLBACK")


@fault("deadlock_storm", train="rows", only_later="advisory tables", messages=["deadlock detected"])
def deadlock_storm(case: Case) -> None:
    """A new version locks in another order than the old one.

    The same clients lose again and again.
    """
    case.at_least = 2
    table = case.dice.choice(
        ["products", "orders", "customers"] if case.variant == "rows" else ["carts", "payments"]
    )
    low, high = case.dice.randint(1, 400), case.dice.randint(401, 800)
    until = time.monotonic() + 7
    users = [case.dice.choice(["shop_web", "shop_api", "shop_worker"]) for _ in range(4)]
    threads = [
        threading.Thread(target=struggle, args=(case, user, table, pair, until))
        for user, pair in zip(users, [(low, high), (high, low)] * 2, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def struggle(case: Case, user: str, table: str, pair: tuple[int, int], until: float) -> None:
    """One client of a storm: it tries its transaction until it has lost three times."""
    first, second = pair
    # the order of the two tables differs between the clients as that of the rows does
    tables = (table, "searches")[:: 1 if first < second else -1]
    lost = 0
    with (
        contextlib.suppress(psycopg.Error),
        case.load.session(user, "order-worker", cursor_factory=psycopg.ClientCursor) as session,
    ):
        session.execute("SET lock_timeout = 0")
        session.execute("SET statement_timeout = 0")
        case.pids.append(session.info.backend_pid)
        while lost < 3 and time.monotonic() < until:
            session.execute("BEGIN")
            for turn, row in enumerate((first, second)):
                taking = {
                    "rows": f"UPDATE {table} SET id = id WHERE id = {row}",
                    "advisory": f"SELECT pg_advisory_xact_lock({row})",
                    "tables": f"LOCK TABLE {tables[turn]} IN SHARE ROW EXCLUSIVE MODE",
                }[case.variant]
                if not case.load.attempt(session, taking):
                    lost += 1
                    break
                time.sleep(0.12)
            session.execute("ROLLBACK")
