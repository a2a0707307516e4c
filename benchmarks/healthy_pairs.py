"""Whether alarms mean something.

Healthy logs judged against healthy ones, and the same with one fault each.

    python benchmarks/healthy_pairs.py ../shared/data

Twenty pairs of logs in which nothing, or nothing out of the way, goes wrong: the later half of each
is judged against the earlier one by `logllm detect LATER --against EARLIER --fail-on-anomaly`. None
should end with 1. Then one fault is put into the later half, which should.
"""

import argparse
import gzip
import lzma
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from logllm.config.format import FormatSection
from logllm.datasets.published.packaged import PACKAGED
from logllm.datasets.settings import suited
from logllm.logs.fields import read_fields

SAMPLES = (
    "Android",
    "Apache",
    "HealthApp",
    "HPC",
    "Linux",
    "Mac",
    "OpenSSH",
    "OpenStack",
    "Spark",
    "Windows",
    "Zookeeper",
)
"""Loghub's samples of 2,000 lines, but for Hadoop, in which machines are lost, and Proxifier, which
begins not to reach its proxy; BGL and Thunderbird are there with more lines."""
SERVER_LOGS = ("train", "test", "changed")
"""Of the PostgreSQL set."""
LEVEL = re.compile("^[A-Z]+:  ")
"""How a PostgreSQL message begins."""
BLOCK = re.compile(r"blk_-?\d+")
UNREACHABLE = (
    "cannot reach the storage backend: connection timed out after 30000 ms",
    "retrying the upload in 5 s, attempt 2 of 3 failed",
    "storage backend unavailable, giving up",
    "request aborted: no backend left",
)
DENIED = (
    "failed to renew the lease of volume 7: permission denied",
    "lease of volume 7 lost, refusing writes",
    "write rejected: volume 7 is read-only",
    "unable to flush 12 pending writes",
)
CORRUPT = (
    "checksum mismatch in segment 12: data is corrupt",
    "cannot repair segment 12: no valid copy found",
    "fatal: index is damaged, shutting down",
    "recovery failed with code 17",
)
CRASH = (
    "unhandled exception in worker 3: index 8 out of range",
    "panic: invalid memory address or nil pointer dereference",
    "worker 3 terminated unexpectedly with signal 11",
    "too many crashes of worker 3, not restarting it",
)
"""What programs say that they never said before."""


class Pair(NamedTuple):
    """Two healthy logs of one system."""

    name: str
    good: list[str]
    today: list[str]


def lines_of(path: Path) -> list[str]:
    """The lines of a packed log."""
    opened = lzma.open if path.suffix == ".xz" else gzip.open
    with opened(path, "rt", encoding="latin-1", newline="\n") as file:
        return [line.rstrip("\r\n") for line in file]


def halves(name: str, lines: Sequence[str]) -> Pair:
    """The first half of a log, and the second."""
    middle = len(lines) // 2
    return Pair(name, list(lines[:middle]), list(lines[middle:]))


def hdfs(data: Path) -> Iterator[Pair]:
    """Normal sessions of HDFS in four groups: of each, those that begin earlier and later."""
    with (data / "hdfs" / "anomaly_label.csv").open(encoding="utf-8") as file:
        normal = {line.split(",")[0] for line in file if line.rstrip().endswith("Normal")}
    blocks: dict[str, list[str]] = {}
    for line in lines_of(data / "hdfs" / "HDFS_2pct.log.gz"):
        found = BLOCK.search(line)
        if found is not None and found[0] in normal:
            blocks.setdefault(found[0], []).append(line)
    names = list(blocks)
    for group in range(4):
        mine = names[group::4]
        middle = len(mine) // 2
        parts = [
            sorted(line for name in part for line in blocks[name])
            for part in (mine[:middle], mine[middle:])
        ]
        yield Pair(f"HDFS {group + 1}", *parts)


