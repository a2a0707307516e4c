"""How fast a watch is, how soon verdicts are there, and how much memory it takes for long."""

import random
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event, Thread

import numpy as np
import polars as pl
from watching import Load, Watching, stored, until

_STAMP = "%y%m%d %H%M%S"
_SECONDS = 600.0  # of a whole load
_RATE = 200  # lines a second
IDLE = 10  # seconds after which a session has ended
_WORDS = 6  # of a message that has never been seen


def throughput(load: Load) -> dict[str, float]:
    """Lines a second from a file, its scores known.

    The second watch of the same log, start-up apart.
    """
    lines = _lines_of(load.log)
    seconds = []
    for time_of in ("first", "second"):
        store = str(load.folder / f"{time_of}.db")
        watching = Watching(
            load.run, [str(load.log)], store=store, options=["--from", "start", "--idle", "86400"]
        ).start()
        began = begun(watching)
        until(partial(_has_read, watching, lines), seconds=600)
        seconds.append(time.monotonic() - began)
        watching.stop()
    return {
        "lines": lines,
        "first_lines_a_second": lines / seconds[0],
        "lines_a_second": lines / seconds[1],
    }


def latency(load: Load) -> dict[str, float]:
    """Seconds from the end of a session to its row.

    A log is replayed at 200 lines a second, each stamped as it is written.
    """
    target, store = load.folder / "replayed.log", str(load.folder / "latency.db")
    seconds = _SECONDS * load.share
    target.touch()
    watching = Watching(
        load.run, [str(target)], store=store, options=["--from", "start", "--idle", str(IDLE)]
    ).start()
    begun(watching)
    written = replay(load.log, target, seconds=seconds)
    time.sleep(IDLE + 5)
    watching.stop()
    rows = stored(store, state="closed")
    last = pl.Series(written).gather(rows["last_position"] - 1)
    late = rows["updated"].dt.epoch("us").to_numpy() / 1e6 - (last.to_numpy() + IDLE)
    settled = last.to_numpy() > written[0] + min(60.0, seconds / 4)
    late = late[settled]
    return {
        "sessions": len(late),
        "p50": float(np.quantile(late, 0.5)),
        "p95": float(np.quantile(late, 0.95)),
        "longest": float(late.max()),
    }


def memory(load: Load) -> dict[str, float]:
    """Memory while a source gives ever new messages, faster than they are judged.

    The clock runs through a month in fast motion.
    """
    target, store = load.folder / "new.log", str(load.folder / "memory.db")
    seconds = _SECONDS * load.share
    target.touch()
    options = [
        "--from",
        "start",
        "--idle",
        "3600",
        "--max-open-age",
        str(max(10, int(seconds / 10))),
    ]
    watching = Watching(load.run, [str(target)], store=store, options=options).start()
    begun(watching)
    stopping = Event()
    writer = Thread(target=_flood, args=(target, stopping), daemon=True)
    writer.start()
    seen = []
    began = time.monotonic()
    while time.monotonic() - began < seconds and watching.running:
        time.sleep(1)
        seen.append(watching.rss)
    stopping.set()
    writer.join()
    read = watching.lines
    watching.stop()
    half = len(seen) // 2
    written = _lines_of(target)
    return {
        "lines_written": written,
        "lines_read": read,
        "first_half_mb": max(seen[:half]),
        "second_half_mb": max(seen[half:]),
        "growth_mb": max(seen[half:]) - max(seen[:half]),
        "usual_growth_mb": statistics.median(seen[half:]) - statistics.median(seen[:half]),
    }


def _lines_of(log: Path) -> int:
    """How many lines a file has."""
    with log.open("rb") as lines:
        return sum(1 for _ in lines)


def begun(watching: Watching) -> float:
    """When a watch has begun: its model is there, and it takes lines."""
    until(lambda: watching.lines >= 0, seconds=120)
    return time.monotonic()


def _has_read(watching: Watching, lines: int) -> bool:
    """Whether a watch has read so many lines."""
    return watching.lines >= lines


def replay(log: Path, target: Path, *, seconds: float) -> list[float]:
    """Write lines at a rate, stamped now; when each was written."""
    written: list[float] = []
    began = time.time()
    with (
        log.open(encoding="utf-8") as lines,
        target.open("a", encoding="utf-8", buffering=1) as sink,
    ):
        for number, line in enumerate(lines):
            wait = began + number / _RATE - time.time()
            if wait > 0:
                time.sleep(wait)
            now = time.time()
            if now - began > seconds:
                break
            sink.write(f"{datetime.fromtimestamp(now, UTC):{_STAMP}}{line[13:]}")
            written.append(now)
    return written


def _flood(target: Path, stopping: Event) -> None:
    """Write as fast as it goes, each message new, an hour of the log's clock a second."""
    with target.open("a", encoding="utf-8") as sink:
        for text in _new_messages():
            if stopping.is_set():
                return
            sink.write(text)


def _new_messages() -> Iterator[str]:
    """Blocks of lines of HDFS's format that say what no line said before."""
    chance = random.Random(0)  # noqa: S311 - words, and no secrets
    start = time.time()
    block = 0
    while True:
        passed = (time.time() - start) * 3600
        stamp = datetime.fromtimestamp(1_226_000_000 + passed, UTC).strftime(_STAMP)
        lines = []
        for _ in range(200):
            block += chance.random() < 0.3
            words = " ".join(
                "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(_WORDS)
            )
            lines.append(f"{stamp} 147 INFO dfs.DataNode$DataXceiver: {words} blk_{block}\n")
        yield "".join(lines)
        time.sleep(0.002)
