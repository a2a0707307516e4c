"""The folder of a report: the page, the plots, the scores."""

import json
import shutil
import sys

import numpy as np
import polars as pl
import pytest

from logllm.datasets.prepared import Prepared
from logllm.errors import DataError, RecipeError
from logllm.evaluate.evaluation import judge, score_frame
from logllm.evaluate.mistakes import worst
from logllm.evaluate.report import Judged, check_report, write_report
from logllm.evaluate.trivial import trivial
from tests.pages import Page, check_alone
from tests.tiny import with_parts

pytest.importorskip("matplotlib", reason="needs the extra report")
RIVALS = ("tree-counts", "unseen")


def judged(prepared: Prepared, *, seed: int) -> tuple[dict, pl.DataFrame]:
    """Scores that know a little, judged."""
    labels = prepared.labelled("test")["anomalous"].to_numpy()
    scores = np.clip(np.random.default_rng(seed).normal(0.3 + 0.4 * labels, 0.2), 0, 1)
    return judge(scores, prepared, split="test", threshold=0.5), score_frame(
        scores, prepared, split="test"
    )


@pytest.fixture(scope="module")
def prepared(tiny_data):
    """Prepared data one message of which is a script."""
    found = Prepared.load(tiny_data)
    found.messages = pl.Series(
        ["<script>alert('x')</script> & https://elsewhere.org/a.js", *found.messages[1:]]
    )
    return found


@pytest.fixture(scope="module")
def written(prepared, tmp_path_factory):
    """A report and its folder."""
    folder = tmp_path_factory.mktemp("written") / "report"
    report, scores = judged(prepared, seed=0)
    report |= {
        "model": "made@0",
        "threshold_chosen": "default: 3 anomalies",
        "run": {"seed": 7, "versions": {"torch": "2.x"}, "seconds": None},
    }
    report["baselines"] = {
        name: judged(prepared, seed=seed)[0] for seed, name in enumerate(RIVALS, start=1)
    }
    return write_report(folder, Judged(report, scores), prepared=prepared, force=False), folder


def test_the_folder_holds_all_of_it(written) -> None:
    report, folder = written
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "precision_recall.png",
        "reliability.png",
        "report.html",
        "report.json",
        "scores.parquet",
        "scores.png",
        "threshold.png",
    ]
    assert json.loads((folder / "report.json").read_text()) == report
    assert report["warnings"]
    scores = pl.read_parquet(folder / "scores.parquet")
    assert scores.columns == [
        "session",
        "split",
        "anomalous",
        "score",
        "in_train",
        "lines",
        "start",
        "end",
    ]
    assert scores.height == report["sessions"]
    assert scores["in_train"].sum() == report["sessions_seen_in_train"]
    called = scores["score"] >= report["threshold"]
    assert (called & scores["anomalous"]).sum() == report["tp"]


@pytest.mark.parametrize("name", ["precision_recall", "reliability", "scores", "threshold"])
def test_plots_are_pictures(written, name) -> None:
    from PIL import Image

    with Image.open(written[1] / f"{name}.png") as image:
        image.load()
        assert image.width > 400
        assert len(image.convert("RGB").getcolors(maxcolors=1 << 24)) > 10  # something is drawn


def test_the_page_needs_nothing_else(written) -> None:
    text = (written[1] / "report.html").read_text()
    check_alone(text)
    page = Page(text)
    assert page.scripts == []
    assert sum(tag == "svg" for tag, _ in page.elements) == 4


def test_the_page_says_the_reports_numbers(written) -> None:
    report, folder = written
    page = Page((folder / "report.html").read_text())
    numbers = set(page.numbers)
    for figures in (
        report,
        report["unseen"],
        report["distinct"],
        *(report["baselines"][name] for name in RIVALS),
    ):
        assert {
            figures[name] for name in ("average_precision", "f1", "precision", "recall")
        } <= numbers
    for figures in (report, report["unseen"], report["distinct"]):
        assert {figures[name] for name in ("tp", "fp", "tn", "fn")} <= numbers
    assert {value for value in report["leakage"].values() if value is not None} <= numbers
    assert {report["threshold"], report["calibration"]["error"], report["sessions"]} <= numbers
    ends = report["intervals"]["f1"]
    assert " – ".join(f"{end:.4f}".removeprefix("0") for end in ends) in page.text
    for said in (*report["warnings"], *RIVALS, "made@0", report["fingerprint"], "torch", "2.x"):
        assert said in page.text


