"""A log judged by a real Ray cluster on this machine."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from logllm.runs.manifest import shipped_run

pytestmark = [
    pytest.mark.alone,
    pytest.mark.real,
    pytest.mark.skipif(
        find_spec("ray") is None, reason="needs Ray: make servers, or pip install 'logllm[ray]'"
    ),
]

LOG = (
    Path(__file__).parents[2] / "src" / "logllm" / "datasets" / "sets" / "postgres" / "test.log.xz"
)

KILLED = """
import os, signal, sys
from logllm.detect.detector import Detector
from logllm.detect.spread.labour import Job, Origin
from logllm.detect.spread.ray_crew import ray_crew
from logllm.detect.spread.spread_run import SpreadDetector
from logllm.detect.verdict import json_lines

out, sys.stdout = sys.stdout, sys.stderr  # as the command line has it
detector = Detector.load(sys.argv[1], cache=True)
crew = ray_crew("local", Origin.of(detector.run))
detector = SpreadDetector.of(detector, crew)
manner = detector.reader([], stdin=None, redact=False).manner
assert crew.one(Job("read", (sys.argv[2], manner))).frames
os.kill(crew.hands[0].process(), getattr(signal, os.environ["SIGNAL"]))
for frame in detector.read(sys.argv[2:]).frames():
    out.writelines(json_lines(frame.drop("messages")))
crew.close()
print(crew.deaths, "died", file=sys.stderr)
"""


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """The first lines of the log that comes with logllm."""
    from logllm.logs.lines import read_lines

    part = tmp_path_factory.mktemp("log") / "part.log"
    part.write_text("\n".join(next(read_lines([LOG])).frame["text"].head(3_000)) + "\n")
    return part


def test_bytes_are_those_of_one_process(log) -> None:
    alone = run("-m", "logllm", "detect", shipped_run(), log, "--no-cache")
    spread = run("-m", "logllm", "detect", shipped_run(), log, "--ray", "local")
    assert spread.stdout == alone.stdout != ""
    assert "ray: 1 actor, " in spread.stderr
    assert spread.returncode == alone.returncode == 0


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGSTOP"])
def test_an_actor_that_dies_or_is_silent_changes_nothing(log, signal, monkeypatch) -> None:
    monkeypatch.setenv("SIGNAL", signal)
    alone = run("-m", "logllm", "detect", shipped_run(), log, "--no-cache")
    spread = run("-c", KILLED, shipped_run(), log)
    assert spread.stdout == alone.stdout != ""
    assert "1 died" in spread.stderr


def test_no_cluster_at_an_address_is_an_error_at_once(log) -> None:
    spread = run("-m", "logllm", "detect", shipped_run(), log, "--ray", "127.0.0.1:9")
    assert spread.returncode == 2
    assert "--ray 127.0.0.1:9 cannot be reached" in spread.stderr
