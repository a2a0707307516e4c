"""Times wherever they stand and however they are written: lines in, time and message of the first
record out."""

from datetime import date

import polars as pl
import pytest

from logllm.config.prepare import PrepareSection
from logllm.formats.recognition import recognise
from logllm.formats.timed.time_shapes import timed_format
from logllm.logs.fields import read_fields
from logllm.logs.reader import Reader
from logllm.logs.times import parse_times

TODAY = date(2026, 11, 26)

LOGS = {
    "redis": (
        [
            "12345:M 03 Jul 2024 09:00:0%d.123 * Ready to accept connections",
            "12345:M 03 Jul 2024 09:00:0%d.223 # Warning no memory",
        ],
        "2024-07-03 09:00:00",
        "* Ready to accept connections",
    ),
    "ruby": (
        [
            "I, [2024-07-03T09:00:0%d.123456 #123]  INFO -- : Started GET /",
            "E, [2024-07-03T09:00:0%d.223456 #123] ERROR -- : failed x",
        ],
        "2024-07-03 09:00:00",
        "I:  INFO -- : Started GET /",
    ),
    "jul": (
        ["Jul 03, 2024 9:00:0%d AM com.shop.Main run", "INFO: order %d stored"],
        "2024-07-03 09:00:00",
        "com.shop.Main run",
    ),
    "rfc2822": (
        ["Wed, 03 Jul 2024 09:00:0%d +0200 order stored"],
        "2024-07-03 07:00:00",
        "order stored",
    ),
    "apacheish": (
        ["[03/Jul/2024:09:00:0%d +0200] order stored"],
        "2024-07-03 07:00:00",
        "order stored",
    ),
    "slashes": (
        ["2024/07/03 09:00:0%d [error] 12#0: *1 open() failed"],
        "2024-07-03 09:00:00",
        "error:  12#0: *1 open() failed",
    ),
    "dots": (
        ["03.07.2024 09:00:0%d INFO order stored"],
        "2024-07-03 09:00:00",
        "INFO:  order stored",
    ),
    "us": (["07/13/2024 09:00:0%d AM order stored"], "2024-07-13 09:00:00", "order stored"),
    "eu": (["13/07/2024 09:00:0%d order stored"], "2024-07-13 09:00:00", "order stored"),
    "date_ampm": (
        ["Wed 03 Jul 2024 09:00:0%d AM CEST backup started"],
        "2024-07-03 07:00:00",
        "backup started",
    ),
    "date_new": (
        ["Wed Jul  3 09:00:0%d AM CEST 2024 backup started"],
        "2024-07-03 07:00:00",
        "backup started",
    ),
    "squid": (
        ["171999720%d.123    456 10.0.0.1 TCP_MISS/200 GET http://x"],
        "2024-07-03 09:00:00",
        "456 10.0.0.1 TCP_MISS/200 GET http://x",
    ),
    "oracle": (
        ["03-JUL-2024 09:00:0%d * (CONNECT_DATA=(SID=x)) * establish * 0"],
        "2024-07-03 09:00:00",
        "* (CONNECT_DATA=(SID=x)) * establish * 0",
    ),
    "oldmysql": (
        ["240703  9:00:0%d [ERROR] InnoDB: failed"],
        "2024-07-03 09:00:00",
        "ERROR:  InnoDB: failed",
    ),
    "uwsgi": (
        [
            "[pid: 123|app: 0|req: 1/1] 10.0.0.1 () {40 vars in 600 bytes} [Wed Jul  3 09:00:0%d"
            " 2024] GET / => generated 10 bytes"
        ],
        "2024-07-03 09:00:00",
        "GET / => generated 10 bytes",
    ),
    "celery": (
        ["[2024-07-03 09:00:0%d,123: INFO/MainProcess] Task x received"],
        "2024-07-03 09:00:00",
        "INFO/MainProcess] Task x received",
    ),
    "gunicorn": (
        ["[2024-07-03 09:00:0%d +0000] [7] [INFO] Booting worker"],
        "2024-07-03 09:00:00",
        "INFO:  Booting worker",
    ),
    "mongo": (
        ["2024-07-03T09:00:0%d.123+0200 I NETWORK  [conn12] end connection"],
        "2024-07-03 07:00:00",
        "I:  NETWORK  [conn12] end connection",
    ),
    "timeonly": (["09:00:0%d INFO order stored"], "2026-11-26 09:00:00", "INFO:  order stored"),
    "compact": (
        ["20240703 09:00:0%d order stored", "20240703 09:01:0%d order lost"],
        "2024-07-03 09:00:00",
        "order stored",
    ),
    "level_colon": (
        ["WARNING 2024-07-03 09:00:0%d,123 views 12 140 Not Found: /x"],
        "2024-07-03 09:00:00",
        "WARNING:  views 12 140 Not Found: /x",
    ),
    "csvish": (
        ["2024-07-03 09:00:0%d;INFO;order stored"],
        "2024-07-03 09:00:00",
        "INFO:  order stored",
    ),
    "sqlserver": (
        ["2024-07-03 09:00:0%d.12 spid12s     Starting up database"],
        "2024-07-03 09:00:00",
        "spid12s     Starting up database",
    ),
    "haproxy": (
        [
            "Jul  3 09:00:0%d host haproxy[123]: 10.0.0.1:1234 [03/Jul/2024:09:00:0%d.123] front"
            " back/s 0/0/1"
        ],
        "2024-07-03 09:00:00",
        "front back/s 0/0/1",
    ),
    "websphere": (
        ["[7/3/24 9:00:0%d:123 CEST] 00000001 WsServerImpl  A   WSVR0001I: Server open"],
        "2024-07-03 07:00:00",
        "00000001 WsServerImpl  A   WSVR0001I: Server open",
    ),
    "tomcat": (
        [
            "03-Jul-2024 09:00:0%d.123 INFO [main] org.apache.catalina.startup.Catalina.start"
            " Server startup in 10 ms"
        ],
        "2024-07-03 09:00:00",
        "INFO:  org.apache.catalina.startup.Catalina.start Server startup in 10 ms",
    ),
    "epochb": (
        ["[171999720%d] HOST ALERT: db;DOWN;x"],
        "2024-07-03 09:00:00",
        "HOST ALERT: db;DOWN;x",
    ),
    "dmesgT": (
        ["[Wed Jul  3 09:00:0%d 2024] usb 1-1: new device"],
        "2024-07-03 09:00:00",
        "usb 1-1: new device",
    ),
    "unreal": (
        [
            "[2025.01.01-10.00.0%d:123][  %d]LogNet: joined",
            "[2025.01.01-10.00.0%d:125][1%d]LogTemp: Warning: late",
        ],
        "2025-01-01 10:00:00",
        "LogNet: joined",
    ),
    "dots_of_the_clock": (
        ["2024-07-03-10.00.0%d.123456 I5 LEVEL: Info"],
        "2024-07-03 10:00:00",
        "I5 LEVEL: Info",
    ),
    "unknown_zone": (
        ["2024-07-03 09:00:0%d XYZT [worker] order stored"],
        "2024-07-03 09:00:00",
        "order stored",
    ),
    "unknown_before_a_year": (
        ["Wed Jul 3 09:00:0%d QRS 2024 - order stored"],
        "2024-07-03 09:00:00",
        "order stored",
    ),
    "no_zone_but_a_verb": (
        ["2024-07-03 09:00:0%d GET /orders"],
        "2024-07-03 09:00:00",
        "GET /orders",
    ),
    "words_differ": (
        ["2024-07-03 09:00:0%d INIT up", "2024-07-03 09:00:0%d XYZT up"],
        "2024-07-03 09:00:00",
        "INIT up",
    ),
    "days_go_on": (["0%d/07/2024 09:00:00 order stored"], "2024-07-01 09:00:00", "order stored"),
    "numbers_on_both_sides": (
        ["web:8080:7 2024-07-03 09:00:0%d.123 4100 INFO order stored"],
        "2024-07-03 09:00:00",
        "INFO:  order stored",
    ),
    "nohour": (["2024-07-03 09:0%d order stored"], "2024-07-03 09:00:00", "order stored"),
}
"""Lines with %d for the last digit of the second, the first time in UTC, the first message."""