def test_messages_are_text(written, prepared) -> None:
    text = (written[1] / "report.html").read_text()
    assert "&lt;script&gt;alert(" in text
    assert "<script" not in text
    assert prepared.messages[0] in Page(text).text


@pytest.mark.real
def test_a_page_without_anomalies_baselines_or_others_than_in_train(tiny_data, tmp_path) -> None:
    prepared = Prepared.load(tiny_data)
    train = prepared.labelled("train")
    none = pl.Series("anomalous", [False] * train.height)
    # Every session is also in train.
    prepared.labelled = prepared.part = lambda name: train.with_columns(none)
    scores = np.linspace(0, 1, train.height)
    report = judge(scores, prepared, split="test", threshold=0.5)
    full = write_report(
        tmp_path / "r",
        Judged(report, score_frame(scores, prepared, split="test")),
        prepared=prepared,
        force=False,
    )
    assert full["unseen"] is None
    assert full["average_precision"] is None
    assert not (tmp_path / "r" / "precision_recall.png").exists()
    page = Page((tmp_path / "r" / "report.html").read_text())
    assert "None was measured here." in page.text


@pytest.mark.real
def test_only_a_report_is_replaced(written, prepared, tmp_path, tiny_data) -> None:
    folder = shutil.copytree(written[1], tmp_path / "copy")
    with pytest.raises(DataError, match="exists.*--force"):
        check_report(folder, force=False)
    report, scores = judged(prepared, seed=3)
    assert (
        write_report(folder, Judged(report, scores), prepared=prepared, force=True)["f1"]
        == report["f1"]
    )
    assert json.loads((folder / "report.json").read_text())["f1"] == report["f1"]
    before = sorted(tiny_data.iterdir())
    with pytest.raises(DataError, match="holds prepared data, which is not replaced by a report"):
        check_report(tiny_data, force=True)
    assert sorted(tiny_data.iterdir()) == before


def test_a_missing_library_is_named_with_its_remedy(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as where it is not installed
    with pytest.raises(RecipeError, match=r"pip install 'logllm\[report\]'"):
        check_report(tmp_path / "report", force=False)


def test_the_worst_mistakes_once_each() -> None:
    """Sequences in words; `!` anomalous, then the score."""
    made = [
        ("001", False, 0.7),
        ("2", True, 0.9),
        ("001", False, 0.7),
        ("3", False, 0.9),
        ("4", True, 0.2),
        ("5", True, 0.1),
        ("0", False, 0.1),
    ]
    scores = pl.DataFrame(
        {
            "session": [f"s{number}" for number in range(len(made))],
            "anomalous": [anomalous for _, anomalous, _ in made],
            "score": [score for *_, score in made],
            "in_train": [True, *[False] * (len(made) - 1)],
            "lines": [
                [10 * at + line for line in range(len(text))]
                for at, (text, _, _) in enumerate(made)
            ],
        }
    )
    sessions = pl.Series([[int(digit) for digit in text] for text, _, _ in made])
    found = worst(
        scores.with_columns(messages=sessions),
        messages=pl.Series(list("abcdef")),
        known=pl.Series([0, 2]),
        threshold=0.5,
        score_lines=lambda rows, _: [session / 10 for session in rows],
    )
    alarms, misses = found["false alarms"], found["misses"]
    assert [(each.session, each.score, each.times, each.in_train) for each in alarms] == [
        ("s3", 0.9, 1, False),
        ("s0", 0.7, 2, True),
    ]
    assert [(line.number, line.message, line.times, line.new) for line in alarms[1].lines] == [
        (0, "a", 2, False),
        (2, "b", 1, True),
    ]
    assert [each.session for each in misses] == ["s5", "s4"]
    assert [line.telling for line in alarms[1].lines] == [
        line.message == max(line.message for line in alarms[1].lines) for line in alarms[1].lines
    ]


def test_trivial_baselines_that_cannot_learn_are_missed_with_the_reason(
    tiny_data, tmp_path
) -> None:
    normal = Prepared.load(tiny_data).part("train").filter(~pl.col("anomalous"))
    found = trivial(Prepared.load(with_parts(tiny_data, tmp_path / "data", train=normal)), seed=4)
    assert list(found["baselines"]) == ["unseen"]
    assert found["baselines"]["unseen"]["seed"] == 4
    assert list(found["not_judged"]) == ["tree-counts", "logistic-words"]
    assert all(
        "sessions to learn from are normal" in reason for reason in found["not_judged"].values()
    )
