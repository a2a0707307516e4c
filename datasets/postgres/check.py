"""What made runs hold: counts, and contradictions.

    PYTHONPATH=src python datasets/postgres/check.py FOLDER [train] [test] [changed]

Needs logllm. What simple methods make of the runs: python benchmarks/postgres_figures.py --set
FOLDER
"""

import csv
import lzma
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import label
import polars as pl

from logllm.config.mask import MaskSection
from logllm.formats.description import load_format
from logllm.logs.masking import mask

MASKS = MaskSection(own=load_format("postgresql").masks)
"""Those that logllm reads PostgreSQL's logs with."""


class Part(NamedTuple):
    """The sessions of one run: their masked messages, and the kind of their fault or none."""

    messages: list[tuple[str, ...]]
    kinds: list[str]

    @property
    def truth(self) -> list[bool]:
        """Whether each session is anomalous."""
        return [bool(kind) for kind in self.kinds]


def read(folder: Path, name: str) -> tuple[Part, dict[int, str], list[label.Line]]:
    """One run as sessions, and its labels by line."""
    with lzma.open(folder / f"{name}.log.xz", "rt", encoding="utf-8", errors="replace") as stream:
        lines = label.read(stream.read())
    with (folder / f"{name}.labels.csv").open(encoding="utf-8") as stream:
        given = {int(row["line"]): row["label"] for row in csv.DictReader(stream)}
    masked = dict(
        zip(
            (line.number for line in lines),
            mask(pl.Series([line.text for line in lines]), MASKS).to_list(),
            strict=True,
        )
    )
    messages, kinds = [], []
    for part in label.sessions(lines).values():
        messages.append(tuple(masked[line.number] for line in part))
        kinds.append(next((given[line.number] for line in part if line.number in given), ""))
    return Part(messages, kinds), given, lines


def contradictions(*parts: Part) -> tuple[int, list[tuple[str, ...]]]:
    """Sessions whose messages others of the other label have, too; the fewer of both count."""
    seen: defaultdict[tuple[str, ...], Counter[bool]] = defaultdict(Counter)
    for part in parts:
        for messages, truth in zip(part.messages, part.truth, strict=True):
            seen[messages][truth] += 1
    both = [
        (min(counted.values()), messages) for messages, counted in seen.items() if len(counted) == 2
    ]
    return sum(count for count, _ in both), [messages for _, messages in sorted(both, reverse=True)]


def main() -> int:
    """Print it all."""
    folder, *names = sys.argv[1:]
    parts = {}
    for name in names or ["train", "test"]:
        part, given, lines = read(Path(folder), name)
        parts[name] = part
        share = sum(part.truth) / len(part.truth)
        print(
            f"{name}: {lines[-1].last:,} lines, {len(lines):,} records, {len(part.kinds):,}"
            f" sessions, {sum(part.truth)} anomalous ({share:.1%})"
        )
        print(
            "  distinct messages",
            len({message for messages in part.messages for message in messages}),
            "distinct sessions",
            len(set(part.messages)),
        )
        print(
            "  sessions a kind:", dict(Counter(kind for kind in part.kinds if kind).most_common())
        )
        print("  lines a kind:", dict(Counter(given.values()).most_common()))
        print("  contradictions:", contradictions(part)[0])
    count, examples = contradictions(*parts.values())
    print("contradictions over all:", count)
    for messages in examples[:8]:
        print("   ", " | ".join(message[:90] for message in messages))
    return 0


if __name__ == "__main__":
    sys.exit(main())
