"""Faults of change.

A bad setting, a bad release, an index dropped, rights taken away, numbers used up.
"""

import contextlib
import time

import psycopg
from application import LIMITS
from faults import Case, fault


@fault(
    "missing_index",
    train="visits",
    only_later="searches",
    messages=["canceling statement due to statement timeout"],
)
def missing_index(case: Case) -> None:
    """An index is gone, and what was quick meets its limit."""
    page = {"visits": "trail", "searches": "suggest"}[case.variant]
    case.users = ["shop_web", "shop_api"]
    table = case.variant
    case.rule(
        f"DROP INDEX {table}_customer_id_idx", f"ALTER TABLE {table} SET (autovacuum_enabled = off)"
    )
    case.visits(case.dice.randint(3, 5), page, "account", page, user=case.dice.choice(case.users))
    case.rule(
        f"CREATE INDEX {table}_customer_id_idx ON {table} (customer_id)",
        f"ALTER TABLE {table} RESET (autovacuum_enabled)",
    )


@fault(
    "bad_configuration",
    train="syntax admission read_only",
    only_later="value search_path limit admission_syntax",
    latest="limit",
    messages=[
        'configuration file "%s" contains errors; no changes were applied',
        'configuration file "%s" contains errors; unaffected changes were applied',
        'invalid value for parameter "%s": "%s"',
        'syntax error in file "%s" line %u, near token "%s"',
        'syntax error in file "%s" line %u, near end of line',
        'unrecognized configuration parameter "%s" in file "%s" line %d',
        'invalid authentication method "%s"',
        "%s was not reloaded",
        'no pg_hba.conf entry for host "%s", user "%s", database "%s", %s',
        "cannot execute %s in a read-only transaction",
        'relation "%s" does not exist',
        "function %s does not exist",
        "canceling statement due to statement timeout",
    ],
)
def bad_configuration(case: Case) -> None:
    """A file with a mistake in it is loaded: refused as a whole, or taken with bad effect."""
    services = ["shop_web", "shop_api", "shop_worker"]
    own = {"search_path": "search_path = 'archive'", "limit": "statement_timeout = '1ms'"}
    if case.variant in own:
        # a setting of the services alone, so that others' mistakes of the same wording stay theirs
        case.users = services
    else:
        case.messages = [
            message
            for message in case.messages
            if not message.endswith(("does not exist", "timeout"))
        ]
    admitted = (case.server.folder / "pg_hba.conf").read_text(encoding="utf-8")
    mistakes = {
        "syntax": "work_mem 4MB = = on",
        "value": (
            f"work_mem = '{case.dice.choice(['lots', '64 elephants', '-5'])}'\nshared_bufers ="
            " '1GB'"
        ),
    }
    if case.variant in mistakes:
        case.server.configure(mistakes[case.variant])
    elif case.variant == "read_only":
        case.rule("ALTER SYSTEM SET default_transaction_read_only = on")
    elif case.variant in own:
        case.rule(*(f"ALTER ROLE {role} SET {own[case.variant]}" for role in services))
    else:
        rule = (
            "host all all 127.0.0.1/32 trsut"
            if case.variant == "admission_syntax"
            else "host all postgres,monitor 127.0.0.1/32 scram-sha-256"
        )
        case.server.admit("local all all trust", rule)
    case.server.reload()
    time.sleep(0.3)
    pages = {"read_only": ["visit", "cart", "register"], "limit": ["trail", "suggest"]}.get(
        case.variant, ["history", "account"]
    )
    if case.variant not in {"syntax", "value", "admission_syntax"}:
        case.visits(case.dice.randint(3, 5), case.dice.choice(pages), case.dice.choice(pages))
    case.server.admit(*admitted.splitlines())
    case.server.configure()
    # back to what the application has set for each of them
    limits = [f"ALTER ROLE {role} SET {setting}" for role in services for setting in LIMITS[role]]
    case.rule(
        "ALTER SYSTEM RESET default_transaction_read_only",
        *(f"ALTER ROLE {role} RESET search_path" for role in services),
        *limits,
    )
    case.server.reload()
    # sessions that began meanwhile keep a role's settings until they end
    time.sleep(4 if case.variant in own else 0)


