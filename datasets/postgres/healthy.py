"""Make logs of healthy servers that no run has learnt from.

Other settings, other applications, routine restarts.

    python datasets/postgres/healthy.py --out FOLDER [--minutes 30]

Three servers run side by side, each for so many real minutes with three restarts: one for a wiki,
one for meters, one with Debian's settings as they come. Every line of theirs is normal. Two more
run for a tenth of the time and meet one fault each: `pool` has no connection left for a while, and
of `crash` a backend is killed for its memory, between a routine stop, start and restart. What a
fault made a server say is labelled. Needs what make.py needs.
"""

import argparse
import contextlib
import csv
import lzma
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from server import BINARIES, OWNER, SECRET, Server, free_port, in_workshop

Session = psycopg.Connection[Any]
FAULTS = {
    "connections_exhausted": re.compile(
        r"FATAL:  (?:sorry, too many clients already|remaining connection slots are reserved)"
    ),
    "server_crashed": re.compile(
        r"was terminated by signal|terminating any other active server processes"
        r"|all server processes terminated|was interrupted; last|"
        r"not properly shut down|redo (?:starts|done) at|is in recovery mode"
        r"|is not yet accepting connections"
    ),
}
"""What a server says of its fault, which none of its other lines says."""
WIKI = """
CREATE TABLE pages (id serial PRIMARY KEY, title text UNIQUE NOT NULL, edits int DEFAULT 0);
CREATE TABLE revisions (id serial PRIMARY KEY, page int REFERENCES pages, author text, body text,
  at timestamptz DEFAULT now());
CREATE TABLE watchers (page int REFERENCES pages, reader text, PRIMARY KEY (page, reader));
CREATE TABLE links (origin int, target int);
INSERT INTO pages (title) SELECT 'Topic ' || n FROM generate_series(1, 3000) n;
INSERT INTO revisions (page, author, body)
  SELECT 1 + n % 3000, 'editor' || n % 40, repeat(md5(n::text), 8) FROM generate_series(1, 20000) n;
INSERT INTO links SELECT 1 + n % 3000, 1 + n * 7 % 3000 FROM generate_series(1, 40000) n;
"""
METERS = """
CREATE TABLE meters (id serial PRIMARY KEY, serial_number text UNIQUE, street text);
CREATE TABLE readings (meter int REFERENCES meters, at timestamptz, watts real);
CREATE TABLE hours (meter int, hour timestamptz, watts real, PRIMARY KEY (meter, hour));
CREATE MATERIALIZED VIEW totals AS SELECT meter, sum(watts) AS watts FROM readings GROUP BY meter;
CREATE UNIQUE INDEX totals_meter ON totals (meter);
INSERT INTO meters (serial_number, street)
  SELECT 'M' || n, 'Street ' || n % 90 FROM generate_series(1, 900) n;
INSERT INTO readings
  SELECT 1 + n % 900, now() - n * interval '1 second', n % 3000 FROM generate_series(1, 60000) n;
CREATE INDEX readings_at ON readings (meter, at);
"""
TYPED = (
    "SELECT * FORM {table} LIMIT 3",
    "SELECT count(*) FROM {table}s",
    "SELECT titel FROM {table}",
    "SELECT max(id) FROM {table} GROUP BY",
    "SELECT count(*) FROM {table} WHERE id = 'abc'",
)
"""What people type wrong."""


@dataclass
class Place:
    """One server, its application, and the people who use it."""

    server: Server
    database: str
    table: str
    user: str
    dice: random.Random
    ending: threading.Event = field(default_factory=threading.Event)

    def session(self, program: str, **options: Any) -> Session:
        """A session of the application's user."""
        return self.server.connect(self.user, self.database, application_name=program, **options)

    def tool(self, *command: str) -> None:
        """One of PostgreSQL's own programs, run by the administrator."""
        where = ["-h", str(self.server.root), "-p", str(self.server.port), "-U", "postgres"]
        arguments = [str(BINARIES / command[0]), *where, *command[1:]]
        subprocess.run(arguments, check=False, capture_output=True, user=OWNER, cwd="/", timeout=60)


Deed = Callable[[Place], object]


def tried(session: Session, statement: str, values: tuple[Any, ...] | None = None) -> bool:
    """Whether the server took a statement."""
    try:
        session.execute(statement.encode(), values)
    except psycopg.Error:
        if session.closed:
            raise
        return False
    return True


