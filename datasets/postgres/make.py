"""Make one run of the data set.

A server, its normal load, faults injected one after the other, and the labels.

    python datasets/postgres/make.py --run train --out FOLDER [--minutes 9] [--seed 1]

Needs root (to become PostgreSQL's user and to mount small file systems), Debian's postgresql-15,
and requirements.txt.
"""

import argparse
import lzma
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import faults_access  # noqa: F401  # enters its kinds
import faults_change  # noqa: F401  # enters its kinds
import faults_locks  # noqa: F401  # enters its kinds
import faults_process  # noqa: F401  # enters its kinds
import faults_storage  # noqa: F401  # enters its kinds
import label
from application import Application
from faults import FAULTS, Stage, inject
from load import Load
from people import CLIENTS, planned_restart
from replica import Replica
from server import BINARIES, Mounts, Server, free_port, in_workshop
from server import run as run_program

LOGGING = {
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_lock_waits": "on",
    "log_temp_files": "0",
    "log_checkpoints": "on",
    "log_autovacuum_min_duration": "0",
    "log_min_duration_statement": "150ms",
    "log_min_duration_sample": "2ms",
    "log_statement_sample_rate": "0.3",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "autovacuum_naptime": "20s",
    "deadlock_timeout": "200ms",
    "wal_sender_timeout": "1500ms",
    "wal_keep_size": "16MB",
    "min_wal_size": "4MB",
    "max_connections": "60",
    "max_locks_per_transaction": "10",
    "track_activity_query_size": "512",
    "max_parallel_workers_per_gather": "0",
}


@dataclass(frozen=True)
class Run:
    """What makes one run differ from the others."""

    vocabulary: str
    rounds: int
    """How often each kind of fault is injected."""
    minutes: float
    seed: int
    language: str = "en"
    settings: dict[str, str] = field(default_factory=dict)
    pace: float = 1.0


CHANGED = {
    "log_line_prefix": "%t:%r:%u@%d:[%p]:",
    "log_min_duration_statement": "80ms",
    "log_parameter_max_length_on_error": "64",
    "log_startup_progress_interval": "1s",
    "log_replication_commands": "on",
    "log_recovery_conflict_waits": "on",
    "cluster_name": "main",
    "work_mem": "8MB",
    "jit": "off",
    "wal_compression": "on",
    "password_encryption": "scram-sha-256",
}
RUNS = {
    "train": Run("shop", 4, 9, 1, pace=1.35),
    "test": Run("shop", 2, 5.5, 2, pace=1.35),
    "changed": Run("library", 2, 5, 3, settings=CHANGED, pace=1.6),
    "german": Run("bakery", 1, 2.5, 4, language="de", pace=1.8),
    "latest": Run("shop", 2, 5.5, 5, pace=1.35),
}


