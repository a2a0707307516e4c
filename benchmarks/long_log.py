"""`logllm detect` at the full HDFS set's size.

The sample written over with fresh block ids and times.

    python benchmarks/long_log.py --run RUN --raw HDFS_2pct.log.gz [--copies 50] [--scratch DIR]
        [--again]

The log (zst) is judged by a process of its own, which prints at its end where its time and memory
went: seconds in the scorer, which are those of the first copy alone, since the other copies hold no
sequence of messages that it does not; the memory that the model added when it was loaded (less than
its size, since it takes what reading has freed); and the peak. Verdicts go to a file. The cache of
scores is an empty one, unless `--scores` names another; `--again` judges the log a second time,
from the cache. Linux only.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl
from paper_size import write_over

DETECT = """
import json, sys, time
from pathlib import Path

spent = {"scoring": 0.0, "loading": 0.0, "loaded_gb": 0.0}

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e9

def timed(function, name):
    def call(*given, **named):
        started, before = time.perf_counter(), resident()
        try:
            return function(*given, **named)
        finally:
            spent[name] += time.perf_counter() - started
            if name == "loading":
                spent["loaded_gb"] = resident() - before
    return call

import logllm.detect.cache
from logllm.cli.app import main
from logllm.detect.detector import Detector
scores = Path(sys.argv.pop(1))
logllm.detect.cache.cache = lambda: scores
from logllm.model.fast.scorer import Scorer
Scorer.score = timed(Scorer.score, "scoring")
Detector._loaded = timed(Detector._loaded, "loading")
try:
    main()
finally:
    status = Path("/proc/self/status").read_text()
    spent["peak_gb"] = int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9
    sys.stderr.write("\\n" + json.dumps(spent) + "\\n")
"""
"""`logllm` with a clock around the scorer and around the model's loading; of Linux's counters of
the peak the one of this process alone."""


def judge(run: Path, log: Path, *, verdicts: Path, scores: Path) -> dict[str, Any]:
    """Judge a log in a process of its own, which keeps scores in a folder.

    Seconds, and gigabytes of memory.
    """
    command = [sys.executable, "-c", DETECT, str(scores), "detect", str(run), str(log)]
    started = time.perf_counter()
    with verdicts.open("wb") as out:
        done = subprocess.run(command, check=False, stdout=out, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{done.stderr}\n{' '.join(command[:1])} ... detect failed")
    sys.stderr.write(done.stderr)
    spent = json.loads(done.stderr.splitlines()[-1])
    return {
        "seconds": round(seconds, 1),
        "scoring_seconds": round(spent["scoring"], 1),
        "loading_seconds": round(spent["loading"], 1),
        "beyond_scoring_seconds": round(seconds - spent["scoring"], 1),
        "model_gb": round(spent["loaded_gb"], 2),
        "peak_gb": round(spent["peak_gb"], 2),
        "beyond_model_gb": round(spent["peak_gb"] - spent["loaded_gb"], 2),
    }


def main() -> None:
    """Write, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="folder that `logllm train` wrote")
    parser.add_argument("--raw", type=Path, required=True, help="the HDFS sample, gz")
    parser.add_argument("--copies", type=int, default=50)
    parser.add_argument(
        "--scratch", type=Path, help="where to write, in a folder that is removed afterwards"
    )
    parser.add_argument(
        "--scores",
        type=Path,
        help="folder with scores that are known already, instead of an empty cache",
    )
    parser.add_argument(
        "--again", action="store_true", help="judge the log a second time, from the cache"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        log, verdicts = Path(scratch) / "HDFS.log.zst", Path(scratch) / "verdicts.jsonl"
        lines = pl.Series(gzip.decompress(options.raw.read_bytes()).decode("latin-1").splitlines())
        write_over(lines, log, total=len(lines) * options.copies, fresh_times=True)
        for _ in range(1 + options.again):
            found = judge(
                options.run, log, verdicts=verdicts, scores=options.scores or Path(scratch)
            )
            with verdicts.open("rb") as file:
                sessions = sum(1 for _ in file)
            print(json.dumps({"lines": len(lines) * options.copies, "sessions": sessions, **found}))


if __name__ == "__main__":
    main()
