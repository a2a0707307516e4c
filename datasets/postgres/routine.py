"""Make the part of the training log in which servers start, stop, restart, reload and recover.

They do so for a routine reason.

    python datasets/postgres/routine.py --out FOLDER [--lives 60] [--seed 5]

One server after the other, each of another making (settings, application), lives several times: it
starts, works for some seconds, is reloaded, checkpointed, backed up, and ends in a smart or a fast
stop. Then replicas and restored backups do the same. All of that is normal. Every eighth life or so
ends in a crash, which is recorded as the other faults are. The log is `routine.log`, its record
`routine.injections.jsonl`; `join.py` puts it before a training log. Needs what make.py needs.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import faults_process  # noqa: F401  # enters the messages of a crash
import label
import psycopg
from application import Application
from faults import FAULTS, Messages
from load import Load
from make import LOGGING, say
from people import CLIENTS
from replica import Replica
from server import BINARIES, Mounts, Server, free_port, in_workshop
from server import run as run_program

FIRST_PID = 10_000
"""Process ids of this log begin here, so that none is one of the log that it is put before."""
CRASH = (*FAULTS["backend_killed"].messages, "received immediate shutdown request")
"""Messages that are a crash's doing."""
QUIET = {
    "log_connections": "off",
    "log_disconnections": "off",
    "log_statement_sample_rate": "0",
    "log_min_duration_statement": "-1",
}
MAKINGS: tuple[tuple[str, dict[str, str]], ...] = (
    ("clinic", {}),
    (
        "hotel",
        {
            "log_statement": "all",
            "log_duration": "on",
            "log_min_duration_statement": "-1",
            "log_statement_sample_rate": "0",
        },
    ),
    (
        "clinic",
        {**QUIET, "log_checkpoints": "off", "listen_addresses": "*", "cluster_name": "ward"},
    ),
    (
        "hotel",
        {
            "log_min_duration_statement": "0",
            "shared_preload_libraries": "auto_explain",
            "auto_explain.log_min_duration": "20ms",
        },
    ),
    ("clinic", {"log_error_verbosity": "verbose", "log_statement": "mod", "jit": "off"}),
    (
        "hotel",
        {
            "log_error_verbosity": "terse",
            "log_connections": "off",
            "log_autovacuum_min_duration": "-1",
            "wal_level": "logical",
        },
    ),
    (
        "shop",
        {
            "archive_mode": "on",
            "archive_command": "test ! -f %p.never",
            "wal_compression": "on",
            "log_temp_files": "-1",
        },
    ),
    (
        "shop",
        {"log_replication_commands": "on", "log_parameter_max_length": "32", "max_wal_size": "4MB"},
    ),
)
"""The application of each server in turn, and its settings beside those of the training log."""


@dataclass
class Stage:
    """The log that is made, what is recorded beside it, and chance."""

    root: Path
    log: Path
    dice: random.Random
    words: Messages = field(default_factory=lambda: Messages("en"))
    record: list[dict[str, object]] = field(default_factory=list)

    @contextlib.contextmanager
    def crash(self, variant: str) -> Iterator[None]:
        """What is done within is recorded as a crash."""
        start = datetime.now(UTC)
        yield
        time.sleep(0.4)
        self.record.append(
            {
                "kind": "server_crashed",
                "variant": variant,
                "start": start.isoformat(timespec="milliseconds"),
                "end": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "pids": [],
                "users": [],
                "naming": "",
                "at_least": 1,
                "messages": sorted({self.words.pattern(message) for message in CRASH}),
            }
        )


