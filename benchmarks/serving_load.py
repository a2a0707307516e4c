"""How `logllm serve` holds: queries on a million verdicts, and many clients on the live stream.

    python benchmarks/serving_load.py --out serving.json
    python benchmarks/serving_load.py --only queries --verdicts 100000
        --store postgresql://me@127.0.0.1/empty
    python benchmarks/serving_load.py --only stream --minutes 1

Seeded. Everything is written below a temporary folder, or into the empty store that is named. What
is written is one JSON object, a key a measurement.
"""

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import polars as pl
from watching import Load

from logllm.config.alerts import IncidentSection
from logllm.serve.incidents.grouping import Incidents
from logllm.serve.store.address import address
from logllm.serve.store.connecting import connected
from logllm.serve.store.frames import VERDICTS
from logllm.serve.store.verdict_store import Kept, Store

_DAYS = 30
_AT_ONCE = 1_000
"""Verdicts of one change."""
_STREAMS = ("orders", "payments", "hdfs", "postgres")
_ANOMALOUS = 0.03
_KINDS = [f"ERROR: step <*> of kind {number} failed" for number in range(20)]
_CLIENTS = 50
_PER_SECOND = 50
"""Verdicts a second on the live stream."""


class Options(NamedTuple):
    """What is measured."""

    store: str
    """An empty one."""
    verdicts: int
    repeats: int
    minutes: float
    seed: int


class Clock:
    """A clock that goes through a month while a store is filled."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The time."""
        return self.now


def verdicts(first: int, count: int, *, chance: random.Random, now: datetime) -> pl.DataFrame:
    """Verdicts on sessions of ten lines, some of them anomalous."""
    numbers = range(first, first + count)
    anomalous = [chance.random() < _ANOMALOUS for _ in numbers]
    kinds = [chance.choice(_KINDS) if is_one else None for is_one in anomalous]
    telling = [
        (
            None
            if kind is None
            else json.dumps([{"line": 10 * number, "score": 0.9, "text": f"{kind} {number}"}])
        )
        for number, kind in zip(numbers, kinds, strict=True)
    ]
    texts = [
        None if kind is None else json.dumps([f"line {line} of it" for line in range(9)] + [kind])
        for kind in kinds
    ]
    columns: dict[str, Any] = {
        "partition": "p",
        "session": [f"order-{number:09}" for number in numbers],
        "piece": 1,
        "first_position": [10 * number for number in numbers],
        "last_position": [10 * number + 9 for number in numbers],
        "state": "closed",
        "score": [0.9 if is_one else 0.01 for is_one in anomalous],
        "anomalous": anomalous,
        "lines": [list(range(10 * number, 10 * number + 10)) for number in numbers],
        "evidence": telling,
        "start": now,
        "end": now,
        "model": "run@00000000",
        "texts": texts,
        "kind": kinds,
        "messages": texts,
    }
    lacking = {
        name: pl.lit(None, dtype=kind) for name, kind in VERDICTS.items() if name not in columns
    }
    frame = pl.DataFrame(
        {name: values for name, values in columns.items() if isinstance(values, list)}, strict=False
    )
    constant = {
        name: pl.lit(values) for name, values in columns.items() if not isinstance(values, list)
    }
    return frame.with_columns(**constant, **lacking).select(VERDICTS.keys()).cast(VERDICTS)  # type: ignore[arg-type]


