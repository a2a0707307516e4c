"""How many messages people get of a watch.

Of one fault in many sessions, of a place that is down, of a kind that is muted.

    python benchmarks/alerting.py --data ../shared/data
    python benchmarks/alerting.py --data ../shared/data --share 0.1 --only fault,muted

Each measurement runs `logllm watch` on a log of faults, which are sessions of the HDFS sample that
the run takes for anomalous, copied under new names, and has it tell a place of its own on loopback.
Seeded.
"""

import argparse
import json
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import polars as pl
from sqlalchemy import Connection
from watching import Load, Watching, stored, until

from logllm.config.alerts import IncidentSection
from logllm.detect.detector import Detector
from logllm.serve.alerts.alert_rows import alerts
from logllm.serve.incidents.grouping import Incidents
from logllm.serve.incidents.incident_rows import Wished, incidents
from logllm.serve.incidents.mutes import Muting, mute
from logllm.serve.store.frames import VERDICTS
from logllm.serve.store.verdict_store import Kept, Store

_SESSIONS = 10_000
_DOWN = 300.0
"""Seconds that a place is down."""
_KILLS = 10
_QUIET = 20
"""Seconds: longer than a new incident waits for more, so that its beginning and its end are two
messages."""
_STAMP = "%y%m%d %H%M%S"
_BLOCK = re.compile(r"blk_-?\d+")
_WAIT = 600.0
"""Seconds after which something has gone wrong."""