def install(stage: Stage, name: str, vocabulary: str, settings: dict[str, str]) -> Application:
    """A server with an application, stopped."""
    log = {
        "log_directory": str(stage.root),
        "log_filename": stage.log.name,
        "log_rotation_age": "0",
        "log_rotation_size": "0",
    }
    server = Server(
        stage.root, name, port=free_port(), log=stage.log, settings={**LOGGING, **log, **settings}
    )
    server.initialise(["--locale=C.UTF-8", "--wal-segsize=1"], environment={"LC_ALL": "C.UTF-8"})
    server.admit(
        "local all all trust",
        "local replication all trust",
        "host replication replicator 127.0.0.1/32 scram-sha-256",
        "host all all 127.0.0.1/32 scram-sha-256",
    )
    server.start(stage.root / "setup.log")
    application = Application(server, vocabulary=vocabulary, seed=stage.dice.randint(1, 999))
    application.install()
    where = ["-h", stage.root, "-p", str(server.port), "-U", "bench", "bench"]
    run_program([BINARIES / "pgbench", "-i", "-q", *where], server.environment)
    server.stop()
    return application


def reload(stage: Stage, load: Load) -> None:
    """A setting is changed, one or several times; some need a restart, which the server says."""
    for _ in range(stage.dice.choice([1, 1, 1, 2, 3, 5])):
        setting = stage.dice.choice(
            [
                f"work_mem = '{stage.dice.randint(2, 64)}MB'",
                f"random_page_cost = '{stage.dice.randint(11, 40) / 10}'",
                f"checkpoint_timeout = '{stage.dice.randint(30, 900)}s'",
                f"log_min_duration_statement = '{stage.dice.randint(100, 900)}ms'",
                f"autovacuum_naptime = '{stage.dice.randint(5, 60)}s'",
                f"shared_buffers = '{stage.dice.randint(16, 64)}MB'",
                f"max_connections = '{stage.dice.randint(50, 99)}'",
            ]
        )
        load.server.rule(f"ALTER SYSTEM SET {setting}", "SELECT pg_reload_conf()")
        time.sleep(stage.dice.uniform(0.1, 0.6))


def untouched(stage: Stage, load: Load) -> None:
    """Files are read again that nobody has changed."""
    for _ in range(stage.dice.randint(1, 3)):
        load.server.reload()
        time.sleep(stage.dice.uniform(0.1, 0.4))


def checkpoint(stage: Stage, load: Load) -> None:
    """Somebody asks for a checkpoint."""
    load.server.rule("CHECKPOINT", "SELECT pg_switch_wal()")


def bulk(stage: Stage, load: Load) -> None:
    """So much is written that checkpoints come of themselves."""
    load.server.rule(
        "CREATE TABLE bulk AS SELECT n, md5(n::text) FROM generate_series(1, 60000) n",
        "DROP TABLE bulk",
        "VACUUM",
        database=load.app.database,
    )


def backup(stage: Stage, load: Load) -> None:
    """A base backup, kept nowhere."""
    where = ["-h", str(stage.root), "-p", str(load.server.port), "-U", "postgres"]
    command = [str(BINARIES / "pg_dump"), *where, "-f", "/dev/null", load.app.database]
    subprocess.run(command, check=False, capture_output=True, user="postgres", cwd="/", timeout=60)


def nothing(stage: Stage, load: Load) -> None:
    """A quiet time."""


DEEDS: tuple[Callable[[Stage, Load], None], ...] = (
    reload,
    reload,
    untouched,
    checkpoint,
    bulk,
    backup,
    nothing,
)
"""What is done to a server while it works."""


def early(load: Load) -> None:
    """Clients that come back before the server does."""
    for _ in range(12):
        with contextlib.suppress(psycopg.Error):
            load.session("shop_web", "checkout-service").close()
        time.sleep(0.03)


def live(stage: Stage, load: Load, *, crash: str = "") -> None:
    """One life: a start, some seconds of work, deeds of the administrator, and an end."""
    dice, server = stage.dice, load.server
    caller = threading.Thread(target=early, args=(load,), daemon=True)
    if dice.random() < 0.4:
        caller.start()
    server.start()
    load.ending = threading.Event()
    load.threads = []
    clients = dice.sample(CLIENTS, dice.randint(2, 8)) if dice.random() < 0.7 else []
    load.start(clients)
    for deed in dice.sample(DEEDS, dice.randint(0, 3)):
        time.sleep(dice.uniform(0.3, 1.5))
        with contextlib.suppress(psycopg.Error):
            deed(stage, load)
    time.sleep(dice.uniform(0.5, 2.5))
    if crash:
        with stage.crash(crash):
            fall(stage, load, crash)
    end(stage, load)


