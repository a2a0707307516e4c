"""Answers of people to verdicts: given, listed, taken back; and what they mute."""

import json
import shutil
from datetime import timedelta

import pytest
from sqlalchemy import select

from logllm.errors import DataError
from logllm.serve.feedback.answers_given import (
    Missed,
    Said,
    VerdictKey,
    answers,
    find_session,
    give,
    take_back,
)
from logllm.serve.store.schema import numbers
from logllm.serve.store.service_schema import mutes
from logllm.serve.store.verdict_store import Kept, Store
from tests.serve.store_contract import NOON, Clock, frame, kept, verdict

MESSAGES = json.dumps(["begins", "lost <*>", "ends"])
ALARM = {"anomalous": True, "score": 0.9, "kind": "lost <*>", "messages": MESSAGES}
RIGHT, FALSE = Said("anomalous", "ann"), Said("normal", "bob", note="a drill")


@pytest.fixture(scope="session")
def judged(tmp_path_factory):
    """A store with an alarm `a`, a session `b` that was judged normal, and `c` in two streams."""
    path = tmp_path_factory.mktemp("judged") / "app.db"
    store = Store.open(path, clock=Clock())
    mine = store.claim("app", "p", owner="me")
    rows = [verdict("a", 3, 5, 9, **ALARM), verdict("b", 4), verdict("c", 7)]
    store.write("app", verdicts=frame(*rows), kept=kept(mine))
    other = store.claim("shop", "q", owner="me")
    there = {"q": Kept(other.epoch, 0, {}, {})}
    store.write("shop", verdicts=frame(verdict("c", 1, partition="q")), kept=there)
    store.close()
    return path


@pytest.fixture
def store(judged, tmp_path):
    path = tmp_path / "app.db"
    shutil.copy(judged, path)
    opened = Store.open(path, clock=Clock())
    yield opened
    opened.close()


def muted(store: Store) -> list[tuple]:
    """What nobody is told of: the kind, until when, and who wanted it."""
    with store.transaction(reading=True) as connection:
        return [
            tuple(row)
            for row in connection.execute(select(mutes.c.kind, mutes.c.until, mutes.c.by))
        ]


def change(store: Store) -> int:
    with store.transaction(reading=True) as connection:
        return connection.execute(select(numbers.c.value)).scalar_one()


def test_an_alarm_that_was_right_with_its_guilty_line(store):
    before = change(store)
    key = find_session(store, "a")
    assert key == VerdictKey("app", "p", "a", 1, 3)
    given = give(store, key, said=Said("anomalous", "ann", lines=(5,), note="disk"), now=NOON)
    assert given == {
        "id": 1,
        "stream": "app",
        "partition": "p",
        "session": "a",
        "piece": 1,
        "answer": "anomalous",
        "lines": [5],
        "kind": "lost <*>",
        "score": 0.9,
        "model": "runs/app",
        "made": "2026-11-27T12:00:00.000000Z",
        "by": "ann",
        "note": "disk",
        "trained": None,
        "change": before + 1,
    }
    assert answers(store) == [given]
    assert muted(store) == []


def test_a_false_alarm_mutes_its_kind_for_a_week(store):
    given = give(store, find_session(store, "a"), said=FALSE, now=NOON)
    assert given["muted_until"] == "2026-12-04T12:00:00.000000Z"
    assert muted(store) == [("lost <*>", given["muted_until"], "bob")]


def test_the_last_answer_counts_and_that_is_said(store):
    key = find_session(store, "a")
    first = give(store, key, said=FALSE, now=NOON)
    second = give(store, key, said=RIGHT, now=NOON + timedelta(hours=1))
    assert second["replaces"] == first["id"]
    assert muted(store) == []
    assert [answer["answer"] for answer in answers(store, session="a")] == ["anomalous", "normal"]


def test_what_is_taken_back_mutes_no_longer(store):
    number = give(store, find_session(store, "a"), said=FALSE, now=NOON)["id"]
    before = change(store)
    assert take_back(store, number)
    assert (answers(store), muted(store), change(store)) == ([], [], before + 1)
    assert not take_back(store, number)
    assert change(store) == before + 1


def test_what_was_judged_normal_mutes_nothing(store):
    said = Said("normal", "ann", messages=("begins",))
    assert "muted_until" not in give(store, find_session(store, "b"), said=said)
    assert muted(store) == []


def test_of_a_missed_session_the_lines_are_wanted(store):
    key = find_session(store, "b")
    with pytest.raises(
        DataError, match="what b says is not kept, since it was judged normal: give its lines, too"
    ):
        give(store, key, said=RIGHT)
    given = give(store, key, said=RIGHT._replace(messages=("lost <*>",), lines=(4,)))
    assert (given["lines"], given["kind"]) == ([4], None)


def test_a_session_that_the_store_never_had(store):
    about = Missed("app", "x" * 500, "app@12345678")
    given = give(store, about, said=RIGHT._replace(messages=("begins", "lost <*>"), lines=(2,)))
    assert (given["model"], given["lines"], given["partition"]) == ("app@12345678", [2], "")
    assert len(given["session"]) < 200
    again = give(store, about, said=FALSE._replace(messages=("begins", "lost <*>")))
    assert again["replaces"] == given["id"]
    assert [one["id"] for one in answers(store, session="x" * 500)] == [again["id"], given["id"]]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (RIGHT._replace(lines=(4,)), "no line 4: its lines are 3, 5, 9"),
        (FALSE._replace(lines=(5,)), "a normal session has no guilty line"),
        (RIGHT._replace(note="x" * 2_001), "the note has 2,001 characters: at most 2,000"),
    ],
    ids=["a line of another session", "a line of a normal one", "a long note"],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_stored(store, said, told):
    before = change(store)
    with pytest.raises(DataError, match=told):
        give(store, find_session(store, "a"), said=said)
    assert (answers(store), change(store)) == ([], before)


def test_a_verdict_that_is_not_there(store):
    with pytest.raises(DataError, match="no verdict on z in app any more"):
        give(store, VerdictKey("app", "p", "z", 1, 1), said=RIGHT)
    with pytest.raises(DataError, match="has no session z"):
        find_session(store, "z")


def test_a_name_in_several_streams_is_asked_about(store):
    with pytest.raises(DataError, match=r"several streams have a session c \(app, shop\)"):
        find_session(store, "c")
    assert find_session(store, "c", stream="shop").partition == "q"


def test_answers_after_a_change(store):
    first = give(store, find_session(store, "a"), said=RIGHT)
    second = give(
        store, find_session(store, "c", stream="shop"), said=Said("normal", "", messages=("x",))
    )
    assert [one["id"] for one in answers(store, after=first["change"])] == [second["id"]]
    assert [one["id"] for one in answers(store, stream="app")] == [first["id"]]
    assert [one["id"] for one in answers(store, limit=1)] == [second["id"]]
