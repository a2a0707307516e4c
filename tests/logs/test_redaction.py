"""Secrets are replaced, and what only looks like one is left."""

import polars as pl
import pytest

from logllm.errors import DataError, RecipeError
from logllm.logs.redaction import Redactor, redact, redact_text, redacted_errors
from logllm.logs.secrets import SECRETS

KEY = "wJalrXUtnFEMI" + "K7MDENGbPxRfiCY9q2b9Zt0a"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mail from ann.b+x@mail.example.org.", "mail from <email>."),
        ("10.0.0.3:5432, 10.0.0.4 and /10.0.0.5", "<ip>:5432, <ip> and /<ip>"),
        ("IP 10.0.0.3.443 > 10.0.0.4.5432: Flags", "IP <ip> > <ip>: Flags"),
        ("host ip-10-0-0-3.internal", "host ip-<ip>.internal"),
        (
            "from ::1 and [2001:db8::ff00:42:8329]:80 via fe80::1",
            "from <ip> and [<ip>]:80 via <ip>",
        ),
        ("::ffff:10.0.0.3 asks", "<ip> asks"),
        ("port 00:1b:44:11:3a:b7 up", "port <mac> up"),
        ("connect postgres://app:p@ss@db/x failed", "connect postgres://<credentials>@db/x failed"),
        ("GET https://" + "tok@host/x", "GET https://<credentials>@host/x"),
        ("Server=x;Pwd=two words;Database=y", "Server=x;Pwd=<secret>;Database=y"),
        ("host=x password='two words' user=y", "host=x password=<secret> user=y"),
        ('{"db_password": "a\\"b c", "n": 1}', '{"db_password": <secret>, "n": 1}'),
        (r"said {\"password\":\"a b\",\"n\":1}", r"said {\"password\":<secret>\",\"n\":1}"),
        (
            "API_KEY: abc1, token=abc2 secret => 'abc3'",
            "API_KEY: <secret> token=<secret> secret => <secret>",
        ),
        ('password="cut off here', "password=<secret>"),
        ('sid=abc {"auth": "x y"} PW=z', 'sid=<secret> {"auth": <secret>} PW=<secret>'),
        ("map[password:hunter2]", "map[password:<secret>"),
        ("<db:password>hunter2</db:password>", "<db:password><secret></db:password>"),
        ("mysql --password hunter2 -u x", "mysql --password <secret> -u x"),
        ("ALTER ROLE bob WITH PASSWORD 'it''s'; x", "ALTER ROLE bob WITH PASSWORD <secret>; x"),
        ('CREATE USER x IDENTIFIED BY "y z"', "CREATE USER x IDENTIFIED BY <secret>"),
        ("GET /x?sig=a%2Bb&n=1", "GET /x?sig=<secret>&n=1"),
        ("Authorization: Basic QWxhZGRpbjpvcGVu next", "Authorization: <token> next"),
        ('-H "Authorization: Bearer ab.cd" next', '-H "Authorization: <token>" next'),
        ('Authorization: Digest username="x", response="y"', "Authorization: <token>"),
        ("sent Bearer abcdefgh12 to it", "sent <token> to it"),
        ("Cookie: a=b; c=d", "Cookie: <cookie>"),
        ("uses gh" + "p_" + 30 * "a1" + " now", "uses <token> now"),
        ("uses AK" + "IAIOSFODNN7EXAMPLE now", "uses <token> now"),
        ("jwt ey" + "JhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln here", "jwt <token> here"),
        (f"with {KEY} here", "with <token> here"),
        (f"GET /v1/users/7/keys/{KEY[:32]}/now", "GET /v1/users/7/keys/<token>/now"),
        (f"with {KEY[:20]}/{KEY[20:]}+9a== here", "with <token> here"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY----- then",
            "<key> then",
        ),
        ("-----BEGIN PRIVATE KEY-----\\nMIIEabc", "<key>"),
        (
            "card 4111 1111 1111 1111, 5500-0055-5555-5559 or 378282246310005",
            "card <card>, <card> or <card>",
        ),
        ("to GB82 WEST 1234 5698 7654 32 now", "to <iban> now"),
        ("cards 2000000000000006 and 6000000000000007", "cards <card> and <card>"),
        ("ssn 123-45-6789", "ssn <ssn>"),
        ("call +49 30 1234567, +15551234567 or (555) 123-4567", "call <phone>, <phone> or <phone>"),
        ('{"phone": "030 1234567"}', '{"phone": "<phone>"}'),
    ],
)
def test_what_is_secret_is_replaced(text, shown) -> None:
    assert redact_text(text) == shown
    assert redact_text(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3 of v1.2.3.4, build 10.0.19041.1, oid 1.3.6.1.4.1.311",
        "at 2026-11-22T10:48:49.123456+01:00, 12:34:56, [22/Nov/2026:10:48:49 +0100],"
        " Nov 22 10:48:49",
        "epoch 1700000000, 1700000000000 and 1700000000000000000",
        "time 1700000000000001, 9000000000000001 and 7000000000000003, whose check digits are a"
        " card's, but no issuer's first digit",
        "block blk_-1608999687919862906 and blk_4394112519745907149 of 4111111111111112 bytes",
        "commit 4f2a99c1d0e34f2a99c1d0e34f2a99c1d0e31234,"
        " id 123e4567-e89b-12d3-a456-426614174000, 0x7fffdeadbeef",
        "digest d41d8cd98f00b204e9800998ecf8427e0bd41d8cd98f00b204e9800998ecf84",
        "open /usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30"
        " and C:\\Windows\\System32\\drivers\\etc",
        "GET /api/v1/namespaces/kube-system/pods?limit=500&resourceVersion=0 HTTP/1.1 200",
        "pod/coredns-5d78c9869d-x7k2p in kube-system, std::vector<int>, Foo::Bad::Cafe, A::B",
        "Started getty@tty1.service, lodash@4.17.21, root@localhost, com.foo.Bar@1a2b3c",
        "at org.apache.hadoop.hdfs.DFSClient$DFSOutputStream"
        ".nextBlockOutputStream(DFSClient.java:3281)",
        "DefaultDispatcherWorkerThreadPoolExecutorFactory12 took 12.5ms, 99.9%, 1,234,567 rows,"
        " -5, +12, 0.5e-3",
        "Failed password for root, password authentication failed, basic authentication,"
        " bearer authentication",
        "max_tokens=100, tokens: 5, compass=north, bypass: on, tokenizer: x",
        "ProcessThread(sid:1 cport:-1), Auth successful (auth:SIMPLE), job-2015-10-18, step-1-2-3",
        "(10/20) 404 500 200-299, 1-2-3, 2026-11-22, lines 100-200, 12 of 30",
        'ERROR:  duplicate key value violates unique constraint "accounts_pkey"',
        "DETAIL:  Key (id)=(4711) already exists.",
    ],
)
def test_ordinary_text_stays(text) -> None:
    assert redact_text(text) == text


