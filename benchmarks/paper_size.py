"""`logllm prepare` at the size of the paper's HDFS: the sample written over with fresh block ids.

    python benchmarks/paper_size.py --raw HDFS_2pct.log.gz --labels anomaly_label.csv
        [--lines 11000000] [--scratch DIR]

Each line comes once a copy, with other last digits in its block ids: sessions multiply with the
lines, and as many of them are open side by side as in the log that the sample was drawn from, while
messages stay as varied as they are. The log is kept as `prepare` keeps a fetched one (zst) and read
by a process of its own, with the paper's recipe; its time, processor time and peak memory are
printed as JSON. Needs about a tenth of the lines' size on disk.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl
import zstandard

MOST = 100
"""Copies that two digits tell apart."""
AT_ONCE = 2_000
"""Lines of the sample that are written over at once."""
_STAMP = len("081109 203518")
_SAMPLE_STARTS = 1_226_262_918
"""When the log that the sample was drawn from begins: 2008-11-09 20:35:18."""


def write_over(lines: pl.Series, path: Path, *, total: int, fresh_times: bool = False) -> None:
    """Each line again and again, each time with another block id, until there are so many lines.

    With `fresh_times` the log's clock runs as many times slower as there are copies, and each copy
    of a line has a second of its own.
    """
    copies = -(-total // len(lines))
    if copies > MOST:
        raise SystemExit(f"{len(lines):,} lines times {MOST} do not make {total:,}")
    left = total
    with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as sink:
        for start in range(0, len(lines), AT_ONCE):
            some = lines.slice(start, AT_ONCE)
            written = pl.DataFrame(
                {
                    f"{copy}": some.str.replace_all(r"(blk_-?\d+)\d\d\b", f"${{1}}{copy:02}")
                    for copy in range(copies)
                }
            )
            if fresh_times:
                written = written.with_columns(
                    _later(pl.col(f"{copy}"), copy, copies=copies) for copy in range(copies)
                )
            text = written.select(pl.concat_list(pl.all())).to_series().explode().head(left)
            left -= len(text)
            if len(text):
                sink.write(("\n".join(text) + "\n").encode("latin-1"))


def _later(line: pl.Expr, copy: int, *, copies: int) -> pl.Expr:
    """A line with the time that it has in a copy."""
    second = line.str.head(_STAMP).str.to_datetime("%y%m%d %H%M%S", time_unit="ms").dt.epoch("s")
    fresh = pl.from_epoch(
        _SAMPLE_STARTS + (second - _SAMPLE_STARTS) * copies + copy, time_unit="s"
    ).dt.strftime("%y%m%d %H%M%S")
    return pl.concat_str(fresh, line.str.slice(_STAMP)).alias(f"{copy}")


def write_labels(labels: pl.DataFrame, path: Path, *, copies: int) -> None:
    """The labels of every copy's blocks."""
    pl.concat(
        labels.with_columns(pl.col("BlockId").str.replace(r"\d\d$", f"{copy:02}")).unique(
            "BlockId", maintain_order=True
        )
        for copy in range(copies)
    ).write_csv(path)


def measure(command: list[str]) -> dict[str, Any]:
    """Run a process; its time, processor time and peak memory."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    out = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 2),
        "manifest": json.loads(out),
    }


def main() -> None:
    """Write, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--raw", type=Path, required=True, help="the HDFS sample, gz")
    parser.add_argument("--labels", type=Path, required=True, help="its labels")
    parser.add_argument("--lines", type=int, default=11_000_000)
    parser.add_argument(
        "--scratch", type=Path, help="where to write, in a folder that is removed afterwards"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        log, labels = Path(scratch) / "HDFS.log.zst", Path(scratch) / "labels.csv"
        lines = pl.Series(gzip.decompress(options.raw.read_bytes()).decode("latin-1").splitlines())
        write_over(lines, log, total=options.lines)
        write_labels(pl.read_csv(options.labels), labels, copies=-(-options.lines // len(lines)))
        command = [sys.executable, "-m", "logllm", "prepare", "hdfs", "--recipe", "hdfs", "--json"]
        found = measure(
            [
                *command,
                "--raw",
                str(log),
                "--labels",
                str(labels),
                "--out",
                str(Path(scratch) / "data"),
            ]
        )
    manifest = found.pop("manifest")
    counts = {
        name: manifest[name]
        for name in (
            "lines",
            "rejected",
            "sessions",
            "anomalous",
            "distinct_messages",
            "distinct_sessions",
        )
    }
    print(
        json.dumps(
            {**found, "lines_per_second": round(manifest["lines"] / found["seconds"]), **counts}
        )
    )


if __name__ == "__main__":
    main()
