"""What comes with logllm: a data set and a run, found by name and used without either being
named."""

import json
import lzma
import re

import pytest
from tests.installation import Installation

from logllm.datasets.prepared import Prepared
from logllm.datasets.published.packaged import PACKAGED, PackagedSet
from logllm.runs.manifest import shipped_run

STEPS = [
    "connection received",
    "connection authorized: user=app",
    "duration: 1.5 ms",
    "disconnection: session time: 0:00:00.5",
]


def server_log(sessions, *, first=100, prefix="{time} [{pid}] "):
    """A log of a server in which every fifth session meets a full disk, and the numbers of the
    lines that say so."""
    lines, faults = [], []
    for number in range(sessions):
        words = (
            [*STEPS[:3], "could not extend file: No space left on device", STEPS[3]]
            if number % 5 == 0
            else STEPS
        )
        for step, text in enumerate(words):
            time = f"2026-11-22 10:{number // 60:02d}:{number % 60:02d}.{step:03d} UTC"
            lines.append(
                prefix.format(time=time, pid=first + number)
                + f"{'ERROR' if 'space' in text else 'LOG'}:  {text}"
            )
            if "space" in text:
                faults.append(len(lines))
    return "\n".join(lines) + "\n", faults


@pytest.fixture
def packaged(tmp_path, monkeypatch) -> PackagedSet:
    """A data set like the one that comes with logllm, with small logs of this test, under its
    name."""
    place = tmp_path / "package" / "postgres"
    place.mkdir(parents=True)

    class Small(PackagedSet):
        folder = place

    ours = Small(**vars(PACKAGED["postgres"]))
    monkeypatch.setitem(PACKAGED, "postgres", ours)
    for name, sessions in (("train", 60), ("test", 25), ("changed", 15)):
        text, faults = server_log(sessions)
        (ours.folder / f"{name}.log.xz").write_bytes(lzma.compress(text.encode()))
        (ours.folder / f"{name}.labels.csv").write_text(
            "line,label\n" + "".join(f"{line},disk_full\n" for line in faults)
        )
    return ours


@pytest.fixture
def postgres(tmp_path):
    path = tmp_path / "postgresql.log"
    path.write_text(server_log(40)[0])
    return path


