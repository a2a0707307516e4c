"""The load that is normal: services, analysts, reports, releases, checks.

And the errors that belong to it.
"""

import contextlib
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from application import Application

Session = psycopg.Connection[Any]
Client = Callable[["Load", random.Random], object]


class Load:
    """Threads that open sessions until they are told to stop."""

    def __init__(self, application: Application, *, seed: int, pace: float) -> None:
        self.app = application
        self.server = application.server
        self.seed = seed
        self.pace = pace
        """Seconds between two sessions of one thread, times this."""
        self.ending = threading.Event()
        self.threads: list[threading.Thread] = []

    def start(self, clients: Sequence[tuple[Client, float]]) -> None:
        """Begin; every client has a thread of its own."""
        for number, (client, pause) in enumerate(clients):
            thread = threading.Thread(
                target=self._client,
                args=(client, pause, random.Random(self.seed * 1000 + number)),
                daemon=True,
            )
            thread.start()
            self.threads.append(thread)

    def stop(self) -> None:
        """Stop, and wait for what is under way."""
        self.ending.set()
        for thread in self.threads:
            thread.join(15)

    def _client(self, client: Client, pause: float, dice: random.Random) -> None:
        while not self.ending.wait(pause * self.pace * dice.uniform(0.4, 1.6)):
            with contextlib.suppress(psycopg.Error, OSError, subprocess.TimeoutExpired):
                client(self, dice)

    def session(self, user: str, application: str, **options: Any) -> Session:
        """A session of one of the application's users, over loopback."""
        return self.server.connect(
            self.app.say(user),
            self.app.database,
            application_name=self.app.say(application),
            **options,
        )

    def attempt(
        self, session: Session, statement: str, values: tuple[Any, ...] | None = None
    ) -> bool:
        """Send a statement; whether the server took it.

        A broken connection is raised, as no client can go on then.
        """
        try:
            session.execute(self.app.say(statement).encode(), values)
        except psycopg.Error:
            if session.closed:
                raise
            return False
        return True


def web(
    load: Load, dice: random.Random, *, actions: tuple[str, ...] = (), user: str = "shop_web"
) -> int:
    """A visit: a few transactions of the shop's pages. Gives the backend's process id."""
    options: dict[str, Any] = {"cursor_factory": psycopg.ClientCursor} if user == "shop_api" else {}
    with load.session(
        user,
        {"shop_web": "checkout-service", "shop_api": "mobile-api"}.get(user, "order-worker"),
        **options,
    ) as session:
        for name in actions or dice.choices(list(PAGES), k=dice.randint(1, 4)):
            page(load, session, dice, name)
            time.sleep(dice.uniform(0, 0.12))
        if not actions:
            with_errors(load, session, dice)
        return session.info.backend_pid


def page(load: Load, session: Session, dice: random.Random, name: str) -> bool:
    """One page: its statements in turn, and whether all of them were taken."""
    customer, order, product = dice.randint(1, 4000), dice.randint(1, 9000), dice.randint(1, 800)
    values = {
        "customer": customer,
        "order": order,
        "product": product,
        "word": f"w{dice.randint(1, 999999)}",
        "n": dice.randint(1, 3),
    }
    for text in PAGES[name]:
        wanted = [part.split(")s")[0] for part in text.split("%(")[1:]]
        plain = text
        for key in wanted:
            plain = plain.replace(f"%({key})s", "%s", 1)
        if not load.attempt(session, plain, tuple(values[key] for key in wanted) or None):
            if session.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                load.attempt(session, "ROLLBACK")
            return False
    return True