def log(lines):
    digits = range(1 if any(line.startswith("0%d/") for line in lines) else 0, 10)
    return pl.Series([line.replace("%d", str(digit)) for digit in digits for line in lines])


@pytest.mark.parametrize(("lines", "time", "message"), LOGS.values(), ids=LOGS)
def test_times_are_found(lines, time, message):
    described = timed_format(log(lines))
    fields = read_fields(log(lines), described)
    first = parse_times(fields.time, described.time_format, today=TODAY)[0]
    assert (f"{first:%Y-%m-%d %H:%M:%S}", fields.message[0]) == (time, message)


ONLY_A_TIME = {
    "date": "Wed Jul  3 09:00:0%d UTC 2024",
    "oracle": "2024-07-03T09:00:0%d.123456+02:00",
    "oracle_before_12c": "Wed Jul 03 09:00:0%d 2024",
    "in_signs": "==== 2024-07-03 09:00:0%d ====",
}


@pytest.mark.parametrize("time", ONLY_A_TIME.values(), ids=ONLY_A_TIME)
def test_a_line_that_is_only_a_time_begins_a_record_whose_message_is_below(time, tmp_path):
    text = log(
        [time, "Thread 1 advanced to log 7", "  Current log# 2", time, "Completed checkpoint"]
    )
    described = recognise(text, today=TODAY).format
    (tmp_path / "alert.log").write_text("\n".join([*text, time.replace("%d", "9")]) + "\n")
    settings = PrepareSection.read(
        {"format": described.model_dump(), "mask": {"rules": "off"}}, source="test"
    )
    reader = Reader(settings, today=TODAY)
    records = pl.concat(reader.read([tmp_path / "alert.log"]))
    assert set(records["message"]) == {
        "Thread 1 advanced to log 7\nCurrent log# 2",
        "Completed checkpoint",
    }
    assert records["time"].dt.minute().to_list() == [0] * 20
    # The last one, which nothing follows.
    assert (reader.tally.counts["rejected"], reader.tally.counts["empty"]) == (
        1,
        1,
    )


