"""Endurance of `logllm watch`.

Kills, rotations, floods and full disks, each judged against batch `detect`.

    python benchmarks/soak.py --data ../shared/data --out docs/live.json
    python benchmarks/soak.py --data ../shared/data --share 0.1 --only latency,throughput

Seeded; everything is written below a temporary folder. `--share` makes each load so much smaller.
What is written is one JSON object, a key a measurement; those that are not made again stay as they
were.
"""

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import alerting
import feedback
import serving_load
import soak_files
import soak_kafka
import soak_pace
import soak_page
from watching import Load

from logllm.storage import write_atomic

MEASUREMENTS: dict[str, Callable[[Load], Any]] = {
    "kafka": soak_kafka.kafka,
    "files": soak_files.rotations,
    "throughput": soak_pace.throughput,
    "latency": soak_pace.latency,
    "memory": soak_pace.memory,
    "serving_load": serving_load.at_share,
    "page_latency": soak_page.page_latency,
    "page_burst": soak_page.page_burst,
    "alerts_of_one_fault": alerting.fault,
    "alerts_while_down": alerting.down,
    "alerts_when_muted": alerting.muted,
    "incidents_cost": alerting.cost,
    "feedback": feedback.at_share,
}


def trained(data: Path, folder: Path) -> tuple[Path, Path]:
    """The HDFS sample as a log, and a run that a few seconds train on it."""
    log, prepared, run = folder / "hdfs.log", folder / "data", folder / "run"
    with gzip.open(data / "hdfs" / "HDFS_2pct.log.gz") as packed, log.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    labels = data / "hdfs" / "anomaly_label.csv"
    _logllm("prepare", "hdfs", "--raw", log, "--labels", labels, "--out", prepared)
    _logllm("train", "words", "--data", prepared, "--out", run)
    return log, run


def _logllm(*arguments: object) -> None:
    """Run the command."""
    subprocess.run(
        [sys.executable, "-m", "logllm", *map(str, arguments)],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def main() -> None:
    """Measure what is asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the HDFS sample")
    parser.add_argument("--out", type=Path, help="file to write what was measured to")
    parser.add_argument("--share", type=float, default=1.0, help="how much of each load")
    parser.add_argument("--only", default=",".join(MEASUREMENTS), help="which measurements")
    options = parser.parse_args()
    data = options.data.resolve()
    out = None if options.out is None else options.out.resolve()
    results: dict[str, Any] = {}
    if out is not None and out.exists():
        results = json.loads(out.read_text())
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        folder = Path(name)
        log, run = trained(data, folder)
        for measurement in options.only.split(","):
            place = folder / measurement
            place.mkdir()
            load = Load(run, log, place, options.share)
            results[measurement] = {"share": options.share, **MEASUREMENTS[measurement](load)}
            print(measurement, json.dumps(results[measurement]), file=sys.stderr, flush=True)
        os.chdir("/")
    text = json.dumps(results, indent=2) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomic(out, text.encode())


if __name__ == "__main__":
    main()
