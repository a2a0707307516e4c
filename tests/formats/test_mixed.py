"""Lines of several kinds in one log: each a record of its own, none part of another one."""

import io
import json
from datetime import date

import polars as pl
import pytest

from logllm.config.format import FormatSection
from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.formats.description import load_format
from logllm.formats.recognition import recognise
from logllm.logs.reader import Reader

TODAY = date(2024, 8, 1)
PLACES = range(24)
TRACE = [
    "java.io.IOException: full",
    "\tat com.shop.Disk.put(Disk.java:7)",
    "Caused by: java.lang.Error: no",
    "\t... 3 more",
]


def access(at):
    return (
        f'10.0.0.{at} - - [03/Jul/2024:09:00:{at:02} +0000] "GET /o HTTP/1.1"'
        f' {500 if at % 8 == 0 else 200} 7 "-" "curl/8"'
    )


def log4j(at):
    return f"2024-07-03 09:00:{at:02},123 INFO [main] com.shop.Orders - order {at} stored"


def spring(at):
    return f"2024-07-03 09:00:{at:02}.123  INFO 1 --- [main] com.shop.Orders : order {at} stored"


KINDS = {
    "access": (access, '"GET /o HTTP/1.1" 200 7'),
    "nginx-error": (
        lambda at: f"2024/07/03 09:00:{at:02} [error] 31#31: *{at} upstream timed out",
        "upstream timed out",
    ),
    "klog": (
        lambda at: f"I0703 09:00:{at:02}.123456       7 leader.go:12] lease {at} renewed",
        "renewed",
    ),
    "uvicorn": (
        lambda at: f'INFO:     10.0.0.{at}:51234 - "GET /o HTTP/1.1" 200 OK',
        'INFO:  "GET /o HTTP/1.1" 200 OK',
    ),
    "timed": (lambda at: f"[2024-07-03 09:00:{at:02}] worker {at} is up", "is up"),
    "json": (
        lambda at: json.dumps(
            {
                "time": f"2024-07-03T09:00:{at:02}Z",
                "level": "warn" if at % 4 else "info",
                "msg": f"seen {at}",
            }
        ),
        "seen",
    ),
}


def read(described, lines, *, batch_lines=100_000):
    settings = PrepareSection(format=described, mask=MaskSection(rules="off"))
    reader = Reader(
        settings, today=TODAY, stdin=io.BytesIO("\n".join(lines).encode()), batch_lines=batch_lines
    )
    return pl.concat(list(reader.read(["-"]))), reader.tally.counts


def recognised(lines):
    return recognise(pl.Series(lines), today=TODAY).format


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "around",
    [
        pytest.param("{}", id="alone"),
        pytest.param("app-1  | {}", id="compose", marks=pytest.mark.real),
        pytest.param("2024-07-03T09:00:00Z stdout F {}", id="cri", marks=pytest.mark.real),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_lines_of_another_kind_are_records_of_their_own(kind, around):
    other, text = KINDS[kind]
    lines = [
        line
        for at in PLACES
        for line in (log4j(at), *(TRACE if at == 5 else ()), *([other(at)] if at % 3 == 0 else ()))
    ]
    lines = [around.format(line) for line in lines]
    described = recognised(lines)
    records, counts = read(described, lines)
    assert described.name.startswith("log4j")
    assert [beside.name for beside in described.innermost.beside] == [kind]
    assert (records.height, counts["of_other_kinds"], counts["rejected"]) == (32, 8, 0)
    assert records["message"].str.contains(text, literal=True).sum() >= 6
    assert records.filter(pl.col("message").str.contains("\n"))["message"].to_list() == [
        "order 5 stored\n" + "\n".join(line.strip() for line in TRACE)
    ]


def test_a_log_of_which_no_kind_is_half_is_read_by_all_of_its_kinds():
    lines = [
        line
        for at in PLACES
        for line in (access(at), log4j(at), *TRACE[: at % 3], KINDS["klog"][0](at))
    ]
    described = recognised(lines)
    records, counts = read(described, lines)
    assert {described.name, *(other.name for other in described.beside)} == {
        "access",
        "log4j",
        "klog",
    }
    assert (records.height, counts["rejected"]) == (72, 0)


def test_further_lines_belong_to_the_kind_that_has_some():
    error = "[2024-07-03 09:00:07,123] ERROR in app: Exception on /o [GET]"
    lines = [
        line
        for at in PLACES
        for line in (
            access(at),
            *(
                [error, "Traceback (most recent call last):", "ValueError: x"]
                if at % 8 == 0
                else ()
            ),
        )
    ]
    lines += ["words of nobody"]
    records, counts = read(recognised(lines), lines)
    assert records["message"].str.contains("in app: .*\nTraceback.*\nValueError: x").sum() == 3
    assert (records.height, counts["rejected"]) == (27, 1)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "further",
    [
        TRACE,
        [
            "select *",
            "from orders",
            "where day > '2024-01-01 10:00:00'",
            "'2024-01-01 10:00:00', 7)",
            "-- 2024-01-01 10:00:00",
        ],
        ["{", '  "time": "2024-01-01T10:00:00Z",', '  "level": "INFO"', "}"],
        ['{"id": 7, "time": "2024-01-01T10:00:00Z"}'],
        ["  2024-01-01 10:00:00 | 7", "+----+", "| 10.0.0.7 - - [03/Jul/2024:09:00:00 +0000] |"],
        ["ERROR:  relation does not exist", "LINE 1: select", "INFO about nothing"],
    ],
    ids=["trace", "sql", "json", "object", "table", "server's words"],
)
def test_what_a_record_quotes_is_a_part_of_it(further):
    lines = [line for at in range(60) for line in (log4j(at), *(further if at == 3 else ()))]
    described = recognised(lines)
    records, counts = read(described, lines)
    assert described.beside == ()
    assert (records.height, counts["of_other_kinds"], counts["rejected"]) == (60, 0, 0)


