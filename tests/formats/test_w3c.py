"""W3C extended logs: columns by the line that names them, in any order, and anew within a file."""

import io
from datetime import UTC, date, datetime

import polars as pl
import pytest

from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.formats.recognition import recognise
from logllm.logs.reader import Reader

TODAY = date(2024, 8, 1)
IIS = "date time s-ip cs-method cs-uri-stem cs-uri-query c-ip cs(User-Agent) sc-status time-taken"
CLOUDFRONT = (
    "date time x-edge-location c-ip cs-method cs(Host) cs-uri-stem sc-status cs(User-Agent)"
)
AGENT = "Mozilla/5.0+(compatible;+MSIE+10.0)"


def head(fields):
    return [
        "#Software: Internet Information Services",
        "#Version: 1.0",
        "#Date: 2024-07-03 09:00:00",
        f"#Fields: {fields}",
    ]


def status(place):
    return 500 if place % 4 == 0 else 200


LOGS = {
    "iis": (
        head(IIS)
        + [
            f"2024-07-03 09:00:{at:02} 10.0.0.5 GET /p{at} - 10.1.0.7 {AGENT} {status(at)} {at}"
            for at in range(20)
        ]
    ),
    "another-order": (
        head("c-ip sc-status cs-uri-stem cs-method time date")
        + [f"10.1.0.7 {status(at)} /p{at} GET 09:00:{at:02} 2024-07-03" for at in range(20)]
    ),
    "short": (
        head("time cs-method cs-uri-stem sc-status")
        + [f"09:00:{at:02} GET /p{at} {status(at)}" for at in range(20)]
    ),
    "names-change": (
        head(IIS)
        + [
            f"2024-07-03 09:00:{at:02} 10.0.0.5 GET /p{at} - 10.1.0.7 {AGENT} {status(at)} {at}"
            for at in range(10)
        ]
        + head("date time cs-method cs-uri-stem sc-status")
        + [f"2024-07-03 09:00:{at:02} GET /p{at} {status(at)}" for at in range(10, 20)]
    ),
    "cloudfront": (
        ["#Version: 1.0", f"#Fields: {CLOUDFRONT}"]
        + [
            "\t".join(
                f"2024-07-03 09:00:{at:02} FRA2 10.1.0.7 GET shop.example /p{at} {status(at)}"
                f" {AGENT}".split(" ")
            )
            for at in range(20)
        ]
    ),
    "zeek": (
        [
            "#separator \\x09",
            "#fields\tts\tuid\tmethod\turi\tstatus_code\tuser_agent",
            "#types\ttime\tstring\tstring\tstring\tcount\tstring",
        ]
        + [
            f"{1719997200 + at}.000000\tCx{at}\tGET\t/p{at}\t{status(at)}\tMozilla/5.0 (X11)"
            for at in range(20)
        ]
        + ["#close\t2024-07-03-10-00-00"]
    ),
}


def read(described, lines, *, batch_lines=100_000):
    settings = PrepareSection(format=described, mask=MaskSection(rules="off"))
    reader = Reader(
        settings, today=TODAY, stdin=io.BytesIO("\n".join(lines).encode()), batch_lines=batch_lines
    )
    return pl.concat(list(reader.read(["-"]))), reader.tally.counts


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", LOGS)
def test_the_message_is_the_request_and_its_status(name):
    lines = LOGS[name]
    described = recognise(pl.Series(lines), today=TODAY).format
    records, counts = read(described, lines)
    assert described.name == "w3c"
    assert records["message"].to_list() == [f"GET /p{at} -> {status(at)}" for at in range(20)]
    assert records["time"].to_list() == [
        datetime(2024, 7, 3, 9, 0, at, tzinfo=UTC) for at in range(20)
    ]
    assert records["line"].to_list() == [
        number for number, line in enumerate(lines, 1) if not line.startswith("#")
    ]
    assert (counts["lines"], counts["headers"], counts["rejected"]) == (
        len(lines),
        len(lines) - 20,
        0,
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", LOGS)
def test_no_size_of_batch_changes_what_is_read(name):
    described = recognise(pl.Series(LOGS[name]), today=TODAY).format
    whole, counts = read(described, LOGS[name])
    parts, counts_of_parts = read(described, LOGS[name], batch_lines=3)
    assert whole.equals(parts)
    assert counts == counts_of_parts


def test_a_tail_is_read_by_the_columns_of_the_format():
    described = recognise(pl.Series(LOGS["iis"]), today=TODAY).format
    records, counts = read(described, LOGS["iis"][12:])
    assert records["message"][0] == "GET /p8 -> 500"
    assert counts["rejected"] == 0


def test_a_row_of_another_number_of_cells_is_a_reject():
    described = recognise(pl.Series(LOGS["iis"]), today=TODAY).format
    _, counts = read(described, [*LOGS["iis"], "2024-07-03 09:00:20 10.0.0.5 GET /p20 -"])
    assert counts["rejected"] == 1


@pytest.mark.parametrize(
    "lines",
    [
        [
            f'date=2024-07-03 time=09:00:{at:02} level=notice msg="session {at} is closed"'
            for at in range(20)
        ],
        [
            "Date,Time,Message",
            *(f"03.07.2024,09:00:{at:02},session {at} is closed" for at in range(20)),
        ],
        [
            f'{{"date": "2024/07/03", "time": "09:00:{at:02}", "message": "session {at} is'
            ' closed"}'
            for at in range(20)
        ],
    ],
    ids=["logfmt", "csv", "json"],
)
def test_a_day_and_a_time_of_day_are_one_time(lines):
    described = recognise(pl.Series(lines), today=TODAY).format
    records, _ = read(described, lines)
    assert (described.day.lower(), described.time.lower()) == ("date", "time")
    assert records["time"].to_list() == [
        datetime(2024, 7, 3, 9, 0, at, tzinfo=UTC) for at in range(20)
    ]