def reader(place: Place) -> None:
    """Somebody reads a few pages of the wiki."""
    with place.session("wiki-frontend") as session:
        for _ in range(place.dice.randint(1, 5)):
            page = place.dice.randint(1, 3000)
            tried(
                session,
                (
                    "SELECT p.title, r.body FROM pages p JOIN revisions r ON r.page = p.id WHERE "
                    "p.id = %s LIMIT 1"
                ),
                (page,),
            )
            tried(session, "SELECT target FROM links WHERE origin = %s LIMIT 20", (page,))
            time.sleep(place.dice.uniform(0, 0.2))


def editor(place: Place) -> None:
    """Somebody edits a page; one in twenty takes a title that is taken, and is told so."""
    with place.session("wiki-editor") as session:
        page = place.dice.randint(1, 3000)
        tried(session, "BEGIN")
        tried(session, "UPDATE pages SET edits = edits + 1 WHERE id = %s", (page,))
        tried(
            session,
            (
                "INSERT INTO revisions (page, author, body) VALUES (%s, 'editor7', repeat('text "
                "', 90))"
            ),
            (page,),
        )
        tried(session, "COMMIT")
        if place.dice.random() < 0.05:
            tried(session, "INSERT INTO pages (title) VALUES (%s)", (f"Topic {page}",))


def searcher(place: Place) -> None:
    """A search that reads much."""
    with place.session("wiki-search") as session:
        tried(
            session,
            "SELECT page, count(*) FROM revisions WHERE body LIKE %s GROUP BY page ORDER BY 2 DESC",
            (f"%{place.dice.randint(1, 999)}%",),
        )


def gateway(place: Place) -> None:
    """Meters send their readings in one go."""
    with (
        place.session("meter-gateway") as session,
        session.cursor().copy("COPY readings (meter, at, watts) FROM STDIN") as rows,
    ):
        for _ in range(place.dice.randint(5, 60)):
            rows.write_row((place.dice.randint(1, 900), "now", place.dice.uniform(0, 3000)))


def chart(place: Place) -> None:
    """A chart of one meter."""
    with place.session("grafana") as session:
        for _ in range(place.dice.randint(1, 3)):
            meter = place.dice.randint(1, 900)
            tried(
                session,
                (
                    "SELECT date_trunc('minute', at), avg(watts) FROM readings WHERE meter = %s "
                    "GROUP BY 1 ORDER BY 1"
                ),
                (meter,),
            )


def rollup(place: Place) -> None:
    """Readings become hours."""
    with place.session("rollup") as session:
        tried(
            session,
            "INSERT INTO hours SELECT meter, date_trunc('hour', at), avg(watts) FROM readings "
            "WHERE at > now() - interval '2 hours' "
            "GROUP BY 1, 2 ON CONFLICT (meter, hour) DO UPDATE SET watts = excluded.watts",
        )
        tried(session, "DELETE FROM readings WHERE at < now() - interval '1 day'")


def person(place: Place) -> None:
    """Somebody with psql: questions, and now and then a slip."""
    with place.session("psql", cursor_factory=psycopg.ClientCursor) as session:
        for _ in range(place.dice.randint(1, 4)):
            statement = f"SELECT * FROM {place.table} LIMIT {place.dice.randint(1, 20)}"
            if place.dice.random() < 0.2:
                statement = place.dice.choice(TYPED).format(table=place.table)
            tried(session, statement)
            time.sleep(place.dice.uniform(0.1, 0.8))


def hasty(place: Place) -> None:
    """A question that takes too long, and Ctrl-C."""
    with place.session("psql", cursor_factory=psycopg.ClientCursor) as session:
        timer = threading.Timer(0.4, session.cancel)
        timer.start()
        tried(session, f"SELECT count(*) FROM {place.table} a, {place.table} b, {place.table} c")
        timer.cancel()


def waiter(place: Place) -> None:
    """Two transactions want one row; the second waits more than a second, and gets it."""
    row = place.dice.randint(1, 900)
    taking = f"UPDATE {place.table} SET id = id WHERE id = {row}"
    with place.session("batch") as one, place.session("batch") as two:
        tried(one, "BEGIN")
        tried(one, taking)
        helper = threading.Thread(target=quietly, args=(lambda _: tried(two, taking), place))
        helper.start()
        time.sleep(1.6)
        tried(one, "COMMIT")
        helper.join()


def mistyped(place: Place) -> None:
    """A password mistyped once, then typed right."""
    with contextlib.suppress(psycopg.Error):
        place.session("psql", password="Sommer2025").close()
    with place.session("psql") as session:
        tried(session, "SELECT 1")


def nightly(place: Place) -> None:
    """What a scheduler runs: a dump, statistics, an index made anew, a checkpoint."""
    works: list[tuple[str, ...]] = [
        ("pg_dump", "-Fc", "-f", "/dev/null", place.database),
        ("vacuumdb", "-z", place.database),
        ("reindexdb", "-t", place.table, place.database),
        ("psql", "-c", "CHECKPOINT"),
    ]
    place.tool(*place.dice.choice(works))