def test_a_record_whose_first_line_says_nothing_has_its_further_lines():
    head = "2024-07-03 09:00:00.124 DEBUG 1 --- [main] org.hibernate.SQL : "
    lines = [
        line
        for at in PLACES
        for line in (spring(at), *([head, "    select a", "    from b"] if at % 2 else ()))
    ]
    records, counts = read(recognised(lines), lines)
    assert (records.height, counts["rejected"]) == (36, 0)
    assert records["message"].str.contains("org.hibernate.SQL :\nselect a\nfrom b").sum() == 12


@pytest.mark.sampled(3)
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("batch_lines", [1, 2, 5])
def test_kinds_that_nobody_named_are_records_however_lines_come(batch_lines, inside):
    lines = [
        line
        for at in PLACES
        for line in (
            log4j(at),
            *TRACE[: at % 3],
            *([access(at), "more of it"] if at % 4 == 0 else ()),
        )
    ]
    described = load_format("log4j")
    if inside:
        lines = [f"app-1  | {line}" for line in lines]
        described = load_format("compose").model_copy(update={"inside": described})
    records, counts = read(described, lines)
    parts, counts_of_parts = read(described, lines, batch_lines=batch_lines)
    assert (records.height, counts["of_other_kinds"], counts["rejected"]) == (30, 6, 0)
    assert records["message"].to_list()[1] == access(0) + "\nmore of it"
    assert records.equals(parts)
    assert counts == counts_of_parts


def test_text_below_a_head_may_look_like_anything():
    lines = [
        line
        for at in PLACES
        for line in (
            f"[ 07-03 09:00:{at:02}.123  100: 200 I/Sync ]",
            f"2024-07-03 10:00:00 sync {at} done",
            "",
        )
    ]
    described = recognised(lines)
    records, counts = read(described, lines)
    assert (described.name, records.height, counts["of_other_kinds"]) == ("android-long", 24, 0)


def test_what_is_beside_a_format_is_of_lines():
    rows = FormatSection(name="rows", kind="csv")
    with pytest.raises(ValueError, match="line by line"):
        FormatSection(name="own", kind="json", beside=(rows,))


