"""`logllm feedback`: what a person says at the terminal, and what that does."""

import json
import shutil

import pytest
from tests.serve.store_contract import Clock, frame, kept, verdict

from logllm.serve.store.verdict_store import Store

MESSAGES = json.dumps(["begins", "disk <*> lost"])


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    path = tmp_path_factory.mktemp("judged") / "app.db"
    store = Store.open(path, clock=Clock())
    mine = store.claim("app", "p", owner="me")
    alarm = verdict("a", 3, 5, anomalous=True, score=0.9, kind="disk <*> lost", messages=MESSAGES)
    store.write("app", verdicts=frame(alarm, verdict("b", 7)), kept=kept(mine))
    store.close()
    return path


@pytest.fixture
def where(judged, tmp_path, monkeypatch):
    monkeypatch.setenv("LOGLLM_USER", "ann")
    return shutil.copy(judged, tmp_path / "app.db")


def test_a_false_alarm_and_the_way_back(logllm, where):
    said = logllm("feedback", where, "a", "--normal", "--note", "a \x1b[1mdrill")
    assert said.code == 0, said.err
    first, muted, remedy = said.err.splitlines()
    assert " by ann: app a: normal: a " in first
    assert "\x1b" not in first
    assert muted.startswith("no alerts for this kind until ")
    assert muted.endswith("disk <*> lost")
    assert remedy.endswith("--undo 1`")
    back = logllm("feedback", where, "--undo", 1)
    assert (back.code, back.err) == (0, "answer 1 is taken back\n")
    again = logllm("feedback", where, "--undo", 1)
    assert (again.code, "has no answer 1" in again.err) == (2, True)


def test_answers_are_listed_the_newest_last(logllm, where):
    logllm("feedback", where, "a", "--normal")
    second = logllm("feedback", where, "a", "--anomalous", "--line", 5, "--json")
    assert json.loads(second.out)["replaces"] == 1
    assert "it replaces answer 1" in second.err
    listed = logllm("feedback", where, "--list")
    first, second_line = listed.out.splitlines()
    assert "app a: normal" in first
    assert "app a: anomalous, line 5" in second_line
    assert listed.err == "2 answers\n"
    rows = json.loads(logllm("feedback", where, "a", "--list", "--json").out)
    assert [(row["answer"], row["lines"], row["by"]) for row in rows] == [
        ("normal", None, "ann"),
        ("anomalous", [5], "ann"),
    ]
    assert json.loads(logllm("feedback", where, "b", "--list", "--json").out) == []


def test_lines_of_what_was_missed_are_read_as_the_run_reads(logllm, where, plain_run, tmp_path):
    run, log = plain_run
    lines = log.read_text().splitlines()[:3]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n")
    options = ("--anomalous", "--line", 2, "--run", run, "--stream", "app", "--json")
    said = logllm("feedback", where, "job-0", "--text", tmp_path / "lines.txt", *options)
    assert said.code == 0, said.err
    given = json.loads(said.out)
    assert (given["lines"], given["model"].partition("@")[0]) == ([2], "tiny")
    piped = logllm(
        "feedback", where, "job-0", "--text", "-", *options, stdin="\n".join(lines).encode()
    )
    assert json.loads(piped.out)["replaces"] == given["id"]
    odd = logllm("feedback", where, "job-1", "--text", "-", *options, stdin=b"what is this\n" * 3)
    assert odd.code == 2
    assert "not in the run's format" in odd.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a",), "say what the session is with --anomalous or --normal"),
        (("--normal",), "name the session as `logllm store show` prints it"),
        (("z", "--normal"), "has no session z"),
        (("b", "--anomalous"), "give its lines, too"),
        (("a", "--anomalous", "--line", "4"), "the session has no line 4: its lines are 3, 5"),
        (("c", "--anomalous", "--text", "-"), "--text also needs --run RUN"),
    ],
    ids=["no answer", "no session", "another session", "no lines", "another line", "no run"],
)
def test_what_makes_no_sense_says_what_to_do(logllm, where, arguments, words):
    said = logllm("feedback", where, *arguments)
    assert said.code == 2
    assert words in said.err
