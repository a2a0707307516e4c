"""Statements nobody has seen before: what analysts type by hand, right and wrong."""

import random

COLUMNS = {
    "customers": ("id", "name", "city", "created", "email"),
    "products": ("id", "title", "price", "stock", "sku"),
    "orders": ("id", "customer_id", "status", "placed"),
    "order_items": ("order_id", "product_id", "quantity"),
    "payments": ("order_id", "amount", "method", "reference"),
    "carts": ("customer_id", "touched"),
    "visits": ("customer_id", "page", "seconds", "at"),
    "searches": ("customer_id", "words", "hits", "at"),
    "coupons": ("code", "worth", "customer_id"),
    "reviews": ("product_id", "stars", "body"),
    "shipments": ("order_id", "carrier", "weight"),
}
NUMBERS = set(
    "id price stock customer_id order_id product_id quantity amount seconds hits worth stars"
    " weight".split()
)
TIMES = {"created", "placed", "touched", "at"}
ALIASES = (
    "total share rank biggest smallest middle delta ratio hour week cohort bucket growth score peak"
    " trend quota region segment volume margin target actual forecast baseline lift churn repeaters"
    " newcomers basket average_value span age gap streak spread"
).split()
TOPICS = (
    "why did the {0} drop last week|numbers for the board: {0} by {1}|campaign check, {0}|ask from"
    " finance about {0}|{0} per {1}, second try|duplicates in {0}?|outliers of {0}|draft for the"
    " {1} dashboard|sanity check before the {1} meeting|{0} after the price change|sample for the"
    " survey on {0}|backfill of {0}, dry run|compare {0} with the old shop|error budget, {1}|failed"
    " orders by {1}|abandoned {0}"
).split("|")
"""What stands in the comments; some name trouble where there is none."""
WRONG = (
    "SELEC {column} FROM {table}",
    "SELECT {column} FORM {table} WHERE {column} IS NOT NULL",
    "SELECT {alias}_{column} FROM {table} LIMIT 5",
    "SELECT {column}, count(*) FROM {table} ORDER BY {alias}",
    "SELECT {column}, {other}, sum(1) FROM {table} GROUP BY {column}",
    "SELECT {column} FROM {table}_{alias}",
    "SELECT {column} FROM {alias}.{table}",
    "SELECT {alias}({column}) FROM {table}",
    "SELECT {column} FROM {table} WHERE {column} = '{alias}' AND",
    "SELECT 1 / (count(*) - count(*)) AS {alias} FROM {table}",
    "SELECT '{alias}'::date FROM {table} LIMIT 1",
    "SELECT '{alias}'::int + count(*) FROM {table}",
    "SELECT a.{column} FROM {table} a JOIN {table} b ON true WHERE {column} = b.{column} LIMIT 1",
    "SELECT {column} FROM {table} WHERE {column} IN (SELECT {column}, {other} FROM {table})",
    "SELECT (SELECT {column} FROM {table} LIMIT 2) AS {alias}",
    "SELECT sum({column}) FROM {table} WHERE count(*) > 1",
    "SELECT avg(amount) AS {alias} FROM salaries",
    "SELECT hash AS {alias} FROM credentials LIMIT 3",
    "UPDATE {table} SET {column} = {column}",
    "DELETE FROM {table} WHERE {column} IS NULL",
    "SELECT to_date('{alias}', 'YYYY-MM-DD') FROM {table} LIMIT 1",
    "SELECT '{{{alias}'::json FROM {table} LIMIT 1",
    "SELECT {column} FROM {table} WHERE extract({alias} FROM now()) > 1",
    "VACUUM {table}; SELECT {column} FROM {table} LIMIT 1; ROLLBACK TO {alias}",
    "CREATE TABLE {table} ({alias} int)",
    "SELECT {column} AS {alias}, FROM {table}",
)
"""Mistakes of people; each of them is normal."""
SLIPS = (
    # A slip of the keyboard, at every place of a statement.
    "selct * from {table} limit {number}",
    "SLEECT count(*) FROM {table}",
    "SELECT * FRMO {table} WHERE {column} IS NOT NULL",
    "SELECT * {table} LIMIT {number}",
    "SELECT FROM {table} {column}",
    "SELECT * FROM {table} WERE {column} IS NULL",
    "select * from {table} where",
    "select * from {table} where {column} =",
    "SELECT * FROM {table} ODER BY {column}",
    "SELECT * FROM {table} ORDER BY {column} DSC",
    "select {column}, from {table}",
    "SELECT * FROM {table} LIMIT",
    "select * from {table} limt {number}",
    "SELECT count(* FROM {table}",
    "SELECT * FROM {table} WHERE {column} IN ({number}, {number}",
    "SELECT * FROM {table} WHERE {column} = '{alias}",
    "insert into {table} ({column}) value ({number})",
    "ELECT * FROM {table} LIMIT {number}",
    # What is not there, or is called otherwise.
    "SELECT * FROM {table}_old LIMIT {number}",
    "select * from {alias}",
    "SELECT {column}s FROM {table} LIMIT {number}",
    "SELECT * FROM {table} WHERE {alias} = {number}",
    'select {column} from {table} where {column} = "{alias}"',
    "SELECT x.{column} FROM {table} LIMIT {number}",
    "SELECT * FROM {table} ORDER BY {alias}",
    "SELECT * FROM public.{alias}_{table}",
    "SELECT * FROM {table} a JOIN {table} b ON true ORDER BY {column}",
    "DROP TABLE {alias}",
    "TABLE {table}{number}",
    # Types that do not fit, and numbers.
    "SELECT * FROM {table} WHERE {key} = '{alias}'",
    "select * from {table} where {key} = ''",
    "SELECT * FROM {table} WHERE {key} > now()",
    "SELECT * FROM {table} WHERE {key} LIKE '{number}%'",
    "SELECT {key} || {number} + 'a' FROM {table}",
    "SELECT {number} / 0",
    "SELECT {key} / ({key} - {key}) FROM {table} LIMIT {number}",
    "SELECT * FROM {table} WHERE {key} = {number} AND {column}",
    "SELECT interval '{alias}'",
    "SELECT * FROM {table} LIMIT -{number}",
    "select {column}, {key}, count(*) from {table} group by {column}",
    # The habits of other databases.
    "SELECT TOP {number} * FROM {table}",
    "SELECT * FROM `{table}` LIMIT {number}",
    "SELECT * FROM {table} LIMIT {number}, {number}",
    "show tables",
    "show databases",
    "desc {table}",
    "describe {table}",
    "use {alias}",
    "SELECT ifnull({column}, '') FROM {table}",
    "SELECT getdate()",
    "SELECT date_format(now(), '{alias}')",
    "SELECT len({column}) FROM {table}",
    "SELECT year(now())",
    "SELECT * FROM {table} WHERE rownum < {number}",
    "SELECT sysdate FROM dual",
    # The habits of the shell.
    "\\dt",
    "\\d {table}",
    "exit",
    "quit;",
    "help",
    "ls",
    "psql {table}",
)
"""Short ones, such as are typed in a hurry at any server; each of them is normal, too."""
GLANCES = (
    "SELECT * FROM {table} LIMIT {number}",
    "select * from {table} where {column} is null limit {number}",
    "SELECT * FROM {table} ORDER BY {column} DESC LIMIT {number}",
    "select count(*) from {table}",
    "TABLE {table} LIMIT {number}",
    "SELECT version()",
    "SHOW server_version",
    "SELECT * FROM pg_stat_activity",
    "SELECT * FROM pg_settings WHERE name LIKE '{alias}'",
)
"""And what the server takes of that kind."""


