"""A real Alertmanager takes our alerts, tells them on once, and takes them for over when we say so
or say nothing more."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from logllm.config.alerts import IncidentSection, SinkSection
from logllm.serve.alerts.sink_worker import Around, SinkWorker
from logllm.serve.alerts.sinks import sinks_of
from logllm.serve.alerts.trying_sinks import tried
from logllm.serve.store.verdict_store import Store
from tests.serve.incident_contract import Writing
from tests.serve.receiver import Receiver, receiving

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        PROGRAM is None, reason="needs Alertmanager: apt-get install prometheus-alertmanager"
    ),
]
SETTINGS = """
route:
  receiver: us
  group_by: [stream]
  group_wait: 100ms
  group_interval: 200ms
  repeat_interval: 1h
receivers:
  - name: us
    webhook_configs:
      - url: {url}
        send_resolved: true
"""


class Clock:
    """The machine's time, which may be moved."""

    def __init__(self) -> None:
        self.moved = timedelta()

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.moved

    def __call__(self) -> datetime:
        return self.now


@contextmanager
def alertmanager(folder: Path, told: Receiver) -> Iterator[str]:
    """A server of its own, which tells alerts on."""
    assert PROGRAM
    settings = folder / "alertmanager.yml"
    settings.write_text(SETTINGS.format(url=told.url))
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    options = ("--cluster.listen-address=", f"--web.listen-address={url.removeprefix('http://')}")
    storage = f"--storage.path={folder / 'data'}"
    command = [PROGRAM, f"--config.file={settings}", storage, *options]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            _wait_for(lambda: _alerts(url) is not None)
            yield url
        finally:
            process.terminate()


def _alerts(url: str) -> list[dict] | None:
    """The alerts that hold; none: it does not answer yet."""
    try:
        with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:  # noqa: S310
            alerts: list[dict] = json.load(answer)
            return alerts
    except OSError:
        return None


def _wait_for(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _moved(told: Receiver) -> list[tuple[str, str]]:
    """What was told on: the state and the incident."""
    return [
        (alert["status"], alert["labels"].get("incident", ""))
        for body in told.got
        for alert in body["alerts"]
    ]


def test_an_alert_that_is_told_again_holds_and_is_heard_of_once(tmp_path) -> None:
    clock = Clock()
    store = Store.open(tmp_path / "verdicts.db", clock=clock)
    app = Writing(store, clock, IncidentSection(quiet=900))
    words: list[str] = []
    with receiving() as told, alertmanager(tmp_path, told) as url:
        section = SinkSection(
            url=f"{url}/api/v2/alerts", resend=5, wait=0, labels={"severity": "page"}
        )
        (sink,) = sinks_of([section], environment={}, page="https://logs.example")
        worker = SinkWorker(
            sink, Around(store, "me", "https://logs.example", clock, Random(0), words.append)
        )
        worker.introduce()
        app.bad('ERROR: <b>"disk full"</b> \N{PILE OF POO}', at=clock.now)
        worker.step()
        assert words == []
        (alert,) = _alerts(url) or []
        assert alert["labels"] == {
            "alertname": "LogAnomaly",
            "stream": "app",
            "incident": "1",
            "severity": "page",
        }
        assert alert["annotations"]["summary"] == '10:00 ERROR: <b>"disk full"</b> \N{PILE OF POO}'
        assert alert["generatorURL"] == "https://logs.example/?incident=1"
        _wait_for(lambda: _moved(told) == [("firing", "1")])

        # Told again it goes on: its end moves, and nobody hears of it a second time.
        clock.moved += timedelta(seconds=6)
        worker.step()
        (later,) = _alerts(url) or []
        assert later["endsAt"] > alert["endsAt"]
        assert later["startsAt"] == alert["startsAt"]
        time.sleep(0.5)
        assert _moved(told) == [("firing", "1")]
        assert words == []
    store.close()


def test_an_incident_that_is_over_is_resolved(tmp_path) -> None:
    clock = Clock()
    store = Store.open(tmp_path / "verdicts.db", clock=clock)
    app = Writing(store, clock, IncidentSection(quiet=1))
    with receiving() as told, alertmanager(tmp_path, told) as url:
        (sink,) = sinks_of(
            [SinkSection(url=f"{url}/api/v2/alerts", wait=0)], environment={}, page=None
        )
        worker = SinkWorker(sink, Around(store, "me", None, clock, Random(0), print))
        worker.introduce()
        app.bad("ERROR: disk full", at=clock.now)
        worker.step()
        _wait_for(lambda: _moved(told) == [("firing", "1")])
        time.sleep(1.5)
        assert app.incidents.tidy(store) == 1
        worker.step()
        _wait_for(lambda: _moved(told) == [("firing", "1"), ("resolved", "1")])
        assert _alerts(url) == []
    store.close()


def test_an_alert_that_nobody_tells_again_ends_after_three_intervals(tmp_path) -> None:
    clock = Clock()
    store = Store.open(tmp_path / "verdicts.db", clock=clock)
    app = Writing(store, clock)
    with receiving() as told, alertmanager(tmp_path, told) as url:
        (sink,) = sinks_of(
            [SinkSection(url=f"{url}/api/v2/alerts", resend=5, wait=0)], environment={}, page=None
        )
        worker = SinkWorker(sink, Around(store, "me", None, clock, Random(0), print))
        worker.introduce()
        begun = clock.now
        app.bad("ERROR: disk full", at=clock.now)
        worker.step()
        _wait_for(lambda: _moved(told)[-1:] == [("resolved", "1")])
        assert timedelta(seconds=14) < clock.now - begun < timedelta(seconds=19)
    store.close()


def test_the_test_message_is_taken(tmp_path) -> None:
    with receiving() as told, alertmanager(tmp_path, told) as url:
        (sink,) = sinks_of(
            [SinkSection(url=url, kind="alertmanager", resend=5)], environment={}, page=None
        )
        answer = tried(sink, page=None)
        assert answer.taken, answer.told
        _wait_for(lambda: _moved(told)[:1] == [("firing", "0")])
