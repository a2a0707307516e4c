"""Put logs of several runs one before the other, as one log to train on.

    python datasets/postgres/join.py FOLDER days routine train --out SET

The last one keeps its date; each of the others is moved to the day before the next one's, in its
lines and in its record. Lines that are none of the server's own (what a shell says that an archive
command started) are left out. The labels follow from the record.
"""

import argparse
import itertools
import lzma
import re
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import label

DATE = re.compile(r"\b20\d\d-\d\d-\d\d\b")
GOES_ON = ("\t",)
"""How a line begins that goes on with the record before it."""


class Part(NamedTuple):
    """One run: its log and the record of its faults."""

    log: str
    record: str

    @property
    def day(self) -> str:
        """The date of its first line."""
        found = DATE.search(self.log)
        if found is None:
            raise SystemExit("a log has no line with a date")
        return found.group()

    def moved(self, day: str) -> "Part":
        """The same run on another day; it must not have seen midnight."""
        if {line[:10] for line in self.log.splitlines() if DATE.match(line)} != {self.day}:
            raise SystemExit(f"the run of {self.day} goes on after midnight: make it again")
        return Part(self.log.replace(self.day, day), self.record.replace(self.day, day))

    @classmethod
    def read(cls, folder: Path, name: str) -> "Part":
        """A run's files; the log may be packed."""
        packed = folder / f"{name}.log.xz"
        text = (
            lzma.decompress(packed.read_bytes()).decode()
            if packed.is_file()
            else (folder / f"{name}.log").read_text(encoding="utf-8")
        )
        own = [line for line in text.splitlines() if line.startswith(GOES_ON) or DATE.match(line)]
        return cls(
            "\n".join([*own, ""]), (folder / f"{name}.injections.jsonl").read_text(encoding="utf-8")
        )


def processes(part: Part) -> set[int]:
    """The process ids of a log."""
    return {line.pid for line in label.read(part.log)}


def main() -> None:
    """Join the runs that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    parts = [Part.read(chosen.folder, name) for name in chosen.names]
    for one, other in itertools.combinations(map(processes, parts), 2):
        if one & other:
            raise SystemExit(
                f"{len(one & other)} process ids are of two runs: their sessions would be one"
            )
    last = date.fromisoformat(parts[-1].day)
    days = [(last - timedelta(days=before)).isoformat() for before in range(len(parts) - 1, -1, -1)]
    moved = [
        part if part.day == day else part.moved(day) for part, day in zip(parts, days, strict=True)
    ]
    name = chosen.names[-1]
    log, record = chosen.out / f"{name}.log", chosen.out / f"{name}.injections.jsonl"
    log.write_text("".join(part.log for part in moved), encoding="utf-8")
    record.write_text("".join(part.record for part in moved), encoding="utf-8")
    label.write(log, record, chosen.out / f"{name}.labels.csv")
    with lzma.open(chosen.out / f"{name}.log.xz", "wb", preset=9 | lzma.PRESET_EXTREME) as stream:
        stream.write(log.read_bytes())
    log.unlink()


if __name__ == "__main__":
    main()
