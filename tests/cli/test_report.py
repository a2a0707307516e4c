"""`logllm evaluate --report`: what is printed is what is written."""

import json
from functools import partial

import pytest

from logllm.evaluate.intervals import intervals

pytest.importorskip("matplotlib", reason="needs the extra report")


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("logllm.evaluate.evaluation.intervals", partial(intervals, resamples=20))


@pytest.fixture
def rivals(monkeypatch):
    """Trivial baselines of known figures."""
    figures = {"f1": 0.7, "average_precision": 0.8, "precision": 0.6, "recall": 0.9, "intervals": {}, "unseen": None, "fp": 1, "fn": 2}
    monkeypatch.setattr(
        "logllm.evaluate.trivial.trivial",
        lambda data: {"baselines": {"tree-counts": figures}, "not_judged": {"unseen": "no session is normal"}},
    )


@pytest.mark.usefixtures("rivals")
def test_the_verb_writes_what_it_prints(logllm, tiny_run, tiny_data, tmp_path) -> None:
    folder = tmp_path / "report"
    done = logllm("evaluate", tiny_run, "--data", tiny_data, "--report", folder, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert json.loads((folder / "report.json").read_text()) == report
    page = (folder / "report.html").read_text()
    assert report["run"]["base_models"]["encoder"]["sha256"] in page
    assert report["fingerprint"] == json.loads((tiny_data / "manifest.json").read_text())["fingerprint"]
    assert "tree-counts" in page
    assert "tree-counts" in done.err
    for said in (page, done.err):
        assert "the trivial baseline unseen is missing: no session is normal" in said
    assert report["warnings"]
    assert done.err.count("doubt: ") == len(report["warnings"])

    again = logllm("evaluate", tiny_run, "--data", tiny_data, "--report", folder)
    assert again.code == 2
    assert "--force" in again.err
    assert logllm("evaluate", tiny_run, "--data", tiny_data, "--split", "validation", "--report", folder, "--force").code == 0
    assert json.loads((folder / "report.json").read_text())["baselines"] == {}  # they are judged on the test part


def test_without_a_report_the_doubts_are_said_too(logllm, tiny_run, tiny_data) -> None:
    done = logllm("evaluate", tiny_run, "--data", tiny_data, "--json")
    report = json.loads(done.out)
    assert report["leakage"]["seen"] == report["sessions_seen_in_train"] / report["sessions"]
    assert "baselines" not in report
    assert report["warnings"]
    assert "doubt: " in done.err
