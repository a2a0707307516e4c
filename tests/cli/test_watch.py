"""`logllm watch`: from a run and sources to a store, and what it says on the way."""

import json

import pytest
from sqlalchemy import select

from logllm.serve.source_rows import source_rows
from logllm.serve.store.service_schema import kinds
from logllm.serve.store.verdict_store import Store

LINE = "2026-11-20T10:{minute:02d}:{second:02d}Z {level} job={job} {what}\n"


def written(jobs, *, fault: int | None = None) -> str:
    """A log of jobs, each three lines, one of which fails."""
    text = []
    for job in jobs:
        when = {"minute": job // 60 % 60, "second": job % 60, "job": 1000 + job}
        text += [
            LINE.format(level="INFO", what=what, **when)
            for what in ("opened the file", "wrote some bytes", "closed the file")
        ]
        if job == fault:
            text.append(LINE.format(level="ERROR", what="failed: connection timed out", **when))
    return "".join(text)


@pytest.fixture
def run(logllm, tmp_path):
    """A run of novelty, which needs no labels and no model."""
    good = tmp_path / "good.log"
    good.write_text(written(range(200)))
    data, folder = tmp_path / "data", tmp_path / "run"
    prepared = logllm("prepare", "--raw", good, "--out", data, "--key", "job=([0-9]+)")
    assert prepared.code == 0, prepared.err
    trained = logllm("train", "novelty", "--data", data, "--out", folder)
    assert trained.code == 0, trained.err
    return folder


def stored(path) -> dict[str, bool]:
    """Sessions that are stored as over, and whether they are anomalous."""
    store = Store.open(path, create=False)
    frame = store.verdicts(state="closed", limit=10_000)
    store.close()
    return dict(frame.select("session", "anomalous").iter_rows())


def test_standard_input_gives_the_verdicts_of_detect(logllm, run, tmp_path) -> None:
    log = written(range(200, 300), fault=250)
    outcome = logllm(
        "watch", run, "-", "--store", tmp_path / "app.db", "--idle", 3600, stdin=log.encode()
    )
    assert outcome.code == 0, outcome.err
    assert outcome.out == ""
    assert "100 sessions closed" in outcome.err
    (tmp_path / "today.log").write_text(log)
    detected = [
        json.loads(line) for line in logllm("detect", run, tmp_path / "today.log").out.splitlines()
    ]
    assert stored(tmp_path / "app.db") == {
        verdict["session"]: verdict["anomalous"] for verdict in detected
    }
    assert stored(tmp_path / "app.db")["1250"]


@pytest.mark.real
def test_how_a_watch_was_is_a_row_of_the_store(logllm, run, tmp_path) -> None:
    options = ("--store", tmp_path / "app.db", "--idle", 3600, "--stream", "jobs")
    log = "no line of this format\n" + written(range(20), fault=5)
    outcome = logllm("watch", run, "-", *options, stdin=log.encode())
    assert outcome.code == 0, outcome.err
    store = Store.open(tmp_path / "app.db", create=False)
    (row,) = source_rows(store)
    store.close()
    assert (row["stream"], row["lines"], row["sessions"], row["anomalous"]) == ("jobs", 62, 20, 1)
    assert (row["open_sessions"], row["trouble"], row["alive"]) == (0, None, True)
    assert row["counts"]["rejected"] == 1


@pytest.mark.real
def test_new_kinds_of_message_are_stored_with_their_first_lines(logllm, run, tmp_path) -> None:
    log = written(range(200, 220), fault=205) + written(range(300, 303), fault=301)
    outcome = logllm(
        "watch", run, "-", "--store", tmp_path / "app.db", "--stream", "jobs", stdin=log.encode()
    )
    assert outcome.code == 0, outcome.err
    store = Store.open(tmp_path / "app.db", create=False)
    with store.transaction(reading=True) as connection:
        rows = connection.execute(select(kinds)).mappings().all()
    store.close()
    (row,) = rows
    fault = LINE.format(
        minute=3, second=25, level="ERROR", job=1205, what="failed: connection timed out"
    )
    assert (row["stream"], row["line_text"], row["grade"]) == ("jobs", fault.strip(), 1.0)
    assert "failed: connection timed out" in row["kind"]


@pytest.mark.real
def test_several_sources_of_a_file(logllm, run, tmp_path) -> None:
    config = tmp_path / "watch.toml"
    config.write_text(
        f'run = "{run}"\nstore = "{tmp_path / "app.db"}"\nidle = 3600\n[[sources]]\nsource ='
        ' "-"\nstream = "jobs"\n'
    )
    outcome = logllm("watch", "--config", config, stdin=written(range(9)).encode())
    assert outcome.code == 0, outcome.err
    assert len(stored(tmp_path / "app.db")) == 9
    assert "jobs: 27 lines read" in outcome.err


@pytest.mark.real
def test_a_format_is_found_by_the_first_lines_and_said(logllm, run, tmp_path) -> None:
    outcome = logllm(
        "watch",
        run,
        "-",
        "--format",
        "auto",
        "--store",
        tmp_path / "app.db",
        stdin=written(range(9)).encode(),
    )
    assert outcome.code == 0, outcome.err
    assert "-: format: timed" in outcome.err
    assert len(stored(tmp_path / "app.db")) == 9


@pytest.mark.real
def test_a_dry_run_says_how_lines_are_read_and_stores_nothing(logllm, run, tmp_path) -> None:
    log = tmp_path / "app.log"
    log.write_text(written(range(9)))
    outcome = logllm(
        "watch", run, log, "--dry-run", "--from", "start", "--store", tmp_path / "app.db"
    )
    assert outcome.code == 0, outcome.err
    assert "27 lines of 1 partition" in outcome.err
    assert "9 sessions (by job=" in outcome.err
    assert "closed the file" in outcome.err
    assert not (tmp_path / "app.db").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no source"),
        (["--config", "absent.toml"], "absent.toml cannot be read"),
        (["runs/mistyped", "app.log"], "there is no file or folder runs/mistyped: name"),
    ],
    ids=["no-source", "no-config", "no-run"],
)
def test_mistakes(logllm, arguments, said, tmp_path) -> None:
    outcome = logllm("watch", *arguments)
    assert outcome.code == 2
    assert said in outcome.err