def alive(place: Place) -> None:
    """The monitoring asks whether the server is there."""
    place.tool("pg_isready")


def reload(place: Place) -> None:
    """The administrator changes a setting."""
    setting = place.dice.choice(
        ["work_mem = '{}MB'", "effective_cache_size = '{}0MB'", "maintenance_work_mem = '{}MB'"]
    )
    place.server.rule(
        f"ALTER SYSTEM SET {setting.format(place.dice.randint(4, 60))}", "SELECT pg_reload_conf()"
    )


EVERYBODY: tuple[tuple[Deed, float], ...] = (
    (person, 9),
    (hasty, 120),
    (waiter, 60),
    (mistyped, 240),
    (nightly, 70),
    (alive, 20),
    (reload, 300),
)
"""Who is at every server, and the seconds between two of their visits."""
READERS: tuple[tuple[Deed, float], ...] = (
    (reader, 1.2),
    (reader, 1.5),
    (editor, 2.5),
    (searcher, 8),
)
COUNTERS: tuple[tuple[Deed, float], ...] = (
    (gateway, 1.5),
    (gateway, 2.5),
    (chart, 2),
    (rollup, 45),
)


@dataclass(frozen=True)
class Kind:
    """What one of the servers is like."""

    tables: str
    table: str
    deeds: tuple[tuple[Deed, float], ...]
    settings: dict[str, str]


ON = {"log_connections": "on", "log_disconnections": "on"}
KINDS = {
    "wiki": Kind(
        WIKI,
        "pages",
        READERS,
        {
            **ON,
            "log_line_prefix": "%m [%p] ",
            "log_timezone": "America/Sao_Paulo",
            "log_min_duration_statement": "20ms",
            "log_lock_waits": "on",
            "log_autovacuum_min_duration": "0",
            "autovacuum_naptime": "60s",
            "checkpoint_timeout": "4min",
        },
    ),
    "meters": Kind(
        METERS,
        "meters",
        COUNTERS,
        {
            **ON,
            "log_line_prefix": "%t [%p]: user=%u,db=%d,app=%a,client=%h ",
            "log_timezone": "Europe/Berlin",
            "log_statement": "all",
            "log_duration": "on",
            "log_temp_files": "0",
            "log_checkpoints": "on",
            "checkpoint_timeout": "2min",
            "shared_buffers": "16MB",
        },
    ),
    "plain": Kind(
        WIKI,
        "pages",
        READERS,
        {
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "log_timezone": "Asia/Kolkata",
            "log_lock_waits": "on",
        },
    ),
    "pool": Kind(
        WIKI,
        "pages",
        READERS,
        {
            **ON,
            "log_line_prefix": "%m [%p] ",
            "log_timezone": "Australia/Sydney",
            "max_connections": "20",
            "log_lock_waits": "on",
        },
    ),
    "crash": Kind(
        WIKI, "pages", READERS, {**ON, "log_line_prefix": "%m [%p] %q%u@%d ", "log_timezone": "UTC"}
    ),
}


def quietly(deed: Deed, place: Place) -> None:
    """A deed that may meet a server that is restarted."""
    with contextlib.suppress(psycopg.Error, OSError, subprocess.TimeoutExpired):
        deed(place)


def repeat(place: Place, deed: Deed, pause: float) -> None:
    """One client's day."""
    while not place.ending.wait(pause * place.dice.uniform(0.4, 1.6)):
        quietly(deed, place)


def install(root: Path, name: str, seed: int) -> Place:
    """A server with its application, stopped, its log not yet begun."""
    kind = KINDS[name]
    server = Server(
        root,
        name,
        port=free_port(),
        log=root / f"{name}.log",
        settings={"timezone": "UTC", **kind.settings},
    )
    server.initialise(["--locale=C.UTF-8"], environment={"LC_ALL": "C.UTF-8"})
    server.admit("local all all trust", "host all all 127.0.0.1/32 scram-sha-256")
    server.start(root / "setup.log")
    server.rule(
        f"CREATE ROLE {name}_app LOGIN PASSWORD '{SECRET}'",
        f"CREATE DATABASE {name} OWNER {name}_app",
    )
    server.rule(kind.tables, "ANALYZE", database=name)
    tables = server.rule(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'm', 'S') AND relnamespace = "
        "'public'::regnamespace",
        database=name,
    )
    server.rule(
        *(
            f"ALTER TABLE {table} OWNER TO {name}_app"
            for (table,) in tables
            if not table.endswith("_seq")
        ),
        database=name,
    )
    server.stop()
    return Place(server, name, kind.table, f"{name}_app", random.Random(seed))