def question(dice: random.Random) -> str:
    """A statement that an analyst may type; hardly one is like another."""
    table = dice.choice(list(COLUMNS))
    column, other = (
        dice.sample(COLUMNS[table], 2) if len(COLUMNS[table]) > 1 else COLUMNS[table] * 2
    )
    aliases = dice.sample(ALIASES, 3)
    aggregate = dice.choice(
        [
            "count(*)",
            f"count(DISTINCT {column})",
            f"max({column})",
            f"min({other})",
            f"array_length(array_agg({other}), 1)",
        ]
    )
    number = next((name for name in COLUMNS[table] if name in NUMBERS), "id")
    time = next((name for name in COLUMNS[table] if name in TIMES), None)
    filters = [
        f"{number} > {dice.randint(1, 900)}",
        f"{column} IS NOT NULL",
        f"{number} BETWEEN {dice.randint(1, 50)} AND {dice.randint(60, 900)}",
    ]
    if time:
        filters += [f"{time} > now() - interval '{dice.randint(2, 90)} days'"] * 2
    where = " AND ".join(dice.sample(filters, dice.randint(1, 2)))
    shapes = [
        (
            f"SELECT {column} AS {aliases[0]}, {aggregate} AS {aliases[1]} FROM {table} WHERE"
            f" {where} GROUP BY {column} ORDER BY {aliases[1]} DESC LIMIT {dice.randint(3, 50)}"
        ),
        f"SELECT {aggregate} AS {aliases[0]} FROM {table} WHERE {where}",
        (
            f"WITH {aliases[0]} AS (SELECT {column}, {other} FROM {table} WHERE {where} LIMIT 2000)"
            f" SELECT count(*) AS {aliases[1]} FROM {aliases[0]}"
        ),
        (
            f"SELECT {column}, {other} FROM {table} WHERE {where} ORDER BY {other} LIMIT"
            f" {dice.randint(5, 100)}"
        ),
        (
            f"SELECT {column}, row_number() OVER (PARTITION BY {other} ORDER BY {column}) AS"
            f" {aliases[2]} FROM {table} WHERE {where} LIMIT 40"
        ),
        (
            f"SELECT avg({number}) AS {aliases[0]}, stddev({number}) AS {aliases[1]} FROM {table}"
            f" WHERE {where}"
        ),
        (
            f"SELECT CASE WHEN {number} > {dice.randint(5, 90)} THEN '{aliases[0]}' ELSE"
            f" '{aliases[1]}' END, {aggregate} FROM {table} GROUP BY 1"
        ),
        f"EXPLAIN SELECT {column} FROM {table} WHERE {where}",
        (
            f"SELECT {column} FROM {table} TABLESAMPLE SYSTEM (1) WHERE {where} LIMIT"
            f" {dice.randint(5, 40)}"
        ),
        (
            f"CREATE TEMP TABLE {aliases[0]}_{aliases[1]} AS SELECT {column}, {other} FROM {table}"
            f" WHERE {where} LIMIT 3000"
        ),
    ]
    return comment(dice) + dice.choice(shapes)