@fault(
    "broken_release",
    train="column table",
    only_later="not_null function",
    latest="check",
    messages=[
        'column "%s" does not exist',
        'column "%s" of relation "%s" does not exist',
        'relation "%s" does not exist',
        'null value in column "%s" of relation "%s" violates not-null constraint',
        "function %s does not exist",
        'new row for relation "%s" violates check constraint "%s"',
    ],
)
def broken_release(case: Case) -> None:
    """A release changes the schema under a service that still expects the old one."""
    case.users = ["shop_web", "shop_api", "shop_worker"]
    do, undo, page = {
        "column": (
            "ALTER TABLE {0} RENAME COLUMN {1} TO {1}_new",
            "ALTER TABLE {0} RENAME COLUMN {1}_new TO {1}",
            None,
        ),
        "table": ("ALTER TABLE {0} RENAME TO {0}_v2", "ALTER TABLE {0}_v2 RENAME TO {0}", None),
        "not_null": (
            "ALTER TABLE {0} ADD COLUMN tenant_id int NOT NULL DEFAULT 1;"
            " ALTER TABLE {0} ALTER COLUMN tenant_id DROP DEFAULT",
            "ALTER TABLE {0} DROP COLUMN tenant_id",
            None,
        ),
        "check": (
            "ALTER TABLE {0} ADD CONSTRAINT {0}_guard CHECK (id < 0) NOT VALID",
            "ALTER TABLE {0} DROP CONSTRAINT {0}_guard",
            None,
        ),
        "function": (
            "ALTER FUNCTION worth_of(int) RENAME TO worth_of_v2",
            "ALTER FUNCTION worth_of_v2(int) RENAME TO worth_of",
            "worth",
        ),
    }[case.variant]
    places = [
        ("customers", "city", "register"),
        ("products", "price", "product"),
        ("orders", "status", "history"),
        ("reviews", "stars", "review"),
    ]
    more = [
        ("searches", "hits", "search"),
        ("shipments", "carrier", "dispatch"),
        ("coupons", "worth", "coupon"),
        ("visits", "page", "visit"),
        ("carts", "content", "cart"),
    ]
    if case.variant in {"not_null", "check"}:
        more = [
            ("searches", "hits", "search"),
            ("shipments", "carrier", "dispatch"),
            ("visits", "page", "visit"),
            ("reviews", "stars", "review"),
        ]
    table, column, own = case.dice.choice(more if case.later else places)
    table, column = case.app.say(table), case.app.say(column)
    case.naming = {
        "column": column,
        "table": table,
        "not_null": "tenant_id",
        "check": f"{table}_guard",
        "function": case.app.say("worth_of"),
    }[case.variant]
    case.server.rule(*do.format(table, column).split("; "), database=case.app.database)
    page = page or own
    case.visits(
        case.dice.randint(3, 5),
        *[page] * case.dice.randint(2, 3),
        user=case.dice.choice(case.users),
    )
    case.server.rule(*undo.format(table, column).split("; "), database=case.app.database)


@fault(
    "rights_revoked",
    train="select insert",
    only_later="sequence schema",
    latest="function",
    messages=[
        "permission denied for function %s",
        "permission denied for table %s",
        "permission denied for sequence %s",
        "permission denied for schema %s",
        'relation "%s" does not exist',
        "function %s does not exist",
    ],
)
def rights_revoked(case: Case) -> None:
    """A service loses rights that it needs."""
    case.users = ["shop_web", "shop_worker", "shop_api"]
    what, pages = case.dice.choice(
        RIGHTS["later" if case.later and case.variant in {"select", "insert"} else case.variant]
    )
    # What everybody may do is taken from everybody.
    everybody = ", PUBLIC" if case.variant in {"schema", "function"} else ""
    case.rule(f"REVOKE {what} FROM {', '.join(case.users)}{everybody}")
    case.visits(
        case.dice.randint(3, 5), *pages * case.dice.randint(1, 2), user=case.dice.choice(case.users)
    )
    case.rule(f"GRANT {what} TO {', '.join(case.users)}{everybody}")


RIGHTS = {
    "select": [
        ("SELECT ON customers", ["account"]),
        ("SELECT ON products", ["product", "product"]),
        ("SELECT ON orders", ["history"]),
    ],
    "insert": [
        ("INSERT ON payments", ["pay"]),
        ("UPDATE ON carts", ["cart", "cart"]),
        ("INSERT ON order_items", ["order"]),
    ],
    "later": [
        ("SELECT ON shipments", ["shipment"]),
        ("INSERT ON visits", ["visit"]),
        ("SELECT ON coupons", ["coupon", "coupon"]),
        ("INSERT ON reviews", ["review"]),
    ],
    "sequence": [("USAGE, SELECT ON SEQUENCE order_number", ["order"])],
    "schema": [("USAGE ON SCHEMA public", ["account", "history"])],
    "function": [("EXECUTE ON FUNCTION worth_of(int)", ["worth"])],
}


@fault("sequence_exhausted", train="orders", only_later="identity text", messages=[
    "nextval: reached maximum value of sequence \"%s\" (%lld)", "integer out of range",
])  # fmt: skip
def sequence_exhausted(case: Case) -> None:
    """A number has run out of digits, and nothing can be entered any more."""
    case.users = ["shop_web", "shop_api", "shop_worker"]
    page, sequence = {
        "orders": ("order", "order_number"),
        "identity": ("pay", "payments_id_seq"),
        "text": ("review", "reviews_id_seq"),
    }[case.variant]
    sequence = (
        case.app.say("payments") + "_id_seq"
        if page == "pay"
        else case.app.say("reviews") + "_id_seq"
        if page == "review"
        else sequence
    )
    kept = case.rule(f"SELECT last_value FROM {sequence}")[0]
    if case.variant == "text":
        case.rule(
            f"ALTER SEQUENCE {sequence} AS bigint", f"SELECT setval('{sequence}', 2147483647)"
        )
    else:
        case.rule(
            f"SELECT setval('{sequence}', (SELECT seqmax FROM pg_sequence WHERE seqrelid ="
            f" '{sequence}'::regclass))"
        )
    case.visits(
        case.dice.randint(3, 5),
        *[page] * case.dice.randint(2, 3),
        user=case.dice.choice(case.users),
    )
    with contextlib.suppress(psycopg.Error):
        case.rule(f"SELECT setval('{sequence}', {kept[0]})")  # type: ignore[index]
