"""Make the part of the training log in which nothing is wrong, and yet much is said.

People err, and services meet what they expect.

    python datasets/postgres/days.py --out FOLDER [--seconds 50] [--seed 7]

One server after the other runs under the ordinary load, each with another application and other
logging; two of them log no more than errors and waits. Beside the load, people work under the roles
of services (a developer at a terminal), and jobs wait for one another's rows until these come free.
All of that is normal. Sessions in which nothing but LOG is said are left out, but for those that
waited: the other logs hold them by the thousand. The log is `days.log`, its record
`days.injections.jsonl` is empty; `join.py` puts it before a training log. Needs what make.py needs.
"""

import argparse
import contextlib
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import label
import psycopg
from load import Client, Load, quiet
from make import say
from people import CLIENTS
from routine import QUIET, Stage, install
from server import Mounts, in_workshop
from statements import glance, mistake, question, slip

FIRST_PID = 100_000
"""Process ids of this log begin here, so that none is one of the log that it is put before."""
MAKINGS: tuple[tuple[str, dict[str, str]], ...] = (
    ("clinic", {}),
    ("hotel", QUIET),
    ("shop", {**QUIET, "log_min_duration_statement": "500ms", "deadlock_timeout": "1s"}),
    (
        "shop",
        {"log_error_verbosity": "terse", "log_disconnections": "off", "deadlock_timeout": "1s"},
    ),
    ("clinic", {**QUIET, "log_connections": "on", "log_error_verbosity": "verbose"}),
    (
        "hotel",
        {
            "log_min_error_statement": "panic",
            "log_statement_sample_rate": "0",
            "log_min_duration_statement": "-1",
        },
    ),
)
"""The application of each server in turn, and its settings beside those of the training log."""
ROLES = ("shop_web", "shop_api", "shop_worker", "shop_report", "deploy")
TERMINALS = ("psql", "psql", "psql", "DBeaver", "pgAdmin 4", "DataGrip", "")
HURRIED = 0.5
"""The share of developers' sessions in which short statements are typed in a hurry."""
ROUTINE = ("LOG:  ", "DETAIL:  ", "CONTEXT:  ", "STATEMENT:  ", "LOCATION:  ")
"""How lines begin that most sessions consist of."""
WAITED = "still waiting for"


def typist(load: Load, dice: random.Random) -> None:
    """A developer looks something up under the role of a service, and errs now and then."""
    with load.session(
        dice.choice(ROLES), dice.choice(TERMINALS), cursor_factory=psycopg.ClientCursor
    ) as session:
        errs, hurries = dice.uniform(0.1, 0.9), dice.random() < HURRIED
        wrong, right = (slip, glance) if hurries else (mistake, question)
        for _ in range(dice.randint(1, 4)):
            load.attempt(session, wrong(dice) if dice.random() < errs else right(dice))
            time.sleep(dice.uniform(0.1, 0.6))


def mistyped(load: Load, dice: random.Random) -> None:
    """Whoever works under the role of a service mistypes its password once, then types it right."""
    name, terminal = dice.choice(ROLES), dice.choice(TERMINALS)
    with contextlib.suppress(psycopg.Error):
        load.session(name, terminal, password="mistyped").close()
    with load.session(name, terminal) as session:
        load.attempt(session, "SELECT 1")


def queue(load: Load, dice: random.Random) -> None:
    """Jobs that want the same row one after the other; each gets it, after a moment or two."""
    row, table = dice.randint(1, 800), dice.choice(["products", "orders", "customers"])
    statement = f"UPDATE {table} SET id = id WHERE id = {row}"
    user, program = dice.choice(
        [
            ("shop_worker", "batch"),
            ("shop_worker", "order-worker"),
            ("shop_report", "cron"),
            ("shop_api", "sync"),
        ]
    )
    with contextlib.ExitStack() as stack:
        holder, *others = (
            stack.enter_context(load.session(user, program)) for _ in range(dice.randint(2, 4))
        )
        load.attempt(holder, "BEGIN")
        load.attempt(holder, statement)
        waiting = [
            threading.Thread(target=quiet, args=(load, other, statement)) for other in others
        ]
        for thread in waiting:
            thread.start()
        time.sleep(dice.uniform(0.3, 2.2))
        load.attempt(holder, "COMMIT")
        for thread in waiting:
            thread.join()


PEOPLE: tuple[tuple[Client, float], ...] = (
    (typist, 1.5),
    (typist, 2.5),
    (mistyped, 6.0),
    (queue, 5.0),
)
"""Who connects beside the ordinary load, and the seconds between two sessions."""


def speaking(text: str) -> str:
    """The lines of the sessions in which more is said than the routine."""
    lines = text.split("\n")
    chosen: set[int] = set()
    for session in label.sessions(label.read(text)).values():
        routine = all(
            record.text.startswith(ROUTINE) and WAITED not in record.text for record in session
        )
        if session[0].user and not routine:
            chosen |= {
                number for record in session for number in range(record.number, record.last + 1)
            }
    return "".join(f"{line}\n" for number, line in enumerate(lines, 1) if number in chosen)


def make(root: Path, out: Path, *, seconds: float, seed: int) -> None:
    """The log, and a record of nothing."""
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(FIRST_PID), encoding="ascii")
    stage = Stage(root, root / "days.log", random.Random(seed))
    stage.log.touch()
    shutil.chown(stage.log, "postgres", "postgres")
    mounts = Mounts(root)
    mounts.make("attic", options="size=400m")
    mounts.make("scratch", options="size=100m")
    for number, (vocabulary, settings) in enumerate(MAKINGS):
        application = install(stage, f"server-{number}", vocabulary, settings)
        load = Load(application, seed=seed * 100 + number, pace=0.7)
        application.server.start()
        load.start([*CLIENTS, *PEOPLE])
        time.sleep(seconds)
        load.stop()
        application.server.stop(signal.SIGINT)
        say(f"{number + 1} of {len(MAKINGS)} servers, {stage.log.stat().st_size:,} bytes")
        for folder in stage.root.glob("full-*/PG_*"):
            shutil.rmtree(folder)
    (out / "days.log").write_text(speaking(stage.log.read_text(encoding="utf-8")), encoding="utf-8")
    (out / "days.injections.jsonl").write_text("", encoding="utf-8")


def main() -> int:
    """Make it where the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=50.0, help="of each server")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--root",
        type=Path,
        help="the folder to work in; made, and cleared away, where it is not given",
    )
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.root:
        make(chosen.root, chosen.out, seconds=chosen.seconds, seed=chosen.seed)
        return 0
    return in_workshop()


if __name__ == "__main__":
    sys.exit(main())
