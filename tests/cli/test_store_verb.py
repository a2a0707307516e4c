"""`logllm store`: what a person sees of a store, and how it ends."""

import json
import sqlite3
from datetime import timedelta

import pytest
from tests.serve.store_contract import NOON, Clock, frame, kept, verdict

from logllm.serve.store.verdict_store import Kept, Store

EVIDENCE = json.dumps([{"line": 3, "score": 0.9, "file": "p", "text": "disk \x1b[1m failed"}])
FULL = verdict("a#2", 1, 3, anomalous=True, score=0.9, cut="end", evidence=EVIDENCE, piece=2)
FULL["end"] = NOON + timedelta(minutes=1)
FULL |= {"more": '{"p":0.01,"minds":{"words":0.9},"expected":["closed <*>"]}', "texts": '["x","y"]'}


@pytest.fixture
def where(tmp_path):
    path = tmp_path / "verdicts.db"
    store = Store.open(path, clock=Clock())
    mine = store.claim("app", "p", owner="me")
    rows = [FULL, verdict("b", 2, state="open", start=None, end=None)]
    store.write("app", verdicts=frame(*rows), kept=kept(mine, 4))
    other = store.claim("shop", "p", owner="me")
    there = Kept(store.claim("shop", "q", owner="me").epoch, 0, {}, {})
    one = frame(verdict("c", 7, 8, partition="q", files=["q", "p"]))
    store.write("shop", verdicts=one, kept=kept(other) | {"q": there})
    store.close()
    return path


def sessions(outcome) -> dict[str, dict]:
    assert outcome.code == 0, outcome.err
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    return {row["session"]: row for row in rows}


def test_a_verdict_as_detect_writes_it(logllm, where):
    noon = NOON.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    rows = sessions(logllm("store", "show", where, "--json"))
    assert list(rows["a#2"].items()) == [
        ("stream", "app"),
        ("session", "a#2"),
        ("score", 0.9),
        ("anomalous", True),
        ("lines", [1, 3]),
        ("start", noon),
        ("end", noon.replace("12:00", "12:01")),
        ("model", "runs/app"),
        ("state", "closed"),
        ("cut", "end"),
        ("evidence", json.loads(EVIDENCE)),
        ("minds", {"words": 0.9}),
        ("expected", ["closed <*>"]),
        ("p", 0.01),
        ("partition", "p"),
        ("piece", 2),
        ("texts", ["x", "y"]),
        ("updated", noon),
        ("change", 1),
        ("schema", 1),
    ]
    assert rows["b"]["start"] is None
    assert "evidence" not in rows["b"]
    assert rows["c"]["files"] == ["q", "p"]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["--anomalous"], {"a#2"}),
        (["--state", "open"], {"b"}),
        (["--stream", "shop"], {"c"}),
        (["--since", "2026-11-27T12:00"], {"a#2", "b", "c"}),
        (["--since", "2026-11-27T13:00:01+01:00"], set()),
        (["--since", "2026-11-28"], set()),
        (["--stream", "app", "--limit", "1"], {"b"}),
    ],
    ids=["anomalous", "state", "stream", "since", "zone", "day", "limit"],
)
def test_some_verdicts(logllm, where, filters, names):
    assert sessions(logllm("store", "show", where, "--json", *filters)).keys() == names


def test_verdicts_for_people(logllm, where):
    shown = logllm("store", "show", where, "--stream", "app")
    assert shown.err == "2 verdicts\n"
    assert shown.out.splitlines() == [
        "2026-11-27T12:00:00Z app b: normal, 0.2500, 1 line, open",
        "2026-11-27T12:01:00Z app a#2: anomalous, 0.9000, 2 lines, closed",
        "    p:3: disk \ufffd[1m failed",
        "    did not come: closed <*>",
    ]


def test_a_misspelt_watch_is_no_watch_without_verdicts(logllm, where):
    outcome = logllm("store", "show", where, "--stream", "shpo")
    assert (outcome.code, outcome.out) == (2, "")
    assert "has no verdicts of a watch named 'shpo': it has those of app, shop" in outcome.err


@pytest.mark.parametrize("time", ["yesterday", "99999999999999d", "", "12"])
def test_what_is_no_time(logllm, where, time):
    outcome = logllm("store", "show", where, "--since", time)
    assert outcome.code == 2
    assert "is not a time: write one such as" in outcome.err


@pytest.mark.parametrize("words", ["show", "check", "retain --days 1"])
def test_a_store_is_not_made_by_looking(logllm, tmp_path, words):
    verb, *more = words.split()
    outcome = logllm("store", verb, tmp_path / "typo.db", *more)
    assert outcome.code == 2
    assert "typo.db is not there: name the store" in outcome.err
    assert not (tmp_path / "typo.db").exists()


def test_a_sound_store(logllm, where):
    outcome = logllm("store", "check", where)
    assert (outcome.code, outcome.err) == (0, f"{where}: no faults\n")


def test_a_damaged_store(logllm, where):
    with sqlite3.connect(where) as connection:
        connection.execute("DELETE FROM places WHERE stream = 'app'")
    connection.close()
    outcome = logllm("store", "check", where)
    assert outcome.code == 2
    assert outcome.err.splitlines() == [
        "verdicts of partitions without a place: 2",
        f"logllm: {where} has 1 fault: stop the watch and restore a backup",
    ]


def test_a_copy(logllm, where, tmp_path):
    copy = tmp_path / "copy.db"
    assert logllm("store", "backup", where, copy).code == 0
    assert len(sessions(logllm("store", "show", copy, "--json"))) == 3
    refused = logllm("store", "backup", where, copy)
    assert refused.code == 2
    assert "exists: name another file, or replace it with --force" in refused.err
    assert logllm("store", "backup", where, copy, "--force").code == 0
    assert logllm("store", "check", copy).code == 0


def test_old_verdicts_go(logllm, where):
    old = Store.open(where, clock=lambda: NOON.replace(year=2020))
    mine = old.claim("app", "p", owner="me")
    old.write("app", verdicts=frame(verdict("old", 9)), kept=kept(mine, 10))
    old.close()
    outcome = logllm("store", "retain", where, "--days", 2000)
    assert (outcome.code, outcome.err) == (
        0,
        f"{where}: 1 verdict of more than 2,000 days deleted\n",
    )
    assert sessions(logllm("store", "show", where, "--json")).keys() == {"a#2", "b", "c"}


def test_a_password_is_not_said(logllm):
    outcome = logllm("store", "show", "postgresql://me:hush@127.0.0.1:1/logs")
    assert outcome.code == 2
    assert "postgresql://127.0.0.1:1/logs does not answer" in outcome.err
    assert "hush" not in outcome.err
