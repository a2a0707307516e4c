"""Incidents in a real PostgreSQL: the contract, and several processes that write one stream and
send its messages."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from random import Random

import pytest

from logllm.config.alerts import IncidentSection, SinkSection
from logllm.serve.alerts.sink_worker import Around, SinkWorker
from logllm.serve.alerts.sinks import sinks_of
from logllm.serve.incidents.grouping import Incidents
from logllm.serve.incidents.incident_rows import Wished, incidents
from logllm.serve.store.verdict_store import Kept, Store
from tests.serve.incident_contract import IncidentContract, bad
from tests.serve.receiver import receiving
from tests.serve.store_contract import frame

pytestmark = pytest.mark.real


@pytest.fixture
def store(databases, clock):
    opened = Store.open(databases.fresh(), clock=clock)
    yield opened
    opened.close()


class TestPostgres(IncidentContract):
    """The contract."""


def test_processes_that_write_one_stream_open_one_incident_of_a_kind(databases) -> None:
    where = databases.fresh()
    Store.open(where).close()
    begin = threading.Barrier(4)

    def write(partition: str) -> None:
        store = Store.open(where)
        both = Incidents(IncidentSection(together=0))
        mine = store.claim("app", partition, owner=partition)
        begin.wait()
        for number in range(25):
            kind = f"ERROR: kind{number % 3}"
            row = bad(f"{partition}{number}", 10 * number + 1, kind, partition=partition)
            place = {partition: Kept(mine.epoch, 0, {}, {})}
            store.write("app", verdicts=frame(row), kept=place, also=[both])
        store.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "pqrs"))
    store = Store.open(where)
    rows = incidents(store, Wished(), now=datetime.now(UTC))
    store.close()
    assert {row["kind"]: row["sessions"] for row in rows} == {
        "ERROR: kind0": 36,
        "ERROR: kind1": 32,
        "ERROR: kind2": 32,
    }


def test_processes_that_send_at_the_same_time_send_each_message_once(databases) -> None:
    where = databases.fresh()
    with receiving() as place, ExitStack() as open_stores:

        def opened() -> Store:
            return open_stores.enter_context(closing(Store.open(where)))

        sections = [SinkSection(url=place.url, name="ops", budget=1_000, wait=0)]
        (sink,) = sinks_of(sections, environment={}, page=None)
        first = opened()
        both = Incidents(IncidentSection(together=0))
        mine = first.claim("app", "p", owner="p")

        def worker(number: int) -> SinkWorker:
            around = Around(
                opened(), f"w{number}", None, lambda: datetime.now(UTC), Random(number), print
            )
            made = SinkWorker(sink, around)
            made.introduce()
            return made

        workers = [worker(number) for number in range(3)]
        done = threading.Event()

        def send(each: SinkWorker) -> None:
            while not done.is_set():
                each.step()
                each.release()

        with ThreadPoolExecutor(3) as pool:
            sending = [pool.submit(send, each) for each in workers]
            for number in range(60):
                row = bad(f"s{number}", 10 * number + 1, f"kind{number}")
                first.write(
                    "app", verdicts=frame(row), kept={"p": Kept(mine.epoch, 0, {}, {})}, also=[both]
                )
            deadline = time.monotonic() + 60
            while len(place.got) < 50 and time.monotonic() < deadline:
                done.wait(0.05)
            done.wait(1)
            done.set()
            for it in sending:
                it.result()
    kinds = Counter(message["incident"]["kind"] for message in place.got)
    assert max(kinds.values()) == 1
    assert len(kinds) == 50
