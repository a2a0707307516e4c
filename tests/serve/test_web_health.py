"""Whether the service is well, and what is measured of it."""

import threading

import pytest

from logllm.serve.store.service_schema import deliveries, outbox, sources
from logllm.serve.store.troubles import StoreAway, StoreFull
from logllm.serve.web.readiness import Readiness
from tests.serve.shown_store import Shown, anomalous


@pytest.fixture
def shown(tmp_path):
    shown = Shown(tmp_path / "app.db")
    yield shown
    shown.close()


class Broken:
    """A store that fails."""

    name = "app.db"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def transaction(self, **_):
        raise self.error


def broken(shown: Shown, error: Exception) -> Shown:
    """The same service on a store that fails."""
    from logllm.serve.web.application import application
    from logllm.serve.web.service import service_of

    shown.app = application(service_of(Broken(error), shown.service.section), token=None)
    return shown


def test_a_service_whose_store_can_be_written_is_ready(shown):
    with shown.store.transaction() as connection:
        row = {
            "run": "r",
            "lines": 9,
            "sessions": 3,
            "anomalous": 1,
            "open_sessions": 1,
            "rate": 2.5,
            "counts": "{}",
        }
        for owner, updated, lag in (
            ("a", "2999-01-01T00:00:00.000000Z", 70),
            ("b", "2001-01-01T00:00:00.000000Z", 9),
        ):
            connection.execute(
                sources.insert().values(stream="app", owner=owner, updated=updated, lag=lag, **row)
            )
    answer = shown.ask("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"ready": True, "store": "writable", "watch": "well", "lag": 70},
    )


def test_a_service_whose_watch_has_ended_with_an_error_is_not(shown):
    shown.trouble = "the file is gone: /secret/path"
    answer = shown.ask("/readyz")
    assert answer.status_code == 503
    assert answer.json()["watch"] == "ended with an error"
    assert "secret" not in answer.text  # anybody may ask


@pytest.mark.parametrize(
    "error",
    [StoreAway("app.db is locked"), StoreFull("the disk that holds app.db is full")],
    ids=["away", "full"],
)
def test_a_store_that_is_away_or_full_is_said_with_when_to_come_again(shown, error):
    broken(shown, error)
    assert shown.ask("/readyz").status_code == 503
    assert shown.ask("/healthz").status_code == 200
    for path in ("/v1/verdicts", "/v1/incidents", "/v1/timeline", "/metrics", "/v1/sources"):
        answer = shown.ask(path)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"] == {"code": "unavailable", "message": str(error)}


def test_nobody_waits_for_a_store_that_another_one_waits_for(shown):
    asked, answers = threading.Event(), threading.Event()

    class Hanging(Broken):
        """A store that does not answer for a while."""

        def transaction(self, **_):
            asked.set()
            assert answers.wait(30)
            raise self.error

    readiness = Readiness(Hanging(StoreAway("locked")), trouble=lambda: None)
    first = threading.Thread(target=readiness.state)
    first.start()
    assert asked.wait(30)
    assert readiness.state() == {"ready": False, "store": "not known yet"}
    answers.set()
    first.join(30)
    assert readiness.state()["store"] == "StoreAway"


def test_a_fault_of_ours_tells_the_client_nothing(shown):
    answer = broken(shown, RuntimeError("secret")).ask("/v1/verdicts")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_requests_and_the_store_are_measured(shown):
    shown.write(anomalous("a", 1))
    with shown.store.transaction() as connection:
        connection.execute(
            outbox.insert().values(id=1, incident=1, event="opened", made="", body="{}")
        )
        connection.execute(
            deliveries.insert().values(
                message=1, sink="s", state="dead", tries=1, due="", updated=""
            )
        )
    for path in (
        "/v1/verdicts",
        "/v1/sessions/none",
        "/v1/sessions/other",
        "/v1/nothing",
        "/nothing",
    ):
        shown.ask(path)
    lines = shown.ask("/metrics").text.splitlines()
    assert 'logllm_http_requests_total{method="GET",route="/v1/verdicts",status="200"} 1.0' in lines
    assert (
        'logllm_http_requests_total{method="GET",route="/v1/sessions/{name}",status="404"} 2.0'
        in lines
    )
    assert 'logllm_http_requests_total{method="GET",route="other",status="404"} 1.0' in lines
    assert 'logllm_http_requests_total{method="GET",route="page",status="404"} 1.0' in lines
    assert 'logllm_deliveries{state="dead"} 1.0' in lines
    assert "logllm_stream_clients 0.0" in lines
    assert "logllm_last_change 1.0" in lines
    assert any(line.startswith("logllm_http_seconds_bucket") for line in lines)


def test_requests_are_written_down_where_that_is_wanted(tmp_path, capsys):
    for log in (True, False):
        shown = Shown(tmp_path / "app.db", log_requests=log)
        shown.ask("/v1/verdicts?q=secret")
        shown.ask("/v1/x%1b[31m")
        shown.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert " 127.0.0.1 GET /v1/verdicts 200 " in lines[0]
    assert "secret" not in lines[0]
    assert "\x1b" not in lines[1]
