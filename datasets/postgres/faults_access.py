"""Faults that come from outside: passwords guessed, statements smuggled in."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from faults import ERRORS, Case, fault

GUESSED = (
    "admin root oracle administrator sa test guest mysql user pi nagios ftp www dbadmin tomcat"
    " hadoop zabbix ansible git minecraft developer2 info support web postgresql pgsql operator"
    " service sysadmin demo backupuser teamcity sonar odoo gitlab redmine"
).split()
ATTACKS = (
    "SELECT id, title FROM products WHERE id = '{n}'' OR 1=1 --'",
    (
        "SELECT id, title FROM products WHERE title = '' OR '1'='1' UNION SELECT usename, passwd"
        " FROM pg_shadow --'"
    ),
    "SELECT id, title FROM products WHERE title = '' UNION SELECT NULL, NULL, NULL --'",
    "SELECT id, title FROM products WHERE title = 'x'; DROP TABLE customers; --'",
    "SELECT id FROM customers WHERE email = 'a' AND 1=CAST((SELECT version()) AS int) --'",
    "SELECT id FROM customers WHERE email = '''",
    "SELECT id FROM orders WHERE id = 5 AND 1=CAST(current_user AS int)",
    "SELECT id FROM orders WHERE id = -1 UNION SELECT table_name FROM information_schema.tables",
    "SELECT name FROM customers WHERE id = 1 ORDER BY {n}",
    "SELECT name FROM customers WHERE id = 1) OR (1=1",
    (
        "SELECT name FROM customers WHERE id = (SELECT 1 FROM pg_sleep(0)); SELECT"
        " pg_read_file('/etc/passwd')"
    ),
    "SELECT words FROM searches WHERE words = '' AND extractvalue(1, concat(0x7e, version())) --'",
    (
        "SELECT words FROM searches WHERE words = 'a' UNION ALL SELECT rolname, rolpassword FROM"
        " pg_authid --'"
    ),
    (
        "SELECT words FROM searches WHERE words = 'a' AND (SELECT 1 FROM (SELECT count(*),"
        " concat(version(), random()) x FROM users GROUP BY x) y)"
    ),
    "SELECT page FROM visits WHERE page = 'x' OR sleep(5) --'",
    "SELECT page FROM visits WHERE page = 'x'; EXEC xp_cmdshell('whoami'); --'",
    "SELECT page FROM visits WHERE page = 'x' PROCEDURE ANALYSE() --'",
    "SELECT status FROM orders WHERE status = 'new'; COPY (SELECT '') TO PROGRAM 'id' --'",
    "SELECT status FROM orders WHERE status = 'new' HAVING 1=1 --'",
    (
        "SELECT status FROM orders WHERE status = 'new' AND ASCII(SUBSTRING((SELECT hash FROM"
        " credentials LIMIT 1), 1, 1)) > 64 --'"
    ),
    "SELECT code FROM coupons WHERE code = 'A' OR 1 GROUP BY CONCAT(0x716b, (SELECT user())) --'",
    "SELECT code FROM coupons WHERE code = 'A' UNION SELECT lo_import('/etc/hosts') --'",
    "UPDATE carts SET content = '{}' WHERE id = 1 OR 1=1; ALTER ROLE shop_web SUPERUSER",
    "SELECT title FROM products WHERE id = 1 AND 1=(SELECT count(*) FROM tabname); --",
)


@fault(
    "password_guessing",
    train="names superuser",
    only_later="service replication",
    latest="replication",
    messages=[
        'password authentication failed for user "%s"',
        'no pg_hba.conf entry for replication connection from host "%s", user "%s", %s',
    ],
)
def password_guessing(case: Case) -> None:
    """Somebody tries names or passwords; each attempt is a session of its own."""
    count = case.dice.randint(7, 11)
    # names that training knows are not tried elsewhere
    guessed = GUESSED[1::2] if case.later else GUESSED[::2]
    names = {
        "names": case.dice.sample(guessed, count),
        "superuser": ["postgres"] * count,
        "service": [
            f"{case.dice.choice(guessed)}{case.dice.choice(['_db', '_prod', 'user', '-backup'])}"
            for _ in range(count)
        ],
        "replication": case.dice.sample(guessed, count),
    }[case.variant]
    case.users = ["[unknown]", *{name for name in names}]
    database = case.dice.choice([case.app.database, "postgres"])
    options: dict[str, Any] = {"replication": "database"} if case.variant == "replication" else {}
    for name in names:
        with contextlib.suppress(psycopg.Error):
            case.server.connect(name, database, password=f"{name}123", **options).close()
        time.sleep(case.dice.uniform(0.02, 0.15))


@fault("sql_injection", train="probes", only_later="scanner", messages=[ERRORS])
def sql_injection(case: Case) -> None:
    """The service passes on what a visitor smuggles into its statements.

    Most of it fails, and the log shows how.
    """
    half = len(ATTACKS) // 2
    # the training run knows only every second attack, so that others are new elsewhere
    attacks = ATTACKS[::2] if case.variant == "probes" else ATTACKS[1::2] + ATTACKS[: half // 2]
    for _ in range(case.dice.randint(4, 6)):
        with case.load.session(
            case.dice.choice(["shop_web", "shop_api"]),
            "checkout-service",
            cursor_factory=psycopg.ClientCursor,
        ) as session:
            case.pids.append(session.info.backend_pid)
            case.load.attempt(session, "SELECT name, city FROM customers WHERE id = 1")
            for attack in case.dice.sample(attacks, case.dice.randint(1, 3)):
                case.load.attempt(session, attack.replace("{n}", str(case.dice.randint(10, 99))))
        time.sleep(0.2)


@fault("connections_exhausted", train="leak role", only_later="database superuser_only", messages=[
    "sorry, too many clients already",
    "remaining connection slots are reserved for non-replication superuser connections",
    "too many connections for role \"%s\"",
    "too many connections for database \"%s\"",
])  # fmt: skip
def connections_exhausted(case: Case) -> None:
    """A service opens connections and never gives them back, or a limit is hit."""
    held: list[psycopg.Connection[object]] = []
    if case.variant == "role":
        case.rule("ALTER ROLE shop_web CONNECTION LIMIT 0")
    elif case.variant == "database":
        case.rule("ALTER DATABASE shop CONNECTION LIMIT 0")
    else:
        user, reserved = ("shop_api", 0) if case.variant == "leak" else ("shop_web", 3)
        with contextlib.suppress(psycopg.Error):
            while len(held) < 60 - reserved:
                held.append(case.load.session(user, "mobile-api"))
        with contextlib.suppress(psycopg.Error):
            while not reserved and len(held) < 64:
                held.append(
                    case.server.connect("postgres", "postgres", local=True, application_name="psql")
                )
    case.visits(
        case.dice.randint(3, 5),
        "account",
        user=(
            case.dice.choice(["shop_web", "shop_web", "shop_worker"])
            if case.variant != "role"
            else "shop_web"
        ),
    )
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda connection: connection.close(), held))
    case.rule("ALTER ROLE shop_web CONNECTION LIMIT -1", "ALTER DATABASE shop CONNECTION LIMIT -1")
