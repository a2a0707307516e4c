"""The demo's own part: what it makes of verdicts, labels and a report. The commands it runs have
their own tests."""

import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parent.parent / "demo"
LINES = """2026-11-22 10:00:00.000 UTC [7] LOG:  all is well
2026-11-22 10:00:01.000 UTC [8] reader@shop ERROR:  could not extend file: No space left on device
2026-11-22 10:00:09.000 UTC [9] FATAL:  sorry, too many clients already
2026-11-22 10:00:12.000 UTC [10] ERROR:  no space left in the attic
"""


STAND_IN = """#!{python}
import json, sys
from pathlib import Path

words = sys.argv[1:]
with Path("commands.txt").open("a") as file:
    file.write(words[0] + "\\n")
if words[0] == "evaluate":
    counts = {{"tp": 2, "fp": 1, "tn": 89, "fn": 1}}
    print(json.dumps({{"average_precision": {precision}, "f1": 0.8, **counts}}))
if words[0] == "detect":
    for line in (1, 2, 3, 4):
        print(json.dumps({{"score": line / 10, "anomalous": line in (2, 3), "lines": [line]}}))
"""
"""In logllm's place: writes a report, and a verdict for each line, which misses the last one."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the demo, a small log with its labels, and a Python beside which any `logllm`
    may lie."""
    shutil.copytree(DEMO, tmp_path / "demo", ignore=shutil.ignore_patterns("__pycache__"))
    packaged = next(DEMO.parent.glob("src/logllm/*/sets/postgres")).relative_to(DEMO.parent)
    (tmp_path / packaged).mkdir(parents=True)
    (tmp_path / packaged / "test.log.xz").write_bytes(lzma.compress(LINES.encode()))
    (tmp_path / packaged / "test.labels.csv").write_text(
        "line,label\n2,disk_full\n3,connections_exhausted\n4,disk_full\n"
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    return tmp_path


@pytest.mark.parametrize(("precision", "code"), [(0.95, 0), (0.85, 1)])
def test_three_commands_and_a_table(checkout: Path, precision: float, code: int) -> None:
    program = checkout / "bin" / "logllm"
    program.write_text(STAND_IN.format(python=sys.executable, precision=precision))
    program.chmod(0o755)
    stale = checkout / "out" / "demo" / "stale.json"
    stale.parent.mkdir(parents=True)
    stale.touch()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "COLUMNS": "140",
    }
    command = [checkout / "bin" / "python", checkout / "demo" / "run.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert (checkout / "commands.txt").read_text().split() == ["detect", "prepare", "evaluate"]
    assert not stale.exists()
    shown = done.stdout
    full, exhausted = (
        next(line for line in shown.splitlines() if kind in line)
        for kind in ("disk full", "connections exhausted")
    )
    assert [cell.strip() for cell in full.split("│")[1:5]] == [
        "disk full",
        "10:00:01-10:00:12",
        "2",
        "1",
    ]
    assert "sorry, too many clients" in exhausted
    assert shown.index(full) < shown.index(exhausted)
    assert "2 of 3 anomalous sessions found, 1 false alarms among 90 normal ones" in shown