def filled(options: Options) -> None:
    """A store with a month of verdicts, written as a watch writes them."""
    clock = Clock(datetime.now(UTC) - timedelta(days=_DAYS))
    step = timedelta(days=_DAYS) / max(1, options.verdicts // _AT_ONCE)
    chance = random.Random(options.seed)  # noqa: S311 - a measurement
    store = Store.open(options.store, clock=clock)
    epochs = {stream: store.claim(stream, "p", owner="benchmark").epoch for stream in _STREAMS}
    incidents = Incidents(IncidentSection())
    for first in range(0, options.verdicts, _AT_ONCE):
        stream = _STREAMS[first // _AT_ONCE % len(_STREAMS)]
        rows = verdicts(first, _AT_ONCE, chance=chance, now=clock.now)
        kept = {"p": Kept(epochs[stream], 0, {}, {})}
        store.write(stream, verdicts=rows, kept=kept, also=[incidents])
        clock.now += step
    store.close()
    _tidied(options.store)


def _tidied(where: str) -> None:
    """Leave a store as it is a while after it was filled: a server tidies by itself, soon."""
    place = address(where)
    engine = connected(place, create=False)
    if place.file is None:
        settings = {"isolation_level": "AUTOCOMMIT"}
        with engine.connect().execution_options(**settings) as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    else:
        with engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")
    engine.dispose()


def paths(options: Options, chance: random.Random) -> dict[str, Callable[[], str]]:
    """What the page asks, as functions that give another address each time."""
    now = datetime.now(UTC)

    def verdict_path(**parameters: Any) -> str:
        return f"/v1/verdicts?{urlencode({'limit': 100} | parameters)}"

    def ago(hours: float) -> str:
        return (now - timedelta(hours=hours)).isoformat()

    changes = options.verdicts // _AT_ONCE
    return {
        "newest": lambda: verdict_path(),
        "anomalous": lambda: verdict_path(anomalous="true"),
        "of a stream": lambda: verdict_path(stream=chance.choice(_STREAMS)),
        "anomalous of a stream": lambda: verdict_path(
            anomalous="true", stream=chance.choice(_STREAMS)
        ),
        "of no such stream": lambda: verdict_path(stream="absent", anomalous="true"),
        "open": lambda: verdict_path(state="open"),
        "further pages": lambda: verdict_path(before=chance.randrange(1, changes)),
        "of a kind": lambda: verdict_path(kind=chance.choice(_KINDS)),
        "of no such kind": lambda: verdict_path(kind="absent"),
        "since an hour": lambda: verdict_path(since=ago(1), anomalous="true"),
        "since a week": lambda: verdict_path(since=ago(24 * 7)),
        "a session's name": lambda: verdict_path(
            q=f"order-{chance.randrange(options.verdicts):09}"
        ),
        "a text": lambda: verdict_path(q=f"kind {chance.randrange(20)}"),
        "a text that is nowhere": lambda: verdict_path(q="nothing of the kind"),
        "timeline, a day": lambda: f"/v1/timeline?{urlencode({'since': ago(24)})}",
        "timeline, a month": lambda: (
            f"/v1/timeline?{urlencode({'since': ago(24 * _DAYS), 'bins': 300})}"
        ),
        "incidents": lambda: "/v1/incidents",
        "an incident": lambda: f"/v1/incidents/{chance.randrange(1, max(2, changes // 4))}",
    }


def queries(options: Options) -> dict[str, Any]:
    """Milliseconds of each of the page's queries, over HTTP on loopback."""
    begun = time.perf_counter()
    filled(options)
    results: dict[str, Any] = {
        "verdicts": options.verdicts,
        "filled_seconds": round(time.perf_counter() - begun),
    }
    every: list[float] = []
    chance = random.Random(options.seed)  # noqa: S311 - a measurement
    with Service(options.store) as service:
        service.timed("/v1/verdicts")  # what is loaded with the first request is no query's
        for name, path in paths(options, chance).items():
            took = [service.timed(path()) for _ in range(options.repeats)]
            every += took
            results[name] = _figures(took)
    return results | {"all": _figures(every)}


def stream(options: Options) -> dict[str, Any]:
    """Fifty clients on the live stream.

    What each of them missed, the service's memory, and how soon it ends.
    """
    Store.open(options.store).close()
    with Service(options.store) as service:
        results = asyncio.run(_followed(service, options))
        return results | {"ended_in_seconds": results.pop("end")()}


async def _followed(service: "Service", options: Options) -> dict[str, Any]:
    """Write, follow, and compare."""
    received: list[set[str]] = [set() for _ in range(_CLIENTS)]
    readers = [asyncio.create_task(_read(service.port, names)) for names in received]
    await asyncio.sleep(2)
    memory = []
    written: set[str] = set()
    store = Store.open(options.store)
    epoch = store.claim("live", "p", owner="benchmark").epoch
    chance = random.Random(options.seed)  # noqa: S311 - a measurement
    until = time.monotonic() + 60 * options.minutes
    while time.monotonic() < until:
        rows = verdicts(len(written), _PER_SECOND, chance=chance, now=datetime.now(UTC))
        kept = {"p": Kept(epoch, 0, {}, {})}
        await asyncio.to_thread(store.write, "live", verdicts=rows, kept=kept)
        written |= set(rows["session"])
        memory.append(service.memory())
        await asyncio.sleep(1)
    deadline = time.monotonic() + 30
    while any(names != written for names in received) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    store.close()
    missed = [len(written - names) for names in received]

    # The clients are still there when the service is told to end.
    begun = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    await asyncio.gather(*readers)
    await asyncio.to_thread(service.process.wait, 60)
    ended = round(time.monotonic() - begun, 2)
    third = max(1, len(memory) // 3)
    return {
        "clients": _CLIENTS,
        "verdicts": len(written),
        "missed": sum(missed),
        "mib_after_a_third": memory[third - 1],
        "mib_at_the_end": memory[-1],
        "mib_most": max(memory),
        "exit": service.process.returncode,
        "end": lambda: ended,
    }


async def _read(port: int, names: set[str]) -> None:
    """Follow the stream until it ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    writer.write(b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    await writer.drain()
    while line := await reader.readline():
        if line.startswith(b'data: {"verdicts"'):
            names |= {verdict["session"] for verdict in json.loads(line[6:])["verdicts"]}
    writer.close()


class Service:
    """`logllm serve` on a store, in a process of its own."""

    def __init__(self, store: str) -> None:
        """Not started yet."""
        self._store = store
        self.port = 0

    def __enter__(self) -> "Service":
        with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
            # The measurement itself is one client that asks much.
            file.write(f"store = {json.dumps(self._store)}\n[serve]\nrate = 100000\nport = 0\n")
        arguments = ["serve", "--config", file.name]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "logllm", *arguments],
            stderr=subprocess.PIPE,
            text=True,
        )
        for line in self.process.stderr or ():
            if "is shown at" in line:
                self.port = int(line.rpartition(":")[2].strip("/\n"))
                return self
        raise SystemExit("the service did not start")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        # What else it said is read to its end, which closes the pipe.
        self.process.communicate(timeout=60)

    def timed(self, path: str) -> float:
        """Milliseconds until an answer has come whole."""
        begun = time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
            answer.read()
        return 1000 * (time.perf_counter() - begun)

    def memory(self) -> float:
        """MiB of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        return round(int(lines["VmRSS"].split()[0]) / 1024, 1)


def at_share(load: Load) -> dict[str, Any]:
    """Both, with a part of the load."""
    figures = {}
    for name, measure in MEASUREMENTS.items():
        count = int(1_000_000 * load.share)
        store = str(load.folder / f"{name}.db")
        figures[name] = measure(Options(store, count, 40, 5 * load.share, 0))
    return figures


def _figures(took: list[float]) -> dict[str, float]:
    """The middle, 95 of 100, and the longest."""
    ordered = sorted(took)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {
        "p50": round(ordered[len(ordered) // 2], 1),
        "p95": round(p95, 1),
        "most": round(ordered[-1], 1),
    }


MEASUREMENTS: dict[str, Callable[[Options], dict[str, Any]]] = {
    "queries": queries,
    "stream": stream,
}


def main() -> None:
    """Measure what is asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(MEASUREMENTS), help="which measurements")
    parser.add_argument(
        "--store", help="an empty store, of one measurement; by default a file of SQLite's"
    )
    parser.add_argument("--verdicts", type=int, default=1_000_000, help="verdicts that are stored")
    parser.add_argument("--repeats", type=int, default=40, help="times that each query is asked")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long clients follow")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file to write what was measured to")
    asked = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.only.split(","):
            store = asked.store or f"{folder}/{name}.db"
            options = Options(store, asked.verdicts, asked.repeats, asked.minutes, asked.seed)
            results[name] = MEASUREMENTS[name](options)
            print(name, json.dumps(results[name]), file=sys.stderr, flush=True)
    text = json.dumps(results, indent=2) + "\n"
    if asked.out is None:
        sys.stdout.write(text)
    else:
        asked.out.write_text(text)


if __name__ == "__main__":
    main()
