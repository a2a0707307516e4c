"""What alarms on PostgreSQL servers that the run has not learnt from.

In every zone and prefix, and on healthy days.

python benchmarks/postgres_elsewhere.py [--run src/logllm/runs/postgres] [--show]

`crash` is one log of a server that starts, stops, restarts, and of which a backend is killed; it is
written over in 14 zones and with 4 prefixes, and in each of them the fault's sessions must alarm
and no other. `wiki`, `meters` and `plain` are half an hour each of servers without a fault, with
three routine restarts; `pool` has no connection left for a while. datasets/postgres/healthy.py made
them.
"""

import argparse
import csv
import lzma
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from logllm.config.format import FormatSection
from logllm.datasets.settings import for_format
from logllm.detect.detector import Detector
from logllm.detect.which_run import task
from logllm.runs.manifest import shipped_run

LOGS = Path(__file__).resolve().parent.parent / "datasets" / "postgres" / "healthy"
ZONES = (
    "UTC",
    "CET",
    "CEST",
    "EET",
    "EEST",
    "MSK",
    "WIB",
    "IST",
    "PKT",
    "HKT",
    "AEST",
    "-03",
    "EST",
    "PDT",
)
"""Names as servers write them after every time; of São Paulo there is none but the number."""
PREFIXES = {
    "%m [%p] ": "{time} {zone} [{pid}] ",
    "%m [%p] %q%u@%d ": "{time} {zone} [{pid}] {who}",
    "%t:%r:%u@%d:[%p]:": "{seconds} {zone}:{host}:{user}@{database}:[{pid}]:",
    "%t %c: user=%u,db=%d ": "{seconds} {zone} {session}: user={user},db={database} ",
}
"""log_line_prefix, and how a line begins with it."""
LINE = re.compile(
    r"(?P<time>(?P<seconds>[0-9-]{10} [0-9:]{8})\.\d{3}) UTC \[(?P<pid>\d+)\] (?P<who>"
    r"(?P<user>[^@ ]+)@(?P<database>[^ ]+) )?(?P<text>.*)"
)
HEALTHY = ("wiki", "meters", "plain")


@dataclass
class Judged:
    """What was made of one log."""

    sessions: int = 0
    faulty: int = 0
    """Sessions that hold a labelled line."""
    recognised: int = 0
    """Those of them that alarm."""
    false: int = 0
    """Other sessions that alarm."""
    told: str = ""
    """The lines of what was missed and of what alarmed falsely."""

    def __str__(self) -> str:
        """As docs/figures.md has it."""
        return (
            f"{self.recognised} of {self.faulty} faulty sessions, {self.false} false alarms in "
            f"{self.sessions - self.faulty:,} others"
        )


def text_of(name: str) -> str:
    """A log of healthy.py."""
    return lzma.decompress((LOGS / f"{name}.log.xz").read_bytes()).decode()


def faults_of(name: str) -> set[int]:
    """The numbers of its labelled lines."""
    with (LOGS / f"{name}.labels.csv").open(encoding="utf-8") as stream:
        return {int(row["line"]) for row in csv.DictReader(stream)}


def rewritten(text: str, *, prefix: str, zone: str) -> str:
    """A log with Debian's prefix in UTC as a server elsewhere writes it.

    The same clock, another zone, another prefix.

    >>> told = "LOG:  database system was shut down at 2026-11-27 00:18:05 UTC"
    >>> line = f"2026-11-27 00:18:05.667 UTC [87] {told}"
    >>> changed = rewritten(line, prefix="%t %c: user=%u,db=%d ", zone="CEST")
    >>> changed.partition("LOG:")[0]
    '2026-11-27 00:18:05 CEST 6a0f0000.57: user=,db= '
    >>> changed.partition("LOG:")[2]
    '  database system was shut down at 2026-11-27 00:18:05 CEST'
    """
    lines = []
    for line in text.split("\n"):
        match = LINE.fullmatch(line)
        parts = {key: value or "" for key, value in match.groupdict().items()} if match else {}
        begun = f"6a0f0000.{int(parts['pid']):x}" if match else ""
        host = "127.0.0.1(40312)" if parts.get("user") else ""
        start = (
            PREFIXES[prefix].format(**parts, zone=zone, session=begun, host=host) if match else ""
        )
        rest = re.sub(r"(?<=\d\d:\d\d:\d\d) UTC", f" {zone}", parts.get("text", line))
        lines.append(start + rest)
    return "\n".join(lines)


def judged(detector: Detector, text: str, *, faults: set[int]) -> Judged:
    """What `logllm detect LOG` makes of a log, by a run that is loaded already."""
    lines, found = text.split("\n"), Judged()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "postgresql.log"
        log.write_text(text, encoding="utf-8")
        described = task([str(log)]).format
        if not isinstance(described, FormatSection):
            raise SystemExit("no format fits the log")
        reading = Detector(
            detector.run, settings=for_format(detector.settings, described), cached=True
        ).read([log])
        verdicts = list(reading)
    for verdict in verdicts:
        faulty, alarms = not faults.isdisjoint(verdict.lines), verdict.anomalous
        found.sessions += 1
        found.faulty += faulty
        found.recognised += faulty and alarms
        found.false += alarms and not faulty
        if faulty != alarms:
            words = "\n".join(f"    {lines[number - 1][:160]}" for number in verdict.lines[:20])
            found.told += (
                f"  {'missed' if faulty else 'false'} {verdict.session} "
                f"({verdict.score:.3f})\n{words}\n"
            )
    return found


def zones(detector: Detector) -> Iterator[tuple[str, str, Judged]]:
    """The log with a crash in every zone and prefix."""
    text, faults = text_of("crash"), faults_of("crash")
    for prefix in PREFIXES:
        for zone in ZONES:
            yield (
                prefix,
                zone,
                judged(detector, rewritten(text, prefix=prefix, zone=zone), faults=faults),
            )


def main() -> None:
    """Print a line a log; with --show what was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=shipped_run())
    parser.add_argument("--only", choices=("zones", "healthy"))
    parser.add_argument(
        "--show", action="store_true", help="the lines of sessions that are judged wrong"
    )
    given = parser.parse_args()
    detector = Detector.load(given.run, cache=True)
    if given.only != "zones":
        for name in (*HEALTHY, "pool"):
            found = judged(detector, text_of(name), faults=faults_of(name))
            print(f"{name}: {found}\n{found.told if given.show else ''}", end="", flush=True)
    if given.only != "healthy":
        right = 0
        for prefix, zone, found in zones(detector):
            well = found.recognised == found.faulty and not found.false
            right += well
            if not well:
                print(
                    f"{prefix!r} in {zone}: {found}\n{found.told if given.show else ''}",
                    end="",
                    flush=True,
                )
        print(f"{right} of {len(PREFIXES) * len(ZONES)} zones and prefixes are right")


if __name__ == "__main__":
    main()
