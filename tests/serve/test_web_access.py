"""Who may ask the service, how much, and what every answer carries."""

import asyncio
import json

import pytest

from logllm.serve.web.layers.rate_limit import RateLimit
from tests.serve.shown_store import TOKEN, Shown, anomalous

SCRIPT = "<script>alert(1)</script>"
ANYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def guarded(tmp_path):
    """A service that takes a token."""
    shown = Shown(tmp_path / "app.db", token=TOKEN)
    yield shown
    shown.close()


@pytest.fixture
def open_one(tmp_path):
    """A service on loopback without a token."""
    shown = Shown(tmp_path / "app.db")
    yield shown
    shown.close()


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {TOKEN}x"},
    ],
    ids=["none", "no-scheme", "other-scheme", "empty", "wrong"],
)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/verdicts",
        "/v1/sessions/x",
        "/v1/stream",
        "/v1/nothing",
        "/metrics",
        "/mcp",
        "/v1//verdicts",
    ],
)
def test_without_the_token_nothing_is_told(guarded, path, headers):
    answer = guarded.ask(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["error"]["code"] == "unauthorized"


def test_with_the_token_all_is(guarded):
    assert guarded.ask("/v1/verdicts", headers=BEARER).status_code == 200
    assert (
        guarded.ask("/v1/verdicts", headers={"authorization": f"bearer {TOKEN}"}).status_code == 200
    )


def test_a_token_in_the_address_is_none(guarded):
    assert guarded.ask(f"/v1/verdicts?token={TOKEN}").status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json"])
def test_what_holds_nothing_of_logs_takes_no_token(guarded, path):
    assert guarded.ask(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/..%2f..%2fconfig%2fserve.py",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/....//etc/passwd",
        "//etc/passwd",
        "/..\\..\\etc\\passwd",
        "/index.html%00.js",
        "/../web/application.py",
        "/" + "a" * 5000,
    ],
    ids=["parent", "encoded", "dots", "four-dots", "double", "backslash", "nul", "source", "long"],
)
def test_paths_that_lead_out_lead_nowhere(open_one, path):
    answer = open_one.ask(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert "import" not in answer.text


@pytest.mark.parametrize(
    "path", ["/healthz", "/v1/verdicts", "/v1/nothing", "/v1/verdicts?limit=0", "/nothing"]
)
def test_every_answer_carries_the_headers(open_one, path):
    headers = open_one.ask(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["permissions-policy"]
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


def test_a_script_in_a_log_line_comes_as_json_only(open_one):
    open_one.write(anomalous(SCRIPT, 1, texts=json.dumps([SCRIPT]), kind=SCRIPT))
    told = open_one.ask("/v1/verdicts")
    assert told.json()["verdicts"][0]["session"] == SCRIPT
    for answer in (told, open_one.ask(f"/v1/verdicts?stream={SCRIPT}"), open_one.ask(f"/{SCRIPT}")):
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8431", 200),
        ("localhost", 200),
        ("[::1]:8431", 200),
        ("evil.example", 421),
        ("", 421),
    ],
)
def test_on_loopback_no_other_name_is_ours(open_one, host, status):
    assert open_one.ask("/v1/verdicts", headers={"host": host}).status_code == status


def test_names_that_were_told_are_ours(tmp_path):
    shown = Shown(tmp_path / "app.db", token=TOKEN, host=ANYWHERE, names=["Logs.example"])
    for host, status in (
        ("logs.example", 200),
        ("logs.example:443", 200),
        ("logs.example.evil.example", 421),
    ):
        assert shown.ask("/v1/verdicts", headers=BEARER | {"host": host}).status_code == status
    shown.close()


def test_elsewhere_every_name_is_right_where_none_was_told(tmp_path):
    shown = Shown(tmp_path / "app.db", token=TOKEN, host=ANYWHERE)
    assert shown.ask("/v1/verdicts", headers=BEARER | {"host": "10.0.0.7:8431"}).status_code == 200
    shown.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "http://127.0.0.1:8431"}, 405),  # there is no such route: it got as far as that
        ({}, 405),
    ],
    ids=["other", "null", "port", "fetch", "ours", "no-page"],
)
def test_other_sites_pages_change_nothing(open_one, headers, status):
    assert (
        open_one.ask("/v1/verdicts", method="POST", headers=headers, json={}).status_code == status
    )


def test_who_asks_too_often_waits(tmp_path):
    shown = Shown(tmp_path / "app.db", rate=0.001)
    answers = [shown.ask("/v1/verdicts") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert 900 < int(answers[-1].headers["retry-after"]) <= 1_000
    assert answers[-1].headers["x-content-type-options"] == "nosniff"
    assert shown.ask("/healthz").status_code == 200
    shown.close()


class TestRateLimit:
    """The bucket of requests."""

    def asked(self, limit: RateLimit, *hosts: str) -> list[int]:
        """Statuses of a request of each client; 0 where it was passed on."""
        statuses = []

        async def send(message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def ask() -> None:
            for host in hosts:
                before = len(statuses)
                await limit({"type": "http", "path": "/v1/x", "client": (host, 1)}, None, send)
                statuses.extend([0] * (before == len(statuses)))

        asyncio.run(ask())
        return statuses

    def limit(self, now: list[float]) -> RateLimit:
        async def app(scope, receive, send) -> None:
            """Passed on."""

        return RateLimit(app, rate=1, clock=lambda: now[0])

    def test_it_fills_up_again(self):
        now = [0.0]
        limit = self.limit(now)
        assert self.asked(limit, *["10.0.0.1"] * 5) == [0, 0, 0, 0, 429]
        now[0] = 2.0
        assert self.asked(limit, *["10.0.0.1"] * 3) == [0, 0, 429]

    def test_clients_do_not_share_theirs_but_a_network_of_ipv6_does(self):
        limit = self.limit([0.0])
        assert self.asked(limit, *["10.0.0.1"] * 4, "10.0.0.2") == [0] * 5
        one, other = "2001:db8::1", "2001:db8::2"
        assert self.asked(limit, one, other, one, other, one) == [0, 0, 0, 0, 429]

    def test_what_is_remembered_is_bounded(self):
        limit = self.limit([0.0])
        self.asked(
            limit,
            *[
                f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
                for number in range(10_100)
            ],
        )
        assert len(limit) == 10_000