def main() -> int:
    """Make the run that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", choices=sorted(RUNS), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--kinds", default="", help="only these kinds of fault, with commas")
    parser.add_argument(
        "--root",
        type=Path,
        help="the folder to work in; made, and cleared away, where it is not given",
    )
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.root:
        make(chosen, chosen.root)
        return 0
    return in_workshop()


def make(chosen: argparse.Namespace, root: Path) -> None:
    """Set up, run, take down; the log, the record and the labels end in the chosen folder."""
    run = RUNS[chosen.run]
    seed = run.seed if chosen.seed is None else chosen.seed
    log, record = root / f"{chosen.run}.log", chosen.out / f"{chosen.run}.injections.jsonl"
    load, replica, mounts = set_up(run, root, log, seed=seed)
    dice = random.Random(seed)
    # without a file system of limited size, filling one would fill the machine's
    left_out = {"disk_full"} if mounts.refused else set()
    kinds = [
        kind
        for kind in FAULTS
        if kind not in left_out and (not chosen.kinds or kind in chosen.kinds.split(","))
    ]
    stage = Stage(load, replica, dice, run.language, later=chosen.run != "train")
    load.start(CLIENTS)
    planned = plan(kinds, chosen.rounds or run.rounds, chosen.run, dice)
    entries = direct(stage, planned, seconds=(chosen.minutes or run.minutes) * 60)
    load.stop()
    replica.stop()
    load.server.stop()
    record.write_text("".join(f"{entry}\n" for entry in entries), encoding="utf-8")
    shutil.copyfile(log, chosen.out / log.name)
    given = label.write(log, record, chosen.out / f"{chosen.run}.labels.csv")
    with lzma.open(chosen.out / f"{log.name}.xz", "wb", preset=9 | lzma.PRESET_EXTREME) as stream:
        stream.write(log.read_bytes())
    say(
        f"{chosen.run}: {len(log.read_bytes().splitlines()):,} lines, {len(given):,} anomalous"
        + (", no mounts: disk_full left out" if mounts.refused else "")
    )


def set_up(run: Run, root: Path, log: Path, *, seed: int) -> tuple[Load, Replica, Mounts]:
    """A running server with the application's database and a replica.

    Its log is empty but for its start.
    """
    mounts = Mounts(root)
    mounts.make("attic", options="size=24m,nr_inodes=4000")
    mounts.make("scratch", options="size=24m,nr_inodes=4000")
    environment, locale = {"LC_ALL": "C.UTF-8"}, ["--locale=C.UTF-8"]
    if run.language == "de":
        subprocess.run(
            ["localedef", "-i", "de_DE", "-f", "UTF-8", str(root / "de_DE.UTF-8")],
            check=False,
            capture_output=True,
        )
        environment, locale = (
            {"LOCPATH": str(root), "LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de"},
            ["--locale=de_DE.UTF-8"],
        )
    server = Server(
        root, "primary", port=free_port(), log=log, settings={**LOGGING, **run.settings}
    )
    server.initialise([*locale, "--wal-segsize=1"], environment=environment)
    server.admit(
        "local all all trust",
        "host replication replicator 127.0.0.1/32 scram-sha-256",
        "host all all 127.0.0.1/32 scram-sha-256",
    )
    server.start(root / "setup.log")
    application = Application(server, vocabulary=run.vocabulary, seed=seed)
    application.install()
    server.rule("SELECT pg_create_physical_replication_slot('replica', true)")
    run_program(
        [
            BINARIES / "pgbench",
            "-i",
            "-q",
            "-h",
            root,
            "-p",
            str(server.port),
            "-U",
            "bench",
            "bench",
        ],
        server.environment,
    )
    server.stop()
    server.start()
    replica = Replica.of(server, port=free_port())
    replica.copy(server)
    return Load(application, seed=seed, pace=run.pace), replica, mounts


def plan(kinds: list[str], rounds: int, run: str, dice: random.Random) -> list[tuple[str, str]]:
    """Which fault in which variant, in an order of chance.

    Kinds and variants in turn, and a planned restart a round.
    """
    planned: list[tuple[str, str]] = []
    for turn in range(rounds):
        part = []
        for kind in kinds:
            known = FAULTS[kind]
            unseen = known.latest if run == "latest" and known.latest else known.later
            # other runs begin with a variant that training has not seen, and go on with one that it
            # has
            own = run == "train" or not unseen
            variants = (
                known.train
                if own
                else tuple(dice.sample(unseen if turn % 2 == 0 else known.train, 1))
            )
            part.append((kind, variants[turn % len(variants)]))
        dice.shuffle(part)
        planned += [*part[: len(part) // 2], ("", "restart"), *part[len(part) // 2 :]]
    return planned


def direct(stage: Stage, planned: list[tuple[str, str]], *, seconds: float) -> list[str]:
    """Inject the faults one after the other over the time there is; the lines of the record."""
    began, entries = time.monotonic(), []
    for place, (kind, variant) in enumerate(planned):
        due = began + seconds * (place + 1) / (len(planned) + 1)
        time.sleep(max(0.0, due - time.monotonic()))
        if not kind:
            planned_restart(stage.load)
            continue
        before = time.monotonic()
        entries.append(inject(stage, kind, variant))
        say(f"{(before - began):6.0f} s  {kind} ({variant}), {time.monotonic() - before:.1f} s")
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    return entries


def say(text: str) -> None:
    """A line for the person at the terminal."""
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
