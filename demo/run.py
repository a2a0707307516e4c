"""The demo: simulate a log, then prepare, train, evaluate and detect, and show what was found.

Each step is a command that is printed before it runs and works as well when typed by hand. Everything is written to
out/demo, which each run makes anew. It exits with 1 if the average precision on held-out sessions is below .9.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from simulate import Label, simulate, write_labels, write_log

ROOT = Path(__file__).resolve().parent.parent
OUT = Path("out", "demo")
RAW, LABELS, NEW = OUT / "storage.log", OUT / "labels.csv", OUT / "new.log"
DATA, RUN, REPORT, VERDICTS = OUT / "data", OUT / "run", OUT / "report.json", OUT / "verdicts.jsonl"
AT_LEAST = 0.9
"""Average precision on held-out sessions that the demo asks for."""

console = Console(highlight=False)


def main() -> int:
    """Run the demo and say whether it reached its figure."""
    began = time.monotonic()
    shutil.rmtree(ROOT / OUT, ignore_errors=True)
    (ROOT / OUT).mkdir(parents=True)
    truth = write_logs()
    logllm(["prepare", "--format", "demo/storage.toml", "--raw", RAW, "--labels", LABELS, "--split", "random", "--out", DATA])
    logllm(["train", "demo/recipe.toml", "--data", DATA, "--out", RUN])
    logllm(["evaluate", RUN, "--data", DATA, "--json"], to=REPORT)
    reached = show_report(json.loads((ROOT / REPORT).read_text(encoding="utf-8")))
    logllm(["detect", RUN, NEW], to=VERDICTS)
    verdicts = [json.loads(line) for line in (ROOT / VERDICTS).read_text(encoding="utf-8").splitlines()]
    show_verdicts(verdicts, truth)
    show_files()
    console.print(f"The demo took {(time.monotonic() - began) / 60:.1f} minutes.")
    if not reached:
        console.print(f"[red]The average precision on held-out sessions is below {AT_LEAST}.[/red]")
    return 0 if reached else 1


def write_logs() -> dict[str, Label]:
    """Write a labelled log to learn from and a second one without labels; what is true of the second comes back."""
    lines, labels = simulate(seed=0, sessions=1500)
    write_log(lines, ROOT / RAW)
    write_labels(labels, ROOT / LABELS)
    new_lines, new_labels = simulate(seed=1, sessions=120)
    write_log(new_lines, ROOT / NEW)
    console.print(f"Simulated a storage cluster: {RAW} ({len(lines):,} lines, {len(labels):,} sessions), {LABELS},")
    console.print(f"and {NEW} ({len(new_lines):,} lines), which nobody has labelled.")
    return {label.session: label for label in new_labels}


def logllm(words: Sequence[str | Path], *, to: Path | None = None) -> None:
    """Print one command of logllm and run it, its standard output to a file where one is given."""
    command = ["logllm", *map(str, words)]
    console.print(Text(f"\n$ {' '.join(command)}{f' > {to}' if to else ''}", style="bold"), soft_wrap=True)
    program = Path(sys.executable).with_name("logllm")
    if to is None:
        result = subprocess.run([program, *command[1:]], cwd=ROOT, check=False)
    else:
        with (ROOT / to).open("wb") as file:
            result = subprocess.run([program, *command[1:]], cwd=ROOT, check=False, stdout=file)
    if result.returncode:
        raise SystemExit(result.returncode)


def show_report(report: dict[str, Any]) -> bool:
    """Say how many held-out faults were found; whether the average precision is high enough."""
    faults, sound = report["tp"] + report["fn"], report["fp"] + report["tn"]
    console.print(f"{report['tp']} of {faults} held-out faults found, {report['fp']} false alarms among {sound} sound sessions;")
    console.print(f"average precision {report['average_precision']:.3f}, where the demo asks for at least {AT_LEAST}.")
    return bool(report["average_precision"] >= AT_LEAST)


def show_verdicts(verdicts: list[dict[str, Any]], truth: dict[str, Label]) -> None:
    """Print the anomalous sessions of the new log with their lines, and how they compare with what was simulated."""
    lines = (ROOT / NEW).read_text(encoding="utf-8").splitlines()
    found = sorted((verdict for verdict in verdicts if verdict["anomalous"]), key=lambda verdict: -verdict["score"])
    table = Table(title=f"Anomalous sessions of {NEW}", show_lines=True, expand=True)
    table.add_column("session", no_wrap=True)
    table.add_column("score", no_wrap=True)
    table.add_column("began", no_wrap=True)
    table.add_column("its messages", ratio=1)
    table.add_column("fault simulated", max_width=12)
    for verdict in found:
        messages = "\n".join(lines[number - 1].split(" op=", 1)[1].split(" ", 1)[1] for number in verdict["lines"])
        fault = truth[verdict["session"]].fault or "none"
        table.add_row(verdict["session"], f"{verdict['score']:.3f}", verdict["start"][11:19], Text(messages), fault)
    console.print(table)
    faulty = {label.session for label in truth.values() if label.fault}
    hits = sum(verdict["session"] in faulty for verdict in found)
    console.print(f"{hits} of the new log's {len(faulty)} faults found, {len(found) - hits} false alarms in {len(verdicts)} sessions.")


def show_files() -> None:
    """Say what lies where."""
    for path, what in (
        (DATA, "the sessions, split into train, validation and test"),
        (RUN, "the trained run: recipe, adapters, threshold, figures"),
        (REPORT, "the figures on held-out sessions"),
        (VERDICTS, "the verdicts on the new log, one JSON object a session"),
    ):
        console.print(f"{path!s:24} {what}")


if __name__ == "__main__":
    sys.exit(main())
