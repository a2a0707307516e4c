"""A PostgreSQL log written in other zones and with other prefixes is the same log: the same
sessions of the same masked messages."""

from collections import defaultdict
from datetime import date
from pathlib import Path

import pytest
from postgres_elsewhere import HEALTHY, PREFIXES, faults_of, judged, rewritten, text_of, zones

from logllm.datasets.settings import choose, for_format
from logllm.detect.detector import Detector
from logllm.detect.which_run import task
from logllm.logs.reader import Reader
from logllm.runs.manifest import shipped_run

SERVER = (
    "LOG:  database",
    "LOG:  redo",
    "LOG:  starting",
    "LOG:  received",
    "FATAL:",
    "LOG:  server process",
)
"""What the server says of its starts and stops, which is where zone names stand."""


def excerpt() -> str:
    lines = text_of("crash").split("\n")
    return "\n".join(line for line in lines if any(words in line for words in SERVER)) + "\n"


def sessions(log: Path) -> list[list[str]]:
    """The masked messages of each session, in the order that the sessions begin."""
    run = choose("postgresql", overrides={"format": {}, "sessions": {}, "split": {}, "mask": {}})
    described = task([str(log)]).format
    assert described is not None
    settings = for_format(run, described)
    assert settings.sessions.key_field == "pid"
    found: defaultdict[str, list[str]] = defaultdict(list)
    for batch in Reader(settings, today=date(2026, 11, 27)).read([log]):
        for keys, message in batch.select("keys", "message").iter_rows():
            found[keys[0]].append(message)
    return list(found.values())


@pytest.mark.sampled(2)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_no_zone_and_no_prefix_changes_what_a_session_says(prefix: str, tmp_path: Path) -> None:
    read = {}
    for zone in ("UTC", "CEST", "-03"):
        log = tmp_path / "postgresql.log"
        log.write_text(rewritten(excerpt(), prefix=prefix, zone=zone), encoding="utf-8")
        read[zone] = sessions(log)
    assert "LOG:  database system was shut down at <*>" in read["UTC"][1]
    assert {zone for zone in read if read[zone] != read["UTC"]} == set()


def test_labels_are_of_the_fault_alone() -> None:
    lines = text_of("crash").split("\n")
    faulty = [lines[number - 1] for number in sorted(faults_of("crash"))]
    assert len(faulty) > 20
    assert not any("shutdown request" in line or "was shut down at" in line for line in faulty)


@pytest.mark.real
def test_the_shipped_run_alarms_on_the_fault_alone_in_every_zone_and_prefix() -> None:
    found = [
        (prefix, zone, log) for prefix, zone, log in zones(Detector.load(shipped_run(), cache=True))
    ]
    assert len(found) == 56
    assert {(prefix, zone): log.told for prefix, zone, log in found if log.told} == {}


@pytest.mark.real
def test_the_shipped_run_keeps_still_on_healthy_servers_and_finds_an_exhausted_pool() -> None:
    detector = Detector.load(shipped_run(), cache=True)
    healthy = [judged(detector, text_of(name), faults=faults_of(name)) for name in HEALTHY]
    assert sum(log.sessions for log in healthy) > 5_000
    assert sum(log.false for log in healthy) <= 0.002 * sum(log.sessions for log in healthy)
    pool = judged(detector, text_of("pool"), faults=faults_of("pool"))
    assert pool.recognised == pool.faulty > 10
