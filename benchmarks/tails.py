"""Tails, heads and middles of a labelled log.

False alarms on sessions that the input cuts, and what is still found.

    python benchmarks/tails.py RUN DATA LOG --lines 8000 --places 20 --out tails.json
    python benchmarks/tails.py RUN DATA LOG --parts train,validation

LOG is the raw log that DATA was prepared from, sessions by key. A tail is so many lines up to one
of the places, which lie evenly over the log; the first is the log's head, the last its real tail.
Of each session it is known how many lines it has in the whole log, so it is known whether a tail
cuts it. `before` judges by the score alone, as if every session were whole. With `--parts` the
lines of other parts' sessions are left out: rules are chosen on those, and measured on all. What is
written is one JSON object.
"""

import argparse
import gzip
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from logllm.datasets.prepared import PARTS, Prepared
from logllm.detect.detector import Detector
from logllm.storage import write_atomic


def telling(prepared: Prepared) -> set[str]:
    """Messages that only anomalous sessions of the train part hold."""
    rows = prepared.part("train").select("anomalous", "messages").explode("messages")
    normal = rows.group_by("messages").agg(anomalous=pl.col("anomalous").all()).filter("anomalous")
    return set(prepared.messages.gather(normal["messages"]))


def verdicts(
    detector: Detector, lines: Sequence[bytes]
) -> Iterator[tuple[pl.DataFrame, pl.Series]]:
    """Verdict frames on some lines, each with the message table."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "tail.log"
        log.write_bytes(b"".join(lines))
        reading = detector.read([log])
        for frame in reading.frames():
            yield frame, reading.messages


def judged(
    detector: Detector, lines: Sequence[bytes], *, whole: pl.DataFrame, alarms: set[str]
) -> Counter[str]:
    """Counts of one tail.

    `whole` has `session`, `count` and `anomalous` of every session of the log.
    """
    counts: Counter[str] = Counter()
    for frame, messages in verdicts(detector, lines):
        tells = messages.is_in(list(alarms))
        if "cut" not in frame.columns:
            frame = frame.with_columns(cut=pl.lit(None, dtype=pl.String))
        rows = frame.join(whole, on="session", how="left", maintain_order="left").with_columns(
            truly=pl.col("lines").list.len() < pl.col("count"),
            tells=pl.col("messages").list.eval(pl.lit(tells).gather(pl.element())).list.any(),
            before=pl.col("score") >= detector.threshold,
        )
        for truly, label, tells_it, before, now, cut in rows.select(
            "truly", "label", "tells", "before", "anomalous", "cut"
        ).iter_rows():
            kind = f"{'cut' if truly else 'whole'} {'anomalous' if label else 'normal'}"
            counts[f"{kind} sessions"] += 1
            counts[f"{kind} alarms before"] += before
            counts[f"{kind} alarms"] += now
            counts[f"{kind} marked"] += cut is not None
            if kind == "cut anomalous":
                counts[
                    f"{kind}, {'a message tells' if tells_it else 'no message tells'}: sessions"
                ] += 1
                counts[
                    f"{kind}, {'a message tells' if tells_it else 'no message tells'}: found"
                ] += now
            if kind == "whole anomalous":
                counts["whole anomalous found before and now"] += before and now
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the tails, and write what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("log", type=Path)
    parser.add_argument("--lines", type=int, default=8000)
    parser.add_argument("--places", type=int, default=20)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--out", type=Path)
    told = parser.parse_args(arguments)

    prepared = Prepared.load(told.data)
    detector = Detector.load(told.run, cache=True)
    parts = pl.concat([prepared.part(name) for name in told.parts.split(",")])
    whole = parts.select("session", count=pl.col("lines").list.len(), label="anomalous")
    content = told.log.read_bytes()
    if told.log.suffix == ".gz":
        content = gzip.decompress(content)
    lines = content.splitlines(keepends=True)
    chosen = parts.select(pl.col("lines").explode().unique().sort())["lines"]
    lines = [lines[line - 1] for line in chosen]

    # The log's head, places evenly over it, its tail; then the whole.
    ends = np.linspace(told.lines, len(lines), told.places).astype(int)
    alarms = telling(prepared)
    total: Counter[str] = Counter()
    for end in ends:
        counts = judged(detector, lines[end - told.lines : end], whole=whole, alarms=alarms)
        total += counts
        print(
            f"{end:>9,}: {counts['cut normal alarms'] + counts['whole normal alarms']} false"
            " alarms",
            file=sys.stderr,
        )
    of_all = judged(detector, lines, whole=whole, alarms=alarms)
    report = {
        "model": detector.model,
        "parts": told.parts,
        "lines": told.lines,
        "places": [int(end) for end in ends],
        "false_alarms": total["cut normal alarms"] + total["whole normal alarms"],
        "false_alarms_before": (
            total["cut normal alarms before"] + total["whole normal alarms before"]
        ),
        "tails": dict(sorted(total.items())),
        "whole_log": dict(sorted(of_all.items())),
    }
    text = json.dumps(report, indent=2) + "\n"
    if told.out is not None:
        write_atomic(told.out, text.encode())
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
