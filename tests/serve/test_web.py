"""What the service gives of a store: pages of verdicts, one session, the timeline, searches."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from logllm.serve.store.frames import VerdictKey, stored_time
from logllm.serve.store.service_schema import kinds, sources
from logllm.serve.store.verdict_store import Store
from logllm.serve.web.request_models import cursor
from logllm.serve.web.timeline import Timeline, Wanted
from logllm.serve.web.verdict_ids import decode, encode
from tests.serve.shown_store import Shown, anomalous
from tests.serve.store_contract import NOON, Clock, verdict


@pytest.fixture
def shown(tmp_path):
    """A service on an empty store."""
    shown = Shown(tmp_path / "app.db")
    yield shown
    shown.close()


def test_the_newest_verdicts_come_first(shown):
    shown.write(verdict("a", 1), anomalous("b", 2))
    shown.write(verdict("c", 3))
    assert shown.names("/v1/verdicts") == ["c", "b", "a"]
    assert shown.names("/v1/verdicts?anomalous=true") == ["b"]
    assert shown.names("/v1/verdicts?anomalous=false&limit=1") == ["c"]
    assert shown.names("/v1/verdicts?after=0") == ["a", "b", "c"]
    assert shown.names("/v1/verdicts?after=1") == ["c"]
    assert shown.names("/v1/verdicts?before=2") == ["b", "a"]


@pytest.mark.parametrize("direction", ["before", "after"])
def test_pages_give_every_verdict_once_though_a_change_is_larger_than_a_page(shown, direction):
    for change in range(3):
        shown.write(
            *[verdict(f"s{change}{number}", 10 * change + number) for number in range(1, 6)]
        )
    path, names = f"/v1/verdicts?limit=2{'&after=0' if direction == 'after' else ''}", []
    while True:
        answer = shown.ask(path).json()
        names += [told["session"] for told in answer["verdicts"]]
        if answer["next"] is None:
            break
        path = f"/v1/verdicts?limit=2&{direction}={answer['next']}"
    in_order = [f"s{change}{number}" for change in range(3) for number in range(1, 6)]
    assert names == (in_order if direction == "after" else in_order[::-1])


def test_an_open_session_that_is_revised_comes_anew(shown):
    shown.write(verdict("a", 1, state="open"), verdict("b", 2))
    shown.write(verdict("a", 1, 3, state="open"))
    assert shown.names("/v1/verdicts?after=1") == ["a"]
    assert shown.names("/v1/verdicts?state=open") == ["a"]
    assert shown.names("/v1/verdicts?state=closed") == ["b"]


def test_a_verdict_says_what_detect_says_and_more(shown):
    shown.write(anomalous("b", 3, 4))
    answer = shown.ask("/v1/verdicts").json()
    told = answer["verdicts"][0]
    assert told["schema"] == 1
    assert told["lines"] == [3, 4]
    assert told["start"] == "2026-11-27T12:00:00.000000Z"
    assert told["evidence"] == [{"line": 4, "score": 0.9, "text": "ERROR job 7 failed"}]
    assert told["kind"] == "ERROR job <*> failed"
    assert told["change"] == answer["change"] == 1
    assert "texts" not in told
    whole = shown.ask(f"/v1/sessions/{told['id']}").json()
    assert whole == told | {"texts": ["job 7 begins", "ERROR job 7 failed"]}


def test_sessions_whose_names_are_odd_are_reached_by_their_ids(shown):
    names = [
        "../../etc/passwd",
        "a/b?c#d",
        "<script>alert(1)</script>",
        "ä✓",
        "%00",
        '"; DROP TABLE verdicts; --',
    ]
    shown.write(*[anomalous(name, number) for number, name in enumerate(names, 1)])
    for told in shown.ask("/v1/verdicts").json()["verdicts"]:
        assert shown.ask(f"/v1/sessions/{told['id']}").json()["session"] == told["session"]


@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        encode(VerdictKey("app", "p", "absent", 1, 1)),
        encode(VerdictKey("a\x00", "p", "b", 1, 1)),
        encode(VerdictKey("app", "p", "b", 2**70, 1)),
        encode(VerdictKey("app", "p", 7, 1, 1)),
        "..%2f..%2fetc%2fpasswd",
    ],
    ids=["no-id", "absent", "nul", "large", "number", "path"],
)
def test_a_session_that_is_not_there(shown, name):
    answer = shown.ask(f"/v1/sessions/{name}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_an_id_leads_back_to_its_key():
    key = VerdictKey("kafka://h:9092/t", "t/3", "ключ/1", 2, 2**40)
    assert decode(encode(key)) == key
    assert cursor(f"7.{encode(key)}") == (7, key)


def test_a_search_finds_names_kinds_and_telling_lines(shown):
    shown.write(anomalous("blk_7", 1), verdict("blk_77", 2), verdict("other", 3))
    assert shown.names("/v1/verdicts?q=blk_7") == ["blk_7"]  # a whole name
    assert shown.names("/v1/verdicts?q=BLK_") == ["blk_77", "blk_7"]
    assert shown.names("/v1/verdicts?q=job 7 failed") == ["blk_7"]
    assert shown.names("/v1/verdicts?q=blk%25") == []  # what a database takes for a pattern is none
    assert shown.names("/v1/verdicts?kind=ERROR job <*> failed") == ["blk_7"]


def test_a_search_goes_on_where_it_stopped(shown):
    shown.write(anomalous("needle", 1))
    shown.write(*[verdict(f"s{number}", number) for number in range(2, 5_100)])
    path, looks = "/v1/verdicts?q=need", 0
    while True:
        answer = shown.ask(path).json()
        looks += 1
        if answer["verdicts"]:
            break
        path = f"/v1/verdicts?q=need&before={answer['next']}"
    assert answer["verdicts"][0]["session"] == "needle"
    assert looks == 2


def test_what_was_written_since(tmp_path):
    clock = Clock()
    shown = Shown(tmp_path / "app.db", clock=clock)
    shown.write(verdict("old", 1))
    clock.later(hours=2)
    shown.write(verdict("new", 2))
    assert shown.names("/v1/verdicts?since=2026-11-27T13:00:00Z") == ["new"]
    # UTC where no zone stands.
    assert shown.names("/v1/verdicts?since=2026-11-27T13:00:00") == ["new"]
    assert shown.names("/v1/verdicts?since=2026-11-27T14:30:00%2B02:00") == ["new"]
    assert shown.names("/v1/verdicts?since=2026-11-27T12:00:00Z&stream=app") == ["new", "old"]
    assert shown.names("/v1/verdicts?until=2026-11-27T13:00:00Z") == ["old"]
    assert shown.names("/v1/verdicts?until=2026-11-27T14:00:00Z&stream=app") == ["old"]
    assert shown.names("/v1/verdicts?until=2026-11-27T14:00:01Z") == ["new", "old"]
    assert shown.names("/v1/verdicts?since=2026-11-27T12:00:01Z&until=2026-11-27T14:00:00Z") == []
    shown.close()


def test_the_timeline_counts_by_the_time_of_writing(tmp_path):
    timeline_is_counted(tmp_path / "app.db")


def timeline_is_counted(where):
    """Sessions of a store lie in the stretches in which they were written."""
    clock = Clock()
    shown = Shown(where, clock=clock)
    shown.write(verdict("a", 1), anomalous("b", 2))
    clock.later(minutes=7)
    shown.write(anomalous("c", 3))
    path = "/v1/timeline?since=2026-11-27T12:00:00Z&until=2026-11-27T12:10:00Z&bins=2"
    half = {"start": "2026-11-27T12:05:00.000000Z", "sessions": 1, "anomalous": 1}
    bins = [{"start": "2026-11-27T12:00:00.000000Z", "sessions": 2, "anomalous": 1}, half]
    assert shown.ask(path).json() == {"bins": bins}
    assert shown.ask(f"{path}&stream=app").json() == {"bins": bins}
    assert {told["sessions"] for told in shown.ask(f"{path}&stream=other").json()["bins"]} == {0}
    backwards = "/v1/timeline?since=2026-11-27T12:00:00Z&until=2026-11-27T11:00:00Z"
    assert shown.ask(backwards).json() == {"bins": []}
    shown.close()


def test_what_is_past_is_counted_once_in_five_minutes_and_what_is_recent_each_time(shown):
    now = [NOON.timestamp() + 3_600]
    timeline = Timeline(clock=lambda: now[0])
    wanted = Wanted(None, NOON, NOON + timedelta(hours=2), 4)

    def counted(*times: float) -> list[int]:
        for hours in times:
            clock.now = NOON + timedelta(hours=hours)
            shown.write(verdict(f"s{hours}", next(numbers)))
        with shown.store.transaction(reading=True) as connection:
            return [row["sessions"] for row in timeline.bins(connection, wanted)]

    clock, numbers = Clock(), count(1)
    shown.close()
    shown.store = Store.open(shown.where, clock=clock)
    assert counted(0.1, 0.6, 0.99) == [1, 2, 0, 0]
    # What is longer ago than five minutes is not looked at again.
    assert counted(0.2, 0.98) == [
        1,
        3,
        0,
        0,
    ]
    now[0] += 301
    assert counted() == [2, 3, 0, 0]


def test_a_timeline_that_many_ask_for_at_once_is_the_same_for_all(shown):
    shown.write(*[verdict(f"s{number}", number) for number in range(1, 50)])
    start = datetime.now(UTC)
    later = count()
    # What was counted is soon too old.
    timeline = Timeline(clock=lambda: start.timestamp() + 400 * next(later))

    def counted(bins: int) -> int:
        wanted = Wanted(None, start - timedelta(hours=1), start + timedelta(hours=1), bins)
        with shown.store.transaction(reading=True) as connection:
            return sum(row["sessions"] for row in timeline.bins(connection, wanted))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(counted, [20, 40, 60] * 20)) == {49}


def test_sources_and_new_kinds(shown):
    now, old = (stored_time(datetime.now(UTC) - timedelta(minutes=ago)) for ago in (0, 1))
    counts = json.dumps({"rejected": 2})
    source = {
        "run": "runs/app",
        "lines": 9,
        "sessions": 3,
        "anomalous": 1,
        "open_sessions": 1,
        "rate": 2.5,
        "counts": counts,
    }
    kind = {"stream": "app", "line_text": "disk full", "grade": 2.0, "change": 4, "first_seen": now}
    with shown.store.transaction() as connection:
        for owner, updated in (("a:1", now), ("b:2", old)):
            connection.execute(
                sources.insert().values(stream="app", owner=owner, updated=updated, **source)
            )
        connection.execute(kinds.insert().values(kind="disk full", **kind))
    told = shown.ask("/v1/sources").json()["sources"]
    assert [(row["owner"], row["alive"]) for row in told] == [("a:1", True), ("b:2", False)]
    assert told[0]["counts"] == {"rejected": 2}
    assert [row["kind"] for row in shown.ask("/v1/kinds").json()["kinds"]] == ["disk full"]
    assert shown.ask("/v1/kinds?before=4").json()["kinds"] == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/verdicts?limt=3", "limt"),
        ("/v1/verdicts?limit=501", "limit"),
        ("/v1/verdicts?before=x", "before"),
        ("/v1/verdicts?before=9999999999999999999999", "before"),
        ("/v1/verdicts?stream=a%00b", "stream"),
        ("/v1/verdicts?state=shut", "state"),
        ("/v1/timeline?bins=301", "bins"),
    ],
    ids=["unknown", "large", "no-cursor", "large-cursor", "nul", "no-state", "bins"],
)
def test_what_cannot_be_asked_is_said(shown, path, said):
    answer = shown.ask(path)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith(f"{said}: ")


def test_a_fault_of_ours_tells_the_client_nothing(shown):
    with shown.store.transaction() as connection:
        connection.exec_driver_sql("DROP TABLE verdicts")
    answer = shown.ask("/v1/verdicts")
    assert answer.status_code == 503
    assert "Traceback" not in answer.text


def test_the_api_describes_itself_with_examples_that_have_its_keys(shown):
    shown.write(anomalous("b", 3, 4))
    paths = shown.ask("/openapi.json").json()["paths"]
    assert {
        "/v1/verdicts",
        "/v1/sessions/{name}",
        "/v1/stream",
        "/v1/feedback",
        "/v1/runs",
        "/readyz",
    } <= paths.keys()
    answer = shown.ask("/v1/verdicts?limit=1").json()
    example = example_of(paths["/v1/verdicts"]["get"])
    assert example.keys() == answer.keys()
    assert set(answer["verdicts"][0]) <= set(example["verdicts"][0])
    whole = shown.ask(f"/v1/sessions/{answer['verdicts'][0]['id']}").json()
    assert set(whole) <= set(example_of(paths["/v1/sessions/{name}"]["get"]))
    assert set(shown.ask("/v1/timeline").json()["bins"][0]) == set(
        example_of(paths["/v1/timeline"]["get"])["bins"][0]
    )
    for name in ("/v1/lines", "/v1/sessions"):
        assert "verdicts" in example_of(paths[name]["post"])


def example_of(operation):
    """The example of an answer."""
    return operation["responses"]["200"]["content"]["application/json"]["example"]


def test_the_tools_for_agents_are_beside_the_api(shown):
    pytest.importorskip("mcp")
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"accept": "application/json, text/event-stream"}
    answer = shown.ask("/mcp", method="POST", json=call, headers=headers)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["result"]["tools"]) >= 4
    foreign = shown.ask(
        "/mcp", method="POST", json=call, headers=headers | {"origin": "https://evil.example"}
    )
    assert foreign.status_code == 403