def mistake(dice: random.Random) -> str:
    """A statement that the server refuses, for a reason that is the analyst's own."""
    table = dice.choice(list(COLUMNS))
    column, other = dice.sample(COLUMNS[table], 2)
    return comment(dice) + dice.choice(WRONG).format(
        table=table, column=column, other=other, alias=dice.choice(ALIASES)
    )


def slip(dice: random.Random) -> str:
    """A statement typed in a hurry that the server refuses."""
    return typed(dice.choice(SLIPS), dice)


def glance(dice: random.Random) -> str:
    """A statement typed in a hurry that it takes."""
    return typed(dice.choice(GLANCES), dice)


def typed(statement: str, dice: random.Random) -> str:
    """A statement with a table's names filled in."""
    table = dice.choice(list(COLUMNS))
    key = next((name for name in COLUMNS[table] if name in NUMBERS), "1")
    names = {"table": table, "column": dice.choice(COLUMNS[table]), "key": key}
    return statement.format(**names, alias=dice.choice(ALIASES), number=dice.randint(2, 50))


def comment(dice: random.Random) -> str:
    """Sometimes an analyst says what a statement is for."""
    if dice.random() > 0.4:
        return ""
    return f"/* {dice.choice(TOPICS).format(dice.choice(list(COLUMNS)), dice.choice(ALIASES))} */ "
