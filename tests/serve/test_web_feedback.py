"""Answers, alerts and runs over HTTP: what the packages do is theirs; here it is reached, and
refused."""

import asyncio
import json

import pytest

from logllm.serve.alerts.alert_rows import STATES
from logllm.serve.store.service_schema import deliveries, outbox, sinks
from tests.serve.shown_store import Shown, anomalous
from tests.serve.store_contract import verdict
from tests.serve.test_web_feed import until

MESSAGES = '["job <*> begins", "ERROR job <*> failed"]'


@pytest.fixture
def shown(tmp_path):
    shown = Shown(tmp_path / "app.db")
    yield shown
    shown.close()


def say(shown: Shown, status: int = 201, **body):
    answer = shown.ask("/v1/feedback", method="POST", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_an_answer_is_given_listed_and_taken_back(shown):
    shown.write(anomalous("b", 3, 4, messages=MESSAGES))
    name = shown.ask("/v1/verdicts").json()["verdicts"][0]["id"]
    given = say(shown, id=name, answer="normal", note="a test run", by="ann")
    assert given["muted_until"] > "2026"
    assert shown.ask(f"/v1/sessions/{name}").json()["feedback"] == {
        "id": given["id"],
        "answer": "normal",
    }
    assert [row["by"] for row in shown.ask("/v1/feedback").json()["feedback"]] == ["ann"]
    assert len(shown.ask("/v1/mutes").json()["mutes"]) == 1
    assert shown.ask(f"/v1/feedback/{given['id']}", method="DELETE").status_code == 204
    assert shown.ask(f"/v1/feedback/{given['id']}", method="DELETE").status_code == 404
    assert shown.ask("/v1/mutes").json()["mutes"] == []
    told = say(shown, id=name, answer="anomalous", lines=[4])
    assert told["lines"] == [4]
    assert shown.ask("/v1/verdicts").json()["verdicts"][0]["feedback"]["lines"] == [4]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"id": "nothing", "answer": "normal"}, 404, "no such session"),
        ({"answer": "normal"}, 422, "takes `id`"),
        ({"id": "x", "stream": "app", "answer": "normal"}, 422, "takes `id`"),
        ({"id": "x", "answer": "maybe"}, 422, "answer"),
        (
            {"stream": "app", "session": "b", "lines_text": ["x"], "answer": "anomalous"},
            409,
            "logllm serve RUN",
        ),
    ],
    ids=["absent", "nobody", "both", "answer", "no-run"],
)
def test_answers_that_cannot_be_taken(shown, body, status, said):
    assert said in say(shown, status, **body)["error"]["message"]


def test_a_line_that_is_not_there_is_not_guilty(shown):
    shown.write(anomalous("b", 3, 4, messages=MESSAGES), verdict("normal", 5))
    normal, found = shown.ask("/v1/verdicts").json()["verdicts"]
    assert (
        "no line 7"
        in say(shown, 422, id=found["id"], answer="anomalous", lines=[7])["error"]["message"]
    )
    assert "not kept" in say(shown, 422, id=normal["id"], answer="anomalous")["error"]["message"]


def test_answers_come_on_the_stream(shown):
    async def follow() -> None:
        events = shown.feed.follow(0)
        shown.write(anomalous("b", 3, 4, messages=MESSAGES))
        await until(events, "b")
        name = (await asyncio.to_thread(shown.ask, "/v1/verdicts")).json()["verdicts"][0]["id"]
        await asyncio.to_thread(say, shown, id=name, answer="normal")
        _, told = await until(events, "feedback")
        assert json.loads(told[-1].data)["feedback"][0]["session"] == "b"
        await events.aclose()

    asyncio.run(follow())


def test_dead_letters_are_sent_again(shown):
    times = {"due": "2026-11-27T12:00:00.000000Z", "updated": "2026-11-27T12:00:00.000000Z"}
    with shown.store.transaction() as connection:
        filled = {column.name: 0 for column in sinks.columns if not column.nullable}
        connection.execute(
            sinks.insert().values(
                **(filled | {"name": "slack", "kind": "slack", "due": times["due"]})
            )
        )
        connection.execute(
            outbox.insert().values(
                id=7, incident=1, event="opened", made=times["due"], body='{"title": "t"}'
            )
        )
        connection.execute(
            deliveries.insert().values(message=7, sink="slack", state="dead", tries=9, **times)
        )
    told = shown.ask("/v1/alerts").json()
    assert told["dead_letters"][0]["message"] == 7
    assert set(STATES) <= told["sinks"][0].keys()
    assert shown.ask("/v1/alerts/7/slack/retry", method="POST").json() == {"revived": 1}
    assert shown.ask("/v1/alerts/7/slack/retry", method="POST").status_code == 404


def test_without_a_run_there_is_none_to_show(shown):
    assert shown.ask("/v1/runs").status_code == 409
    assert shown.ask("/v1/runs/rollback", method="POST", json={}).status_code == 409
    assert shown.ask("/v1/about").json()["run"] is None