def end(stage: Stage, load: Load) -> None:
    """Stop: smart, which waits for the sessions there are, or fast, which sends them away."""
    dice, server = stage.dice, load.server
    if dice.random() < 0.35:
        load.stop()
        guest = load.session("shop_web", "checkout-service") if dice.random() < 0.5 else None
        leaving = threading.Timer(dice.uniform(0.3, 1.2), guest.close if guest else lambda: None)
        leaving.start()
        refused = threading.Timer(0.1, early, args=(load,))
        if guest and dice.random() < 0.7:
            refused.start()
        server.stop(signal.SIGTERM)
        leaving.join()
        return
    if dice.random() < 0.5:
        load.stop()
    server.stop(signal.SIGINT)
    load.stop()


def fall(stage: Stage, load: Load, variant: str) -> None:
    """A crash, and the start after it."""
    server = load.server
    if variant == "oom":
        with contextlib.suppress(psycopg.Error):
            session = load.session("shop_report", "nightly-report")
            os.kill(session.info.backend_pid, signal.SIGKILL)
        for _ in range(stage.dice.randint(1, 4)):
            early(load)
        time.sleep(0.5)
        server.wait()
        return
    if server.process is None:
        return
    if variant == "immediate":
        server.stop(signal.SIGQUIT)
    else:
        # no process of the server may be left: the power is gone
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        time.sleep(1)
    server.start()


def replicas(stage: Stage, primary: Server, *, times: int) -> None:
    """A replica is made, started, stopped, started again, and promoted in the end.

    Its own log is what is kept.
    """
    # the primary's own lines are not this log's
    primary.start(stage.root / "setup.log")
    primary.rule("SELECT pg_create_physical_replication_slot('replica', true)")
    for _ in range(times):
        replica = Replica.of(primary, port=free_port())
        replica.log = stage.log
        replica.settings = {**primary.settings, **replica.settings, "port": str(replica.port)}
        replica.copy(primary)
        for _ in range(stage.dice.randint(1, 3)):
            time.sleep(stage.dice.uniform(0.5, 2))
            if stage.dice.random() < 0.5:
                replica.reload()
            primary.rule("CHECKPOINT", "SELECT pg_switch_wal()")
            time.sleep(0.5)
            replica.stop(stage.dice.choice([signal.SIGINT, signal.SIGTERM]))
            replica.start()
        if stage.dice.random() < 0.6:
            replica.rule("SELECT pg_promote()")
            time.sleep(1)
            replica.rule("CHECKPOINT")
        replica.stop()
    primary.stop()


def restored(stage: Stage, primary: Server) -> None:
    """Put a backup back with its archive, and let it work from then on.

    It is restored to the end of the archive, or to the point where it is consistent.
    """
    archive = stage.root / "archive"
    archive.mkdir(exist_ok=True)
    shutil.chown(archive, "postgres", "postgres")
    primary.settings |= {
        "archive_mode": "on",
        "archive_command": f"cp %p {archive}/%f",
        "wal_level": "replica",
    }
    primary.configure()
    primary.start(stage.root / "setup.log")
    for turn in range(3):
        copy = Replica.of(primary, port=free_port())
        copy.log, copy.folder = stage.log, stage.root / f"restored-{turn}"
        moved = [
            f"--tablespace-mapping={folder}={stage.root}/spare-{turn}-{folder.name}"
            for folder in sorted(stage.root.glob("full-*"))
        ]
        where = [
            "-h",
            str(stage.root),
            "-p",
            str(primary.port),
            "-U",
            "postgres",
            "-D",
            str(copy.folder),
        ]
        run_program(
            [
                BINARIES / "pg_basebackup",
                "-c",
                "fast",
                "-X",
                "none" if turn else "stream",
                *where,
                *moved,
            ],
            primary.environment,
        )
        for _ in range(3):
            primary.rule(
                "CREATE TABLE IF NOT EXISTS later (n int)",
                "INSERT INTO later VALUES (1)",
                "SELECT pg_switch_wal()",
            )
        time.sleep(1)
        target = (
            "recovery_target = 'immediate'\nrecovery_target_action = 'promote'" if turn % 2 else ""
        )
        copy.settings = {
            **primary.settings,
            "port": str(copy.port),
            "archive_mode": "off",
            "hot_standby": "on",
        }
        copy.write("postgresql.auto.conf", "")
        if turn:
            copy.configure(f"restore_command = 'cp {archive}/%f %p 2>/dev/null'\n{target}")
            copy.write("recovery.signal", "")
        else:
            copy.configure()
        copy.start()
        time.sleep(2)
        copy.reload()
        copy.stop(stage.dice.choice([signal.SIGINT, signal.SIGTERM]))
        copy.start()
        time.sleep(1)
        copy.stop()
    primary.stop()


