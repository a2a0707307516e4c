"""A simulated log of a storage cluster: operations that succeed, mishaps that are dealt with, and faults.

    python demo/simulate.py --seed 0 --sessions 1500 --out DIR

writes `storage.log` and `labels.csv`. Each operation (write, read, scrub, move, delete) is one session of at most ten
messages; operations run at the same time on several hosts, so their lines are interleaved. Faults are told in words that
fault-free operations use too: a disk tried again and again is normal if it then stores the chunk, and a commit is a
fault only if it comes before the quorum. No single word gives them away, and some differ from normal in order alone.
"""

import argparse
import csv
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAULTY = 0.1
"""Share of sessions with a fault."""

MESSAGES: dict[str, tuple[str, str, str]] = {
    # name: level, component, text; the names in braces are variables
    "write_asked": ("INFO", "gateway", "write of {size} bytes to {object} asked for by {client}"),
    "over_quota": ("ERROR", "gateway", "write to {object} refused, quota of {client} used up"),
    "withdrawn": ("WARN", "gateway", "write to {object} withdrawn by {client}"),
    "write_failed": ("WARN", "gateway", "write to {object} given up, tries on {disk} used up"),
    "write_closed": ("INFO", "gateway", "write handle {handle} closed"),
    "placed": ("INFO", "placement", "replicas chosen on {node} {node} {node}"),
    "stored": ("INFO", "replica", "chunk {chunk} stored on {node} in {ms} ms"),
    "stored_late": ("INFO", "replica", "chunk {chunk} stored on {node} after {count} tries"),
    "slow_disk": ("WARN", "disk", "disk {disk} slow, {ms} ms for chunk {chunk}, trying again"),
    "no_ack": ("WARN", "replica", "no acknowledgement from {node} within {ms} ms"),
    "late_ack": ("INFO", "replica", "acknowledgement from {node} arrived late"),
    "journal": ("INFO", "journal", "journal entry {number} appended"),
    "quorum_awaited": ("WARN", "replica", "quorum not reached yet, waiting for {node}"),
    "quorum_missed": ("WARN", "replica", "quorum not reached, going on without {node}"),
    "quorum": ("INFO", "replica", "quorum reached with {count} acknowledgements"),
    "durable": ("INFO", "journal", "commit record {number} made durable"),
    "lease_renewed": ("WARN", "lease", "lease {lease} near its end, renewed for {count} s"),
    "lease_ending": ("WARN", "lease", "lease {lease} near its end"),
    "lease_over": ("WARN", "lease", "lease {lease} ran out, no chunk open"),
    "lease_lost": ("WARN", "lease", "lease {lease} ran out, chunk {chunk} still open"),
    "read_asked": ("INFO", "gateway", "read of {object} asked for by {client}"),
    "not_found": ("ERROR", "gateway", "{object} asked for by {client} does not exist"),
    "cached": ("INFO", "replica", "chunk {chunk} found in the cache of {node}"),
    "read": ("INFO", "replica", "chunk {chunk} read from {node} in {ms} ms"),
    "unread": ("ERROR", "disk", "chunk {chunk} could not be read from {disk}, trying another copy"),
    "verified": ("INFO", "checksum", "checksum of chunk {chunk} verified"),
    "mismatch": ("ERROR", "checksum", "checksum of chunk {chunk} does not match on {node}, trying another copy"),
    "repaired": ("INFO", "checksum", "chunk {chunk} on {node} repaired from another copy"),
    "unrepaired": ("WARN", "checksum", "chunk {chunk} on {node} not repaired, no other copy verified"),
    "sent": ("INFO", "gateway", "{size} bytes of {object} sent to {client}"),
    "read_closed": ("INFO", "gateway", "read handle {handle} closed"),
    "scrub_started": ("INFO", "scrub", "scrub of volume {volume} started"),
    "scrubbed": ("INFO", "scrub", "chunk {chunk} looked at on {node}, checksum verified"),
    "differs": ("WARN", "scrub", "chunk {chunk} differs on {node}, copying it from {node}"),
    "no_answer": ("WARN", "scrub", "no answer from {node} for {ms} ms, asking another replica"),
    "copy_made": ("WARN", "scrub", "chunk {chunk} had a single copy, another made on {node}"),
    "single_copy": ("WARN", "scrub", "chunk {chunk} left with a single copy on {node}"),
    "scrub_finished": ("INFO", "scrub", "scrub of volume {volume} finished, {number} chunks looked at"),
    "move_started": ("INFO", "balance", "moving chunk {chunk} from {node} to {node} to even out space"),
    "move_waits": ("WARN", "balance", "move of chunk {chunk} put off, {node} busy for {ms} ms"),
    "copied": ("INFO", "replica", "{size} bytes of chunk {chunk} copied to {node} in {ms} ms"),
    "mapped": ("INFO", "placement", "placement map {number} updated"),
    "freed": ("INFO", "disk", "space of chunk {chunk} freed on {node}"),
    "already_free": ("WARN", "disk", "space of chunk {chunk} found free on {node}"),
    "move_finished": ("INFO", "balance", "move of chunk {chunk} finished"),
    "delete_asked": ("INFO", "gateway", "delete of {object} asked for by {client}"),
    "delete_waits": ("WARN", "gateway", "delete of {object} put off, {count} readers hold it"),
    "readers_gone": ("INFO", "gateway", "no reader holds {object}, delete goes on"),
    "delete_finished": ("INFO", "gateway", "delete of {object} finished"),
    "cache_full": ("WARN", "replica", "cache of {node} full, oldest entries given up"),
    "link_back": ("WARN", "gateway", "link to {node} lost for {ms} ms, open again"),
    "clock": ("INFO", "journal", "clock of {node} found {ms} ms late, adjusted"),
}

