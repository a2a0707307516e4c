"""Mistakes of all kinds end with exit code 2 and leave everything as it was."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest

from logllm.datasets.prepared import Prepared
from logllm.errors import DataError
from logllm.methods.registry import recipe_for
from logllm.methods.train import train
from logllm.storage import MANIFEST


@pytest.mark.parametrize(
    ("held", "verb"),
    [
        (
            "run",
            ["prepare", "json", "--raw", "DATA.jsonl", "--message", "message", "--force", "--out"],
        ),
        ("run", ["perturb", "DATA", "--kind", "remove", "--force", "--out"]),
        ("data", ["folds", "DATA", "--parts", "2", "--force", "--out"]),
        ("data", ["train", "unseen", "--data", "DATA", "--force", "--out"]),
        ("data", ["evaluate", "RUN", "--data", "DATA", "--force", "--report"]),
        ("run", ["export", "RUN", "--force", "--out"]),
        ("data", ["train", "tiny", "--data", "DATA", "--force", "--out"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_force_replaces_only_what_the_verb_writes(
    logllm, tiny_run, tiny_data, tmp_path, held, verb
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    manifest = json.dumps({"kind": held, "version": 1})
    (out / MANIFEST).write_text(manifest)
    names = {"RUN": tiny_run, "DATA": tiny_data, "DATA.jsonl": tiny_data.parent / "app.jsonl"}
    outcome = logllm(*(names.get(part, part) for part in verb), out)
    assert outcome.code == 2
    assert (
        "not replaced by" in outcome.err
        or "is no run: its manifest.json is of another kind" in outcome.err
    ), outcome.err
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [(MANIFEST, manifest)]


def in_a_process(*arguments, stdout):
    """The command in a process of its own, whose standard output is somewhere else."""
    command = [sys.executable, "-m", "logllm", *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["detect", "app.log", "--limit", "0"], "'--limit': must be at least 1 (found '0')"),
        (["detect", "app.log", "--top-share", "x"], "'--top-share': takes a number (found 'x')"),
        (["store", "show", "app.db", "--state", "x"], "'--state': 'x' is not one of 'open',"),
        (["show"], "Print a recipe with every setting resolved"),
        (["store"], "Show the latest verdicts"),
        (["alerts"], "Send failed messages again"),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) else "",
)
def test_what_is_wrong_with_an_option_is_said_in_our_words(logllm, arguments, words) -> None:
    """Of verbs below a verb, the list of them stands where none is named."""
    outcome = logllm(*arguments)
    assert outcome.code == 2
    assert words in outcome.out + outcome.err


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="needs Linux's device that is always full"
)
@pytest.mark.parametrize(
    "command",
    [["show", "recipe", "small"], ["show", "run", "RUN"], ["--help"]],
    ids=lambda command: command[0],
)
def test_output_that_finds_no_room(tiny_run, command) -> None:
    with Path("/dev/full").open("w") as full:
        done = in_a_process(*(tiny_run if part == "RUN" else part for part in command), stdout=full)
    assert (done.returncode, done.stderr) == (
        2,
        "logllm: standard output: No space left on device:"
        " free some room there, or write to another place\n",
    )


@pytest.mark.parametrize(
    "command", [["recipe", "small"], ["run", "RUN"]], ids=lambda command: command[0]
)
def test_a_reader_that_has_gone_is_no_error(tiny_run, command) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = in_a_process(
        "show", *(tiny_run if part == "RUN" else part for part in command), stdout=theirs
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")


FAULTY = """
from logllm.methods.unseen import Unseen

class Faulty(Unseen):
    error = None

    def score(self, sessions, messages, *, progress=None):
        if self.error is not None:
            raise self.error
        return super().score(sessions, messages, progress=progress)
