"""The baselines on a few prepared sessions whose figures can be said beforehand."""

import json
import sys
from pathlib import Path

import polars as pl
import pytest
from benchmarks import baselines

MESSAGES = ["connection opened", "block stored", "disk failed", "connection closed", "node rebooted"]
NORMAL, FAILED, REBOOTED = [0, 1, 3], [0, 2, 3], [0, 1, 4, 3]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    def part(name: str, sessions: list[list[int]], anomalous: list[bool | None]) -> None:
        schema = {"messages": pl.List(pl.UInt32), "anomalous": pl.Boolean}
        pl.DataFrame({"messages": sessions, "anomalous": anomalous}, schema=schema).write_parquet(tmp_path / f"{name}.parquet")

    pl.DataFrame({"message": MESSAGES}).write_parquet(tmp_path / "messages.parquet")
    part("train", [NORMAL, FAILED] * 20, [False, True] * 20)
    part("validation", [NORMAL], [False])
    part("test", [NORMAL, FAILED, REBOOTED, NORMAL], [False, True, False, None])
    return tmp_path


def test_figures(prepared: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["baselines", "--data", str(prepared), "--json"])
    assert baselines.main() == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["sessions"], report["anomalous"]) == (3, 1)
    figures = report["methods"]
    assert figures["decision tree on event counts"]["f1"] == 1
    assert figures["logistic regression on word presence"]["average_precision"] == 1
    rule = figures["message never seen in normal training"]
    assert (rule["tp"], rule["fp"], rule["tn"], rule["fn"]) == (1, 1, 1, 0)
    assert rule["average_precision"] == 1  # a third of the failed session is new, a quarter of the other


def test_table(prepared: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["baselines", "--data", str(prepared)])
    monkeypatch.setenv("COLUMNS", "160")
    assert baselines.main() == 0
    assert "3 test sessions, 1 anomalous" in capsys.readouterr().out


def test_no_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["baselines", "--data", str(tmp_path)])
    assert baselines.main() == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_one_class_is_one_line(prepared: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pl.read_parquet(prepared / "test.parquet").filter(~pl.col("anomalous")).write_parquet(prepared / "test.parquet")
    monkeypatch.setattr(sys, "argv", ["baselines", "--data", str(prepared)])
    assert baselines.main() == 2
    assert "one class" in capsys.readouterr().err
