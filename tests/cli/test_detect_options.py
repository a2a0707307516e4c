"""What `detect` and the command line as a whole can be told: thresholds, outputs, the shipped run's
name, -v anywhere."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from time import sleep

import pytest

from logllm import __version__
from logllm.detect.verdict import FIELDS, OPTIONAL, SCHEMA
from logllm.runs.manifest import read_manifest, shipped_run


@pytest.fixture
def log(tiny_data):
    return tiny_data.parent / "app.jsonl"


def verdicts(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_another_threshold_only_anomalous_and_a_limit(logllm, tiny_run, log) -> None:
    every = verdicts(logllm("detect", tiny_run, log).out)
    scores = sorted(verdict["score"] for verdict in every)
    middle = (scores[59] + scores[60]) / 2
    outcome = logllm("detect", tiny_run, log, "--threshold", middle, "--only-anomalous")
    found = verdicts(outcome.out)
    assert {verdict["anomalous"] for verdict in found} == {True}
    assert len(found) == sum(score >= middle for score in scores)
    assert f"120 sessions, {len(found)} anomalous" in outcome.err
    few = logllm("detect", tiny_run, log, "--threshold", middle, "--only-anomalous", "--limit", 7)
    assert verdicts(few.out) == found[:7]
    assert "120 sessions, " in few.err  # all are judged
    assert logllm("detect", tiny_run, log, "--threshold", 2).code == 2


class Terminal(io.StringIO):
    """Standard output that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("options", "written"),
    [(["--summary"], 0), (["--summary", "--limit", "3"], 3), ([], 120), (["--no-summary"], 120)],
    ids=["summary", "summary and some", "by default", "no summary"],
)
def test_a_summary_on_a_terminal_is_not_pushed_out_of_sight(
    logllm, tiny_run, log, monkeypatch, options, written
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    outcome = logllm("detect", tiny_run, log, *options)
    assert outcome.code == 0, outcome.err
    assert len(verdicts(terminal.getvalue())) == written
    assert ("verdicts are not shown" in outcome.err) == (written == 0)


def test_a_summary_beside_a_pipe_leaves_the_verdicts_alone(logllm, tiny_run, log) -> None:
    assert len(verdicts(logllm("detect", tiny_run, log, "--summary").out)) == 120


def test_every_field_of_a_verdict_is_described(logllm) -> None:
    fields = json.loads(logllm("show", "verdict").out)["properties"]
    assert list(fields) == [*FIELDS, *OPTIONAL, "schema"]
    for name, field in fields.items():
        assert len(field["description"].split()) >= 3, name
        assert "\n" not in field["description"], name


def test_out_is_whole_and_never_overwritten_unasked(logllm, tiny_run, log, tmp_path) -> None:
    wanted = logllm("detect", tiny_run, log).out
    out = tmp_path / "verdicts.jsonl"
    outcome = logllm("detect", tiny_run, log, "--out", out)
    assert (outcome.code, outcome.out, out.read_text()) == (0, "", wanted)
    refused = logllm("detect", tiny_run, log, "--out", out, "--limit", 1)
    assert (refused.code, "--force" in refused.err, out.read_text()) == (2, True, wanted)
    assert logllm("detect", tiny_run, log, "--out", out, "--limit", 1, "--force").code == 0
    assert len(out.read_text().splitlines()) == 1
    failed = logllm("detect", tiny_run, tmp_path / "nothing.log", "--out", tmp_path / "new.jsonl")
    assert failed.code == 2
    assert not (tmp_path / "new.jsonl").exists()
    assert logllm("detect", tiny_run, log, "--out", tmp_path).code == 2


def test_a_time_zone_is_that_of_times_that_name_none(logllm, tiny_run, log, tmp_path) -> None:
    local = tmp_path / "local.jsonl"
    local.write_text(
        "".join(
            json.dumps({**json.loads(line), "time": "2024-07-03 09:00:00"}) + "\n"
            for line in log.open()
        )
    )
    described = (
        'name = "own"\nkind = "json"\ntime = "time"\n[sessions]\nby = "key"\nkey_field = "job"\n'
    )
    (tmp_path / "own.toml").write_text(described)
    outcome = logllm(
        "detect", tiny_run, local, "--format", tmp_path / "own.toml", "--time-zone", "Europe/Berlin"
    )
    assert {verdict["start"] for verdict in verdicts(outcome.out)} == {
        "2024-07-03T07:00:00.000000Z"
    }
    wrong = logllm("detect", tiny_run, local, "--time-zone", "Mars")
    assert (wrong.code, "there is no time zone 'Mars'" in wrong.err) == (2, True)


def test_every_verdict_keeps_the_schema(logllm, tiny_run, log) -> None:
    schema = json.loads(logllm("show", "verdict").out)
    assert set(schema["properties"]) == {*FIELDS, *OPTIONAL, "schema"}
    for verdict in verdicts(logllm("detect", tiny_run, log, log).out):
        assert set(schema["required"]) <= verdict.keys() <= set(schema["properties"])
        assert verdict["schema"] == SCHEMA == schema["properties"]["schema"]["const"]
        assert len(verdict["files"]) == len(verdict["lines"])


@pytest.mark.parametrize("place", [0, 1, 3])
def test_verbose_may_stand_anywhere(logllm, place) -> None:
    arguments = ["detect", "nowhere", "x"]
    arguments.insert(place, "-v")
    outcome = logllm(*arguments)
    assert outcome.code == 2
    assert "Traceback" in outcome.err
    assert "there is no file or folder nowhere" in outcome.err


def test_what_came_before_the_end_of_a_cut_archive_is_judged(
    logllm, tiny_run, log, tmp_path
) -> None:
    whole = gzip.compress(log.read_bytes())
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    outcome = logllm("detect", tiny_run, tmp_path / "cut.gz")
    assert outcome.code == 2
    assert "is damaged or cut off after" in outcome.err
    assert 20 < len(verdicts(outcome.out)) < 120


def test_a_file_that_is_not_there_is_redacted(logllm, tiny_run, tmp_path) -> None:
    outcome = logllm("detect", tiny_run, tmp_path / "alice@example.com.log", "--redact")
    assert outcome.code == 2
    assert "alice" not in outcome.err
    assert "<email>" in outcome.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_out_replaces_no_pipe(logllm, tiny_run, log, tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    outcome = logllm("detect", tiny_run, log, "--out", tmp_path / "pipe", "--force")
    assert (outcome.code, "is not a regular file" in outcome.err) == (2, True)
    assert (tmp_path / "pipe").is_fifo()


def test_version(logllm) -> None:
    assert logllm("-V").out == logllm("--version").out == f"{__version__}\n"


def test_help_has_panels_in_the_order_of_use(logllm) -> None:
    text = logllm("--help").out
    places = [text.index(f"─ {panel} ─") for panel in ("Everyday", "Running", "Sharing", "Study")]
    assert places == sorted(places)
    assert "--install-completion" in text


def test_the_shipped_run_has_a_name(logllm, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert json.loads(logllm("show", "run", "postgres").out)["name"] == "postgres"
    chosen = read_manifest(shipped_run())["threshold"]
    assert json.loads(logllm("threshold", "postgres", "--json").out)["value"] == chosen["value"]
    kept = logllm("threshold", "postgres", "0.5")
    assert (kept.code, "cannot be changed" in kept.err) == (2, True)
    alone = logllm("detect", "postgres")
    assert (alone.code, "name the logs to judge after it" in alone.err) == (2, True)


@pytest.fixture
def live(logllm, log, tmp_path) -> Iterator[subprocess.Popen]:
    """A real process that judges windows of 5, has been given 201 lines, and whose input does not
    end."""
    data, run = tmp_path / "data", tmp_path / "run"
    fields = ["--format", "json", "--message", "message", "--time", "time", "--window", "5"]
    assert logllm("prepare", "--raw", log, *fields, "--out", data).code == 0
    assert logllm("train", "unseen", "--data", data, "--out", run).code == 0
    lines = log.read_bytes().splitlines(keepends=True)[:201]
    command = [sys.executable, "-m", "logllm", "detect", str(run), "-", "--no-cache"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"".join(lines))
        process.stdin.flush()
        yield process
        process.kill()


@pytest.mark.real
def test_verdicts_come_while_the_pipe_is_open(live) -> None:
    found = [json.loads(live.stdout.readline()) for _ in range(40)]
    assert found[-1]["lines"] == [196, 197, 198, 199, 200]
    assert live.poll() is None
    live.stdin.close()
    assert [json.loads(line)["lines"] for line in live.stdout] == [[201]]
    assert live.wait(60) == 0


@pytest.mark.real
def test_control_c_ends_a_wait_for_lines(live) -> None:
    for _ in range(40):
        live.stdout.readline()
    sleep(1)  # now it waits
    live.send_signal(signal.SIGINT)
    assert live.wait(30) == 130