"""


@pytest.fixture(scope="module")
def faulty(tiny_data, tmp_path_factory):
    """A method that another package brings, which fails as it is told to, and a run of it."""
    home = tmp_path_factory.mktemp("faulty")
    info = home / "faulty-1.0.dist-info"
    info.mkdir()
    (home / "faulty.py").write_text(FAULTY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[logllm.methods]\nfaulty = faulty:Faulty\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(home)
        train(recipe_for("faulty"), tiny_data, out=home / "run")
        yield import_module("faulty").Faulty, home / "run"


@pytest.mark.parametrize("verbose", [[], ["-v"]])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/there"), "logllm: /there: Permission denied\n"),
        (
            OSError("no such host\nat all"),
            "logllm: something cannot be read or written: no such host\n",
        ),
        (DataError("a, b"), "logllm: a, b\n"),
        (ZeroDivisionError("by zero"), "Traceback (most recent call last):\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_happens_is_not_called_an_anomaly(
    logllm, faulty, tiny_data, verbose, error, said
) -> None:
    method, run = faulty
    method.error = error
    outcome = logllm(*verbose, "detect", run, tiny_data.parent / "app.jsonl")
    assert (outcome.code, outcome.out) == (2, "")
    if verbose or said.startswith("Traceback"):
        assert outcome.err.startswith("Traceback (most recent call last):\n")
        assert str(error) in outcome.err
    else:
        assert outcome.err == said


NOTHING_CAME = "logllm: standard input holds no lines: see what the command before the pipe says\n"


@pytest.mark.parametrize(
    "verb",
    [
        ["show", "mask", "-"],
        ["prepare", "--raw", "-", "--out", "OUT"],
        ["prepare", "plain", "--raw", "-", "--out", "OUT"],
    ],
)
def test_standard_input_that_is_closed(logllm, tmp_path, verb) -> None:
    outcome = logllm(*(tmp_path / "out" if part == "OUT" else part for part in verb))
    assert (outcome.code, outcome.out, outcome.err) == (2, "", NOTHING_CAME)


def test_masking_reads_lines_as_prepare_does(logllm) -> None:
    outcome = logllm("show", "mask", "-", stdin=b"a\xff 12ms\r\n\non Monday")
    assert (outcome.code, outcome.out) == (0, "a\N{REPLACEMENT CHARACTER} <*>\n\non <*>\n")


WRONG_TIMES = {
    "another": (
        ["--time-format", "%d.%m.%Y"],
        "no time of the log is written as %d.%m.%Y: times are such as 2024-07-03 09:00:00;",
    ),
    "no-such-field": (["--time", "when"], "no group 'when'"),
    "of-a-named-format": (
        ["--format", "timed", "--time-format", "epoch"],
        "written as epoch: times are such as 2024-07-03 09:00:00;",
    ),
    "from-a-pipe": (["--raw", "-", "--time-format", "%H:%M"], "--time-format 'iso' reads them"),
    "hours-alone": (
        ["--time-format", "%H"],
        "'%H' is none: Please either specify both hour and minute, or neither",
    ),
    "nothing-to-read": (["--format", "plain", "--time-format", "iso"], "--time-format is not used"),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("options", "told"), WRONG_TIMES.values(), ids=WRONG_TIMES)
def test_a_way_to_write_times_that_reads_none_is_an_error(logllm, tmp_path, options, told) -> None:
    lines = "".join(
        f"2024-07-03 09:00:{second:02d} order {second} stored\n" for second in range(20)
    )
    (tmp_path / "app.log").write_text(lines)
    raw = [] if "--raw" in options else ["--raw", tmp_path / "app.log"]
    outcome = logllm("prepare", *raw, *options, "--out", tmp_path / "data", stdin=lines.encode())
    assert outcome.code == 2
    assert told in outcome.err
    right = logllm(
        "prepare",
        "--raw",
        "-",
        "--time-format",
        "iso",
        "--out",
        tmp_path / "data",
        stdin=lines.encode(),
    )
    assert (right.code, Prepared.load(tmp_path / "data").manifest["lines"]) == (0, 20)


def test_a_time_zone_is_of_every_kind_of_log_and_is_not_asked_for_again(logllm, tmp_path) -> None:
    (tmp_path / "app.log").write_text(
        "".join(f"2024-07-03 09:00:{second} start job {second}\n" for second in range(10, 40))
    )
    web = "".join(
        f'{{"time": "2024-07-03 09:01:{second}", "msg": "start job {second}"}}\n'
        for second in range(10, 40)
    )
    (tmp_path / "web.json").write_text(web)
    outcome = logllm(
        "prepare",
        tmp_path / "app.log",
        tmp_path / "web.json",
        "--time-zone",
        "+02:00",
        "--out",
        tmp_path / "data",
    )
    assert (outcome.code, "no zone" in outcome.err) == (0, False)
    assert Prepared.load(tmp_path / "data").part("train")["start"].dt.hour().unique().to_list() == [
        7
    ]


def test_a_time_zone_is_that_of_times_that_name_none(logllm, tmp_path) -> None:
    log = tmp_path / "app.log"
    log.write_text(
        "".join(f"2024-07-03 09:00:{second} INFO start job {second}\n" for second in range(10, 30))
    )
    assert (
        logllm(
            "prepare", "--raw", log, "--out", tmp_path / "data", "--time-zone", "Europe/Berlin"
        ).code
        == 0
    )
    first = Prepared.load(tmp_path / "data").part("train")["start"][0]
    assert first == datetime(2024, 7, 3, 7, 0, 10, tzinfo=UTC)
    wrong = logllm("prepare", "--raw", log, "--out", tmp_path / "other", "--time-zone", "Mars")
    assert wrong.code == 2
    assert "there is no time zone 'Mars': name one as the tz database does" in wrong.err


@pytest.mark.parametrize(
    ("command", "said", "unsaid"),
    [
        ("detect --json", "verdicts are JSON already, an object a line; leave --json out", "ray"),
        ("show run --json", "what it shows is JSON already; leave --json out", "ray"),
        ("detect --sumary", "--summary", "--ray"),
        ("detect --nothing-like-it", "No such option: --nothing-like-it", "Possible"),
    ],
)
def test_an_option_that_is_none_says_which_was_meant(logllm, command, said, unsaid) -> None:
    outcome = logllm(*command.split(), "app.log")
    words = " ".join(outcome.err.replace("\u2502", " ").split())
    assert outcome.code == 2
    assert said in words
    assert unsaid not in words
