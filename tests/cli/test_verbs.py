"""The verbs, from a raw log to verdicts, with tiny models."""

import json
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from tests.tiny import make_log


@pytest.fixture
def raw(tmp_path):
    """A raw log of 80 sessions and its labels."""
    lines, labels = make_log(sessions=80, seed=1)
    (tmp_path / "app.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "labels.csv").write_text(
        "session,label\n" + "".join(f"{key},{label}\n" for key, label in labels)
    )
    return tmp_path


@pytest.fixture
def tiny_sets(tiny_models) -> list[str]:
    return [
        "--set",
        f"model.encoder.weights={tiny_models.encoder.weights}",
        "--set",
        f"model.decoder.weights={tiny_models.decoder.weights}",
    ]


def test_four_commands_from_a_raw_log_to_verdicts(logllm, raw, tiny_sets) -> None:
    options = [
        "--format",
        "json",
        "--key-field",
        "job",
        "--time",
        "time",
        "--time-format",
        "epoch",
        "--split",
        "random",
    ]
    done = logllm(
        "prepare",
        *options,
        "--raw",
        raw / "app.jsonl",
        "--labels",
        raw / "labels.csv",
        "--out",
        raw / "data",
        "--json",
    )
    assert done.code == 0, done.err
    manifest = json.loads(done.out)
    assert (manifest["sessions"], manifest["anomalous"], manifest["rejected"]) == (80, 20, 0)

    assert (
        logllm("train", "tiny", *tiny_sets, "--data", raw / "data", "--out", raw / "run").code == 0
    )
    evaluated = logllm("evaluate", raw / "run", "--data", raw / "data", "--json")
    assert evaluated.code == 0, evaluated.err
    report = json.loads(evaluated.out)
    assert {
        "precision",
        "recall",
        "f1",
        "average_precision",
        "threshold",
        "tp",
        "fp",
        "tn",
        "fn",
        "intervals",
        "unseen",
    } <= report.keys()
    assert (
        report["tp"] + report["fp"] + report["tn"] + report["fn"]
        == report["sessions"]
        == manifest["parts"]["test"]["sessions"]
    )

    detected = logllm("detect", raw / "run", raw / "app.jsonl")
    assert detected.code == 0, detected.err
    verdicts = [json.loads(line) for line in detected.out.splitlines()]
    assert len(verdicts) == 80
    assert list(verdicts[0]) == [
        "session",
        "score",
        "anomalous",
        "lines",
        "start",
        "end",
        "model",
        "schema",
    ]
    assert verdicts[0]["start"] == "2023-11-14T22:13:20.000000Z"
    assert sorted(line for verdict in verdicts for line in verdict["lines"]) == list(
        range(1, manifest["lines"] + 1)
    )


@pytest.mark.real
def test_what_a_training_will_take_is_told_before_it_begins(
    logllm, tiny_data, tiny_sets, tmp_path
) -> None:
    arguments = ["--data", tiny_data, "--out", tmp_path / "run", "--check", "--json"]
    checked = logllm("train", "tiny", *tiny_sets, *arguments)
    assert checked.code == 0, checked.err
    plan = json.loads(checked.out)
    assert [stage["sessions"] for stage in plan["stages"]] == [16, 16, 16, 16]
    assert "memory at a stage's worst step" in checked.err  # beside JSON
    assert plan["stages"][1]["parameters"] == 32 * 64 + 64  # the projector alone
    assert not (tmp_path / "run").exists()


def test_detect_gives_evaluates_verdicts(logllm, tiny_run, tiny_data) -> None:
    """The same sessions by both ways: equal scores, and so equal verdicts."""
    from logllm.datasets.prepared import Prepared
    from logllm.detect.detector import Detector
    from logllm.sessions.message_table import rows_of

    prepared = Prepared.load(tiny_data)
    test = prepared.part("test")
    scores = dict(
        zip(
            test["session"],
            Detector.load(tiny_run).score(rows_of(test["messages"]), prepared.messages),
            strict=True,
        )
    )
    detected = logllm("detect", tiny_run, tiny_data.parent / "app.jsonl")
    found = {
        verdict["session"]: verdict["score"]
        for verdict in map(json.loads, detected.out.splitlines())
    }
    assert len(scores) > 10
    assert {session: found[session] for session in scores} == pytest.approx(scores, abs=1e-6)


