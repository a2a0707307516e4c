"""Figures of lines: what a run says of each, beneath its session's verdict."""

from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from logllm.cli.evaluate import draw
from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import Prepared
from logllm.datasets.settings import choose
from logllm.detect.detector import Detector
from logllm.evaluate.evaluation import evaluate
from logllm.evaluate.line_figures import line_figures
from logllm.methods.registry import recipe_for
from logllm.methods.train import train
from logllm.sessions.message_table import rows_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A log with labelled lines, prepared, and what `unseen` learnt from it."""
    folder = tmp_path_factory.mktemp("lines")
    rows = []
    for number in range(400):
        broken = number % 5 == 0
        for text in ("open", *(["lost it", "gave up"] if broken else []), "close"):
            rows.append(f"{'x' if text in ('lost it', 'gave up') else '-'} job{number} {text}")
    (folder / "app.log").write_text("\n".join(rows) + "\n")
    overrides = {
        "format": {
            "kind": "pattern",
            "pattern": "(?<label>[x-]) (?<job>job[0-9]+) (?<message>.*)",
            "label": "label",
        },
        "sessions": {"by": "key", "key_field": "job"},
        "split": {"by": "random"},
        "mask": {},
    }
    prepare(
        [folder / "app.log"],
        folder / "data",
        settings=choose("plain", recipe=None, overrides=overrides),
    )
    train(recipe_for("unseen"), folder / "data", out=folder / "run")
    return folder


class Judge:
    """Says of each message what it is told to."""

    threshold = 0.5
    manifest: ClassVar[dict[str, dict[str, object]]] = {}

    def __init__(self, prepared: Prepared, **scores: float) -> None:
        self.scores = np.array(
            [scores.get(message.split()[0], 0.0) for message in prepared.messages]
        )
        self.method = self
        self.scale = "scores"

    def score(self, sessions, messages):
        return np.array([self.scores[session].max() for session in sessions])

    def score_lines(self, sessions, messages):
        return [self.scores[session] for session in sessions]


def figures(folder, **scores: float):
    prepared = Prepared.load(folder / "data")
    judge = Judge(prepared, **scores)
    rows = rows_of(prepared.labelled("test")["messages"])
    return line_figures(judge, prepared, split="test", scores=judge.score(rows, prepared.messages))


def test_a_run_that_knows_every_line(folder) -> None:
    lines = figures(folder, lost=0.9, gave=0.8)
    anomalous = Prepared.load(folder / "data").labelled("test")["anomalous"].sum()
    assert (lines["f1"], lines["average_precision"], lines["top"], lines["true_alarms"]) == (
        1,
        1,
        1,
        anomalous,
    )
    assert lines["tp"] == 2 * anomalous
    assert lines["threshold"] == pytest.approx(0.4)
    assert lines["threshold_chosen"].startswith("best F1 on the lines of the validation part of ")


def test_a_threshold_of_lines_that_training_chose_is_taken(folder) -> None:
    class Frozen(Judge):
        manifest: ClassVar = {
            "line_threshold": {"value": 0.85, "how": "on kinds of fault held out"}
        }

    prepared = Prepared.load(folder / "data")
    judge = Frozen(prepared, lost=0.9, gave=0.8)
    rows = rows_of(prepared.labelled("test")["messages"])
    scores = judge.score(rows, prepared.messages)
    lines = line_figures(judge, prepared, split="test", scores=scores)
    assert (lines["threshold"], lines["threshold_chosen"]) == (0.85, "on kinds of fault held out")
    assert lines["tp"] == lines["fn"] > 0  # of two guilty lines one says enough


def test_a_line_of_a_session_called_normal_is_not_called_anomalous(folder) -> None:
    class Careful(Judge):
        manifest: ClassVar = {"line_threshold": {"value": 0.2, "how": "so"}}
        threshold = 0.95

    prepared = Prepared.load(folder / "data")
    judge = Careful(prepared, lost=0.9, gave=0.8)
    rows = rows_of(prepared.labelled("test")["messages"])
    scores = judge.score(rows, prepared.messages)
    lines = line_figures(judge, prepared, split="test", scores=scores)
    assert (lines["tp"], lines["fp"]) == (0, 0)
    assert lines["average_precision"] == 1.0  # their order is right all the same


def test_a_run_that_takes_a_line_beside_for_the_guilty_one(folder) -> None:
    lines = figures(folder, lost=0.8, gave=0.7, close=0.9)
    assert lines["top"] == 0
    assert lines["average_precision"] < 0.6


def test_no_alarm_and_no_labels_of_lines(folder, tiny_data) -> None:
    silent = figures(folder)
    assert (silent["true_alarms"], silent["top"]) == (0, None)
    prepared = Prepared.load(tiny_data)  # labels of sessions
    assert line_figures(Judge(prepared), prepared, split="test", scores=np.zeros(1)) is None


def test_the_report_holds_them_and_says_them(folder, capfd) -> None:
    report = evaluate(Detector.load(folder / "run"), folder / "data")
    assert (
        report["lines"]["tp"] + report["lines"]["fn"]
        == pl.Series(Prepared.load(folder / "data").labelled("test")["item_anomalous"])
        .list.sum()
        .sum()
    )
    draw(report, aside=False)
    assert "top line anomalous" in capfd.readouterr().out
