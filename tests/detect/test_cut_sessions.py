"""Verdicts on sessions that the ends of an input cut, by a simple method that learnt from whole
ones."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from logllm.cli.app import app
from logllm.datasets.prepare import prepare
from logllm.datasets.settings import choose
from logllm.detect.detector import Detector
from logllm.methods.registry import recipe_for
from logllm.methods.train import train
from logllm.runs.manifest import read_manifest, write_manifest
from logllm.sessions.ends import ENDS


def log(sessions: int) -> list[str]:
    """Sessions that open, work and close; every fourth loses its replica, every eighth stops before
    it closes."""
    lines = []
    for number in range(sessions):
        words = ["open file", "write block", "sync replica", "close file"]
        if number % 4 == 0:
            words[2] = "lost replica, giving up"
        if number % 8 == 1:
            words = words[:2]
        failed = number % 4 == 0 or number % 8 == 1
        for second, word in enumerate(words):
            time = 1_700_000_000 + 10 * number + second
            lines.append(
                json.dumps(
                    {
                        "time": time,
                        "job": f"job-{number}",
                        "message": word,
                        "failed": "x" if failed else "-",
                    }
                )
            )
    return lines


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cut")
    (folder / "app.jsonl").write_text("\n".join(log(200)) + "\n")
    told = {
        "format": {"time": "time", "time_format": ["epoch"], "label": "failed", "normal": ["-"]},
        "sessions": {"by": "key", "key_field": "job"},
        "split": {"by": "random"},
        "mask": {},
    }
    prepare(
        [folder / "app.jsonl"],
        folder / "data",
        settings=choose("json", recipe=None, overrides=told),
    )
    train(recipe_for("tree-counts"), folder / "data", out=folder / "run")
    return folder / "run"


def verdicts(run: Path, lines: list[str]) -> dict[str, tuple[bool, str | None]]:
    return {
        verdict.session: (verdict.anomalous, verdict.cut)
        for verdict in Detector.load(run).detect(lines)
    }


def test_a_run_keeps_how_sessions_begin_and_end(run) -> None:
    assert ENDS in read_manifest(run)["files"]


def test_whole_sessions_are_judged_as_before(run) -> None:
    judged = verdicts(run, log(9))
    assert {session for session, (anomalous, _) in judged.items() if anomalous} == {
        "job-0",
        "job-1",
        "job-4",
        "job-8",
    }
    assert all(cut is None for _, cut in judged.values())


def test_a_cut_session_is_anomalous_only_if_what_was_seen_is_enough(run) -> None:
    lines = log(8)[1:]
    judged = verdicts(run, lines[:-2])
    assert judged["job-0"] == (True, "start")  # it lost its replica
    assert judged["job-7"] == (False, "end")  # it is not over
    assert {session for session, (anomalous, _) in judged.items() if anomalous} == {
        "job-0",
        "job-1",
        "job-4",
    }


def test_what_stopped_long_ago_is_still_found(run) -> None:
    """The second session never closes, and there is time enough to see that."""
    assert verdicts(run, log(4))["job-1"] == (True, None)


def test_a_stream_says_the_same(run) -> None:
    lines = log(8)[1:-2]
    detector = Detector.load(run)
    assert list(detector.stream(iter(lines))) == list(detector.detect(lines))


def test_a_run_that_has_not_learnt_it_takes_the_first_and_the_last_record_and_says_so(
    run, tmp_path
) -> None:
    older = tmp_path / "older"
    shutil.copytree(run, older)
    (older / ENDS).unlink()
    manifest = read_manifest(older)
    del manifest["files"][ENDS]
    write_manifest(older, manifest)
    assert {session: cut for session, (_, cut) in verdicts(older, log(8)[1:-2]).items() if cut} == {
        "job-0": "start",
        "job-7": "end",
    }
    (tmp_path / "tail.jsonl").write_text("\n".join(log(8)[1:-2]) + "\n")
    told = (
        CliRunner()
        .invoke(
            app, ["detect", str(older), str(tmp_path / "tail.jsonl"), "--summary", "--no-cache"]
        )
        .stderr
    )
    assert (
        "2 sessions may have records outside this input (1 before it began, 1 after it ended)"
        in told
    )
    assert "has not learnt how sessions begin and end" in told


def test_cut_sessions_are_listed_apart(run, tmp_path) -> None:
    (tmp_path / "tail.jsonl").write_text("\n".join(log(8)[1:-2]) + "\n")
    told = CliRunner().invoke(
        app, ["detect", str(run), str(tmp_path / "tail.jsonl"), "--summary", "--no-cache"]
    )
    assert "2 sessions may have records outside this input" in told.stderr
    assert "1 more would be anomalous if no record of it were missing, such as job-7" in told.stderr
    cut = {
        verdict["session"]: verdict.get("cut")
        for verdict in map(json.loads, told.stdout.splitlines())
    }
    assert (cut["job-0"], cut["job-3"], cut["job-7"]) == ("start", None, "end")