@pytest.mark.real
def test_services_of_one_compose_file_are_read_each_by_its_own_format():
    services = {
        "web": access,
        "db": lambda at: (
            f"2024-07-03 09:00:{at:02}.123 UTC [{40 + at}] LOG:  checkpoint {at} starting: time"
        ),
        "cache": lambda at: (
            f"1:M 03 Jul 2024 09:00:{at:02}.123 * {at} changes in 60 seconds. Saving..."
        ),
    }
    lines = [f"{name}-1  | {line(at)}" for at in PLACES for name, line in services.items()]
    records, counts = read(recognised(lines), lines)
    assert (records.height, counts["rejected"], records["time"].null_count()) == (72, 0, 0)
    assert (
        records["message"]
        .str.contains(r"^(?:\"GET /o|LOG:  checkpoint|\* \d+ changes in 60 seconds)")
        .all()
    )


@pytest.mark.parametrize(
    "line",
    [
        "[WARNING]  (7) : Server shop/web1 is DOWN, reason: Layer4 timeout",
        "WARN  [main] 2024-07-03 09:00:07,123 Shop.java:7 - pool is full",
        "7:M 03 Jul 2024 09:00:07.123 * Ready to accept connections",
    ],
    ids=["level in brackets", "level before a time", "redis"],
)
def test_a_line_that_begins_as_a_program_s_records_do_goes_on_with_nothing(line):
    lines = [log4j(at) for at in PLACES]
    lines.insert(7, line)
    records, counts = read(load_format("log4j"), lines)
    assert (records.height, counts["of_other_kinds"], records["line"].to_list()[7]) == (25, 1, 8)


def test_a_line_that_holds_a_time_alone_is_a_reject_and_ends_the_record_before():
    lines = [log4j(0), "2024-07-03 09:00:01,000", "\tat com.shop.Disk.put(Disk.java:7)", log4j(2)]
    records, counts = read(load_format("log4j"), lines)
    assert records["message"].to_list() == ["order 0 stored", "order 2 stored"]
    assert counts["rejected"] == 2


def test_a_supervisor_s_lines_are_beside_its_server_s_however_many_they_are():
    lines = []
    for at in PLACES:
        lines.append(
            f"2024-07-03 09:00:{at:02}.123 UTC [{40 + at % 4}] LOG:  checkpoint {at} starting: time"
        )
        lines += [
            f"2024-07-03 09:00:{at:02},123 INFO: no action. I am (demo-{at % 3}), the leader"
        ] * (at % 2)
        lines += [
            f"2024-07-03 09:00:{at:02}.123 UTC [{40 + at % 4}] STATEMENT:  select 1",
            "\tfrom x",
        ] * (at % 3 == 0)
    described = recognised(lines)
    records, counts = read(described, lines)
    assert (described.name, described.sessions.key_field) == ("postgresql", "pid")
    assert (
        records.height,
        counts["of_other_kinds"],
        counts["rejected"],
        records["time"].null_count(),
    ) == (44, 12, 0, 0)


def test_times_beside_a_format_without_any_are_read():
    lines = [
        line
        for at in PLACES
        for line in (KINDS["uvicorn"][0](at), *([log4j(at)] if at % 4 == 0 else ()))
    ]
    described = recognised(lines)
    records, _ = read(described, lines)
    assert (described.name, described.time, records["time"].count()) == ("uvicorn", None, 6)


def test_times_without_a_year_are_of_the_year_that_those_beside_them_say():
    lines = [
        line
        for at in PLACES
        for line in (access(at), *([KINDS["klog"][0](at)] if at % 4 == 0 else ()))
    ]
    recognition = recognise(pl.Series(lines), today=date(2026, 8, 1))
    records, _ = read(recognition.format, lines)
    assert records["time"].dt.year().unique().to_list() == [2024]
    assert any(
        note.startswith("times have no year, such as 0703 09:00:00.123456: it is that")
        for note in recognition.notes
    )


def test_what_django_says_of_a_failed_request_is_no_part_of_the_request_before():
    failure = [
        "Internal Server Error: /o",
        "Traceback (most recent call last):",
        '  File "shop.py", line 7, in o',
        "KeyError: 7",
    ]
    lines = [
        line
        for at in PLACES
        for line in (
            f'[03/Jul/2024 09:00:{at:02}] "GET /o HTTP/1.1" 200 7',
            *(failure if at % 6 == 0 else ()),
        )
    ]
    records, counts = read(recognised(lines), lines)
    assert (records.height, counts["rejected"]) == (28, 0)
    assert records["message"].str.starts_with("Internal Server Error: /o\nTraceback").sum() == 4