def postgres() -> Iterator[Pair]:
    """The PostgreSQL set's logs without the sessions of its faults."""
    packaged = PACKAGED["postgres"]
    process = re.compile(r"\[(\d+)\]")
    for name in SERVER_LOGS:
        with packaged.labels(name).open(encoding="utf-8") as file:
            bad = {int(line.split(",")[0]) for line in file if line[0].isdigit()}
        mine: dict[str, bool] = {}
        rows: list[tuple[str, str]] = []
        current = ""
        for number, line in enumerate(lines_of(packaged.log(name)), start=1):
            found = process.search(line[:60])
            current = found[1] if found is not None and line[:1].isdigit() else current
            mine[current] = mine.get(current, True) and number not in bad
            rows.append((current, line))
        healthy = [line for session, line in rows if mine[session]]
        yield halves(f"PostgreSQL {name}", healthy)


def pairs(data: Path) -> Iterator[Pair]:
    """All twenty."""
    yield from hdfs(data)
    yield from postgres()
    yield halves("BGL", lines_of(data / "bgl" / "BGL_first10k.log.gz"))
    # Its incident begins at line 9,575.
    yield halves("Thunderbird", lines_of(data / "thunderbird" / "Thunderbird_19350.log.gz")[:9_500])
    for name in SAMPLES:
        yield halves(name, lines_of(data / "loghub_2k" / f"{name}_2k.log.gz"))


def messages(lines: Sequence[str], path: Path) -> pl.Series:
    """The message of each line, none where the format has none."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    described: FormatSection = suited([path], today=datetime.now(UTC).date()).format
    return read_fields(pl.Series(lines), described).message


Fault = Callable[..., list[str]]
"""Puts a fault into lines, whose messages are given."""


def says(texts: Sequence[str], *, times: int = 1) -> Fault:
    """Lines are written in the middle of a session, once or more."""

    def fault(lines: list[str], said: pl.Series, *, draw: random.Random) -> list[str]:
        places = [at for at, message in enumerate(said) if message and message in lines[at]]
        at = draw.choice(places)
        block = BLOCK.search(lines[at])
        new = [f"{text} ({block[0]})" if block else text for text in texts]
        if LEVEL.match(said[at]):
            new = [f"ERROR:  {text}" for text in new]
        written = [lines[at].replace(said[at], text) for text in new]
        return [*lines[: at + 1], *written * times, *lines[at + 1 :]]

    return fault


FAULTS: tuple[tuple[str, Fault], ...] = (
    ("cannot reach a backend", says(UNREACHABLE)),
    ("is denied", says(DENIED)),
    ("finds corrupt data", says(CORRUPT)),
    ("crashes", says(CRASH)),
    ("repeats one error 40 times", says(UNREACHABLE[:1], times=40)),
)


def ends_with(good: Sequence[str], today: Sequence[str], *, folder: Path) -> int:
    """How `detect` ends."""
    paths = {"good.log": good, "today.log": today}
    for name, lines in paths.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    today_log, good_log = (str(folder / name) for name in ("today.log", "good.log"))
    command = [sys.executable, "-m", "logllm", "detect", today_log, "--against", good_log]
    done = subprocess.run(
        [*command, "--fail-on-anomaly", "--limit", "1"], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return done.returncode


def main() -> None:
    """Print a row a pair."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the real logs")
    given = parser.parse_args()
    alarms = found = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for number, pair in enumerate(pairs(given.data)):
            kind, fault = FAULTS[number % len(FAULTS)]
            said = messages(pair.today, folder / "today.log")
            faulty = fault(pair.today, said, draw=random.Random(7 * number + number % len(FAULTS)))  # noqa: S311
            healthy, ill = (
                ends_with(pair.good, today, folder=folder) for today in (pair.today, faulty)
            )
            alarms, found = alarms + healthy, found + ill
            print(f"| {pair.name} | {len(pair.good):,} | {healthy} | {kind} | {ill} |", flush=True)
    print(f"healthy pairs that end with 1: {alarms}; faults that do: {found}")


if __name__ == "__main__":
    main()