class Place(ThreadingHTTPServer):
    """A place that is told."""

    daemon_threads = True

    def __init__(self) -> None:
        """On a free port of this machine."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.requests = 0
        self.got: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}/"

    def opened(self) -> Counter[int]:
        """How often it was told that each incident has begun."""
        notes = [note for message in self.got for note in message.get("held_back", [message])]
        return Counter(note["incident"]["id"] for note in notes if "opened" in note["events"])


class _Handler(BaseHTTPRequestHandler):
    server: Place

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        if self.server.status == 200:
            self.server.got.append(json.loads(body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@contextmanager
def place() -> Iterator[Place]:
    """A place that listens."""
    with Place() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def fault(load: Load) -> dict[str, Any]:
    """One fault in many sessions, which shows in three ways.

    The watch is killed again and again.
    """
    chance = random.Random(0)  # noqa: S311 - when it is killed
    sessions = int(_SESSIONS * load.share)
    patterns = _patterns(load, 3)
    log = load.folder / "fault.log"
    log.write_text("".join(_copies(patterns, sessions, seconds=sessions / 50)))
    with place() as told:
        watching = _watching(load, log, told=told)
        kills = max(2, int(_KILLS * load.share))
        for kill in range(kills):
            watching.start()
            goal = sessions * chance.uniform(kill, kill + 1) / (kills + 1)
            until(lambda goal=goal: _closed(watching) >= goal, seconds=_WAIT)  # type: ignore[misc]
            watching.kill()
        watching.start()
        until(lambda: _closed(watching) >= sessions, seconds=_WAIT)
        until(lambda: not _incidents(watching, state="open") and _all_sent(watching), seconds=_WAIT)
        watching.stop()
        anomalous = stored(watching.store, state="closed")["anomalous"].sum()
        rows = _incidents(watching)
        return {
            "sessions": sessions,
            "anomalous": int(anomalous),
            "counted": sum(row["sessions"] for row in rows),
            "incidents": len(rows),
            "kills": kills,
            "notifications": told.requests,
        }


def down(load: Load) -> dict[str, Any]:
    """Faults that begin while a place is down: whether each is told when it is up again."""
    seconds = _DOWN * load.share
    patterns = _patterns(load, 8)
    log = load.folder / "down.log"
    log.touch()
    with place() as told:
        told.status = 503
        watching = _watching(load, log, told=told, incidents={"together": 0, "quiet": 2 * _DOWN})
        watching.start()
        until(lambda: watching.lines >= 0, seconds=120)
        begun = time.monotonic()
        for number, pattern in enumerate(patterns):
            with log.open("a") as lines:
                lines.write(_copy(pattern, number=number, moment=datetime.now(UTC)))
            time.sleep(seconds / len(patterns))
        time.sleep(max(0.0, begun + seconds - time.monotonic()))
        while_down = told.requests
        told.status = 200
        up = time.monotonic()
        rows = _incidents(watching)
        until(lambda: len(told.opened()) >= len(rows), seconds=400)
        took = time.monotonic() - up
        watching.stop()
    told_of = told.opened()
    return {
        "down_seconds": seconds,
        "incidents": len(rows),
        "requests_while_down": while_down,
        "lost": sum(row["id"] not in told_of for row in rows),
        "doubled": sum(count > 1 for count in told_of.values()),
        "seconds_until_told": took,
    }


def muted(load: Load) -> dict[str, Any]:
    """A fault whose kinds are muted: nobody is told of it."""
    sessions = int(_SESSIONS * load.share)
    patterns = _patterns(load, 3)
    log = load.folder / "muted.log"
    log.write_text("".join(_copies(patterns, sessions, seconds=sessions / 50)))
    with place() as told:
        watching = _watching(load, log, told=told)
        now = datetime.now(UTC)
        with closing(Store.open(watching.store)) as store:
            for kind in _kinds(load, patterns):
                muting = Muting(
                    log.stem, kind, now + timedelta(days=1), by="benchmark", why="measured"
                )
                mute(store, muting, now=now)
        watching.start()
        until(lambda: _closed(watching) >= sessions, seconds=_WAIT)
        until(lambda: not _incidents(watching, state="open"), seconds=_WAIT)
        watching.stop()
        rows = _incidents(watching)
        counted = sum(row["sessions"] for row in rows)
        return {"sessions": sessions, "counted": counted, "notifications": told.requests}


def cost(load: Load) -> dict[str, float]:
    """What incidents cost where nothing is anomalous.

    Their part of transactions of normal sessions.
    """
    rounds, rows = max(10, int(200 * load.share)), 300
    whole: list[float] = []
    timed = _Timed()
    with closing(Store.open(load.folder / "cost.db")) as store:
        mine = store.claim("app", "p", owner="benchmark")
        for number in range(rounds):
            frame = _normal(range(number * rows, (number + 1) * rows))
            place = {"p": Kept(mine.epoch, 0, {}, {})}
            begun = time.perf_counter()
            store.write("app", verdicts=frame, kept=place, also=[timed])
            whole.append(time.perf_counter() - begun)
    return {
        "sessions_a_transaction": rows,
        "milliseconds": 1e3 * median(whole),
        "of_them_incidents": 1e3 * median(timed.seconds),
        "share": median(timed.seconds) / median(whole),
    }


class _Timed(Incidents):
    """Remembers how long each transaction was worked on."""

    def __init__(self) -> None:
        super().__init__(IncidentSection())
        self.seconds: list[float] = []

    def __call__(self, connection: Connection, stream: str, change: int) -> None:
        begun = time.perf_counter()
        super().__call__(connection, stream, change)
        self.seconds.append(time.perf_counter() - begun)


MEASUREMENTS: dict[str, Callable[[Load], Any]] = {
    "fault": fault,
    "down": down,
    "muted": muted,
    "cost": cost,
}


Pattern = list[str]
"""The lines of a session that the run takes for anomalous."""


def _patterns(load: Load, count: int) -> list[Pattern]:
    """Sessions of the sample that are known by different lines, those with the highest scores."""
    reading = Detector.load(load.run).read([load.log])
    verdicts = pl.concat(list(reading.frames()), how="diagonal_relaxed")
    whole = verdicts.filter("anomalous", pl.col("cut").is_null())
    lines = load.log.read_text().splitlines()
    patterns: dict[str, Pattern] = {}
    for row in whole.sort("score", "session", descending=[True, False]).iter_rows(named=True):
        place = row["lines"].index(row["evidence"][0]["line"])
        message = reading.messages[row["messages"][place]]
        patterns.setdefault(message, [lines[number - 1] for number in row["lines"]])
    return list(patterns.values())[:count]


def _copies(patterns: list[Pattern], count: int, *, seconds: float) -> Iterator[str]:
    """Copies of sessions, in turn, over some seconds of the log's time that end now."""
    begun = datetime.now(UTC) - timedelta(seconds=seconds)
    for number in range(count):
        moment = begun + number / count * timedelta(seconds=seconds)
        yield _copy(patterns[number % len(patterns)], number=number, moment=moment)


