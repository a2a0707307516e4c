"""`logllm evaluate --report`: what is printed is what is written."""

import json
import re

import pytest
from tests.tiny import make_log

pytest.importorskip("matplotlib", reason="needs the extra report")


@pytest.fixture
def all_anomalous_first(logllm, tmp_path):
    """Prepared data that nothing can be learnt from: only the last sessions, which are the test
    part, hold normal ones."""
    lines, labels = make_log(sessions=40, seed=5)
    (tmp_path / "app.jsonl").write_text("\n".join(lines))
    rows = [
        f"{key},{'anomalous' if place < 32 else label}\n"
        for place, (key, label) in enumerate(labels)
    ]
    (tmp_path / "labels.csv").write_text("session,label\n" + "".join(rows))
    log = [
        "--raw",
        tmp_path / "app.jsonl",
        "--labels",
        tmp_path / "labels.csv",
        "--format",
        "json",
        "--key-field",
        "job",
    ]
    times = ["--time", "time", "--time-format", "epoch", "--split", "time", "--validation", "0"]
    done = logllm("prepare", *log, *times, "--out", tmp_path / "one-sided")
    assert done.code == 0, done.err
    return tmp_path / "one-sided"


def test_the_verb_writes_what_it_prints(logllm, tiny_run, tiny_data, tmp_path) -> None:
    folder = tmp_path / "report"
    done = logllm("evaluate", tiny_run, "--data", tiny_data, "--report", folder, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert json.loads((folder / "report.json").read_text()) == report
    page = (folder / "report.html").read_text()
    assert report["run"]["base_models"]["encoder"]["sha256"] in page
    assert (
        report["fingerprint"]
        == json.loads((tiny_data / "manifest.json").read_text())["fingerprint"]
    )
    assert report["baselines"].keys() == {"tree-counts", "logistic-words", "unseen"}
    for name in report["baselines"]:
        assert name in page
        assert name in done.err
    assert report["warnings"]
    assert done.err.count("doubt: ") == len(report["warnings"])

    again = logllm("evaluate", tiny_run, "--data", tiny_data, "--report", folder)
    assert again.code == 2
    assert "--force" in again.err
    assert (
        logllm(
            "evaluate",
            tiny_run,
            "--data",
            tiny_data,
            "--split",
            "validation",
            "--report",
            folder,
            "--force",
        ).code
        == 0
    )
    # They are judged on the test part.
    assert json.loads((folder / "report.json").read_text())["baselines"] == {}


@pytest.mark.real
def test_a_baseline_that_cannot_learn_is_named_with_its_reason(
    logllm, tiny_run, all_anomalous_first, tmp_path
) -> None:
    done = logllm(
        "evaluate", tiny_run, "--data", all_anomalous_first, "--report", tmp_path / "report"
    )
    assert done.code == 0, done.err
    for text in ((tmp_path / "report" / "report.html").read_text(), done.out):
        assert re.search(
            "the trivial baseline unseen is missing: no session to learn from is normal", text
        )


def test_without_a_report_the_doubts_are_said_too(logllm, tiny_run, tiny_data) -> None:
    done = logllm("evaluate", tiny_run, "--data", tiny_data, "--json")
    report = json.loads(done.out)
    assert report["leakage"]["seen"] == report["sessions_seen_in_train"] / report["sessions"]
    assert "baselines" not in report
    assert report["warnings"]
    assert "doubt: " in done.err
