"""The demo's own part: what it makes of verdicts, labels and a report. The commands it runs have their own tests."""

import importlib
import json
import lzma
from pathlib import Path
from types import ModuleType

import pytest

DEMO = Path(__file__).resolve().parent.parent / "demo"
LINES = """2026-11-22 10:00:00.000 UTC [7] LOG:  all is well
2026-11-22 10:00:01.000 UTC [8] reader@shop ERROR:  could not extend file: No space left on device
2026-11-22 10:00:09.000 UTC [9] FATAL:  sorry, too many clients already
2026-11-22 10:00:12.000 UTC [10] ERROR:  no space left in the attic
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(DEMO))
    module = importlib.import_module("run")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module.console, "_width", 140)
    (tmp_path / module.SET).mkdir(parents=True)
    (tmp_path / module.LOG).write_bytes(lzma.compress(LINES.encode()))
    (tmp_path / module.LABELS).write_text("line,label\n2,disk_full\n3,connections_exhausted\n4,disk_full\n")
    return module


def stand_in(run: ModuleType, commands: list[list[str]], *, precision: float) -> object:
    """In logllm's place: writes a report, and a verdict for each line, which misses the last one."""

    def logllm(words: list[str | Path], *, to: Path | None = None) -> None:
        commands.append([str(word) for word in words])
        if words[0] == "evaluate":
            report = {"average_precision": precision, "f1": 0.8, "tp": 2, "fp": 1, "tn": 89, "fn": 1}
            (run.ROOT / to).write_text(json.dumps(report))
        if words[0] == "detect":
            verdicts = [{"score": line / 10, "anomalous": line in (2, 3), "lines": [line]} for line in (1, 2, 3, 4)]
            (run.ROOT / to).write_text("".join(json.dumps(verdict) + "\n" for verdict in verdicts))

    return logllm


@pytest.mark.parametrize(("precision", "code"), [(0.95, 0), (0.85, 1)])
def test_three_commands_and_a_table(
    run: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, precision: float, code: int
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(run, "logllm", stand_in(run, commands, precision=precision))
    stale = run.ROOT / run.OUT / "stale.json"
    stale.parent.mkdir(parents=True)
    stale.touch()
    assert run.main() == code
    assert [command[0] for command in commands] == ["detect", "prepare", "evaluate"]
    assert not stale.exists()
    shown = capsys.readouterr().out
    full, exhausted = (next(line for line in shown.splitlines() if kind in line) for kind in ("disk full", "connections exhausted"))
    assert [cell.strip() for cell in full.split("│")[1:5]] == ["disk full", "10:00:01-10:00:12", "2", "1"]
    assert "sorry, too many clients" in exhausted
    assert shown.index(full) < shown.index(exhausted)
    assert "2 of 3 anomalous sessions found, 1 false alarms among 90 normal ones" in shown
