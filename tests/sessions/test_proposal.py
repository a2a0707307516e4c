"""Sessions proposed for logs of which nothing is known."""

import json
import random
import re

import polars as pl
import pytest

from logllm.config.format import FormatSection
from logllm.config.sessions import SessionSection
from logllm.formats.description import load_format
from logllm.sessions.proposal import propose, sample_fields

JSON = FormatSection(name="own", kind="json")


def proposal(text, described, **options):
    return propose(
        sample_fields(pl.Series("text", text, dtype=pl.String), described), described, **options
    )


def requests(count, each, form):
    """Lines of requests of which three run at a time."""
    order = [
        (start + number, step)
        for start in range(0, count, 3)
        for step in range(each)
        for number in range(3)
    ]
    return [
        form.format(request=f"r{number:03}", step=step, word="first next then last".split()[step])
        for number, step in order
    ]


def test_a_field_by_its_name():
    lines = requests(
        30,
        4,
        '{{"message": "step {step}", "ctx": {{"X-Request-ID": "{request}"}}, "pid": 1, "user":'
        ' "{request}"}}',
    )
    found = proposal(lines, JSON)
    assert found.sessions == SessionSection(by="key", key_field="ctx.X-Request-ID")
    assert (
        found.reason
        == "sessions by the field ctx.X-Request-ID: 100 % of 120 lines name one, 30 sessions of 4"
        " lines (median)"
    )


def test_the_narrower_field_comes_first():
    lines = requests(
        30, 4, '{{"thread_name": "t{request}", "traceId": "{request}", "message": "step {step}"}}'
    )
    assert proposal(lines, JSON).sessions.key_field == "traceId"


@pytest.mark.parametrize(
    ("form", "key"),
    [
        ("[request_id: {request}] step {step}", "r000"),
        (
            "step {step} of req-00000{request}-0000-0000-0000-000000000000",
            "req-00000000-0000-0000-0000-000000000000",
        ),
        ("conn={request} op={step}", "000"),
        ("started ({step}) container_1_0{request}", "container_1_0000"),
        (
            "{step} 00000{request}-0000-0000-0000-000000000000",
            "00000000-0000-0000-0000-000000000000",
        ),
        ("app[{request}]: step {step}", "app[000]"),
        ("conn=r{step} x", None),
        ("{step} of order {request}.", "000"),
        ("step {step}: order no. {request} paid", "000"),
        ("[{request}7] {word} step", "0007"),
        ("INFO | {request} | {word} step", "000"),
        ("C-0x55f0c{request}: shop/app@10.0.0.9:40000 step {step}", "C-0x55f0c000"),
        ("*{request} step {step}, client: 10.0.0.9", "000"),
        (
            "[shop,0123456789ab0{request},0123456789abcde{step},true] step {step}",
            "0123456789ab0000",
        ),
        ("{word} step <aBcDe+/{request}==>", "aBcDe+/000=="),
        ("(worker-{step}) TID:5f2e.{request}.16789 step {step}", "5f2e.000.16789"),
        ("app step {step} took {request} ms", None),
    ],
)
def test_a_pattern_in_the_message(form, key):
    text = [line if "_id" in form else line.replace("r0", "0") for line in requests(30, 4, form)]
    found = proposal(text, load_format("plain"))
    if key is None:
        assert found.sessions == SessionSection()
    else:
        assert found.sessions.key_pattern, found.reason
        assert re.findall(found.sessions.key_pattern, text[0]) == [key]
        assert found.reason.endswith("100 % of 120 lines name one, 30 sessions of 4 lines (median)")


