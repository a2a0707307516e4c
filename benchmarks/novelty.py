"""How well novelty ranks sessions without a label, and how fast.

Average precision on five logs, and lines a second.

    python benchmarks/novelty.py ../shared/data

The folder holds `hdfs/HDFS_2pct.log.gz` with `hdfs/anomaly_label.csv`, `bgl/BGL_6135.jsonl.gz` and
`thunderbird/Thunderbird_19350.log.gz`; the PostgreSQL set comes with logllm. Every log is learnt
twice: its normal sessions alone, and as it is, with the incidents that are in it. BGL's parts 4 and
5 are each judged by all parts before them and pooled, half of Thunderbird by the other half.
"""

import argparse
import gzip
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.methods.contract import Workplace
from logllm.methods.novelty import Novelty
from logllm.methods.prepared_part import Part
from logllm.metrics import Labels, Scores, measure

WAYS = {"normal sessions": False, "log as it is": True}
"""What is learnt from, and whether incidents are in it."""


def logllm(*arguments: object) -> None:
    """Run a verb.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, "-m", "logllm", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def prepared(data: Path, scratch: Path) -> dict[str, list[Path]]:
    """Folders of prepared data by the log's name; what several folders give is pooled."""
    hdfs = data / "hdfs"
    labels = hdfs / "anomaly_label.csv"
    logllm(
        "prepare",
        "hdfs",
        "--raw",
        hdfs / "HDFS_2pct.log.gz",
        "--labels",
        labels,
        "--out",
        scratch / "hdfs",
    )

    fields = ["--message", "message", "--time", "time", "--label", "label", "--normal", "normal"]
    windows = ["--window", 10, "--split", "time", "--validation", 0]
    bgl = data / "bgl" / "BGL_6135.jsonl.gz"
    logllm("prepare", "--format", "json", *fields, "--raw", bgl, *windows, "--out", scratch / "bgl")
    logllm("folds", scratch / "bgl", "--parts", 5, "--out", scratch / "parts")

    thunderbird = data / "thunderbird" / "Thunderbird_19350.log.gz"
    halves = ["--split", "random", "--test", 0.5, "--validation", 0]
    logllm(
        "prepare", "thunderbird", "--raw", thunderbird, *halves, "--out", scratch / "thunderbird"
    )

    for name in ("test", "changed"):
        logllm("prepare", "postgres", "--test-raw", name, "--out", scratch / name)
    return {
        "HDFS": [scratch / "hdfs"],
        "BGL, parts 4 and 5": [scratch / "parts" / f"fold-{number}" for number in (3, 4)],
        "Thunderbird": [scratch / "thunderbird"],
        "PostgreSQL, test": [scratch / "test"],
        "PostgreSQL, changed": [scratch / "changed"],
    }


def judged(folder: Path, *, incidents: bool) -> tuple[Scores, Labels]:
    """Scores and labels of the test part after learning from all others.

    Args:
        folder: of labelled data.
        incidents: whether anomalous sessions are learnt from, too.
    """
    data = Prepared.load(folder)
    parts = [Part.of(data, name) for name in ("train", "validation")]
    sessions = [session for part in parts for session in part.sessions]
    labels = np.concatenate(
        [np.asarray(part.labels, dtype=bool) for part in parts if part.labels is not None]
    )
    method = Novelty(Recipe.of_method("novelty"), Workplace())
    known = None if incidents else labels
    method.fit(sessions, data.messages, labels=known, line_labels=None, seed=0)
    test = Part.of(data, "test")
    return method.score(test.sessions, data.messages), np.asarray(test.labels, dtype=bool)


def average_precision(folders: Sequence[Path], *, incidents: bool) -> float:
    """Over the test sessions of several folders together."""
    pairs = [judged(folder, incidents=incidents) for folder in folders]
    scores, labels = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    return measure(scores, labels, threshold=0.5).average_precision or 0.0


def speed(log: Path) -> float:
    """Lines a second, learnt and judged, of a whole command."""
    command = [
        sys.executable,
        "-m",
        "logllm",
        "detect",
        str(log),
        "--against",
        str(log),
        "--limit",
        "1",
    ]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - started
    with gzip.open(log, "rb") as file:
        lines = sum(1 for _ in file)
    return 2 * lines / seconds


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the real logs")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folders = prepared(given.data, Path(scratch))
        print(f"| learnt from | {' | '.join(folders)} | mean |")
        for name, incidents in WAYS.items():
            figures = [
                average_precision(places, incidents=incidents) for places in folders.values()
            ]
            cells = [f"{figure:.3f}" for figure in (*figures, np.mean(figures))]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    rate = speed(given.data / "hdfs" / "HDFS_2pct.log.gz")
    print(f"the HDFS sample, learnt and judged: {rate:,.0f} lines/s")


if __name__ == "__main__":
    main()
