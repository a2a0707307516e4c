"""Places as they are set, what they are sent, and how one request goes."""

import socket
import threading
from base64 import b64decode

import pytest

from logllm.config.alerts import AlertsFile, SinkSection
from logllm.errors import RecipeError
from logllm.serve.alerts.alert_texts import MOST_LISTED
from logllm.serve.alerts.notes import Note, Summary
from logllm.serve.alerts.posting import Target, post
from logllm.serve.alerts.sinks import Sink, sinks_of
from tests.serve.receiver import receiving

SECRET = "https://hooks.slack.com/services/T0/B0/s3cr3t"  # noqa: S105 - of nobody
NOW = "2026-11-27T12:00:00.000000Z"


def sink(url: str, page: str | None = None, **settings) -> Sink:
    (one,) = sinks_of([SinkSection(url=url, **settings)], environment={"HOOK": SECRET}, page=page)
    return one


def incident(**more) -> dict:
    """An open incident."""
    plain = {
        "id": 7,
        "stream": "app",
        "kind": "ERROR: disk full",
        "title": "10:00 ERROR: disk full",
        "state": "open",
        "start": "2026-11-27T11:00:00.000000Z",
        "end": "2026-11-27T11:05:00.000000Z",
        "opened": NOW,
        "updated": NOW,
        "closed": None,
        "sessions": 3,
        "score": 0.9876,
        "muted": False,
        "kinds": [{"kind": "ERROR: disk full", "text": "10:00 ERROR: disk full", "sessions": 3}],
        "top": [],
        "evidence": None,
    }
    return plain | more


def note(*events: str, link: str | None = None, **more) -> Note:
    return Note("k", events or ("opened",), incident(**more), link)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (SECRET, "slack"),
        ("$HOOK", "slack"),
        ("${HOOK}", "slack"),
        ("http://am:9093/api/v2/alerts", "alertmanager"),
        ("https://example.org/anything", "webhook"),
    ],
)
def test_a_url_tells_the_form_of_messages(url, kind):
    assert sink(url).kind == kind


def test_a_name_holds_nothing_secret_and_tells_places_apart():
    first, second = sink(SECRET), sink(SECRET + "2")
    assert first.name.startswith("slack-hooks.slack.com-")
    assert "s3cr3t" not in first.name
    assert first.name != second.name


@pytest.mark.parametrize(
    "url",
    [
        "htps://host/s3cr3t",
        "s3cr3t",
        "https:///s3cr3t",
        "https://host:x/s3cr3t",
        "https://host/a s3cr3t",
        "https://[::s3cr3t/",
        "https://host/\ns3cr3t",
        "file:///s3cr3t",
    ],
)
def test_a_url_that_is_none_is_refused_without_showing_it(url):
    with pytest.raises(RecipeError, match="a URL is not written as one") as error:
        sink(url)
    assert "s3cr3t" not in str(error.value)


def test_a_variable_that_is_not_set_is_named():
    with pytest.raises(RecipeError, match="the environment variable NOPE is not set"):
        sink("$NOPE")


def test_two_places_of_one_name_are_refused():
    sections = [
        SinkSection(url="https://a.example", name="ops"),
        SinkSection(url="https://b.example", name="ops"),
    ]
    with pytest.raises(RecipeError, match="two are called ops"):
        sinks_of(sections, environment={}, page=None)


def test_a_page_that_is_no_url_is_refused():
    with pytest.raises(RecipeError, match="--public-url"):
        sink("https://host/x", page="host:8431")


def test_headers_that_cannot_be_sent_are_refused():
    with pytest.raises(RecipeError, match="the header 'X-A' for host cannot be sent"):
        sink("https://host/x", headers={"X-A": "a\r\nB: c"})
    with pytest.raises(RecipeError, match="cannot be sent"):
        sink("https://host/x", headers={"X A": "a"})


def test_a_user_in_a_url_and_a_token_are_headers():
    target = sink("https://ann:p%40ss@host/x#y").target
    assert target.url == "https://host/x"
    assert b64decode(target.headers["Authorization"].removeprefix("Basic ")) == b"ann:p@ss"
    assert sink("https://host/x", token="$HOOK").target.headers == {
        "Authorization": f"Bearer {SECRET}"
    }


def test_alertmanagers_path_is_added_where_it_lacks():
    assert sink("http://am:9093/", kind="alertmanager").target.url == "http://am:9093/api/v2/alerts"
    assert sink("http://am:9093/x/api/v2/alerts").target.url == "http://am:9093/x/api/v2/alerts"


def test_alertmanager_has_no_budget_of_ours():
    assert sink("http://am/api/v2/alerts").budget is None
    assert sink("http://host/").budget == 20


def test_a_file_with_a_wrong_key_names_the_right_one():
    settings = {"alerts": [{"url": "https://host", "budgets": 3}]}
    with pytest.raises(RecipeError, match="'budget'"):
        AlertsFile.read(settings, source="alerts.toml")


def test_slack_gets_nothing_that_it_takes_for_its_own():
    hostile = "`</pre><!channel> & <https://evil|here> *bold*"
    kinds = [{"kind": "k", "text": hostile, "sessions": 1}]
    text = sink(SECRET).form.note(note(kinds=kinds, stream="<!here>"), now=NOW)["text"]
    assert "<" not in text
    assert "ˋ&lt;/pre&gt;&lt;!channel&gt; &amp; &lt;https://evil|here&gt; *bold*`" in text
    assert text.startswith("*Incident in &lt;!here&gt;: 3 anomalous sessions*")


