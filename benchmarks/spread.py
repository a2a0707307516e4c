"""What sharing a log's work costs on one machine.

`logllm detect` alone and with `--ray local`, in turn, their bytes compared.

    python benchmarks/spread.py RUN LOG... [--times 3]

Neither reads scores that are kept. The time is that of the whole command, from its start to its
end; what it prints as overhead is the difference of the medians.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path


def judged(arguments: list[str]) -> tuple[float, bytes]:
    """Seconds that a command took, and its verdicts."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "logllm", "detect", *arguments], check=True, stdout=subprocess.PIPE
    )
    return time.perf_counter() - started, done.stdout


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("log", nargs="+")
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    base = [str(options.run), *options.log]

    # In turn, so that what else the machine does falls on both.
    alone, spread, equal = [], [], True
    for _ in range(options.times):
        seconds, expected = judged([*base, "--no-cache"])
        alone.append(seconds)
        seconds, verdicts = judged([*base, "--ray", "local"])
        spread.append(seconds)
        equal &= verdicts == expected
    overhead = statistics.median(spread) - statistics.median(alone)
    print(
        f"alone {statistics.median(alone):.1f} s, with --ray local {statistics.median(spread):.1f}"
        f" s: {overhead:+.1f} s"
    )
    print(f"bytes {'equal' if equal else 'DIFFER'}")
    sys.exit(not equal)


if __name__ == "__main__":
    main()
