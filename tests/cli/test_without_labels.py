"""Logs that no run knows: ranked, or judged against good ones; new kinds of message; drift."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from logllm.detect.verdict import FIELDS

SESSION = (
    "2026-11-20T10:{minute:02d}:{second:02d}Z INFO job={job} opened file {job}\n"
    "2026-11-20T10:{minute:02d}:{second:02d}Z INFO job={job} wrote {job} bytes\n"
    "2026-11-20T10:{minute:02d}:{second:02d}Z INFO job={job} closed file {job}\n"
)
FAULT = "2026-11-20T10:30:30Z ERROR job={job} replica of {job} failed: connection timed out\n"


def written(path, jobs, *, fault: int | None = None):
    """A log of jobs, each with an id of its own, one of which says that something failed."""
    text = [SESSION.format(job=1000 + job, minute=job // 60, second=job % 60) for job in jobs]
    if fault is not None:
        text[fault] += FAULT.format(job=1000 + list(jobs)[fault])
    path.write_text("".join(text))
    return path


@pytest.fixture
def good(tmp_path):
    return written(tmp_path / "good.log", range(300))


@pytest.fixture
def healthy(tmp_path):
    return written(tmp_path / "healthy.log", range(300, 600))


@pytest.fixture
def faulty(tmp_path):
    return written(tmp_path / "faulty.log", range(300, 600), fault=150)


def verdicts(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_healthy_log_against_a_good_one_alarms_nobody(logllm, good, healthy) -> None:
    outcome = logllm("detect", healthy, "--against", good, "--fail-on-anomaly", "--new-kinds")
    assert outcome.code == 0, outcome.err
    assert not any(verdict["anomalous"] for verdict in verdicts(outcome.out))
    assert "0 kinds of message never seen in the logs of --against" in outcome.err
    assert "drift" not in outcome.err


def test_jobs_that_stop_or_skip_a_step_are_found_and_what_is_missing_is_named(
    logllm, good, healthy
) -> None:
    """Their ends lie far from those of the log, which did not cut them."""
    lines = healthy.read_text().splitlines(keepends=True)
    missing = {f"job={job} {word} ": job for job, word in {1400: "closed", 1420: "wrote"}.items()}
    healthy.write_text("".join(line for line in lines if not any(part in line for part in missing)))
    outcome = logllm("detect", healthy, "--against", good, "--fail-on-anomaly")
    assert outcome.code == 1, outcome.err
    anomalous = [verdict for verdict in verdicts(outcome.out) if verdict["anomalous"]]
    assert {verdict["session"]: verdict["expected"] for verdict in anomalous} == {
        "1400": ["INFO:  job=<*> closed file <*>"],
        "1420": ["INFO:  job=<*> wrote <*> bytes"],
    }
    # The line named is the last one before the gap, and says as much as the verdict.
    for verdict, word in zip(anomalous, ["wrote", "opened"], strict=True):
        (line,) = verdict["evidence"]
        assert f"job={verdict['session']} {word}" in line["text"]
        assert line["score"] == verdict["score"]


def requests(*, seed: int, stops: int | None = None) -> str:
    """A log of requests, one of which may stop before its last steps."""
    draw = random.Random(seed)
    lines = []
    for number in range(200):
        rid = f"{draw.getrandbits(32):08x}"
        page = draw.choice(["cart", "items", "login"])
        queries = draw.choices(["items", "orders", "users"], k=draw.randint(1, 4))
        steps = [f"GET /{page}", *(f"db query {name}" for name in queries)]
        if number != stops:
            steps += [f"render template {page}.html", f"done status=200 in {number}ms"]
        minute, second = divmod(20 * number, 60)
        time = f"2026-11-27 {8 + minute // 60:02d}:{minute % 60:02d}:{second:02d}"
        lines += [f"{time} INFO rid={rid} {step}\n" for step in steps]
    return "".join(lines)


def test_a_request_that_stops_is_told_by_its_last_line_and_by_its_missing_end(
    logllm, tmp_path
) -> None:
    (tmp_path / "good.log").write_text(requests(seed=1))
    (tmp_path / "today.log").write_text(requests(seed=2, stops=90))
    outcome = logllm(
        "detect", tmp_path / "today.log", "--against", tmp_path / "good.log", "--only-anomalous"
    )
    (verdict,) = verdicts(outcome.out)
    (line,) = verdict["evidence"]
    # The line is ordinary: what counts is that nothing came after it.
    assert line["line"] == verdict["lines"][-1]
    assert line["score"] == verdict["score"]
    page, done = verdict["expected"]
    assert "render template" in page
    assert "done status=" in done


def test_one_fault_does_and_is_named(logllm, good, faulty) -> None:
    outcome = logllm(
        "detect", faulty, "--against", good, "--fail-on-anomaly", "--new-kinds", "--summary"
    )
    assert outcome.code == 1, outcome.err
    found = verdicts(outcome.out)
    (bad,) = [verdict for verdict in found if verdict["anomalous"]]
    assert 454 in bad["lines"]
    assert bad["score"] == max(verdict["score"] for verdict in found) > 0.5
    assert 0 < bad["p"] < 0.01 < found[0]["p"] <= 1
    assert list(bad)[: len(FIELDS)] == list(FIELDS)
    assert "judged against" in outcome.err
    assert "1 kind of message never seen in the logs of --against:" in outcome.err
    assert outcome.err.count("faulty.log:454: ") == 2  # among the new kinds, and in the incident


def test_a_trace_is_called_by_its_exception(logllm, good, faulty) -> None:
    fault = FAULT.format(job=1450)
    trace = (
        "2026-11-20T10:30:30Z ERROR job=1450 Traceback (most recent call last):\n"
        '  File "/srv/job.py", line 7, in replicate\n    send(job)\n'
        f"OSError: [Errno 122] Disk quota exceeded: {'/srv' * 60}\n"
    )
    text = faulty.read_text()
    assert fault in text
    faulty.write_text(text.replace(fault, trace))
    outcome = logllm("detect", faulty, "--against", good, "--new-kinds", "--summary")
    (bad,) = [verdict for verdict in verdicts(outcome.out) if verdict["anomalous"]]
    assert bad["evidence"][0]["text"] == trace.splitlines()[-1]
    shown = [line for line in outcome.err.splitlines() if "faulty.log:454: " in line]
    assert len(shown) == 2  # among the new kinds, and in the incident
    # What is too long for the screen is cut at its end.
    assert all(": OSError: [Errno 122] Disk quota exceeded: /srv" in line for line in shown)
    assert {(len(line), line[-1]) for line in shown} == {(120, "…")}


@pytest.mark.real
def test_several_good_logs_are_learnt_as_one(logllm, good, healthy, faulty) -> None:
    alone = logllm("detect", faulty, "--against", healthy, "--only-anomalous")
    both = logllm("detect", faulty, "--against", good, "--against", healthy, "--only-anomalous")
    assert [verdict["session"] for verdict in verdicts(alone.out)] == [
        verdict["session"] for verdict in verdicts(both.out)
    ]
    assert verdicts(both.out)[0]["p"] < verdicts(alone.out)[0]["p"]


def test_a_log_alone_is_ranked_not_judged(logllm, faulty) -> None:
    outcome = logllm("detect", faulty, "--summary", "--fail-on-anomaly")
    assert outcome.code == 0, outcome.err
    found = verdicts(outcome.out)
    assert not any(verdict["anomalous"] for verdict in found)
    assert 454 in max(found, key=lambda verdict: verdict["score"])["lines"]
    assert f"{len(found)} sessions, ranked, not judged" in outcome.err
    assert "--fail-on-anomaly could never fail" in outcome.err
    shown = outcome.err.partition("the most unusual sessions:")[2]
    assert "faulty.log:454: " in shown.partition("\n\n")[2].partition("\n\n")[0]


def test_a_ranking_is_written_the_strangest_first_and_a_limit_takes_these(
    logllm, faulty, tmp_path
) -> None:
    whole = verdicts(logllm("detect", faulty).out)
    scores = [verdict["score"] for verdict in whole]
    assert len(set(scores)) > 1
    assert scores == sorted(scores, reverse=True)
    assert 454 in whole[0]["lines"]
    # Equal scores stand in the order of the log.
    last = [verdict["lines"][0] for verdict in whole if verdict["score"] == scores[-1]]
    assert last == sorted(last)
    out = tmp_path / "few.jsonl"
    assert verdicts(logllm("detect", faulty, "--limit", 2).out) == whole[:2]
    logllm("detect", faulty, "--limit", 2, "--out", out)
    assert verdicts(out.read_text()) == whole[:2]


def test_of_sessions_that_are_judged_a_limit_takes_the_first(logllm, good, faulty) -> None:
    few = verdicts(logllm("detect", faulty, "--against", good, "--limit", 2).out)
    assert [verdict["lines"][0] for verdict in few] == [1, 4]


def test_a_top_share_orders_and_caps(logllm, good, tmp_path) -> None:
    today = written(tmp_path / "today.log", range(300, 600), fault=150)
    with today.open("a") as file:
        file.writelines(FAULT.format(job=2000 + job) for job in range(20))
    every = verdicts(logllm("detect", today, "--against", good).out)
    few = verdicts(logllm("detect", today, "--against", good, "--top-share", 0.01).out)
    assert (
        sum(verdict["anomalous"] for verdict in every)
        > 3
        == sum(verdict["anomalous"] for verdict in few)
    )
    assert [verdict["score"] for verdict in few] == sorted(
        (verdict["score"] for verdict in every), reverse=True
    )


def test_the_grouping_can_be_said(logllm, good, faulty) -> None:
    outcome = logllm("detect", faulty, "--against", good, "--window", 30)
    assert {len(verdict["lines"]) for verdict in verdicts(outcome.out)} == {30, 1}
    assert "sessions: windows of 30" in outcome.err
    two = logllm("detect", faulty, "--window", 30, "--key", "job=([0-9]+)")
    assert (two.code, "leave out" in two.err) == (2, True)


@pytest.mark.parametrize("by_run", [True, False], ids=["a run", "no run"])
def test_a_log_without_a_single_session_does_not_pass_for_a_healthy_one(
    logllm, good, tmp_path, by_run
) -> None:
    other = tmp_path / "other.log"
    other.write_text("2026-11-20T10:00:00Z INFO task=7 opened file\n" * 20)
    judges = ["--key", "job=([0-9]+)", "--against", good]
    if by_run:
        data, run = tmp_path / "data", tmp_path / "run"
        assert logllm("prepare", "--raw", good, "--key", "job=([0-9]+)", "--out", data).code == 0
        assert logllm("train", "novelty", "--data", data, "--out", run).code == 0
        judges = []
    inputs = [run, other] if by_run else [other]
    outcome = logllm("detect", *inputs, *judges, "--fail-on-anomaly")
    assert outcome.code == 2
    assert "nothing was judged: sessions are by job=([0-9]+), and no line names" in outcome.err
    assert ("name another run" if by_run else "group otherwise with --key") in outcome.err


def test_a_log_that_has_drifted_says_so(logllm, good, tmp_path) -> None:
    text = written(tmp_path / "new.log", range(300)).read_text()
    for old, new in (
        ("opened file", "began with object"),
        ("wrote", "stored"),
        ("closed file", "is done with"),
    ):
        text = text.replace(old, new)
    (tmp_path / "new.log").write_text(text)
    outcome = logllm("detect", tmp_path / "new.log", "--against", good)
    assert outcome.code == 0, outcome.err
    assert "drift: " in outcome.err
    assert (
        "sessions hold messages unlike any in the logs of --against, where 0.0% did" in outcome.err
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--new-kinds"], "--new-kinds lists what good logs lack"),
        (["--threshold", 0.3], "ranked, not judged, so --threshold has no use"),
        (["--only-anomalous"], "none would be written with --only-anomalous"),
        (["--against", "nothing.log"], "nothing.log"),
    ],
    ids=["new kinds", "threshold", "only anomalous", "no such log"],
)
def test_what_does_not_go_together_is_said(logllm, faulty, more, words) -> None:
    outcome = logllm("detect", faulty, *more)
    assert outcome.code == 2
    assert words in outcome.err


@pytest.mark.real
def test_a_pipe_is_not_ranked_and_is_judged_against_a_good_log_as_it_comes(good, faulty) -> None:
    command = [sys.executable, "-m", "logllm", "detect", "-"]
    environment = {**os.environ, "COLUMNS": "200"}
    run = lambda *more: subprocess.run(  # noqa: E731
        [*command, *more],
        input=faulty.read_bytes(),
        capture_output=True,
        env=environment,
        check=False,
    )
    refused = run()
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert (
        b"may never end: write it to a file first, or name a good log with --against"
        in refused.stderr
    )
    judged = run("--against", str(good), "--fail-on-anomaly", "--only-anomalous")
    assert judged.returncode == 1
    assert 454 in json.loads(judged.stdout)["lines"]
    with faulty.open("rb") as file:
        ranked = subprocess.run(command, stdin=file, capture_output=True, check=False)
    assert ranked.returncode == 0, ranked.stderr
    assert b"ranked, not judged" in ranked.stderr


def test_a_run_of_novelty_says_p_too(logllm, good, faulty, tmp_path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    assert logllm("prepare", "--raw", good, "--out", data).code == 0
    assert logllm("train", "novelty", "--data", data, "--out", run).code == 0
    outcome = logllm("detect", run, faulty, "--only-anomalous")
    assert 454 in verdicts(outcome.out)[0]["lines"]
    assert verdicts(outcome.out)[0]["p"] < 0.01


@pytest.mark.real
def test_the_quick_start_s_example_runs(tmp_path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "start" / "incident.md").read_text()
    example = page.partition("```bash\n")[2].partition("```")[0]
    script = f'logllm() {{ "{sys.executable}" -m logllm "$@"; }}\n{example}'
    done = subprocess.run(
        ["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, found = verdicts(done.stdout)
    assert (first["anomalous"], found["session"], found["anomalous"]) == (False, "today170", True)
    assert (
        "1 kind of message never seen in the logs of --against:\n      1 x  today.log:142: "
        in done.stderr
    )


def test_a_long_line_is_shown_as_it_is_written_and_cut_at_its_end(logllm, good, tmp_path) -> None:
    words = " ".join(f"replica {name} failed" for name in ("amber", "birch", "cedar", "delta"))
    line = f"2026-11-20T10:30:30Z ERROR job=1450 {words}: connection timed out"
    log = written(tmp_path / "today.log", range(300, 600))
    log.write_text(f"{log.read_text()}{line}\n")
    outcome = logllm("detect", log, "--against", good, "--summary", "--limit", 1)
    assert outcome.code == 0, outcome.err
    (shown,) = [row for row in outcome.err.splitlines() if "replica amber" in row]
    assert shown.endswith("…")
    place, _, text = shown.removesuffix("…").partition("today.log:901: ")
    assert place.strip() == "1 x"
    assert line.startswith(text)
