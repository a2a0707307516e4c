"""Faults of the disk: full, damaged, drowned in temporary files."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
from faults import Case, fault
from statements import ALIASES

HEAVY = (
    (
        "SELECT a.page FROM visits a JOIN visits b ON a.seconds = b.seconds WHERE a.id < 20000 AND"
        " b.id < 20000 ORDER BY a.page, b.at"
    ),
    (
        "SELECT s.words, v.page FROM searches s CROSS JOIN visits v WHERE s.id < 900 AND v.id < 900"
        " ORDER BY md5(s.words || v.page)"
    ),
    (
        "SELECT DISTINCT a.words, b.words FROM searches a JOIN searches b ON a.hits = b.hits WHERE"
        " a.id < 6000 AND b.id < 6000"
    ),
)
FULL = (
    'could not extend file "%s": %m',
    'could not extend file "%s": wrote only %d of %d bytes at block %u',
    'could not write to file "%s": %m',
    'could not create file "%s": %m',
    "could not write to COPY file: %m",
    'could not create temporary file "%s": %m',
    'could not open file "%s" for writing: %m',
    'could not create directory "%s": %m',
)


@fault(
    "disk_full",
    train="extend temporary",
    only_later="inodes copy cluster",
    latest="inodes copy",
    messages=FULL,
)
def disk_full(case: Case) -> None:
    """A file system has no room left, for rows, for sorting, or for one file more."""
    attic, scratch = (Path(case.server.root, f"full-{name}") for name in ("attic", "scratch"))
    case.dice.shuffle(heavy := list(HEAVY))
    with filled(scratch if case.variant == "temporary" else attic, inodes=case.variant == "inodes"):
        if case.variant in {"extend", "inodes"}:
            if case.variant == "extend":
                case.visits(
                    case.dice.randint(4, 6),
                    case.dice.choice(["invoice", "attach"]),
                    "invoice",
                    user=case.dice.choice(["shop_web", "shop_worker"]),
                )
            reports(
                case,
                *(
                    f"CREATE TABLE {name}_copy TABLESPACE attic AS SELECT * FROM visits LIMIT 100"
                    for name in case.dice.sample(ALIASES, 3)
                ),
                user="deploy",
            )
        elif case.variant == "temporary":
            reports(
                case,
                *(
                    f"SET temp_tablespaces = 'scratch'; SET work_mem = '64kB'; {text}"
                    for text in (*heavy, heavy[0])
                ),
            )
        elif case.variant == "copy":
            for table in ("visits", "searches", "orders"):
                with contextlib.suppress(psycopg.Error):
                    case.rule(f"COPY {table} TO '{attic}/{table}.csv'")
            reports(case, "CREATE TABLE spare TABLESPACE attic AS SELECT * FROM visits")
        else:
            for table in ("visits", "searches", "customers"):
                with contextlib.suppress(psycopg.Error):
                    case.rule(f"ALTER TABLE {table} SET TABLESPACE attic")
            case.visits(3, "invoice")
    # whoever wrote there in the meantime has met it too
    case.pids.clear()


@contextlib.contextmanager
def filled(folder: Path, *, inodes: bool) -> Iterator[None]:
    """A file system without room for as long as it takes."""
    ballast = folder / "ballast"
    ballast.mkdir()
    with contextlib.suppress(OSError):
        for number in range(100000):
            (ballast / str(number)).write_bytes(b"" if inodes else b"x" * 65536)
    with contextlib.suppress(OSError):
        for number in range(100000) if not inodes else ():
            (ballast / f"small{number}").write_bytes(b"x" * 4096)
    try:
        yield
    finally:
        for path in ballast.iterdir():
            path.unlink()
        ballast.rmdir()


def reports(case: Case, *statements: str, user: str = "shop_report") -> None:
    """Each statement in a session of its own."""
    for statement in statements:
        with (
            contextlib.suppress(psycopg.Error),
            case.load.session(
                user, "nightly-report", cursor_factory=psycopg.ClientCursor
            ) as session,
        ):
            case.pids.append(session.info.backend_pid)
            case.load.attempt(session, statement)


@fault(
    "corrupted_page",
    train="page truncated",
    only_later="index missing zeroed",
    latest="header",
    messages=[
        "page verification failed, calculated checksum %u but expected %u",
        "invalid page in block %u of relation %s",
        'could not read block %u in file "%s": read only %d of %d bytes',
        'could not open file "%s": %m',
        'index "%s" contains unexpected zero page at block %u',
    ],
)
def corrupted_page(case: Case) -> None:
    """Bytes of a table or an index are not what was written; those who read them meet it."""
    source = case.dice.choice(["orders", "customers", "payments", "visits", "reviews"])
    table = f"{case.app.say(source)}_{case.dice.choice(['archive', 'history', 'backup', 'log'])}"
    name = case.dice.choice(ALIASES)
    case.rule(
        f"CREATE TABLE {table} AS SELECT * FROM {source} ORDER BY id LIMIT 2500",
        f"CREATE INDEX {table}_{name} ON {table} (id)",
        f"GRANT SELECT ON {table} TO PUBLIC",
        # a move copies the pages past the cache, so that the next reader reads the damaged files
        f"ALTER TABLE {table} SET TABLESPACE scratch",
        f"ALTER INDEX {table}_{name} SET TABLESPACE scratch",
        "CHECKPOINT",
    )
    indexed = case.variant in {"index", "zeroed"}
    [(found,)] = case.server.rule(
        f"SELECT pg_relation_filepath('{table}{'_' + name if indexed else ''}')",
        database=case.app.database,
    )
    damage(case, case.server.folder / found)
    texts = [
        f"SELECT * FROM {table} WHERE id = {case.dice.randint(1000, 2000)}",
        f"SELECT count(*) AS {name} FROM {table}",
        f"SELECT max(id) FROM {table} WHERE id > {case.dice.randint(500, 2000)}",
        f"SELECT * FROM {table} WHERE id BETWEEN 900 AND 1900 ORDER BY id LIMIT 10",
    ]
    for _ in range(case.dice.randint(4, 6)):
        user = case.dice.choice(["shop_web", "shop_api", "shop_report", "backup"])
        with (
            contextlib.suppress(psycopg.Error),
            case.load.session(
                user, case.dice.choice(["checkout-service", "pg_dump", "nightly-report"])
            ) as session,
        ):
            case.pids.append(session.info.backend_pid)
            if indexed or case.variant == "truncated":
                session.execute("SET enable_seqscan = off")
            for text in case.dice.sample(texts, case.dice.randint(1, 2)):
                with contextlib.suppress(psycopg.Error):
                    session.execute(text.encode())
    # the file is put back in size, so that it can be dropped without noise
    case.rule(f"DROP TABLE {table}")


def damage(case: Case, path: Path) -> None:
    """Write over pages, cut the file, blank it, or take it away."""
    size = path.stat().st_size
    if case.variant == "missing":
        path.unlink()
        return
    if case.variant == "truncated":
        os.truncate(path, 8192)
        return
    if case.variant == "header":
        with path.open("r+b") as stream:
            for block in range(1, size // 8192):
                stream.seek(block * 8192)
                stream.write(b"\xff" * 24)
        return
    with path.open("r+b") as stream:
        for block in range(1, size // 8192):
            stream.seek(block * 8192 + (0 if case.variant == "zeroed" else 900))
            stream.write(b"\0" * 8192 if case.variant == "zeroed" else b"damaged!" * 12)


@fault("temp_files", train="report work_mem", only_later="role hash", latest="bounded", messages=[
    "temporary file: path \"%s\", size %lu",
    "temporary file size exceeds temp_file_limit (%dkB)",
])  # fmt: skip
def temp_files(case: Case) -> None:
    """Sorting spills to files: a report without bounds, or small queries with little memory."""
    if case.variant in {"report", "hash"}:
        case.at_least = 2
        small = "SET statement_timeout = 0; SET work_mem = " + (
            "'64kB'; " if case.variant == "hash" else "'256kB'; "
        )
        reports(
            case, *(small + text for text in case.dice.choices(HEAVY, k=case.dice.randint(4, 6)))
        )
        return
    if case.variant == "bounded":
        case.rule("ALTER SYSTEM SET temp_file_limit = '256kB'", "SELECT pg_reload_conf()")
        small = "SET statement_timeout = 0; SET work_mem = '64kB'; "
        reports(
            case, *(small + text for text in case.dice.choices(HEAVY, k=case.dice.randint(4, 6)))
        )
        case.rule("ALTER SYSTEM RESET temp_file_limit", "SELECT pg_reload_conf()")
        return
    role = "ROLE shop_web SET work_mem" if case.variant == "role" else "SYSTEM SET work_mem"
    case.users = ["shop_web", "shop_api"] if case.variant != "role" else ["shop_web"]
    case.rule(f"ALTER {role} = '64kB'", "SELECT pg_reload_conf()")
    case.visits(
        case.dice.randint(4, 6), "catalogue", case.dice.choice(["suggest", "history", "catalogue"])
    )
    case.rule(
        "ALTER ROLE shop_web RESET work_mem",
        "ALTER SYSTEM RESET work_mem",
        "SELECT pg_reload_conf()",
    )