def test_a_second_detect_takes_every_score_from_the_cache(
    logllm, tiny_run, tiny_data, tiny_models, tmp_path
) -> None:
    """The run is elsewhere, and its base models are gone: there is nothing to load them for."""
    log, elsewhere = (
        tiny_data.parent / "app.jsonl",
        shutil.copytree(tiny_run, tmp_path / "elsewhere"),
    )
    first = logllm("detect", tiny_run, log)
    assert first.code == 0, first.err
    assert "from cache" not in first.err
    recipe = (elsewhere / "recipe.toml").read_text()
    (elsewhere / "recipe.toml").write_text(
        recipe.replace(tiny_models.decoder.weights, str(tmp_path / "gone"))
    )
    assert logllm("detect", elsewhere, log, "--no-cache").code == 2
    second = logllm("detect", elsewhere, log)
    assert second.code == 0, second.err
    assert second.out == first.out
    assert re.search(r"\b[1-9]\d* scores from cache", second.err)


@pytest.mark.real
def test_no_cache_neither_reads_nor_keeps_scores(logllm, tiny_run, tiny_data, tmp_path) -> None:
    log, scores = tiny_data.parent / "app.jsonl", tmp_path / "cached" / "scores"
    first = logllm("detect", tiny_run, log, "--no-cache")
    assert not scores.exists()
    # What the cache will hold is what it would not have held.
    assert logllm("detect", tiny_run, log).out == first.out
    (file,) = scores.glob("*.sqlite")
    with closing(sqlite3.connect(file)) as cached, cached:
        cached.execute("UPDATE scores SET score = 1 - score")
    other, kept = logllm("detect", tiny_run, log), file.read_bytes()
    assert other.out != first.out
    assert logllm("detect", tiny_run, log, "--no-cache").out == first.out
    assert file.read_bytes() == kept


@pytest.mark.parametrize(("threshold", "code"), [(0.0, 1), (1.1, 0)])
def test_fail_on_anomaly(logllm, tiny_run, tiny_data, tmp_path, threshold, code) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["threshold"]["value"] = threshold  # everything, or nothing, is anomalous
    (run / "manifest.json").write_text(json.dumps(manifest))
    log = tiny_data.parent / "app.jsonl"
    detected = logllm("detect", run, log, "--fail-on-anomaly")
    assert detected.code == code
    assert {json.loads(line)["anomalous"] for line in detected.out.splitlines()} == {bool(code)}
    assert logllm("detect", run, log).code == 0


