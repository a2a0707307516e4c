"""Lines and sessions judged for a client: the verdicts of `detect`, and nothing stored."""

import json
import queue
import threading

import pytest

from logllm.detect.detector import Detector
from logllm.serve.web.judging.judging_now import JudgingNow
from logllm.serve.web.refusals import Refusal
from logllm.serve.web.request_models import GivenSession
from tests.cli.test_watch import written
from tests.serve.shown_store import Shown

FAULT = "failed: connection timed out"


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A run of novelty, which needs no labels and no model."""
    from logllm.cli.app import app

    folder = tmp_path_factory.mktemp("judging")
    good = folder / "good.log"
    good.write_text(written(range(200)))
    data, run = folder / "data", folder / "run"
    app(
        ["prepare", "--raw", str(good), "--out", str(data), "--key", "job=([0-9]+)"],
        standalone_mode=False,
    )
    app(["train", "novelty", "--data", str(data), "--out", str(run)], standalone_mode=False)
    return Detector.load(run)


@pytest.fixture
def shown(tmp_path, detector):
    shown = Shown(tmp_path / "app.db", detector=detector, lines=2_000)
    yield shown
    shown.close()


def post(shown: Shown, path: str, **body):
    answer = shown.ask(path, method="POST", **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.real
def test_lines_have_the_verdicts_of_detect(shown, detector):
    log = written(range(200, 240), fault=220)
    answer = post(shown, "/v1/lines", json={"lines": log.splitlines()})
    expected = {
        verdict.session: (verdict.score, verdict.anomalous, verdict.lines)
        for verdict in detector.detect(log.splitlines())
    }
    told = answer["verdicts"]
    assert {
        row["session"]: (row["score"], row["anomalous"], row["lines"]) for row in told
    } == expected
    assert answer["counts"]["lines"] == 121
    assert answer["seconds"] >= 0
    assert shown.names("/v1/verdicts") == []


def test_a_telling_line_is_given_as_it_was_sent(shown):
    lines = written(range(200, 240), fault=220).splitlines()
    answer = post(shown, "/v1/lines", json={"lines": lines})
    (anomalous,) = [row for row in answer["verdicts"] if row["anomalous"]]
    assert anomalous["session"] == "1220"
    telling = anomalous["evidence"][0]
    assert telling["text"] == lines[telling["line"] - 1]
    assert FAULT in telling["text"]


def test_plain_text_is_a_file_of_lines(shown):
    log = written(range(200, 210), fault=205)
    plain = post(
        shown,
        "/v1/lines",
        content=log.replace("\n", "\r\n"),
        headers={"content-type": "text/plain; charset=utf-8"},
    )
    listed = post(shown, "/v1/lines", json={"lines": [log]})
    assert plain["verdicts"] == listed["verdicts"]
    assert len(plain["verdicts"]) == 10


def test_sessions_by_lines_and_by_messages(shown):
    lines = written([7], fault=7).splitlines()
    # As the run's own: INFO:  job=...
    messages = [" ".join(line.split(" ", 2)[1:]).replace(" ", ":  ", 1) for line in lines]
    sessions = [
        {"session": "lines", "lines": lines},
        {"session": "messages", "messages": messages},
        {"session": "good", "messages": messages[:3]},
    ]
    told = post(shown, "/v1/sessions", json={"sessions": sessions})["verdicts"]
    assert [(row["session"], row["anomalous"]) for row in told] == [
        ("lines", True),
        ("messages", True),
        ("good", False),
    ]
    assert [row["score"] for row in told[:2]] == [told[0]["score"]] * 2
    assert [row["lines"] for row in told] == [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3]]
    assert [row["evidence"][0]["line"] for row in told[:2]] == [4, 4]
    assert [row["evidence"][0]["text"] for row in told[:2]] == [lines[3], messages[3]]
    assert all("files" not in row and "cut" not in row for row in told)


def test_what_is_secret_is_not_given_back_where_that_is_wanted(tmp_path, detector):
    shown = Shown(tmp_path / "app.db", detector=detector, redact=True)
    message = f"job=1007 {FAULT} password=hunter2hunter2"
    told = post(shown, "/v1/sessions", json={"sessions": [{"session": "a", "messages": [message]}]})
    assert told["verdicts"][0]["evidence"]
    assert "hunter2" not in json.dumps(told)
    shown.close()


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/lines", {"json": {"lines": []}}, 422, "no lines"),
        ("/v1/lines", {"json": {"lines": ["x"] * 2_001}}, 413, "at most 2,000"),
        ("/v1/lines", {"json": {"lines": ["nothing of the kind"] * 20}}, 422, "not in"),
        ("/v1/lines", {"json": {"line": ["x"]}}, 422, "line"),
        (
            "/v1/lines",
            {"content": "{", "headers": {"content-type": "application/json"}},
            422,
            "JSON",
        ),
        (
            "/v1/lines",
            {"content": "<a/>", "headers": {"content-type": "application/xml"}},
            415,
            "send application/json or text/plain",
        ),
        (
            "/v1/sessions",
            {"content": "[" * 100_000, "headers": {"content-type": "application/json"}},
            400,
            "body",
        ),
        (
            "/v1/sessions",
            {"content": "{}", "headers": {"content-type": "text/plain"}},
            415,
            "application/json",
        ),
        (
            "/v1/sessions",
            {"json": {"sessions": [{"session": "a"}]}},
            422,
            "one of lines and messages",
        ),
        (
            "/v1/sessions",
            {"json": {"sessions": [{"session": "a", "lines": ["x"], "messages": ["x"]}]}},
            422,
            "one of",
        ),
        (
            "/v1/sessions",
            {"json": {"sessions": [{"session": "a", "messages": ["x"]}] * 2}},
            422,
            "one name",
        ),
    ],
    ids=[
        "none",
        "many",
        "other",
        "key",
        "broken",
        "xml",
        "deep",
        "plain",
        "neither",
        "both",
        "twice",
    ],
)
def test_what_cannot_be_judged_is_said(shown, path, body, status, said):
    answer = shown.ask(path, method="POST", **body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "text",
    ["\x1f\x8b\x08\x00" * 9, "\x00\x00", "\ud800", "\ufeff", "a\x0bb\x85c\u2028d", ""],
    ids=["gzip", "nul", "half", "mark", "ends", "empty"],
)
def test_odd_texts_are_lines_like_others(shown, text):
    body = json.dumps({"sessions": [{"session": "a", "messages": [text, "job=7 opened the file"]}]})
    answer = shown.ask(
        "/v1/sessions", method="POST", content=body, headers={"content-type": "application/json"}
    )
    if answer.status_code == 200:
        assert answer.json()["verdicts"][0]["lines"] == [1, 2]
    else:
        assert answer.status_code == 422, answer.text


def test_without_a_run_nothing_is_judged(tmp_path):
    shown = Shown(tmp_path / "app.db")
    answer = shown.ask("/v1/lines", method="POST", json={"lines": ["x"]})
    assert answer.status_code == 409
    assert "logllm serve RUN" in answer.json()["error"]["message"]
    shown.close()


class Blocking:
    """A detector whose work takes until it is let go."""

    def __init__(self, detector: Detector) -> None:
        self.settings = detector.settings
        self.go = threading.Event()
        self._detector = detector

    @property
    def run(self):
        assert self.go.wait(30)
        return self._detector.run


def test_when_too_many_are_judged_others_come_later(detector):
    blocking = Blocking(detector)
    judging = JudgingNow(blocking, lines=10, at_once=1, redact=False)
    given = [GivenSession(session="a", messages=["job=7 opened the file"])]
    outcomes: queue.Queue[object] = queue.Queue()

    def judge() -> None:
        try:
            outcomes.put(judging.sessions(given).verdicts[0]["session"])
        except Refusal as refused:
            outcomes.put(refused.status)

    threads = [threading.Thread(target=judge) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert outcomes.get(timeout=30) == 503  # one works, one waits
    blocking.go.set()
    assert [outcomes.get(timeout=30) for _ in range(2)] == ["a", "a"]
    for thread in threads:
        thread.join(30)