# A course is the names of a session's messages in order: `a?` may be left out, `a*1-3` comes one to three times.
NORMAL: tuple[tuple[int, str], ...] = (
    (20, "write_asked placed stored*1-3 journal quorum durable lease_over? write_closed"),
    (4, "write_asked placed slow_disk*1-3 stored_late journal quorum durable write_closed"),
    (4, "write_asked placed stored journal no_ack quorum_awaited? late_ack quorum durable write_closed"),
    (4, "write_asked placed stored lease_renewed stored*1-2 journal quorum durable write_closed"),
    (2, "write_asked over_quota"),
    (2, "write_asked placed stored? withdrawn write_closed"),
    (18, "read_asked read*1-2 verified sent read_closed"),
    (5, "read_asked cached verified? sent read_closed"),
    (4, "read_asked unread*1-2 read verified sent read_closed"),
    (4, "read_asked read mismatch*1-2 read verified repaired? sent read_closed"),
    (2, "read_asked not_found"),
    (8, "scrub_started scrubbed*1-4 scrub_finished"),
    (4, "scrub_started scrubbed*0-2 differs copied scrubbed*1-2 scrub_finished"),
    (3, "scrub_started scrubbed*0-1 no_answer*1-3 scrubbed*1-2 scrub_finished"),
    (3, "scrub_started scrubbed*1-2 copy_made scrub_finished"),
    (8, "move_started move_waits? copied verified mapped freed already_free? move_finished"),
    (8, "delete_asked mapped freed*1-3 delete_finished"),
    (4, "delete_asked delete_waits*1-2 readers_gone mapped freed*1-3 delete_finished"),
)
FAULTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "retries exhausted": (2, ("write_asked placed stored? slow_disk*2-4 write_failed write_closed?",)),
    "quorum lost": (
        2,
        (
            "write_asked placed stored journal no_ack*1-2 quorum_awaited? quorum_missed durable write_closed",
            "write_asked placed stored*1-2 journal no_ack*1-2 quorum_awaited? durable write_closed",
        ),
    ),
    "commit before quorum": (1, ("write_asked placed stored*1-3 durable journal quorum write_closed",)),
    "missing close": (2, ("write_asked placed stored*1-3 journal quorum durable",)),
    "lease expired": (2, ("write_asked placed stored? lease_ending lease_lost stored? journal quorum durable write_closed",)),
    "bad chunk served": (
        2,
        ("read_asked read mismatch*1-3 unrepaired sent read_closed", "read_asked read mismatch*1-3 read? sent read_closed"),
    ),
    "repair failed": (2, ("scrub_started scrubbed*0-2 differs*1-2 copied? mismatch*0-2 unrepaired scrub_finished",)),
    "replica lost": (2, ("scrub_started scrubbed*0-2 no_answer*1-3 single_copy scrub_finished",)),
    "double free": (2, ("move_started move_waits? copied verified mapped freed already_free freed move_finished",)),
    "freed before verified": (1, ("move_started move_waits? copied freed verified mapped move_finished",)),
    "deleted under readers": (2, ("delete_asked delete_waits*1-2 mapped freed*1-3 delete_finished",)),
}
"""Kinds of fault with their weights and courses; two of them differ from normal in order alone."""
ASIDES = ("cache_full", "link_back", "clock")
"""Messages that may come up within any session and mean nothing."""
WITH_ASIDE = 0.3
"""Share of sessions with one of them."""
LONGEST = 10
"""Most messages of a session."""