PAGES = {
    "account": ("SELECT name, city FROM customers WHERE id = %(customer)s",),
    "history": (
        (
            "SELECT id, status, placed FROM orders WHERE customer_id = %(customer)s ORDER BY placed"
            " DESC LIMIT 20"
        ),
    ),
    "product": (
        "SELECT title, price, stock FROM products WHERE id = %(product)s",
        "SELECT stars, body FROM reviews WHERE product_id = %(product)s LIMIT 5",
    ),
    "visit": (
        "INSERT INTO visits (customer_id, page, seconds) VALUES (%(customer)s, %(word)s, %(n)s)",
    ),
    "trail": (
        (
            "SELECT page, count(*) FROM generate_series(1, 150) n JOIN LATERAL (SELECT page FROM"
            " visits v WHERE v.customer_id = n * 9 + %(customer)s ORDER BY at) v ON true GROUP BY"
            " page ORDER BY 2 DESC LIMIT 9"
        ),
    ),
    "suggest": (
        (
            "SELECT words, count(*) FROM generate_series(1, 150) n JOIN LATERAL (SELECT words FROM"
            " searches s WHERE s.customer_id = n * 7 + %(customer)s ORDER BY at) s ON true GROUP BY"
            " words LIMIT 5"
        ),
    ),
    "search": (
        "INSERT INTO searches (customer_id, words, hits) VALUES (%(customer)s, %(word)s, %(n)s)",
        "SELECT id, title FROM products WHERE title LIKE %(word)s LIMIT 10",
    ),
    "catalogue": (
        "SELECT title, price FROM products ORDER BY price, title",
        "SELECT name, city FROM customers ORDER BY name OFFSET 3995",
    ),
    "cart": (
        (
            "UPDATE carts SET content = '[1]', touched = now() WHERE customer_id = 1 + %(customer)s"
            " %% 1500"
        ),
    ),
    "order": (
        "BEGIN",
        "INSERT INTO orders (customer_id) VALUES (%(customer)s)",
        (
            "INSERT INTO order_items (order_id, product_id, quantity) VALUES"
            " (currval('order_number'), %(product)s, %(n)s)"
        ),
        "UPDATE products SET stock = stock - %(n)s WHERE id = %(product)s",
        "COMMIT",
    ),
    "pay": (
        "BEGIN",
        (
            "INSERT INTO payments (order_id, amount, method, reference) VALUES (%(order)s, %(n)s,"
            " 'card', md5(random()::text))"
        ),
        "UPDATE orders SET status = 'paid' WHERE id = %(order)s",
        "COMMIT",
    ),
    "register": (
        (
            "INSERT INTO customers (email, name, city) VALUES (%(word)s || md5(random()::text) ||"
            " '@example.com', %(word)s, 'Lund')"
        ),
    ),
    "invoice": (
        (
            "INSERT INTO invoices (order_id, body) SELECT %(order)s, string_agg(md5(random()::text"
            " || n), '') FROM generate_series(1, 150) n"
        ),
    ),
    "attach": (
        (
            "INSERT INTO attachments (customer_id, body) SELECT %(customer)s,"
            " string_agg(md5(random()::text || n), '') FROM generate_series(1, 150) n"
        ),
    ),
    "worth": ("SELECT worth_of(%(customer)s)",),
    "review": (
        (
            "INSERT INTO reviews (product_id, customer_id, stars, body) VALUES (%(product)s,"
            " %(customer)s, %(n)s, %(word)s)"
        ),
    ),
    "coupon": (
        "SELECT worth FROM coupons WHERE code = %(word)s",
        "UPDATE coupons SET worth = worth WHERE customer_id = %(customer)s",
    ),
    "shipment": ("SELECT carrier, tracking FROM shipments WHERE order_id = %(order)s",),
    "dispatch": (
        (
            "INSERT INTO shipments (order_id, carrier, tracking, weight) VALUES (%(order)s, 'post',"
            " %(word)s, %(n)s)"
        ),
    ),
}
HANDLED: tuple[tuple[str, ...], ...] = (
    (
        "INSERT INTO customers (email, name) VALUES ('user77@example.com', 'again')",
        "SELECT id FROM customers WHERE email = 'user77@example.com'",
    ),
    ("INSERT INTO payments (order_id, amount, method, reference) VALUES (5, 9, 'card', 'PAY-5')",),
    ("INSERT INTO coupons (code, customer_id, worth) VALUES ('C9', 3, 5)",),
    (
        "UPDATE products SET stock = stock - 999999999 WHERE id = 12",
        "SELECT stock FROM products WHERE id = 12",
    ),
    ("INSERT INTO order_items (order_id, product_id, quantity) VALUES (7, 999999, 1)",),
    ("INSERT INTO order_items (order_id, product_id, quantity) VALUES (7, 3, 0)",),
    ("INSERT INTO reviews (product_id, customer_id, stars) VALUES (3, 4, 9)",),
    ("INSERT INTO carts (customer_id, content) VALUES (88, '{not json')",),
    ("SELECT id, title FROM products WHERE id = 'red-shoes'",),
    ("SELECT id FROM orders WHERE id = '12345678901234567890'",),
    ("SELECT id FROM customers WHERE created > '2026-13-41'",),
    ("INSERT INTO customers (email, name) VALUES ('long@example.com', repeat('Maximilian ', 9))",),
    ("INSERT INTO customers (email, name) VALUES ('nobody@example.com', NULL)",),
    ("DELETE FROM products WHERE id = 5",),
    ("SELECT count(*) / (hits - hits) FROM searches WHERE customer_id = 5 GROUP BY hits",),
    (
        "BEGIN",
        "SELECT stock FROM products WHERE id = 4 FOR UPDATE",
        "SELECT 1 / 0",
        "SELECT stock FROM products WHERE id = 4",
        "ROLLBACK",
    ),
    ("SELECT title FROM products WHERE title ~ '('",),
    ("SELECT chr(0)",),
    ("SELECT '{\"a\": }'::jsonb",),
    ("COMMIT", "SELECT currval('order_number')"),
)
"""Errors that the application expects and handles."""


