"""`logllm alerts` and what `logllm watch` tells of incidents."""

import json

import pytest
from tests.cli.test_watch import run, written  # noqa: F401 - a fixture
from tests.serve.receiver import receiving

from logllm.serve.store.verdict_store import Store


@pytest.fixture
def place():
    with receiving() as server:
        yield server


@pytest.fixture
def settings(tmp_path, place, monkeypatch):
    """A file that names one place."""
    monkeypatch.setenv("HOOK", place.url)
    path = tmp_path / "alerts.toml"
    path.write_text(
        'public_url = "https://logs.example"\n[[alerts]]\nurl = "$HOOK"\nname = "ops"\nkind ='
        ' "slack"\n'
    )
    return path


def test_a_test_message_says_what_was_answered(logllm, settings, place) -> None:
    outcome = logllm("alerts", "test", "--alerts", settings)
    assert (outcome.code, outcome.out.strip()) == (0, "ops: taken: HTTP 200 ok")
    assert "test message from logllm" in place.got[0]["text"]
    assert "<https://logs.example|open the incident>" in place.got[0]["text"]


def test_a_test_message_that_is_not_taken_is_an_error(logllm, settings, place) -> None:
    place.status, place.answer = 404, b"no_service"
    outcome = logllm("alerts", "test", "--alerts", settings)
    assert outcome.code == 2
    assert "ops: not taken: HTTP 404 no_service" in outcome.out
    assert "ops accepted no message" in outcome.err
    assert place.url not in outcome.err


def test_a_test_without_a_place_is_an_error(logllm) -> None:
    outcome = logllm("alerts", "test")
    assert outcome.code == 2
    assert "nobody is named: add --alerts FILE, or --alert URL" in outcome.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[alerts]\n", "is not TOML"),
        ('[[alerts]]\nurl = "https://x"\nkind = "pager"\n', "alerts.0.kind"),
        ('[[alert]]\nurl = "https://x"\n', "'alerts'"),
        ("[incidents]\nquiet = 0\n", "incidents.quiet: must be at least 1"),
    ],
    ids=["no TOML", "kind", "key", "bound"],
)
def test_a_wrong_file_says_what_is_wrong(logllm, tmp_path, text, words) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    outcome = logllm("alerts", "test", "--alerts", path)
    assert outcome.code == 2
    assert words in outcome.err


def test_a_file_that_is_not_there_is_an_error(logllm, tmp_path) -> None:
    outcome = logllm("alerts", "test", "--alerts", tmp_path / "none.toml")
    assert outcome.code == 2
    assert "cannot be read" in outcome.err


@pytest.mark.real
def test_a_watch_tells_of_its_incidents_and_show_says_so(
    logllm,
    run,  # noqa: F811
    tmp_path,
    settings,
    place,
) -> None:
    store = tmp_path / "app.db"
    options = ("--store", store, "--idle", 3600, "--stream", "jobs", "--alerts", settings)
    outcome = logllm(
        "watch", run, "-", *options, stdin=written(range(200, 300), fault=250).encode()
    )
    assert outcome.code == 0, outcome.err
    assert "incidents are sent to ops" in outcome.err
    (message,) = place.got
    assert message["text"].startswith("*Incident in jobs: 1 anomalous session*")
    assert "failed: connection timed out" in message["text"]
    assert "<https://logs.example/?incident=1|open the incident>" in message["text"]
    shown = logllm("alerts", "show", store)
    assert shown.out.strip() == "ops (slack): 1 sent"
    told = json.loads(logllm("alerts", "show", store, "--json").out)
    assert told["sinks"][0]["sent"] == 1
    assert told["dead_letters"] == []


@pytest.mark.real
def test_a_dead_letter_is_shown_and_sent_again_by_the_next_watch(
    logllm,
    run,  # noqa: F811
    tmp_path,
    settings,
    place,
) -> None:
    store = tmp_path / "app.db"
    options = ("--store", store, "--idle", 3600, "--stream", "jobs", "--alerts", settings)
    place.status, place.answer = 400, b"invalid_payload"
    logllm("watch", run, "-", *options, stdin=written(range(200, 300), fault=250).encode())
    shown = logllm("alerts", "show", store).out
    assert "ops (slack): 0 sent, 1 dead" in shown
    assert "given up: message 1 for ops, opened: " in shown
    assert "HTTP 400 invalid_payload" in shown
    assert logllm("alerts", "retry", store, 7).code == 2
    outcome = logllm("alerts", "retry", store)
    assert (outcome.code, outcome.err.strip()) == (0, "1 message will be sent again")
    place.status = 200
    logllm("watch", run, "-", *options, stdin=b"")
    assert len(place.got) == 1


def test_show_of_a_store_that_tells_nobody_says_how(logllm, tmp_path) -> None:
    Store.open(tmp_path / "app.db").close()
    outcome = logllm("alerts", "show", tmp_path / "app.db")
    assert outcome.err.strip() == "incidents are sent nowhere: `logllm watch --alert URL`"
