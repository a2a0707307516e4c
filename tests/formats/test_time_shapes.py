"""Times wherever they stand and however they are written: lines in, time and message of the first record out."""

from datetime import date

import polars as pl
import pytest

from logllm.formats.recognition import recognise
from logllm.formats.time_shapes import timed_format
from logllm.logs.fields import read_fields
from logllm.logs.times import parse_times

TODAY = date(2026, 11, 26)

LOGS = {
    "redis": (
        ["12345:M 03 Jul 2024 09:00:0%d.123 * Ready to accept connections", "12345:M 03 Jul 2024 09:00:0%d.223 # Warning no memory"],
        "2024-07-03 09:00:00",
        "* Ready to accept connections",
    ),
    "ruby": (
        ["I, [2024-07-03T09:00:0%d.123456 #123]  INFO -- : Started GET /", "E, [2024-07-03T09:00:0%d.223456 #123] ERROR -- : failed x"],
        "2024-07-03 09:00:00",
        "I:  INFO -- : Started GET /",
    ),
    "jul": (["Jul 03, 2024 9:00:0%d AM com.shop.Main run", "INFO: order %d stored"], "2024-07-03 09:00:00", "com.shop.Main run"),
    "rfc2822": (["Wed, 03 Jul 2024 09:00:0%d +0200 order stored"], "2024-07-03 07:00:00", "order stored"),
    "apacheish": (["[03/Jul/2024:09:00:0%d +0200] order stored"], "2024-07-03 07:00:00", "order stored"),
    "slashes": (["2024/07/03 09:00:0%d [error] 12#0: *1 open() failed"], "2024-07-03 09:00:00", "error:  12#0: *1 open() failed"),
    "dots": (["03.07.2024 09:00:0%d INFO order stored"], "2024-07-03 09:00:00", "INFO:  order stored"),
    "us": (["07/13/2024 09:00:0%d AM order stored"], "2024-07-13 09:00:00", "order stored"),
    "eu": (["13/07/2024 09:00:0%d order stored"], "2024-07-13 09:00:00", "order stored"),
    "date_ampm": (["Wed 03 Jul 2024 09:00:0%d AM CEST backup started"], "2024-07-03 07:00:00", "backup started"),
    "date_new": (["Wed Jul  3 09:00:0%d AM CEST 2024 backup started"], "2024-07-03 07:00:00", "backup started"),
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
    "oldmysql": (["240703  9:00:0%d [ERROR] InnoDB: failed"], "2024-07-03 09:00:00", "ERROR:  InnoDB: failed"),
    "uwsgi": (
        ["[pid: 123|app: 0|req: 1/1] 10.0.0.1 () {40 vars in 600 bytes} [Wed Jul  3 09:00:0%d 2024] GET / => generated 10 bytes"],
        "2024-07-03 09:00:00",
        "GET / => generated 10 bytes",
    ),
    "celery": (
        ["[2024-07-03 09:00:0%d,123: INFO/MainProcess] Task x received"],
        "2024-07-03 09:00:00",
        "INFO/MainProcess] Task x received",
    ),
    "gunicorn": (["[2024-07-03 09:00:0%d +0000] [7] [INFO] Booting worker"], "2024-07-03 09:00:00", "INFO:  Booting worker"),
    "mongo": (
        ["2024-07-03T09:00:0%d.123+0200 I NETWORK  [conn12] end connection"],
        "2024-07-03 07:00:00",
        "I:  NETWORK  [conn12] end connection",
    ),
    "timeonly": (["09:00:0%d INFO order stored"], "2026-11-26 09:00:00", "INFO:  order stored"),
    "compact": (["20240703 09:00:0%d order stored", "20240703 09:01:0%d order lost"], "2024-07-03 09:00:00", "order stored"),
    "level_colon": (
        ["WARNING 2024-07-03 09:00:0%d,123 views 12 140 Not Found: /x"],
        "2024-07-03 09:00:00",
        "WARNING:  views 12 140 Not Found: /x",
    ),
    "csvish": (["2024-07-03 09:00:0%d;INFO;order stored"], "2024-07-03 09:00:00", "INFO:  order stored"),
    "sqlserver": (["2024-07-03 09:00:0%d.12 spid12s     Starting up database"], "2024-07-03 09:00:00", "spid12s     Starting up database"),
    "haproxy": (
        ["Jul  3 09:00:0%d host haproxy[123]: 10.0.0.1:1234 [03/Jul/2024:09:00:0%d.123] front back/s 0/0/1"],
        "2024-07-03 09:00:00",
        "front back/s 0/0/1",
    ),
    "websphere": (
        ["[7/3/24 9:00:0%d:123 CEST] 00000001 WsServerImpl  A   WSVR0001I: Server open"],
        "2024-07-03 07:00:00",
        "00000001 WsServerImpl  A   WSVR0001I: Server open",
    ),
    "tomcat": (
        ["03-Jul-2024 09:00:0%d.123 INFO [main] org.apache.catalina.startup.Catalina.start Server startup in 10 ms"],
        "2024-07-03 09:00:00",
        "INFO:  org.apache.catalina.startup.Catalina.start Server startup in 10 ms",
    ),
    "epochb": (["[171999720%d] HOST ALERT: db;DOWN;x"], "2024-07-03 09:00:00", "HOST ALERT: db;DOWN;x"),
    "dmesgT": (["[Wed Jul  3 09:00:0%d 2024] usb 1-1: new device"], "2024-07-03 09:00:00", "usb 1-1: new device"),
    "nohour": (["2024-07-03 09:0%d order stored"], "2024-07-03 09:00:00", "order stored"),
}
"""Lines with %d for the last digit of the second, the first time in UTC, the first message."""


def log(lines):
    return pl.Series([line.replace("%d", str(digit)) for digit in range(10) for line in lines])


@pytest.mark.parametrize(("lines", "time", "message"), LOGS.values(), ids=LOGS)
def test_times_are_found(lines, time, message):
    described = timed_format(log(lines))
    fields = read_fields(log(lines), described)
    first = parse_times(fields.time, described.time_format, today=TODAY)[0]
    assert (f"{first:%Y-%m-%d %H:%M:%S}", fields.message[0]) == (time, message)


def test_what_stands_before_a_time_alone_begins_the_message():
    recognition = recognise(log(["# Time: 2024-02-29T23:50:0%d.000000Z", "# User@Host: app[app]", "SELECT 1;"]), today=TODAY)
    fields = read_fields(pl.Series(["# Time: 2024-02-29T23:50:00.000000Z"]), recognition.format)
    assert recognition.share == 1
    assert fields.message.to_list() == ["# Time:"]


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
