"""What is found of logs nobody described.

Format, share of lines, times, sessions, and how long the choice takes.

python benchmarks/formats.py LOG...
"""

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from logllm.datasets.prepare import prepare
from logllm.datasets.settings import choose, suited

_NOTHING: dict[str, dict[str, Any]] = {
    "format": {},
    "sessions": {},
    "split": {},
    "mask": {},
    "prepare": {},
}


def found(log: Path) -> dict[str, Any]:
    """The choice for one log, timed, and what `prepare` makes of all of it without any option."""
    started = time.perf_counter()
    choice = suited([log], today=datetime.now(UTC).date())
    seconds = time.perf_counter() - started
    settings = choose(choice.format, recipe=None, overrides=_NOTHING)
    with tempfile.TemporaryDirectory() as scratch:
        manifest = prepare([log], Path(scratch) / "data", settings=settings)
    parsed = 1 - manifest["rejected"] / manifest["lines"]
    sessions = settings.sessions
    grouped_by = sessions.key_field or sessions.key_pattern or sessions.size
    return {
        "log": log.name,
        "format": choice.format.name,
        "parsed": parsed,
        "timeless": manifest["timeless"],
        "seconds": seconds,
        "sessions": manifest["sessions"],
        "by": f"{sessions.by} {grouped_by}",
    }


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("logs", nargs="+", type=Path)
    parser.add_argument("--json", action="store_true", help="print one JSON object a log")
    arguments = parser.parse_args()
    rows = [found(log) for log in arguments.logs]
    if arguments.json:
        print("\n".join(map(json.dumps, rows)))
        return
    table = Table("log", "format", "parsed", "without time", "choice, s", "sessions", "by")
    for row in rows:
        numbers = (
            f"{row['parsed']:.2%}",
            str(row["timeless"]),
            f"{row['seconds']:.2f}",
            str(row["sessions"]),
        )
        table.add_row(row["log"], row["format"], *numbers, row["by"])
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
