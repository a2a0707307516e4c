"""How long a short log's verdicts take from the start of a process, and how much memory.

What a person at a terminal waits for.

    python benchmarks/start.py [RUN] [LOG] [--lines 10] [--times 5] [--json]

Each time a fresh process runs `logllm detect RUN - --no-cache` on the log's first lines; one before
them, which is not counted, fetches and converts the base models where they are not here. By default
the run and the test log that come with logllm. Memory is the largest resident set of the processes
so far, files that are mapped included.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

from logllm.logs.lines import read_lines
from logllm.runs.manifest import shipped_run

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "logllm"
LOG = PACKAGE / "datasets" / "sets" / "postgres" / "test.log.xz"


def beginning(log: Path, *, lines: int) -> bytes:
    """A log's first lines."""
    batch = next(islice(read_lines([str(log)], encoding="utf-8", batch_lines=lines), 1))
    return ("\n".join(batch.frame["text"]) + "\n").encode()


def seconds(run: Path, text: bytes) -> float:
    """From the start of a process to its end, all verdicts given."""
    command = [sys.executable, "-m", "logllm", "detect", str(run), "-", "--no-cache"]
    started = time.perf_counter()
    subprocess.run(
        command, input=text, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def measured(run: Path, text: bytes, *, times: int) -> dict[str, float]:
    """Seconds and memory of several processes, one after the other."""
    seconds(run, text)
    taken = [seconds(run, text) for _ in range(times)]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": statistics.median(taken),
        "fastest": min(taken),
        "slowest": max(taken),
        "processor_seconds": (used.ru_utime + used.ru_stime) / (times + 1),
        "peak_bytes": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "run",
        type=Path,
        nargs="?",
        default=None,
        help="a run; by default the one that comes with logllm",
    )
    parser.add_argument("log", type=Path, nargs="?", default=LOG)
    parser.add_argument("--lines", type=int, default=10)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measured(
        given.run or shipped_run(), beginning(given.log, lines=given.lines), times=given.times
    )
    if given.json:
        print(json.dumps(found, indent=2))
        return
    print(
        f"{found['seconds']:.2f} s ({found['fastest']:.2f} to {found['slowest']:.2f}),"
        f" {found['processor_seconds']:.2f} s of processor time"
    )
    print(f"{found['peak_bytes'] / 1e9:.2f} GB at most")


if __name__ == "__main__":
    main()