def test_prepare_takes_the_set_by_name(logllm, packaged, tmp_path) -> None:
    outcome = logllm("prepare", "postgres", "--out", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    manifest = json.loads(outcome.out)
    assert [(part["sessions"], part["anomalous"]) for part in manifest["parts"].values()] == [
        (54, 11),
        (6, 1),
        (25, 5),
    ]
    assert (manifest["raw"][0]["name"], manifest["test_raw"][0]["name"]) == (
        "train.log.xz",
        "test.log.xz",
    )
    # Its masks are those of a log of one's own, for which the run that learns from it is meant.
    mask = manifest["settings"]["mask"]
    assert (mask["keep"], mask["traces"], mask["ends"]) == ("codes", "short", "early")
    assert [rule["name"] for rule in mask["own"]] == ["zoned-time"]
    assert manifest["source"] == {"name": "postgres", "terms": "CC-BY-4.0", "cite": packaged.cite}
    assert "CC-BY-4.0" in outcome.err
    assert Prepared.load(tmp_path / "out").part("test")["session"][0] == "test:100"


def test_evaluate_judges_the_test_log(logllm, packaged, tiny_run, tmp_path) -> None:
    assert (
        logllm("prepare", "postgres", "--test-raw", "changed", "--out", tmp_path / "out").code == 0
    )
    evaluated = logllm("evaluate", tiny_run, "--data", tmp_path / "out", "--json")
    assert evaluated.code == 0, evaluated.err
    report = json.loads(evaluated.out)
    assert (report["log"], report["sessions"], report["tp"] + report["fn"]) == (
        "changed.log.xz",
        15,
        3,
    )
    # The same messages, whatever the sessions are called.
    assert report["sessions_seen_in_train"] == 15
    assert report["unseen"] is None
    validated = logllm(
        "evaluate", tiny_run, "--data", tmp_path / "out", "--split", "validation", "--json"
    )
    assert json.loads(validated.out)["log"] == ""


def test_another_of_its_logs_by_name(logllm, packaged, tmp_path) -> None:
    outcome = logllm(
        "prepare", "postgres", "--test-raw", "changed", "--out", tmp_path / "out", "--json"
    )
    assert outcome.code == 0, outcome.err
    test = json.loads(outcome.out)["parts"]["test"]
    assert (test["sessions"], test["anomalous"]) == (15, 3)
    gone = logllm("prepare", "postgres", "--test-raw", "german", "--out", tmp_path / "german")
    assert gone.code == 2
    assert "lacks german.log.xz of the data set postgres" in gone.err


def test_one_s_own_log_as_the_test_part(logllm, packaged, postgres, tmp_path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("line,label\n4,disk\n")
    arguments = [
        "prepare",
        "postgres",
        "--test-raw",
        postgres,
        "--test-labels",
        labels,
        "--out",
        tmp_path / "out",
        "--json",
    ]
    outcome = logllm(*arguments)
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["parts"]["test"] == {
        "sessions": 40,
        "anomalous": 1,
        "distinct_sessions": 2,
    }
    alone = logllm(
        "prepare",
        "postgres",
        "--raw",
        postgres,
        "--labels",
        labels,
        "--test-labels",
        labels,
        "--out",
        tmp_path / "x",
    )
    assert alone.code == 2
    assert "--test-labels belong to --test-raw" in alone.err


def test_show_names_it(logllm) -> None:
    shown = logllm("show", "datasets").out
    assert re.search(r"postgres\W+comes with logllm\W+logs: train, test, changed, german", shown)
    assert "postgres: a PostgreSQL server" in shown
    assert "terms: CC-BY-4.0" in shown


@pytest.mark.real
def test_detect_without_a_run(logllm, tiny_run, postgres, tmp_path) -> None:
    """The tiny run is in the place of the one that comes with logllm, in an installation of its
    own; a file or standard input is the same."""
    installation = Installation(tmp_path / "installed", run=tiny_run)
    wanted = logllm("detect", tiny_run, postgres, "--format", "auto")
    assert wanted.code == 0, wanted.err
    for done in (
        installation.logllm("detect", postgres),
        installation.logllm("detect", "-", stdin=postgres.read_bytes()),
    ):
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout.decode() == wanted.out
        assert "format: postgresql" in done.stderr.decode()
    verdicts = [json.loads(line) for line in wanted.out.splitlines()]
    assert [verdict["session"] for verdict in verdicts] == [
        str(100 + number) for number in range(40)
    ]
    assert list(verdicts[0]) == [
        "session",
        "score",
        "anomalous",
        "lines",
        "start",
        "end",
        "model",
        "cut",
        "schema",
    ]
    assert verdicts[0]["start"] == "2026-11-22T10:00:00.000000Z"


def test_detect_refuses_another_kind_in_one_line(logllm, tiny_data) -> None:
    outcome = logllm("detect", "postgres", tiny_data.parent / "app.jsonl")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "only PostgreSQL logs" in outcome.err


def test_a_summary_says_what_was_wrong_when_and_where(logllm, packaged, postgres, tmp_path) -> None:
    """By a method that is certain here: each session that meets a full disk has a message of its
    own."""
    run = tmp_path / "run"
    assert logllm("prepare", "postgres", "--out", tmp_path / "data").code == 0
    trained = logllm("train", "tree-counts", "--data", tmp_path / "data", "--out", run)
    assert trained.code == 0, trained.err
    told = logllm("detect", run, postgres, "--summary")
    assert told.code == 0, told.err
    shown = told.err[told.err.index("1 incident:") :].splitlines()
    assert shown[2:] == [
        "2026-11-22 10:00:00 to 10:00:35 UTC: 8 sessions, score 1.0000",
        (
            "      8 x  postgresql.log:4: 2026-11-22 10:00:00.003 UTC [100] ERROR:  could not"
            " extend file: No space left on device"
        ),
        "  such as 100 (1.0000), 105 (1.0000), 110 (1.0000)",
    ]
    # Which cannot be read again.
    piped = logllm("detect", run, "-", "--summary", stdin=postgres.read_bytes())
    assert (
        "      8 x  -:4: ERROR:  could not extend file: No space left on device"
        in piped.err.splitlines()
    )
    alone = logllm("detect", run, postgres)
    assert alone.out == told.out
    assert "incident" not in alone.err


def test_show_run_is_the_shipped_one_s(logllm) -> None:
    assert json.loads(logllm("show", "run").out) == json.loads(
        (shipped_run() / "manifest.json").read_text()
    )