def test_a_text_can_hold_both() -> None:
    assert redact(
        pl.Series(["10.0.19041.1 for 10.0.0.3", "10.0.19041.2", "10.0.0.4"])
    ).to_list() == [
        "10.0.19041.1 for <ip>",
        "10.0.19041.2",
        "<ip>",
    ]


def test_every_rule_is_used(request) -> None:
    table = next(
        mark for mark in test_what_is_secret_is_replaced.pytestmark if mark.name == "parametrize"
    ).args[1]
    texts = pl.Series([text for text, _ in table])
    assert [rule.name for rule in SECRETS if not texts.str.contains(rule.pattern).any()] == [
        "slack-hook"
    ]


def test_what_is_given_stays_as_it_was() -> None:
    given = pl.Series(["from 10.0.0.3", "up"])
    redact(given)
    assert given.to_list() == ["from 10.0.0.3", "up"]
    assert redact(pl.Series([None, "10.0.0.3"], dtype=pl.String)).to_list() == [None, "<ip>"]
    assert redact(pl.Series([], dtype=pl.String)).to_list() == []


def test_names_stay_apart_and_their_digests_are_of_one_call() -> None:
    keys = pl.Series([["10.0.0.3", "job"], [], ["10.0.0.4"], ["10.0.0.3"]])
    here, elsewhere = Redactor(), Redactor()
    shown = here.names(keys).to_list()
    assert shown[0] == [shown[3][0], "job"]
    assert len({shown[0][0], shown[2][0], elsewhere.name("10.0.0.3")}) == 3
    assert shown[0][0].startswith("<ip:")
    assert shown[0][0] == here.name("10.0.0.3")


@pytest.mark.parametrize(
    ("field", "secret"),
    [
        ("session_id", True),
        ("user.token", True),
        ("Cookie", True),
        ("job", False),
        ("keyboard", False),
    ],
)
def test_a_field_by_name_is_all_secret(field, secret) -> None:
    shown = Redactor().names(pl.Series(["abc"]), field=field).item()
    assert shown.startswith("<secret:") if secret else shown == "abc"


def test_errors_are_redacted() -> None:
    with pytest.raises(RecipeError, match="^from <ip>$") as caught, redacted_errors():
        raise RecipeError("from 10.0.0.3")
    assert caught.value.__suppress_context__
    with pytest.raises(DataError, match="^ValueError: from <ip>$"), redacted_errors():
        raise ValueError("from 10.0.0.3")
