"""Incidents and mutes over HTTP, and incidents on the live stream."""

import asyncio
import json

import pytest

from logllm.config.alerts import IncidentSection
from logllm.serve.incidents.grouping import Incidents
from tests.serve.shown_store import Shown, anomalous
from tests.serve.store_contract import frame, kept
from tests.serve.test_web_feed import until

KIND = "ERROR job <*> failed"


class Grouped(Shown):
    """A service on a store whose writer puts incidents together."""

    def write(self, *rows) -> None:
        self.store.write(
            "app", verdicts=frame(*rows), kept=kept(self._claimed), also=[self.incidents]
        )


@pytest.fixture
def shown(tmp_path):
    shown = Grouped(tmp_path / "app.db")
    shown.incidents = Incidents(IncidentSection())
    yield shown
    shown.close()


def test_incidents_and_their_sessions(shown):
    shown.write(anomalous("a", 1), anomalous("b", 2))
    shown.write(anomalous("c", 3))
    answer = shown.ask("/v1/incidents?state=open").json()
    (incident,) = answer["incidents"]
    assert (incident["sessions"], incident["state"], incident["change"]) == (
        3,
        "open",
        answer["change"],
    )
    whole = shown.ask(f"/v1/incidents/{incident['id']}").json()
    assert [row["session"] for row in whole["verdicts"]] == ["c", "b", "a"]
    assert whole["kind"] == incident["kind"]
    assert shown.names(f"/v1/verdicts?incident={incident['id']}") == ["c", "b", "a"]
    assert shown.ask("/v1/incidents?state=closed").json()["incidents"] == []
    assert shown.ask("/v1/incidents/99").status_code == 404
    assert shown.ask("/v1/incidents/x").status_code == 422


def test_a_kind_is_muted_and_no_longer(shown):
    shown.write(anomalous("a", 1))
    made = shown.ask(
        "/v1/mutes", method="POST", json={"stream": "app", "kind": KIND, "hours": 2, "why": "known"}
    )
    assert made.status_code == 201, made.text
    assert shown.ask("/v1/incidents").json()["incidents"][0]["muted"] is True
    listed = shown.ask("/v1/mutes").json()["mutes"]
    assert [(mute["kind"], mute["why"]) for mute in listed] == [(KIND, "known")]
    assert shown.ask(f"/v1/mutes/{listed[0]['id']}", method="DELETE").status_code == 204
    assert shown.ask(f"/v1/mutes/{listed[0]['id']}", method="DELETE").status_code == 404
    assert shown.ask("/v1/incidents").json()["incidents"][0]["muted"] is False


@pytest.mark.parametrize("hours", [0, -1, 1e9, "x", None])
def test_a_mute_has_an_end(shown, hours):
    answer = shown.ask(
        "/v1/mutes", method="POST", json={"stream": "app", "kind": KIND, "hours": hours}
    )
    assert answer.status_code == 422


def test_incidents_come_on_the_stream(shown):
    async def follow() -> None:
        events = shown.feed.follow(0)
        shown.write(anomalous("a", 1))
        _, told = await until(events, "incident")
        assert json.loads(told[-1].data)["incidents"][0]["sessions"] == 1
        assert told[-1].id == 1
        shown.write(anomalous("b", 2))
        _, told = await until(events, "incident")
        assert json.loads(told[-1].data)["incidents"][0]["sessions"] == 2
        await events.aclose()

    asyncio.run(follow())


def test_a_false_alarm_on_an_incident_mutes_every_kind_of_it(shown):
    shown.write(
        anomalous("a", 1, messages='["ERROR job <*> failed"]'),
        anomalous("b", 2, kind="WARN slow", messages='["WARN slow"]'),
    )
    whole = shown.ask("/v1/incidents/1").json()
    body = {"id": whole["verdicts"][0]["id"], "incident": 1, "answer": "normal"}
    given = shown.ask("/v1/feedback", method="POST", json=body)
    assert given.status_code == 201, given.text
    assert sorted(given.json()["muted"]) == [KIND, "WARN slow"]
    assert shown.ask("/v1/incidents/1").json()["muted"] is True
    wrong = shown.ask("/v1/feedback", method="POST", json=body | {"incident": 7})
    assert wrong.status_code == 422