def with_errors(load: Load, session: Session, dice: random.Random) -> None:
    """Let a visit meet an error that is part of normal running, or end without a good-bye."""
    chance = dice.random()
    if chance < 0.16:
        for statement in dice.choice(HANDLED):
            load.attempt(session, statement)
        page(load, session, dice, dice.choice(list(PAGES)))
    elif chance < 0.19:
        vanish(load, session, dice)


def vanish(load: Load, session: Session, dice: random.Random) -> None:
    """The client is gone, in a transaction or between two."""
    if dice.random() < 0.6:
        load.attempt(session, "BEGIN")
        load.attempt(session, "UPDATE carts SET touched = now() WHERE customer_id = 12")
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(session.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def worker(load: Load, dice: random.Random) -> None:
    """The worker takes orders from the queue; it meets locks that others hold, and tries again."""
    with load.session("shop_worker", "order-worker") as session:
        for _ in range(dice.randint(2, 7)):
            taken = load.attempt(
                session,
                f"SELECT id FROM orders WHERE id = {dice.randint(1, 9000)} FOR UPDATE NOWAIT",
            )
            page(
                load, session, dice, dice.choice(["dispatch", "invoice", "pay", "shipment", "cart"])
            )
            if not taken or dice.random() < 0.05:
                load.attempt(session, dice.choice(HANDLED)[0])
            time.sleep(dice.uniform(0.05, 0.3))


def quarrel(load: Load, dice: random.Random) -> None:
    """Two workers meet once in opposite order; the one that loses tries again and succeeds."""
    first, second = dice.sample(range(1, 800), 2)
    table, key = dice.choice(
        [
            ("products", "stock"),
            ("carts", "customer_id"),
            ("coupons", "worth"),
            ("orders", "status"),
        ]
    )
    with (
        load.session("shop_worker", "order-worker") as one,
        load.session("shop_worker", "order-worker") as two,
    ):
        for session, row in ((one, first), (two, second)):
            load.attempt(session, "BEGIN")
            load.attempt(session, f"UPDATE {table} SET {key} = {key} WHERE id = {row}")
        helper = threading.Thread(
            target=lambda: quiet(load, one, f"UPDATE {table} SET {key} = {key} WHERE id = {second}")
        )
        helper.start()
        load.attempt(two, f"UPDATE {table} SET {key} = {key} WHERE id = {first}")
        load.attempt(two, "ROLLBACK")
        helper.join()
        load.attempt(one, "COMMIT")
        page(load, two, dice, "cart")


def quiet(load: Load, session: Session, statement: str) -> None:
    """A statement in a thread, whose broken connection ends the thread alone."""
    with contextlib.suppress(psycopg.Error, OSError):
        load.attempt(session, statement)
