"""`logllm serve`: what it asks for before it answers anybody."""

import os
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from tests.cli.test_watch import written
from tests.serve.shown_store import TOKEN

from logllm.serve.store.verdict_store import Store

ANYWHERE = "0.0.0.0"  # noqa: S104 - it is refused
STORE = ("--store", "app.db")


@pytest.mark.parametrize(
    ("arguments", "token", "said"),
    [
        (("--host", ANYWHERE), None, "a token is needed"),
        (("--host", "::"), "", "a token is needed"),
        ((), "short", "found by trying"),
        (("--token-file", "absent"), None, "absent cannot be read"),
        (
            ("--port", "1", "--host", "203.0.113.1"),
            "0123456789abcdef",
            " cannot be opened for listening",
        ),
        (("runs/mistyped",), None, "there is no file or folder runs/mistyped: name"),
    ],
    ids=["everywhere", "everywhere-6", "short", "absent", "address", "no-run"],
)
def test_refusals(logllm, monkeypatch, tmp_path, arguments, token, said) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOGLLM_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("LOGLLM_TOKEN", token)
    Store.open(tmp_path / "app.db").close()
    outcome = logllm("serve", *STORE, *arguments)
    assert outcome.code == 2
    assert said in outcome.err


def test_an_empty_token_file_is_no_permission(logllm, tmp_path) -> None:
    (tmp_path / "token").write_text("\n")
    outcome = logllm("serve", "--store", tmp_path / "app.db", "--token-file", tmp_path / "token")
    assert outcome.code == 2
    assert "a token is needed" in outcome.err


def test_a_store_that_is_not_there_is_not_made(logllm, tmp_path) -> None:
    outcome = logllm("serve", "--store", tmp_path / "typo.db")
    assert outcome.code == 2
    assert "typo.db is not there" in outcome.err
    assert not (tmp_path / "typo.db").exists()


def test_a_port_that_another_has_leaves_no_store(logllm, tiny_run, tiny_data, tmp_path) -> None:
    log = tiny_data.parent / "app.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = logllm("serve", tiny_run, log, "--store", tmp_path / "new.db", "--port", port)
    assert outcome.code == 2
    assert f"127.0.0.1:{port} cannot be opened for listening" in outcome.err
    assert not (tmp_path / "new.db").exists()


@pytest.mark.real
def test_the_command_answers_on_a_free_port_and_ends_when_told_to(logllm, tmp_path) -> None:
    """As people start it: with sources, a token and a page that stays open."""
    log, good, data, run = (tmp_path / name for name in ("app.log", "good.log", "data", "run"))
    good.write_text(written(range(200)))
    log.write_text(written(range(40), fault=20))
    assert logllm("prepare", "--raw", good, "--out", data, "--key", "job=([0-9]+)").code == 0
    assert logllm("train", "novelty", "--data", data, "--out", run).code == 0
    watched = [run, log, "--from", "start", "--idle", "1"]
    service = started([*watched, "--store", tmp_path / "app.db", "--port", "0"], token=TOKEN)
    address = next(line.split()[-1] for line in service.stderr if "is shown at" in line)
    assert urlsplit(address).port not in (0, 8431)
    assert httpx.get(f"{address}v1/verdicts", timeout=30).status_code == 401

    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.stream("GET", f"{address}v1/stream?after=0", headers=bearer, timeout=60) as stream:
        lines = stream.iter_lines()
        assert any('"1020"' in line and '"closed"' in line for line in lines)
        service.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert list(lines) is not None  # it ends
    _, told = service.communicate(timeout=30)
    assert time.monotonic() - began < 15  # on a busy machine; make soak measures it
    assert service.returncode == 0
    assert "1 anomalous" in told


@pytest.mark.real
def test_the_service_ends_with_its_watch(logllm, tmp_path) -> None:
    """What the watch cannot go on with is said, and the exit code tells."""
    Store.open(tmp_path / "app.db").close()
    service = started(
        [tmp_path / "*.log", "--from", "stored", "--store", tmp_path / "app.db", "--port", "0"]
    )
    (tmp_path / "app.log").write_text("2026-11-27 12:00:00 UTC [7] LOG:  ready\n")
    _, told = service.communicate(timeout=120)
    assert service.returncode == 2
    assert "the store knows nothing of" in told


def started(arguments, *, token: str = "") -> subprocess.Popen:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "logllm", "serve", *map(str, arguments)]
    environment = os.environ | {"LOGLLM_TOKEN": token}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