def make(root: Path, out: Path, *, lives: int, seed: int) -> None:
    """The log and its record."""
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(FIRST_PID), encoding="ascii")
    stage = Stage(root, root / "routine.log", random.Random(seed))
    stage.log.touch()
    shutil.chown(stage.log, "postgres", "postgres")
    mounts = Mounts(root)
    mounts.make("attic", options="size=400m")
    mounts.make("scratch", options="size=100m")
    try:
        serve(stage, lives=lives, seed=seed)
    finally:
        keep(stage, out)


def serve(stage: Stage, *, lives: int, seed: int) -> None:
    """Every server's lives, then its replicas' and its backups'."""
    crashes = ["immediate", "oom", "power"] * lives
    share = lives // len(MAKINGS)
    for number, (vocabulary, settings) in enumerate(MAKINGS):
        application = install(stage, f"server-{number}", vocabulary, settings)
        load = Load(application, seed=seed * 100 + number, pace=0.8)
        for turn in range(share):
            # the collector of the log takes over in some lives
            application.server.settings["logging_collector"] = stage.dice.choice(
                ["off", "off", "on"]
            )
            application.server.configure()
            live(stage, load, crash=crashes.pop(0) if turn in {2, 6} else "")
        say(f"{number + 1} of {len(MAKINGS)} servers, {stage.log.stat().st_size:,} bytes")
        if number == len(MAKINGS) - 1:
            replicas(stage, application.server, times=3)
            restored(stage, application.server)
        for folder in stage.root.glob("full-*/PG_*"):
            shutil.rmtree(folder)


def touched(text: str) -> str:
    """The lines of the servers' own processes, and of the clients' sessions that they touched.

    Those are the sessions that a start, a stop or a crash met.
    The rest is a load like that of the other logs, and would only make what is rare here rarer.
    """
    lines = text.split("\n")
    kept: set[int] = set()
    for session in label.sessions(label.read(text)).values():
        if all(not record.user for record in session) or any(
            "FATAL:" in record.text for record in session
        ):
            kept |= {
                number for record in session for number in range(record.number, record.last + 1)
            }
    return "".join(f"{line}\n" for number, line in enumerate(lines, 1) if number in kept)


def keep(stage: Stage, out: Path) -> None:
    """The log and its record in the chosen folder."""
    log = stage.log.read_text(encoding="utf-8")
    (out / "routine.log").write_text(touched(log), encoding="utf-8")
    entries = "".join(f"{json.dumps(entry)}\n" for entry in stage.record)
    (out / "routine.injections.jsonl").write_text(entries, encoding="utf-8")


def main() -> int:
    """Make it where the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lives", type=int, default=64)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument(
        "--root",
        type=Path,
        help="the folder to work in; made, and cleared away, where it is not given",
    )
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.root:
        make(chosen.root, chosen.out, lives=chosen.lives, seed=chosen.seed)
        return 0
    return in_workshop()


if __name__ == "__main__":
    sys.exit(main())