ANEW = {"ms": (1, 900), "count": (2, 9), "number": (1_000, 99_999)}
"""Variables drawn anew for each message, with their bounds."""
ONCE: dict[str, Callable[[random.Random], str]] = {
    "size": lambda rng: str(rng.randint(512, 8_388_608)),
    "object": lambda rng: f"/vol{rng.randint(1, 6)}/tenant{rng.randint(1, 20)}/obj-{rng.getrandbits(32):08x}",
    "client": lambda rng: f"10.4.{rng.randint(0, 31)}.{rng.randint(1, 254)}:{rng.randint(1024, 65535)}",
    "chunk": lambda rng: f"ck-{rng.getrandbits(40):010x}",
    "disk": lambda rng: f"nvme{rng.randint(0, 7)}n1",
    "handle": lambda rng: f"0x{rng.getrandbits(24):06x}",
    "lease": lambda rng: f"L{rng.randint(1, 99_999)}",
    "volume": lambda rng: f"vol{rng.randint(1, 6)}",
}
"""Variables that stay the same throughout a session."""
COMPONENTS = tuple(dict.fromkeys(component for _, component, _ in MESSAGES.values()))


class Label(NamedTuple):
    """What is true of a session."""

    session: str
    label: str
    fault: str


class _Variables(dict[str, str]):
    """The values that a session's messages name."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self.nodes = [f"stor-{number:02d}" for number in rng.sample(range(1, 13), 3)]

    def __missing__(self, name: str) -> str:
        if name == "node":  # in turn, so that nothing is copied from a node to itself
            self.nodes.append(self.nodes.pop(0))
            return self.nodes[0]
        if name in ANEW:
            return str(self.rng.randint(*ANEW[name]))
        self[name] = ONCE[name](self.rng)
        return self[name]


def simulate(*, seed: int, sessions: int) -> tuple[list[str], list[Label]]:
    """A log's lines in order of time, and a label for each of its sessions in order of their start.

    >>> lines, labels = simulate(seed=0, sessions=2)
    >>> len(labels), lines == simulate(seed=0, sessions=2)[0]
    (2, True)
    """
    rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    kinds, weights = list(FAULTS), [weight for weight, _ in FAULTS.values()]
    timed: list[tuple[datetime, str]] = []
    labels = []
    start = START
    for number in rng.sample(range(2**32), sessions):
        start += timedelta(milliseconds=rng.randint(1, 400))
        session = f"{number:08x}"
        fault = rng.choices(kinds, weights)[0] if rng.random() < FAULTY else ""
        labels.append(Label(session, "anomalous" if fault else "normal", fault))
        timed += _session(session, _course(fault, rng), start=start, rng=rng)
    timed.sort(key=lambda pair: pair[0])  # stable, and within a session time only grows
    return [line for _, line in timed], labels


def _course(fault: str, rng: random.Random) -> list[str]:
    """The names of a session's messages: a course drawn, its repetitions drawn, at times an aside put in."""
    if fault:
        course = rng.choice(FAULTS[fault][1])
    else:
        weights, courses = zip(*NORMAL, strict=True)
        course = rng.choices(courses, weights)[0]
    names = []
    for step in course.split():
        name, _, span = step.removesuffix("?").partition("*")
        low, _, high = (span or ("0-1" if step.endswith("?") else "1-1")).partition("-")
        names += [name] * rng.randint(int(low), int(high))
    if len(names) < LONGEST and rng.random() < WITH_ASIDE:
        names.insert(rng.randint(1, len(names) - 1), rng.choice(ASIDES))
    return names


def _session(session: str, names: list[str], *, start: datetime, rng: random.Random) -> Iterator[tuple[datetime, str]]:
    """A session's lines with their times."""
    variables = _Variables(rng)
    now = start
    for name in names:
        level, component, text = MESSAGES[name]
        now += timedelta(milliseconds=rng.randint(1, 900))
        stamp = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"
        process = 4101 + 26 * COMPONENTS.index(component)
        head = f"{stamp} {rng.choice(variables.nodes)} {level} {component}[{process}]: op={session}"
        yield now, f"{head} {text.format_map(variables)}"


def write_log(lines: list[str], path: Path) -> None:
    """Write a log."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_labels(labels: list[Label], path: Path) -> None:
    """Write labels as CSV: session, label, and the fault, which is for people only."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(Label._fields)
        table.writerows(labels)


def main() -> None:
    """Read the options and write both files."""
    parser = argparse.ArgumentParser(description="Simulate the log of a storage cluster.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sessions", type=int, default=1500)
    parser.add_argument("--out", type=Path, required=True, help="folder to write storage.log and labels.csv to")
    options = parser.parse_args()
    lines, labels = simulate(seed=options.seed, sessions=options.sessions)
    options.out.mkdir(parents=True, exist_ok=True)
    write_log(lines, options.out / "storage.log")
    write_labels(labels, options.out / "labels.csv")
    print(f"{len(lines)} lines, {len(labels)} sessions, {sum(bool(label.fault) for label in labels)} of them faulty: {options.out}")


if __name__ == "__main__":
    main()