def test_slack_gets_a_text_of_bounded_length():
    kinds = [{"kind": "k", "text": "<" * 100_000, "sessions": 1}] * 20
    text = sink(SECRET).form.note(note(kinds=kinds, link="https://page/?incident=7"), now=NOW)[
        "text"
    ]
    assert len(text) < 4_000
    notes = tuple(note(title="<" * 300) for _ in range(500))
    text = sink(SECRET).form.summary(Summary("k", notes, None), now=NOW)["text"]
    assert len(text) < 4_000
    assert text.startswith("*500 incidents more: ")


def test_slack_links_to_the_page():
    text = sink(SECRET).form.note(note(link="https://page/?incident=7"), now=NOW)["text"]
    assert text.endswith("<https://page/?incident=7|open the incident>")


@pytest.mark.parametrize(
    ("events", "more", "words"),
    [
        (("opened",), {}, "Incident in app: 3 anomalous sessions"),
        (("continues",), {}, "Incident goes on in app: 3 anomalous sessions"),
        (("closed",), {}, "Incident in app is over: 3 anomalous sessions"),
        (
            ("opened", "closed"),
            {"sessions": 1},
            "Incident in app came and is over: 1 anomalous session",
        ),
        (
            ("closed",),
            {"sessions": 0},
            "Incident in app is over: its sessions turned out normal, or are muted",
        ),
    ],
)
def test_what_happened_is_said_in_words(events, more, words):
    assert sink(SECRET).form.note(note(*events, **more), now=NOW)["text"].startswith(f"*{words}*")


def test_a_summary_names_the_first_ones():
    notes = tuple(note(title=f"title {number}") for number in range(30))
    text = sink(SECRET).form.summary(Summary("k", notes, "https://page"), now=NOW)["text"]
    assert text.count("title ") == MOST_LISTED
    assert "and 20 more" in text
    assert text.endswith("<https://page|open the incidents>")


def test_alertmanager_gets_an_alert_that_ends_by_itself():
    form = sink("http://am/api/v2/alerts", resend=30, labels={"severity": "page"}).form
    (alert,) = form.note(note(link="https://page/?incident=7"), now=NOW)
    assert alert["labels"] == {
        "alertname": "LogAnomaly",
        "stream": "app",
        "incident": "7",
        "severity": "page",
    }
    assert (alert["startsAt"], alert["endsAt"]) == (NOW, "2026-11-27T12:01:30.000000Z")
    assert alert["generatorURL"] == "https://page/?incident=7"
    (over,) = form.note(note("closed", closed="2026-11-27T12:00:10.000000Z"), now=NOW)
    assert over["endsAt"] == "2026-11-27T12:00:10.000000Z"
    assert over["labels"] == alert["labels"]


def target(url: str, timeout: float = 5) -> Target:
    return Target(url, {"Authorization": "Bearer s3cr3t"}, timeout)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_what_is_secret_goes_nowhere_else(status):
    with receiving() as place, receiving() as elsewhere:
        place.status, place.headers = status, {"Location": elsewhere.url}
        answer = post(target(place.url), {}, key="k")
        assert (answer.status, answer.taken, answer.refused) == (status, False, False)
        assert answer.told == f"HTTP {status} it has moved: name its new URL"
        assert elsewhere.requests == []


def test_a_request_is_json_with_a_key_of_its_own():
    with receiving() as place:
        assert post(target(place.url), {"a": "ü"}, key="k7").taken
        _, headers, body = place.requests[0]
    assert body == {"a": "ü"}
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == "k7"
    assert headers["Authorization"] == "Bearer s3cr3t"
    assert headers["User-Agent"].startswith("logllm/")


def test_of_an_endless_answer_only_the_beginning_is_read():
    with receiving() as place:
        place.status, place.answer = 500, b"<html>\x00" + b"x" * 3_000_000
        told = post(target(place.url), {}, key="k").told
    assert len(told) < 300
    assert told.isprintable()


def test_an_answer_that_repeats_the_request_shows_nothing_secret():
    with receiving() as place:
        place.status = 404
        place.answer = b"Cannot POST /services/T0/s3cr3ts3cr3t?key=k3yk3yk3y for Bearer t0k3nt0k3n"
        url = place.url.replace("/told", "/services/T0/s3cr3ts3cr3t?key=k3yk3yk3y")
        answer = post(Target(url, {"Authorization": "Bearer t0k3nt0k3n"}, 5), {}, key="k")
    assert answer.told == "HTTP 404 Cannot POST … for Bearer …"


def test_nobody_there_is_told_as_it_is():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        port = taken.getsockname()[1]
        answer = post(target(f"http://127.0.0.1:{port}/s3cr3t"), {}, key="k")
    assert (answer.status, answer.taken, answer.refused) == (None, False, False)
    assert "refused" in answer.told
    assert "s3cr3t" not in answer.told


def test_who_accepts_and_says_nothing_is_waited_for_only_so_long():
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = post(
            target(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.05), {}, key="k"
        )
    assert (answer.status, answer.told) == (None, "timed out")


def test_who_speaks_no_http_is_an_error_like_others():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100_000)
                connection.sendall(b"220 smtp.example.org ESMTP\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        answer = post(target(f"http://127.0.0.1:{server.getsockname()[1]}/"), {}, key="k")
        thread.join()
    assert (answer.status, answer.taken) == (None, False)
    assert answer.told
