"""Labels that a person gives to a novelty run's verdicts, and what is trained by them."""

import csv
import json

import pytest

from logllm.config.format import LabelFileSection
from logllm.config.prepare import PrepareSection
from logllm.detect.labelling.answers import Answers
from logllm.detect.labelling.asking import ask
from logllm.detect.labelling.judged_log import read_judged, read_verdicts
from logllm.detect.labelling.questions import questions

TROUBLE = ("disk failed", "link lost", "no answer", "out of memory")


@pytest.fixture
def log(tmp_path):
    """A hundred jobs, each a session; every fifth in trouble, in one of four ways."""
    path = tmp_path / "app.log"
    lines = []
    for job in range(100):
        clock = f"2026-11-20T10:{job // 60:02d}:{job % 60:02d}Z"
        middle = (
            [TROUBLE[job % 4]]
            if job % 5 == 0
            else [f"{word} done" for word in "read sort write".split()[: 1 + job % 3]]
        )
        lines += [f"{clock} INFO job=j{job} {text}" for text in ("opened", *middle, "closed")]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def judged(logllm, log, tmp_path):
    """A run of novelty, and its verdicts."""
    run, verdicts = tmp_path / "novelty", tmp_path / "verdicts.jsonl"
    assert (
        logllm("prepare", "--raw", log, "--key", r"job=(\w+)", "--out", tmp_path / "data").code == 0
    )
    assert logllm("train", "novelty", "--data", tmp_path / "data", "--out", run).code == 0
    assert logllm("detect", run, log, "--out", verdicts).code == 0
    return run, verdicts


def filled(path, *, bad):
    """Fill in a file that was handed out, as a person does."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label"] = "anomalous" if bad(row) else "normal"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rows


@pytest.mark.real
def test_from_no_label_to_a_run_that_has_learnt_from_some(logllm, log, judged, tmp_path) -> None:
    run, verdicts = judged
    asked = tmp_path / "asked.csv"
    outcome = logllm("label", run, verdicts, log, "--export", asked)
    assert outcome.code == 0, outcome.err
    rows = filled(asked, bad=lambda row: any(word in row["lines"] for word in TROUBLE))
    assert len(rows) == 4 + 3
    assert all("> app.log:" in row["lines"] for row in rows)

    outcome = logllm("label", run, verdicts, log, "--import", asked)
    labels = tmp_path / "verdicts.labels.csv"
    assert f"{labels}: 100 sessions labelled, 20 anomalous, 80 normal" in outcome.err
    # The command that it prints is one that works.
    (command,) = [line for line in outcome.err.splitlines() if line.startswith("next: logllm ")]
    words = (
        command.removeprefix("next: logllm ").replace("DATA", str(tmp_path / "labelled")).split()
    )
    outcome = logllm(*words)
    assert outcome.code == 0, outcome.err
    new, old = (
        json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("labelled", "data")
    )
    assert new["anomalous"] == 20
    assert [new["settings"][name] for name in ("format", "mask", "sessions")] == [
        old["settings"][name] for name in ("format", "mask", "sessions")
    ]
    assert (
        logllm(
            "train", "tree-words", "--data", tmp_path / "labelled", "--out", tmp_path / "run"
        ).code
        == 0
    )
    outcome = logllm("detect", tmp_path / "run", log)
    called = {
        verdict["session"]
        for verdict in map(json.loads, outcome.out.splitlines())
        if verdict["anomalous"]
    }
    assert called == {f"j{job}" for job in range(0, 100, 5)}


def test_without_a_terminal_it_says_what_to_do(logllm, log, judged) -> None:
    outcome = logllm("label", *judged, log, stdin=b"")
    assert outcome.code == 2
    assert "no terminal to ask on" in outcome.err
    assert "--export FILE.csv" in outcome.err
    assert "--import FILE.csv" in outcome.err


def test_the_log_must_be_named(logllm, judged, tmp_path) -> None:
    outcome = logllm("label", *judged, "--export", tmp_path / "asked.csv")
    assert outcome.code == 2
    assert "name the log that was judged" in outcome.err


def test_a_file_that_is_there_is_kept(logllm, log, judged, tmp_path) -> None:
    (tmp_path / "asked.csv").write_text("mine")
    outcome = logllm("label", *judged, log, "--export", tmp_path / "asked.csv")
    assert outcome.code == 2
    assert "--force" in outcome.err
    assert (tmp_path / "asked.csv").read_text() == "mine"


def test_like_a_run_brings_all_but_the_split(logllm, log, judged, tmp_path) -> None:
    run, _ = judged
    outcome = logllm(
        "prepare", "--like", run, "--raw", log, "--window", 10, "--out", tmp_path / "other"
    )
    assert outcome.code == 2
    assert (
        "says how lines are read, masked and grouped: leave out what sets by, size" in outcome.err
    )
    outcome = logllm("prepare", "--like", run, "--out", tmp_path / "other")
    assert outcome.code == 2
    assert "name the log with --raw" in outcome.err


@pytest.fixture
def asking(log, judged, tmp_path):
    """Asks with keys that are pressed; gives the answers and what stood on the screen."""
    run, path = judged
    manifest = json.loads((run / "manifest.json").read_text())
    settings = PrepareSection.read(manifest["data"]["prepare"], source="manifest")
    verdicts = read_verdicts(path, model=json.loads(path.read_text().splitlines()[0])["model"])
    judged_log = read_judged([log], verdicts, settings=settings, redacted=False, progress=None)
    everything = questions(judged_log, threshold=0.5, score_lines=None)

    def press(keys: str):
        answers = Answers(tmp_path / "labels.csv", LabelFileSection())
        left = [question for question in everything if question not in answers]
        pressed = iter(keys)
        screen: list[str] = []
        ask(left, judged_log, answers=answers, key=lambda: next(pressed), say=screen.append)
        assert not list(pressed)
        return answers, "\n".join(screen)

    return press


def test_one_key_an_answer(asking) -> None:
    answers, screen = asking("aansnan")
    assert answers.tally.anomalous > 0
    assert answers.tally.normal > 0
    assert screen.count("a anomalous   n normal") == 7
    assert "1 of 7: j" in screen
    assert " more of just the same messages" in screen
    assert "> app.log:" in screen


def test_undo_goes_back_a_question(asking, tmp_path) -> None:
    _, screen = asking("auunq")
    assert "there is nothing to undo" in screen
    assert screen.count("\n1 of 7: ") == 3
    assert "normal" in (tmp_path / "labels.csv").read_text()
    assert "anomalous" not in (tmp_path / "labels.csv").read_text()


def test_it_goes_on_where_it_stopped(asking) -> None:
    asking("asq")
    _, screen = asking("q")
    assert "1 of 5: " in screen


def test_another_key_is_told_which_there_are(asking) -> None:
    _, screen = asking("xmq")
    assert "keys: a anomalous" in screen
