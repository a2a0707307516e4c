"""How long the format of a log takes to be recognised.

The slowest ten, and whether any takes more than a second.

python benchmarks/recognition.py ../shared/data/loghub_2k/*.gz tests/cases/logs/*
tests/cases/held_out/*

Seconds are of the processor, the best of several runs, so that a busy machine counts little. Exit
code 1 where a log takes more than a second.
"""

import argparse
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from logllm.formats.recognition import recognise
from logllm.logs.first_lines import first_lines

_SHOWN = 10
_MOST = 1.0  # seconds


def seconds_of(log: Path, *, runs: int) -> tuple[float, str]:
    """The processor's seconds for one log, the best of some runs, and the format's name."""
    text = first_lines([log]).text
    today = datetime.now(UTC).date()
    taken = []
    for run in range(runs):
        # What was recognised is remembered: each run has a day of its own.
        day = today - timedelta(days=run)
        started = time.process_time()
        name = recognise(text, today=day).format.name
        taken.append(time.process_time() - started)
    return min(taken), name


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("logs", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args()
    rows = sorted(
        ((*seconds_of(log, runs=arguments.runs), log.name) for log in arguments.logs), reverse=True
    )
    table = Table(
        "seconds",
        "format",
        "log",
        title=f"the slowest of {len(rows)} logs, {sum(row[0] for row in rows):.1f} s in all",
    )
    for seconds, name, log in rows[:_SHOWN]:
        table.add_row(f"{seconds:.2f}", name, log)
    Console(width=140).print(table)
    sys.exit(int(rows[0][0] > _MOST))


if __name__ == "__main__":
    main()
