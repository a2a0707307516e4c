"""What 1, 10 and 100 machines do with a thousand million lines.

The rates were measured on one machine.

    python benchmarks/scale.py                      writes the table into docs/scale.md
    python benchmarks/scale.py --check              whether it is current
    python benchmarks/scale.py --measure RUN LOG    first measures what the command itself does

Reading and scoring are those of `docs/performance`; they are divided by the number of machines.
What `detect --ray` does in the process that was called, where records are put in order, sessions
made and verdicts written, is done by one however many there are (`docs/scale.json`). So are the
numbers of distinct sessions in a half, a quarter and all of the log, by which those of the large
log are foretold (Heaps' law).
"""

import argparse
import io
import json
import math
import pickle
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from logllm.detect.detector import Detector
from logllm.detect.opened_run import OpenedRun
from logllm.detect.reading import Reading
from logllm.detect.spread.crew import Crew
from logllm.detect.spread.labour import Job, Labour, Origin
from logllm.detect.spread.spread_run import SpreadDetector
from logllm.detect.verdict import json_lines

DOCS = Path(__file__).resolve().parent.parent / "docs"
MEASURED = DOCS / "scale.json"
BEGIN, END = "<!-- made by benchmarks/scale.py -->", "<!-- end -->"
LINES = 1_000_000_000
MACHINES = (1, 10, 100)
AT_ONCE = 16_384
"""Distinct sessions of a shard."""
TIERS = {"nano": "score-hdfs-nano", "small, bf16": "score-hdfs-bf16", "small": "score-hdfs"}


class Rates(NamedTuple):
    """What was measured on one machine."""

    read: float
    """Lines a second that an actor reads."""
    ordered: float
    """Lines a second that one process puts in order, groups and writes verdicts of."""
    distinct: float
    """Distinct sessions of all lines."""


class Remembering:
    """A process here that does each job once, and afterwards only hands over what came of it."""

    def __init__(self, labour: Labour, results: list[bytes]) -> None:
        self._labour, self._results, self._next = labour, results, 0

    def begin(self, job: Job, lessons: list[Any]) -> int:
        """Do it, unless it was done."""
        number, self._next = self._next, self._next + 1
        if number == len(self._results):
            self._results.append(pickle.dumps(self._labour.do(job, lessons)))
        return number

    def done(self, ticket: int, *, wait: float) -> bool:
        """It is."""
        return True

    def result(self, ticket: int) -> Any:
        """What came of it, as it comes from another process."""
        return pickle.loads(self._results[ticket])  # noqa: S301 - made above

    def leave(self) -> None:
        """Nothing to end."""


def written(reading: Reading) -> int:
    """Write all verdicts as the command line does; gives how many there are."""
    sink, sessions = io.StringIO(), 0
    for frame in reading.frames():
        sink.writelines(json_lines(frame.drop("messages")))
        sessions += len(frame)
    return sessions


def measure(run: str, log: str) -> dict[str, Any]:
    """What the process that was called does itself, and how distinct sessions grow with a log."""
    detector = Detector.load(run)
    assert isinstance(detector.run, OpenedRun)  # noqa: S101 - `load` gives one
    labour = Labour(Origin.of(detector.run))
    seconds: list[float] = []
    results: list[bytes] = []
    for _ in range(4):  # the first one does the others' work, too
        spread = SpreadDetector.of(detector, Crew(lambda _: Remembering(labour, results), hands=1))
        started = time.perf_counter()
        reading = spread.read([log], evidence=False)
        sessions = written(reading)
        seconds.append(time.perf_counter() - started)
    frames = [frame["messages"] for frame in detector.read([log], evidence=False).frames()]
    messages = frames[0].append(*frames[1:]) if len(frames) > 1 else frames[0]
    growth = {
        str(count): messages.head(count).n_unique()
        for count in (len(messages) // 4, len(messages) // 2, len(messages))
    }
    lines = reading.counts["lines"]
    return {
        "lines": lines,
        "sessions": sessions,
        "ordered_seconds": min(seconds[1:]),
        "distinct": growth,
    }


def rates() -> Rates:
    """Those on disk."""
    bench = json.loads((DOCS / "performance" / "bench-hdfs.json").read_text())
    here = json.loads(MEASURED.read_text())
    (few, _), (_, _), (many, most) = sorted(
        (int(sessions), distinct) for sessions, distinct in here["distinct"].items()
    )
    power = math.log(most / here["distinct"][str(few)]) / math.log(many / few)
    return Rates(
        read=bench["stages"]["all four"]["lines_per_second"],
        ordered=here["lines"] / here["ordered_seconds"],
        distinct=most * (LINES / here["lines"]) ** power,
    )


def scored_per_second(name: str) -> float:
    """Distinct sessions a second, from file to verdicts, reading left out."""
    measured = json.loads((DOCS / "performance" / f"{name}.json").read_text())
    seconds = sorted(piece["ours"] for piece in measured["slices"])[len(measured["slices"]) // 2]
    return float(measured["distinct_sessions"] / seconds)


def table() -> str:
    """The table, and what it stands on."""
    here = rates()
    ordered = LINES / here.ordered
    rows = [
        "| recipe | "
        + " | ".join(f"{count} machine{'s' * (count > 1)}" for count in MACHINES)
        + " |",
        "|---|--:|--:|--:|",
    ]
    for tier, name in TIERS.items():
        cells = []
        for machines in MACHINES:
            shards = math.ceil(here.distinct / AT_ONCE)
            scoring = (
                math.ceil(shards / machines) * min(AT_ONCE, here.distinct) / scored_per_second(name)
            )
            cells.append(duration(max(LINES / here.read / machines, ordered) + scoring))
        rows.append(f"| {tier} | " + " | ".join(cells) + " |")
    shards = math.ceil(here.distinct / AT_ONCE)
    said = (
        "Machines of two cores, as those of [performance](performance.md).",
        f"An actor reads {here.read:,.0f} lines/s;",
        (
            f"the process that was called puts {here.ordered:,.0f} lines/s in order and writes"
            " their verdicts,"
        ),
        f"which takes {duration(ordered)} however many machines read.",
        (
            f"The log is taken to have {here.distinct:,.0f} distinct sessions, {shards} shards of"
            f" {AT_ONCE:,},"
        ),
        "as the growth within the HDFS sample foretells.",
        (
            "So beyond a few machines that process sets the pace of a small tier, and more gain"
            " only where scoring takes long;"
        ),
        (
            "give logs that share no sessions, such as those of different days or services, to a"
            " command each."
        ),
        "Not in it: fetching what lies elsewhere, and reading lines again for evidence.",
    )
    return "\n".join([*rows, "", *said])


def duration(seconds: float) -> str:
    """A time, for people.

    >>> duration(5400), duration(59)
    ('1.5 h', '59 s')
    """
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def main() -> None:
    """Measure, write or check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", nargs=2, metavar=("RUN", "LOG"))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.measure:
        MEASURED.write_text(json.dumps(measure(*options.measure), indent=2) + "\n")
    page = DOCS / "scale.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    text = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if options.check:
        sys.exit(
            0
            if text == page.read_text()
            else "docs/scale.md is not current: run python benchmarks/scale.py"
        )
    page.write_text(text)


if __name__ == "__main__":
    main()
