"""The demo: what was wrong with a PostgreSQL server.

The run that comes with logllm finds it in a log that it has not seen.

Each step is a command that is printed before it runs and works as well when typed by hand.
Everything is written to out/demo, which each run makes anew. It exits with 1 if the average
precision is below .9.
"""

import csv
import json
import lzma
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
SET, RUN = Path("src/logllm/datasets/sets/postgres"), Path("src/logllm/runs/postgres")
LOG, LABELS = SET / "test.log.xz", SET / "test.labels.csv"
OUT = Path("out", "demo")
DATA, REPORT, VERDICTS = OUT / "data", OUT / "report.json", OUT / "verdicts.jsonl"
AT_LEAST = 0.9
"""Average precision that the demo asks for."""

Json = dict[str, Any]
console = Console(highlight=False)


def main() -> int:
    """Run the demo and say whether it reached its figure."""
    began = time.monotonic()
    shutil.rmtree(ROOT / OUT, ignore_errors=True)
    (ROOT / OUT).mkdir(parents=True)
    console.print(
        f"{LOG} is the log of a real PostgreSQL server under load, in which faults were really"
        " injected. The run that comes with\nlogllm has learnt from another run of it. First the"
        " log alone, without labels, and without naming its format:"
    )
    logllm(["detect", LOG, "--summary"], to=VERDICTS)
    console.print(
        "\nThen the same as an experiment, with the labels that the record of the injections gave:"
    )
    logllm(["prepare", "postgres", "--out", DATA])
    logllm(["evaluate", RUN, "--data", DATA, "--json"], to=REPORT)
    report = json.loads((ROOT / REPORT).read_text(encoding="utf-8"))
    verdicts = [
        json.loads(line) for line in (ROOT / VERDICTS).read_text(encoding="utf-8").splitlines()
    ]
    show_faults(verdicts)
    show_report(report)
    console.print(
        f"The demo took {(time.monotonic() - began) / 60:.1f} minutes. Your own log: logllm detect"
        " postgresql.log --summary"
    )
    return 0 if report["average_precision"] >= AT_LEAST else 1


def logllm(words: Sequence[str | Path], *, to: Path | None = None) -> None:
    """Print one command of logllm and run it, its standard output to a file where one is given."""
    command = ["logllm", *map(str, words)]
    console.print(
        Text(f"\n$ {' '.join(command)}{f' > {to}' if to else ''}", style="bold"), soft_wrap=True
    )
    program = Path(sys.executable).with_name("logllm")
    if to is None:
        result = subprocess.run([program, *command[1:]], cwd=ROOT, check=False)
    else:
        with (ROOT / to).open("wb") as file:
            result = subprocess.run([program, *command[1:]], cwd=ROOT, check=False, stdout=file)
    if result.returncode:
        raise SystemExit(result.returncode)


def show_faults(verdicts: list[Json]) -> None:
    """Print what was wrong, kind by kind.

    When, how many sessions it hit, how many of them were found, and what one of them says.
    """
    lines = lzma.decompress((ROOT / LOG).read_bytes()).decode(errors="replace").split("\n")
    with (ROOT / LABELS).open(encoding="utf-8", newline="") as file:
        faults = {int(row["line"]): row["label"] for row in csv.DictReader(file)}
    hit, found, foremost = Counter[str](), Counter[str](), dict[str, tuple[float, str]]()
    times: dict[str, list[str]] = {}
    for verdict in verdicts:
        marked = [line for line in verdict["lines"] if line in faults]
        for fault in {faults[line] for line in marked}:
            hit[fault] += 1
            found[fault] += verdict["anomalous"]
            first = next(line for line in marked if faults[line] == fault)
            foremost[fault] = max(
                foremost.get(fault, (-1.0, "")), (verdict["score"], lines[first - 1])
            )
            times.setdefault(fault, []).append(lines[first - 1][11:19])
    table = Table(title="What was wrong with the server", expand=True)
    for column, width in (("fault", None), ("times", 17), ("sessions", None), ("found", None)):
        table.add_column(
            column,
            no_wrap=True,
            width=width,
            justify="right" if width is None and column != "fault" else "left",
        )
    table.add_column("such as", ratio=1)
    for fault in sorted(hit, key=lambda fault: min(times[fault])):
        said = foremost[fault][1].split("] ", 1)[-1].split("  ", 1)[-1]
        span = f"{min(times[fault])}-{max(times[fault])}"
        table.add_row(fault.replace("_", " "), span, str(hit[fault]), str(found[fault]), Text(said))
    console.print(table)


def show_report(report: Json) -> None:
    """Say how many anomalous sessions were found, and at what price."""
    faulty, sound = report["tp"] + report["fn"], report["fp"] + report["tn"]
    console.print(
        f"{report['tp']} of {faulty} anomalous sessions found, {report['fp']} false alarms among"
        f" {sound:,} normal ones:"
    )
    console.print(
        f"F1 {report['f1']:.3f}, average precision {report['average_precision']:.3f}, where the"
        f" demo asks for at least {AT_LEAST}. In {DATA} the sessions, in {VERDICTS} one verdict"
        " each."
    )


if __name__ == "__main__":
    sys.exit(main())