def _copy(pattern: Pattern, *, number: int, moment: datetime) -> str:
    """A session under a name of its own, at a moment."""
    stamp = moment.strftime(_STAMP)
    copied = (f"{stamp}{_BLOCK.sub(f'blk_{number + 1}', line[13:])}\n" for line in pattern)
    return "".join(copied)


def _kinds(load: Load, patterns: list[Pattern]) -> set[str]:
    """The kinds of sessions, as a watch stores them."""
    log, store = load.folder / "kinds.log", str(load.folder / "kinds.db")
    log.write_text("".join(_copies(patterns, len(patterns), seconds=10)))
    watching = Watching(
        load.run, [str(log)], store=store, options=["--from", "start", "--idle", "1"]
    )
    watching.start()
    until(lambda: _count(store) >= len(patterns), seconds=_WAIT)
    watching.stop()
    return set(stored(store)["kind"].drop_nulls())


class _Telling(Watching):
    """A watch whose store is known."""

    store: str


def _watching(
    load: Load, log: Path, *, told: Place, incidents: dict[str, Any] | None = None
) -> _Telling:
    """A watch that tells a place."""
    settings = {"quiet": _QUIET, **(incidents or {})}
    text = "[incidents]\n" + "".join(f"{name} = {int(value)}\n" for name, value in settings.items())
    file = log.with_suffix(".toml")
    file.write_text(f'{text}[[alerts]]\nname = "ops"\nurl = "{told.url}"\n')
    store = str(log.with_suffix(".db"))
    options = ["--from", "start", "--idle", "1", "--stream", log.stem, "--alerts", str(file)]
    watching = _Telling(load.run, [str(log)], store=store, options=options)
    watching.store = store
    return watching


def _closed(watching: _Telling) -> int:
    """Sessions of a watch that are stored as over."""
    return _count(watching.store)


def _count(where: str) -> int:
    """Sessions that are stored as over."""
    with closing(Store.open(where)) as store, store.transaction(reading=True) as connection:
        closed = "SELECT count(*) FROM verdicts WHERE state <> 'open'"
        return int(connection.exec_driver_sql(closed).scalar_one())


def _all_sent(watching: _Telling) -> bool:
    """Whether nothing waits for the place."""
    with closing(Store.open(watching.store)) as store:
        (sink,) = alerts(store, now=datetime.now(UTC))["sinks"]
    return not sink["waiting"] and not sink["held"]


def _incidents(watching: _Telling, **wished: Any) -> list[dict[str, Any]]:
    """The incidents that are stored."""
    with closing(Store.open(watching.store)) as store:
        return incidents(store, Wished(limit=100_000, **wished), now=datetime.now(UTC))


def _normal(numbers: range) -> pl.DataFrame:
    """Verdicts on normal sessions of twenty lines."""
    lines = [list(range(20 * number + 1, 20 * number + 21)) for number in numbers]
    now = datetime.now(UTC)
    columns: dict[str, Any] = dict.fromkeys(VERDICTS) | {
        "partition": "p",
        "session": [f"blk_{number}" for number in numbers],
        "piece": 1,
        "first_position": [own[0] for own in lines],
        "last_position": [own[-1] for own in lines],
        "state": "closed",
        "score": 0.01,
        "anomalous": False,
        "lines": lines,
        "start": now,
        "end": now,
        "model": "run",
    }
    return pl.DataFrame(columns, schema=VERDICTS)


def main() -> None:
    """Measure what is asked for, one after the other."""
    import soak  # which measures these as well

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the HDFS sample")
    parser.add_argument("--share", type=float, default=1.0, help="how much of each load")
    parser.add_argument("--only", default=",".join(MEASUREMENTS), help="which measurements")
    options = parser.parse_args()
    data = options.data.resolve()
    results: dict[str, Any] = {"share": options.share}
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        folder = Path(name)
        log, run = soak.trained(data, folder)
        for measurement in options.only.split(","):
            own = folder / measurement
            own.mkdir()
            results[measurement] = MEASUREMENTS[measurement](Load(run, log, own, options.share))
            print(measurement, json.dumps(results[measurement]), file=sys.stderr, flush=True)
        os.chdir("/")
    sys.stdout.write(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