@pytest.mark.real
def test_a_run_that_knows_other_logs_is_named_first(logllm, tmp_path) -> None:
    outcome = logllm(
        "watch", "-", "--store", tmp_path / "app.db", stdin=written(range(50)).encode()
    )
    assert outcome.code == 2
    assert "knows only PostgreSQL logs" in outcome.err


def test_settings_beside_a_file_of_settings(logllm, tmp_path) -> None:
    config = tmp_path / "watch.toml"
    config.write_text('run = "postgres"\nstore = "app.db"\nilde = 3\n[[sources]]\nsource = "-"\n')
    outcome = logllm("watch", "--config", config)
    assert outcome.code == 2
    assert "the nearest known one is 'idle'" in outcome.err


@pytest.mark.real
def test_a_watch_that_learns_says_what_it_learnt(logllm, run, tmp_path) -> None:
    store = tmp_path / "app.db"
    options = ("--store", store, "--stream", "jobs", "--idle", 3600)
    log = written(range(200, 240), fault=205)
    outcome = logllm("watch", run, "-", *options, "--learn", stdin=log.encode())
    assert outcome.code == 0, outcome.err
    assert "learnt session" in outcome.err
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    again = logllm("watch", run, "-", *options, "--learn", stdin=written(range(300, 320)).encode())
    assert again.code == 0, again.err
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before

    (told,) = [
        json.loads(line)
        for line in logllm("store", "learnt", store, "--run", run, "--json").out.splitlines()
    ]
    assert told["stream"] == "jobs"
    assert 40 <= told["counts"]["learnt_sessions"] < 60
    assert told["kinds"] == {}
    assert "learnt sessions" in logllm("store", "learnt", store, "--run", run).out
    assert "is forgotten" in logllm("store", "learnt", store, "--forget").err
    (told,) = [
        json.loads(line)
        for line in logllm("store", "learnt", store, "--run", run, "--json").out.splitlines()
    ]
    assert told["counts"]["learnt_sessions"] == 0


@pytest.mark.real
def test_a_run_that_cannot_learn_is_refused(logllm, tmp_path) -> None:
    outcome = logllm("watch", "-", "--learn", "--store", tmp_path / "app.db", stdin=b"")
    assert outcome.code == 2
    assert "method both" in outcome.err
    assert "novelty" in outcome.err
