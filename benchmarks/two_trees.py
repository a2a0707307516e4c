"""Two checkouts side by side: how long the same commands take in each, one after the other in turn.

    python benchmarks/two_trees.py --before ../before --runs 7
    python benchmarks/two_trees.py --before ../before --hdfs ../shared/data/hdfs --only prepare

`--before` is another checkout of this repository, such as `git worktree add ../before COMMIT`
makes. Each command runs in a process of its own, with an empty folder to write to and without a
cache of scores; times are medians, the ratio is that of the pairs' median.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent.parent
TIMEOUT = 1_800
"""Seconds that one command may take."""


def commands(tree: Path, hdfs: Path | None) -> dict[str, list[str]]:
    """What is timed, by name; `OUT` stands for a folder that is not there yet."""
    sets = next(
        folder
        for name in ("datasets", "data")
        if (folder := tree / "src" / "logllm" / name / "sets").is_dir()
    )
    log = str(sets / "postgres" / "test.log.xz")
    timed = {
        "detect": ["detect", "postgres", log, "--no-cache", "--no-summary"],
        "prepare": ["prepare", "postgres", "--out", "OUT"],
    }
    if hdfs is not None:
        labels = str(next(hdfs.glob("*label*.csv*")))
        lines = [str(path) for path in sorted(hdfs.glob("*.log*"))]
        timed["prepare"] = [
            "prepare",
            "hdfs",
            *(part for line in lines for part in ("--raw", line)),
            "--labels",
            labels,
            "--out",
            "OUT",
        ]
    return timed


def seconds(tree: Path, command: Sequence[str]) -> float:
    """Wall-clock seconds of one command in a checkout."""
    with tempfile.TemporaryDirectory() as scratch:
        arguments = [f"{scratch}/out" if part == "OUT" else part for part in command]
        environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "logllm", *arguments],
            cwd=scratch,
            env=environment,
            check=True,
            capture_output=True,
            timeout=TIMEOUT,
        )
        return time.perf_counter() - started


def side_by_side(
    before: Path, *, runs: int, hdfs: Path | None, only: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Medians of both checkouts, and of the pairs' ratios."""
    results = {}
    ours, theirs = commands(HERE, hdfs), commands(before, hdfs)
    for name in ours:
        if only and name not in only:
            continue
        for tree, timed in ((before, theirs), (HERE, ours)):
            # What is made once and remembered, such as compiled modules, is no part of it.
            seconds(tree, timed[name])
        pairs = [(seconds(before, theirs[name]), seconds(HERE, ours[name])) for _ in range(runs)]
        results[name] = {
            "before": statistics.median(old for old, _ in pairs),
            "here": statistics.median(new for _, new in pairs),
            "ratio": statistics.median(new / old for old, new in pairs),
        }
    return results


def main() -> None:
    """Print a table, and JSON on standard output."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="another checkout")
    parser.add_argument("--runs", type=int, default=5, help="pairs of runs")
    parser.add_argument(
        "--hdfs",
        type=Path,
        help="folder of the HDFS sample, to prepare it instead of the set that comes with logllm",
    )
    parser.add_argument(
        "--only", action="append", default=[], help="time this command alone; repeatable"
    )
    arguments = parser.parse_args()
    results = side_by_side(
        arguments.before.resolve(), runs=arguments.runs, hdfs=arguments.hdfs, only=arguments.only
    )
    table = Table("command", "before, s", "here, s", "ratio")
    for name, figures in results.items():
        table.add_row(name, *(f"{value:.2f}" for value in figures.values()))
    Console(stderr=True).print(table)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