def test_several_inputs_are_one_log(logllm, tiny_run, tiny_data, tmp_path) -> None:
    lines = (tiny_data.parent / "app.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_text("".join(lines[:101]))
    (tmp_path / "b.jsonl").write_text("".join(lines[101:]))
    whole = logllm("detect", tiny_run, tiny_data.parent / "app.jsonl").out.splitlines()
    parts = [
        json.loads(line)
        for line in logllm(
            "detect", tiny_run, tmp_path / "a.jsonl", tmp_path / "b.jsonl"
        ).out.splitlines()
    ]
    assert [part["session"] for part in parts] == [json.loads(line)["session"] for line in whole]
    across = next(part for part in parts if len(set(part["files"])) == 2)
    assert len(across["files"]) == len(across["lines"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["train", "smal", "--data", "x", "--out", "y"],
            "no recipe or method 'smal': the nearest is 'small'",
        ),
        (
            ["train", "small", "--set", "train.sed=1", "--data", "x", "--out", "y"],
            "unknown key 'train.sed'; the nearest known one is 'seed'",
        ),
        (
            ["train", "small", "--set", "nonsense", "--data", "x", "--out", "y"],
            "write key.path=value",
        ),
        (
            ["train", "small", "--data", "nowhere", "--out", "y"],
            "nowhere is not prepared data.*logllm prepare",
        ),
        (["evaluate", "nowhere", "--data", "x"], "there is no folder nowhere: name"),
        (["evaluate", "x", "--data", "x"], "x is no run.*name the folder"),
        (["detect", "nowhere", "x"], "there is no file or folder nowhere: .* a run .*logllm train"),
        (["detect", "empty", "x"], "empty is no run: it has no manifest.json"),
        (["prepare", "--out", "y"], "name your log with --raw FILE"),
        (["prepare", "hdsf", "--raw", "x", "--out", "y"], "no format 'hdsf'.*nearest: hdfs"),
        (["prepare", "hdsf", "--out", "y"], "no format 'hdsf'.*nearest: hdfs"),
        (["prepare", "missing.log", "--out", "y"], "did you mean --raw missing.log?"),
        (["prepare", "*.log", "--out", "y"], r"did you mean --raw '\*.log'\?"),
        (["prepare", "--raw", "empty", "--out", "y"], "empty is a folder without a log"),
        (["prepare", "logcat", "--raw", "x", "--out", "y"], "nearest: android"),
        (
            ["prepare", "spirit", "--out", "y"],
            "name the log with --raw; without it hdfs, bgl, thunderbird, liberty are downloaded",
        ),
        (["prepare", "bgl", "--raw", "nothere.log", "--out", "y"], "there is no file nothere.log"),
        (
            ["prepare", "bgl", "--raw", "x", "--out", "y", "--window", "ten"],
            "--window ten: write a number of records",
        ),
        (
            ["prepare", "bgl", "--raw", "x", "--out", "y", "--window", "10", "--step", "5m"],
            "not of one kind",
        ),
        (
            ["prepare", "bgl", "--raw", "x", "--out", "y", "--mask-rule", "a=("],
            "mask rule a.*no regular expression",
        ),
        (
            ["prepare", "bgl", "--raw", "x", "--out", "y", "--split", "random", "--seed", "-1"],
            r"seed: must be at least 0 \(found -1\)",
        ),
        (
            ["train", "small", "--set", "train.seed=-1", "--data", "x", "--out", "y"],
            r"train.seed: must be at least 0 \(found -1\)",
        ),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_2(
    logllm, tmp_path, monkeypatch, arguments, said
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_text("- 1 2 3\n")
    (tmp_path / "empty").mkdir()
    outcome = logllm(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert re.search(said, outcome.err), outcome.err
    assert not (tmp_path / "y").exists()


def test_prepare_finds_the_format_and_says_so(logllm, tmp_path) -> None:
    rows = "".join(
        f'{{"ts": {1_700_000_000 + place}, "msg": "step {place % 3} done", "bad": '
        f"{place % 5 == 0}}}\n"
        for place in range(200)
    )
    rows = rows.replace("True", "true").replace("False", "false")
    (tmp_path / "app.log").write_text(rows)
    done = logllm("prepare", "--raw", tmp_path / "app.log", "--out", tmp_path / "data")
    assert done.code == 0, done.err
    assert (
        "format: json (JSON lines: message in msg, time in ts); 100.0 % of the first 200 lines fit"
        in done.err
    )
    assert "windows of 10 lines" in done.err
    assert "no session has a label" in done.err
    assert (
        f"next: logllm train novelty --data {tmp_path / 'data'} --out RUN, which needs no "
        f"labels" in done.err
    )
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert (
        manifest["settings"]["format"]["message"],
        manifest["sessions"],
        manifest["rejected"],
    ) == ("msg", 20, 0)
    trained = logllm("train", "tiny", "--data", tmp_path / "data", "--out", tmp_path / "run")
    assert trained.code == 2
    assert "was prepared without labels: prepare it again with --labels" in trained.err

    own = ["--format", "auto", "--label", "bad", "--normal", "false", "--window", "20", "--json"]
    done = logllm("prepare", "--raw", "-", "--out", tmp_path / "piped", *own, stdin=rows.encode())
    assert done.code == 0, done.err
    manifest = json.loads(done.out)
    assert (
        manifest["lines"],
        manifest["sessions"],
        manifest["anomalous"],
        manifest["unlabelled"],
    ) == (200, 10, 10, 0)
    assert "windows of" not in done.err


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (range(180, 190), "the train part has no anomalous one: prepare again with --split random"),
        (range(160), "the train part has no normal one: prepare again with --split random"),
        (range(0, 200, 20), "logllm train words --data"),
    ],
    ids=["anomalous at the end", "normal at the end", "both everywhere"],
)
def test_prepare_names_a_next_step_that_works(logllm, tmp_path, bad, said) -> None:
    rows = [
        json.dumps({"ts": 1_700_000_000 + place, "msg": f"step {place % 3}", "bad": place in bad})
        for place in range(200)
    ]
    (tmp_path / "app.log").write_text("\n".join(rows))
    options = [
        "--format",
        "auto",
        "--label",
        "bad",
        "--normal",
        "false",
        "--window",
        "10",
        "--validation",
        "0",
    ]
    done = logllm("prepare", "--raw", tmp_path / "app.log", "--out", tmp_path / "data", *options)
    assert done.code == 0, done.err
    (advice,) = [line for line in done.err.splitlines() if line.startswith("next: ")]
    assert said in advice
    if "holds no" in advice:  # and indeed training refuses them
        trained = logllm("train", "tiny", "--data", tmp_path / "data", "--out", tmp_path / "run")
        assert trained.code == 2
        assert "learns from both" in trained.err


@pytest.mark.parametrize("what", [["recipe"], ["formats"], ["datasets"], ["mask"], ["weights"]])
def test_show_lists(logllm, what) -> None:
    shown = logllm("show", *what)
    assert shown.code == 0
    assert shown.out.count("\n") > 4  # what was asked for, for `grep` and files
    assert shown.err.count("\n") <= 1


def test_formats_are_listed_one_a_line_and_in_full_as_json(logllm) -> None:
    lines = logllm("show", "formats").out.splitlines()
    rows = json.loads(logllm("show", "formats", "--json").out)
    assert [line.split()[0] for line in lines] == [row["name"] for row in rows]
    (hdfs,) = [row for row in rows if row["name"] == "hdfs"]
    assert (hdfs["kind"], "time" in hdfs["fields"]) == ("pattern", True)
    assert any(line.startswith("hdfs ") and line.endswith(hdfs["for"]) for line in lines)


def test_show_prints_what_can_be_read_back(logllm, tmp_path, tiny_run) -> None:
    import tomllib

    from logllm.config.recipe import Recipe
    from logllm.formats.description import load_format

    recipe = logllm("show", "recipe", "hdfs").out
    (tmp_path / "own.toml").write_text(recipe)
    assert Recipe.load(tmp_path / "own.toml") == Recipe.load("hdfs")
    (tmp_path / "format.toml").write_text(logllm("show", "formats", "bgl").out)
    assert load_format(tmp_path / "format.toml") == load_format("bgl")
    assert json.loads(logllm("show", "run", tiny_run).out)["state"] == "done"
    assert tomllib.loads(recipe)["train"]["stages"][0]["max_sessions"] == 1000
    assert logllm("show", "mask", "took 12ms on Monday").out == "took <*> on <*>\n"


def test_help_is_quick() -> None:
    """A real process; its processor time, since the machine may be busy."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "logllm", "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.real
def test_detect_reads_standard_input_in_a_real_process(tiny_run, tiny_data) -> None:
    log = (tiny_data.parent / "app.jsonl").read_bytes()
    command = [sys.executable, "-m", "logllm", "detect", "--no-cache", str(tiny_run), "-"]
    done = subprocess.run(command, input=log, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stdout.splitlines()) == 120
    # Ours alone: other libraries keep their progress and their warnings to themselves.
    said = done.stderr.decode().splitlines()
    assert len(said) == 2, said
    assert said[0] == f"{len(log.splitlines()):,} lines read"
    assert said[1].startswith("120 sessions, ")


@pytest.mark.real
def test_a_test_log_of_another_format_is_said(logllm, tmp_path) -> None:
    one, other = tmp_path / "one.log", tmp_path / "other.jsonl"
    one.write_text(
        "".join(
            f"2024-01-02 03:{place // 60:02d}:{place % 60:02d} INFO up {place}\n"
            for place in range(120)
        )
    )
    other.write_text(
        "".join(f'{{"ts": {1_704_164_645 + place}, "msg": "up"}}\n' for place in range(120))
    )
    done = logllm("prepare", "--raw", one, "--test-raw", other, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "--test-raw has another format than --raw: json, with its message in msg" in done.err
    (tmp_path / "labels.csv").write_text(
        "session,label\n"
        + "".join(f"10@{first},{'ok' if first > 1 else 'bad'}\n" for first in range(1, 121))
    )
    labels = [
        "--labels",
        tmp_path / "labels.csv",
        "--test-labels",
        tmp_path / "labels.csv",
        "--normal",
        "ok",
        "--window",
        "10",
    ]
    done = logllm(
        "prepare",
        "--raw",
        one,
        "--test-raw",
        other,
        "--out",
        tmp_path / "labelled",
        *labels,
        "--json",
    )
    assert done.code == 0, done.err
    assert [part["anomalous"] for part in json.loads(done.out)["parts"].values()] == [1, 0, 1]


@pytest.fixture
def piped():
    """The name of a pipe that some bytes come out of once, as a shell gives for `<(...)`."""
    ends, threads = [], []

    def fill(end: int, content: bytes) -> None:
        with os.fdopen(end, "wb") as file:
            file.write(content)

    def name(content: bytes) -> str:
        reading, writing = os.pipe()
        threads.append(threading.Thread(target=fill, args=(writing, content)))
        threads[-1].start()
        ends.append(reading)
        return f"/dev/fd/{reading}"

    yield name
    for thread, end in zip(threads, ends, strict=True):
        thread.join(5)
        os.close(end)


def test_a_pipe_with_a_name_is_read_whole_or_not_at_all(logllm, tmp_path, piped) -> None:
    log = "".join(
        f'{{"ts": {1_700_000_000 + place}, "msg": "step {place % 3} done"}}\n'
        for place in range(6_000)
    ).encode()  # > a pipe holds
    described = ["--format", "json", "--message", "msg", "--time", "ts", "--time-format", "epoch"]
    done = logllm(
        "prepare",
        "--raw",
        piped(log),
        "--test-raw",
        piped(log),
        *described,
        "--out",
        tmp_path / "out",
        "--json",
    )
    assert done.code == 0, done.err
    manifest = json.loads(done.out)
    assert (manifest["lines"], manifest["rejected"], manifest["raw"][0]["bytes"]) == (
        12_000,
        0,
        None,
    )
    for arguments in (
        ["prepare", "--raw", piped(b""), "--out", tmp_path / "none"],
        ["detect", piped(b"")],
    ):
        done = logllm(*arguments)
        assert (done.code, done.out) == (2, "")
        assert re.search(
            r"/dev/fd/\d+ can be read only once: write it to a file first, or name its --format",
            done.err,
        )


def test_the_end_does_not_look_through_all_that_is_loaded() -> None:
    """What is registered first comes last."""
    looking = (
        "import atexit, gc; atexit.register(lambda: print('frozen', gc.get_freeze_count() > 0))"
    )
    ending = (
        f"{looking}; import sys; sys.argv = ['logllm', '--version']; from logllm.cli.app import "
        f"main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", ending], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "frozen True"