@pytest.mark.parametrize(
    ("ids", "why"),
    [
        (
            [str(line % 3) for line in range(400)],
            "the field session is no key, it has only 3 values",
        ),
        ([str(line) for line in range(400)], "half of its 400 values have one line"),
        (
            ["0"] * 250 + [str(1 + line // 3) for line in range(150)],
            "one value has 62 % of the lines",
        ),
        (
            [str(line % 20) for line in range(400)],
            "most lines are of values that go on through the whole log",
        ),
        (
            [str(line // 4) if line % 10 > 3 else "" for line in range(400)],
            "only 60 % of the lines name one; it can be had with --key-field session",
        ),
        (
            [str(line // 4) if line % 10 > 7 else "" for line in range(400)],
            "no id of a request, a process or the like is in nearly all lines",
        ),
    ],
)
def test_why_a_field_is_no_key(ids, why):
    lines = [json.dumps({"message": "m", "session": each}) for each in ids]
    found = proposal(lines, JSON, lines=len(lines))
    assert found.sessions == SessionSection(size=20)
    assert found.reason.startswith("windows of 20 lines: ")
    assert why in found.reason


def test_the_format_s_own_sessions_go_first():
    named = load_format("bgl")
    assert proposal(["x"], named).sessions == named.sessions
    lines = [
        line.replace("[r", "[")
        for line in requests(
            30, 4, "Feb 29 06:55:46 gate sshd[{request}]: request {request} {step}"
        )
    ]
    assert proposal(lines, load_format("openssh")).sessions == load_format("openssh").sessions
    keyless = ["240229 203518 143 INFO dfs.DataNode: starting"] * 2000
    assert proposal(keyless, load_format("hdfs"), lines=2000).sessions == SessionSection(size=100)


def test_a_key_with_a_name_of_its_own():
    basket = SessionSection(by="key", key_field="basket")
    own = FormatSection(
        name="own", pattern=r"(?<basket>\w+) (?<text>.*)", message="text", sessions=basket
    )
    assert proposal(["a up", "a down"], own).sessions == own.sessions
    without = own.model_copy(update={"sessions": SessionSection()})
    assert proposal(["a up", "a down"], without).sessions.by == "count"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("req.id", "req.id"),
        ("Basket", "Basket"),
        ("php_session_id", "php_session_id"),
        ("seconds", None),
    ],
)
def test_a_field_that_is_no_usual_id_shows_by_its_sessions_that_it_is_one(name, key):
    """Seconds group lines that are close, too, but begin and end with any line."""
    chance = random.Random(0)
    order = sorted(
        (number + 9 * step * chance.random(), step, number)
        for number in range(80)
        for step in range(4)
    )
    lines = []
    for place, (_, step, number) in enumerate(order):
        request = f"r{number}" if key else str(place // 4)
        fields = {
            "message": f"{'abcd'[step]} step",
            "pid": 7,
            "user": f"u{number % 5}",
            "level": "INFO",
        }
        parent, _, last = name.rpartition(".")
        lines.append(
            json.dumps(fields | ({parent: {last: request}} if parent else {last: request}))
        )
    assert proposal(lines, JSON).sessions.key_field == key


def test_the_best_key_is_taken_and_the_next_best_said():
    lines = [
        f"pid=8{number // 9} request {number:05x} is {step}"
        for number in range(99)
        for step in ("new", "up", "done")
    ]
    found = proposal(lines, load_format("plain"))
    assert re.findall(found.sessions.key_pattern, lines[0]) == ["00000"]
    assert "; next best: --key '" in found.reason
    assert "pid=" in found.reason.partition("next best")[2]


def test_lines_without_the_key_are_said():
    lines = [
        f"order {number} is {step}" if step else "tick"
        for number in range(60)
        for step in (0, 1, 2, 3, 4, 5, 6, 7, 8)
    ]
    assert (
        "89 % of 540 lines name one, 60 sessions of 8 lines (median), the others are in no session"
        in proposal(lines, load_format("plain")).reason
    )


def test_a_pid_that_is_the_same_in_nearly_all_lines_is_no_key():
    form = "2024-02-29 23:50:00.000 UTC [19] LOG:  C-0x55f0c{request}: step {step}"
    found = proposal(
        [line.replace("r", "") for line in requests(30, 4, form)], load_format("postgresql")
    )
    assert found.sessions.key_pattern == r"\bC-0x[0-9a-f]+"
    found = proposal(
        [line.replace("C-0x55f0cr", "") for line in requests(30, 4, form.replace("{request}", ""))],
        load_format("postgresql"),
    )
    assert found.sessions == SessionSection(size=100)
    assert "the field pid is no key, it is the same in nearly all lines" in found.reason


def test_lines_that_do_not_parse_count_for_nothing():
    lines = (
        requests(30, 4, '{{"message": "step {step}", "request": "{request}"}}')
        + ["no JSON", "[1]", "{}"] * 100
    )
    assert proposal(lines, JSON).sessions.key_field == "request"


def test_nothing_at_all():
    found = proposal([], load_format("plain"), lines=0)
    assert found.sessions == SessionSection(size=5)


def test_fields_around_records_stand_beside_each_of_them_through_two_layers():
    server = FormatSection(name="server", pattern=r"(?<level>[A-Z]+): (?<message>.*)")
    journal = FormatSection(name="journal", kind="json", message="text", inside=server)
    ship = FormatSection(name="ship", pattern=r"(?<pod>\w+) (?<message>.*)", inside=journal)
    lines = [
        f'p{place} {{"text": "LOG: one\\nLOG: two", "unit_id": "u{place}"}}' for place in range(3)
    ]
    fields = sample_fields(pl.Series("text", lines), ship)
    assert fields["message"].to_list() == ["one", "two"] * 3
    assert fields["unit_id"].to_list() == ["u0", "u0", "u1", "u1", "u2", "u2"]