def begin(place: Place, deeds: Sequence[tuple[Deed, float]], pace: float) -> list[threading.Thread]:
    """All clients of a server, each in a thread of its own."""
    threads = [
        threading.Thread(target=repeat, args=(place, deed, pause * pace), daemon=True)
        for deed, pause in deeds
    ]
    for thread in threads:
        thread.start()
    return threads


def close(place: Place, threads: Sequence[threading.Thread]) -> None:
    """The end of the day: the clients go, and then the server."""
    place.ending.set()
    for thread in threads:
        thread.join(15)
    place.server.stop()


def day(place: Place, *, seconds: float) -> None:
    """A healthy server: a start, three restarts, a stop.

    Sessions that are open are waited for or sent away.
    """
    place.server.start()
    threads = begin(place, (*EVERYBODY, *KINDS[place.database].deeds), 1.0)
    for how in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
        place.ending.wait(seconds / 4)
        # a smart stop waits for sessions, a fast one sends them away
        idle = [] if how is signal.SIGTERM else [place.session("dashboard")]
        place.server.stop(how)
        for session in idle:
            session.close()
        place.server.start()
    place.ending.wait(seconds / 4)
    close(place, threads)


def exhausted(place: Place, *, seconds: float) -> None:
    """A server whose connections are taken for a while by a program that never gives them back."""
    place.server.start()
    threads = begin(place, (*EVERYBODY, *KINDS["pool"].deeds), 0.5)
    place.ending.wait(seconds / 2)
    with contextlib.ExitStack() as leaked:
        with contextlib.suppress(psycopg.Error):
            while True:
                leaked.enter_context(place.session("etl-pool"))
        place.ending.wait(seconds / 8)
    place.ending.wait(seconds / 4)
    close(place, threads)


def crashed(place: Place, *, seconds: float) -> None:
    """A start, a smart stop, a start, a restart, a crash, the recovery, a fast stop.

    The crash is a backend that the system kills for its memory.
    """
    place.server.start()
    threads = begin(place, (*EVERYBODY, *KINDS["crash"].deeds), 0.5)
    for how in (signal.SIGTERM, signal.SIGINT):
        place.ending.wait(seconds / 4)
        place.server.stop(how)
        place.server.start()
    place.ending.wait(seconds / 4)
    session = place.session("report")
    os.kill(session.info.backend_pid, signal.SIGKILL)
    for _ in range(9):
        quietly(reader, place)
    place.server.wait()
    place.ending.wait(seconds / 4)
    close(place, threads)


def faults(text: str) -> Iterator[tuple[int, str]]:
    """Number and label of every line that tells of a fault.

    What follows such a line is explained by it.
    """
    for number, line in enumerate(text.split("\n"), 1):
        yield from ((number, kind) for kind, words in FAULTS.items() if words.search(line))


SCENES = {
    "wiki": (day, 60),
    "meters": (day, 60),
    "plain": (day, 60),
    "pool": (exhausted, 6),
    "crash": (crashed, 6),
}
"""What happens to each server, and its seconds for each minute that the first three run."""


def make(root: Path, out: Path, *, minutes: float, names: Sequence[str]) -> None:
    """The servers side by side; their logs end in the chosen folder."""
    places = [install(root, name, list(KINDS).index(name) + 11) for name in names]
    scenes = [(place, *SCENES[place.database]) for place in places]
    days = [
        threading.Thread(target=scene, args=(place,), kwargs={"seconds": minutes * share})
        for place, scene, share in scenes
    ]
    for thread in days:
        thread.start()
    for thread in days:
        thread.join()
    for place in places:
        text = place.server.log.read_text(encoding="utf-8")
        with lzma.open(
            out / f"{place.database}.log.xz", "wb", preset=9 | lzma.PRESET_EXTREME
        ) as stream:
            stream.write(text.encode())
        with (out / f"{place.database}.labels.csv").open(
            "w", encoding="utf-8", newline=""
        ) as stream:
            csv.writer(stream, lineterminator="\n").writerows([("line", "label"), *faults(text)])
        shutil.copyfile(place.server.log, out / f"{place.database}.log")


def main() -> int:
    """Make the logs where the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument(
        "--only", nargs="+", choices=list(KINDS), default=list(KINDS), help="only these servers"
    )
    parser.add_argument(
        "--root",
        type=Path,
        help="the folder to work in; made, and cleared away, where it is not given",
    )
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.root:
        make(chosen.root, chosen.out, minutes=chosen.minutes, names=chosen.only)
        return 0
    return in_workshop()


if __name__ == "__main__":
    sys.exit(main())
