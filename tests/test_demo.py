"""The demo's own part: its recipe, what it makes of a report, and its table. The commands it runs have their own tests."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from logllm.config.recipe import Recipe

DEMO = Path(__file__).resolve().parent.parent / "demo"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(DEMO))
    module = importlib.import_module("run")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module.console, "_width", 140)
    return module


def stand_in(run: ModuleType, commands: list[list[str]], *, precision: float) -> object:
    """In logllm's place: writes a report, and calls the session of the new log's first line anomalous."""

    def logllm(words: list[str | Path], *, to: Path | None = None) -> None:
        commands.append([str(word) for word in words])
        if words[0] == "evaluate":
            counts = {"tp": 9, "fp": 1, "tn": 89, "fn": 1}
            (run.ROOT / to).write_text(json.dumps({"average_precision": precision, **counts}))
        if words[0] == "detect":
            stamp, rest = (run.ROOT / run.NEW).read_text(encoding="utf-8").splitlines()[0].split(" ", 1)
            verdict = {"session": rest.split("op=")[1][:8], "score": 0.987, "anomalous": True, "lines": [1], "start": stamp, "end": stamp}
            (run.ROOT / to).write_text(json.dumps(verdict) + "\n")

    return logllm


@pytest.mark.parametrize(("precision", "code"), [(0.95, 0), (0.85, 1)])
def test_four_commands_and_a_table(
    run: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, precision: float, code: int
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(run, "logllm", stand_in(run, commands, precision=precision))
    stale = run.ROOT / run.RUN / "manifest.json"
    stale.parent.mkdir(parents=True)
    stale.touch()
    assert run.main() == code
    assert [command[0] for command in commands] == ["prepare", "train", "evaluate", "detect"]
    assert not stale.exists()
    shown = capsys.readouterr().out
    assert "0.987" in shown
    assert "9 of 10 held-out faults found, 1 false alarms among 90 sound sessions" in shown
    assert str(run.VERDICTS) in shown


def test_recipe_is_short() -> None:
    recipe = Recipe.load(DEMO / "recipe.toml")
    assert recipe.name == "demo"
    assert sum(stage.max_sessions or 0 for stage in recipe.train.stages) <= 1_600
