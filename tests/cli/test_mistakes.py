"""Mistakes of all kinds end with exit code 2 and leave everything as it was."""

import json
import os
from contextlib import suppress
from io import BytesIO, StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest

from logllm.errors import DataError
from logllm.storage import MANIFEST


@pytest.mark.parametrize(
    ("held", "verb"),
    [
        ("run", ["prepare", "json", "--raw", "DATA.jsonl", "--message", "message", "--force", "--out"]),
        ("run", ["perturb", "DATA", "--kind", "remove", "--force", "--out"]),
        ("data", ["folds", "DATA", "--parts", "2", "--force", "--out"]),
        ("data", ["train", "unseen", "--data", "DATA", "--force", "--out"]),
        ("data", ["evaluate", "RUN", "--data", "DATA", "--force", "--report"]),
        ("run", ["export", "RUN", "--force", "--out"]),
        ("data", ["train", "tiny", "--data", "DATA", "--force", "--out"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_force_replaces_only_what_the_verb_writes(logllm, tiny_run, tiny_data, tmp_path, held, verb) -> None:
    out = tmp_path / "out"
    out.mkdir()
    manifest = json.dumps({"kind": held, "version": 1})
    (out / MANIFEST).write_text(manifest)
    names = {"RUN": tiny_run, "DATA": tiny_data, "DATA.jsonl": tiny_data.parent / "app.jsonl"}
    outcome = logllm(*(names.get(part, part) for part in verb), out)
    assert outcome.code == 2
    assert "not replaced by" in outcome.err or "is no run: its manifest.json is of another kind" in outcome.err, outcome.err
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [(MANIFEST, manifest)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
@pytest.mark.parametrize("command", [["show", "recipe", "small"], ["show", "run", "RUN"], ["--help"]], ids=lambda command: command[0])
def test_output_that_finds_no_room(logllm, monkeypatch, tiny_run, command) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        outcome = logllm(*(tiny_run if part == "RUN" else part for part in command))
    assert (outcome.code, outcome.err) == (2, "logllm: something cannot be read or written: No space left on device\n")


@pytest.mark.parametrize("command", [["recipe", "small"], ["run", "RUN"]], ids=lambda command: command[0])
def test_a_reader_that_has_gone_is_no_error(logllm, monkeypatch, tiny_run, command) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    gone, said = os.fdopen(theirs, "w"), StringIO()
    monkeypatch.setattr("sys.stdout", gone)
    monkeypatch.setattr("sys.stderr", said)
    assert logllm("show", *(tiny_run if part == "RUN" else part for part in command)).code == 0
    with suppress(BrokenPipeError):
        gone.close()


@pytest.mark.parametrize("verbose", [[], ["-v"]])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/there"), "logllm: /there: Permission denied\n"),
        (OSError("no such host\nat all"), "logllm: something cannot be read or written: no such host\n"),
        (DataError("a, b"), "logllm: a, b\n"),
        (ZeroDivisionError("by zero"), "Traceback (most recent call last):\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_happens_is_not_called_an_anomaly(logllm, monkeypatch, verbose, error, said) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("logllm.config.recipe.Recipe.load", fails)
    outcome = logllm(*verbose, "show", "recipe", "small")
    assert (outcome.code, outcome.out) == (2, "")
    if verbose or said.startswith("Traceback"):
        assert outcome.err.startswith("Traceback (most recent call last):\n")
        assert str(error) in outcome.err
    else:
        assert outcome.err == said


@pytest.mark.parametrize(
    "verb", [["show", "mask", "-"], ["prepare", "--raw", "-", "--out", "OUT"], ["prepare", "plain", "--raw", "-", "--out", "OUT"]]
)
def test_standard_input_that_is_closed(logllm, monkeypatch, tmp_path, verb) -> None:
    monkeypatch.setattr("sys.stdin", None)
    outcome = logllm(*(tmp_path / "out" if part == "OUT" else part for part in verb))
    assert (outcome.code, outcome.out, outcome.err) == (2, "", "logllm: - holds no lines\n")


def test_masking_reads_lines_as_prepare_does(logllm, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=BytesIO(b"a\xff 12ms\r\n\non Monday")))
    outcome = logllm("show", "mask", "-")
    assert (outcome.code, outcome.out) == (0, "a\N{REPLACEMENT CHARACTER} <*>\n\non <*>\n")