@pytest.mark.parametrize(
    ("dates", "first"),
    [
        (["03/07/2024"], "the month"),
        (["03/07/2024", "04/07/2024"], "the day"),
        (["13/07/2024"], None),
        (["07-13-2024"], None),
    ],
    ids=["none", "order", "day", "month"],
)
def test_a_guess_of_day_or_month_is_said(dates, first):
    text = pl.Series(
        [f"{date} 09:00:0{second} order stored" for date in dates for second in range(9)]
    )
    notes = [note for note in recognise(text, today=TODAY).notes if "first number" in note]
    assert [
        note.startswith(f"{first} is taken as the first number of times such as {dates[0]}")
        for note in notes
    ] == [True] * bool(first)


def test_what_stands_before_a_time_alone_begins_the_message():
    recognition = recognise(
        log(["# Snapshot: 2024-02-29T23:50:0%d.000000Z", "state idle", "SELECT 1;"]), today=TODAY
    )
    fields = read_fields(pl.Series(["# Snapshot: 2024-02-29T23:50:00.000000Z"]), recognition.format)
    assert recognition.share == 1
    assert fields.message.to_list() == ["# Snapshot:"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("2024-07-03 09:00:0%d,000 ERROR [main] com.shop.Shop - broke", "log4j"),
        ("Jul  3 09:00:0%d host app[7]: up at 2024-07-03 09:00:00", "syslog"),
        ('{"text": "up since yesterday", "at": "2024-07-03T09:00:0%dZ"}', "json"),
        ("%d little words that say nothing", "plain"),
    ],
)
def test_formats_that_tell_more_are_taken(line, name):
    assert recognise(log([line]), today=TODAY).format.name == name


def test_times_that_only_some_text_speaks_of_are_none():
    lines = ["some words", "we met on 03 Jul 2024 09:00 in town", "other words", "and went"]
    assert recognise(pl.Series(lines * 10), today=TODAY).format.name == "plain"


@pytest.mark.parametrize("often", [2, 9], ids=["half of the lines", "nine of ten lines"])
def test_times_that_a_text_speaks_of_are_no_log_s_own(often):
    said = [
        f"worker 7: order {at} is due at 2024-07-{1 + at * 7 % 28:02} 10:00:00 and late"
        for at in range(40)
    ]
    lines = [
        line if at % 10 < often else f"worker 7: stored order {at}" for at, line in enumerate(said)
    ]
    assert recognise(pl.Series(lines), today=TODAY).format.name == "plain"
