"""Logs as programs that everyone has write them: which format is taken, what the records are, and
when they were."""

import io
from datetime import date

import polars as pl
import pytest

from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.formats.recognition import recognise
from logllm.logs.reader import Reader

TODAY = date(2024, 8, 1)
TIMES = range(12)
# lines with the second at which they are written as @S; the format; the messages of these lines;
# how many have a time
PROGRAMS = {
    "MariaDB's slow log, whose time is written once a second": (
        (
            "# Time: 240703  9:00:@S\n# User@Host: app[app] @ web [10.0.0.7]\n# Query_time:"
            " 7.1\nSELECT 1;\n# User@Host: job[job] @ web [10.0.0.8]\nSELECT 2;"
        ),
        "mysql-slow",
        [
            "# User@Host: app[app] @ web [10.0.0.7]\n# Query_time: 7.1\nSELECT 1;",
            "# User@Host: job[job] @ web [10.0.0.8]\nSELECT 2;",
        ],
        1,
    ),
    "Rails in development": (
        (
            'Started GET "/o" for 10.0.0.7 at 2024-07-03 09:00:@S +0000\nProcessing by Orders#show'
            " as HTML\nCompleted 200 OK in 7ms\n\n"
        ),
        "rails",
        [
            'Started GET "/o" for 10.0.0.7\nProcessing by Orders#show as HTML\nCompleted 200 OK'
            " in 7ms"
        ],
        1,
    ),
    "Rails in production, with a failure": (
        (
            'I, [2024-07-03T09:00:@S.123456 #7]  INFO -- : Started GET "/o" for 10.0.0.7 at'
            " 2024-07-03 09:00:@S +0000\nF, [2024-07-03T09:00:@S.123456 #7] FATAL -- :   \nF,"
            " [2024-07-03T09:00:@S.123456 #7] FATAL -- : PoolError (no room):\napp/order.rb:7"
        ),
        "ruby",
        [
            'INFO:  Started GET "/o" for 10.0.0.7 at 2024-07-03 09:00:@S +0000',
            "FATAL:",
            "FATAL:  PoolError (no room):\napp/order.rb:7",
        ],
        3,
    ),
    "Elasticsearch's slow log": (
        "[2024-07-03T09:00:@S,123][WARN ][i.s.s.query              ] [node-1] [orders][0] took[7s]",
        "elasticsearch",
        ["WARN:  [orders][0] took[7s]"],
        1,
    ),
    "logcat -v brief": (
        "E/AndroidRuntime( 4711): FATAL EXCEPTION: main",
        "android-brief",
        ["E:  FATAL EXCEPTION: main"],
        0,
    ),
    "logcat with a year, a zone and a user": (
        "2024-07-03 09:00:@S.123 +0000  root   170 12395 E AndroidRuntime: FATAL EXCEPTION: main",
        "android",
        ["FATAL EXCEPTION: main"],
        1,
    ),
    "Celery": (
        "[2024-07-03 09:00:@S,123: ERROR/ForkPoolWorker-7] Task shop.pay failed\nKeyError: 7",
        "celery",
        ["ERROR:  Task shop.pay failed\nKeyError: 7"],
        1,
    ),
    "pm2 around JSON": (
        '0|api  | {"level":"warn","time":"2024-07-03T09:00:@SZ","msg":"low on stock"}',
        "json inside word-json",
        ["low on stock"],
        1,
    ),
    "Spring Boot with Sleuth": (
        "2024-07-03 09:00:@S.123  INFO [shop,64ab,64ac] 1 --- [main] com.shop.Orders : stored",
        "spring-boot",
        ["stored"],
        1,
    ),
    "the kernel in a syslog file": (
        "Jul  3 09:00:@S host kernel: [   7.123456] eth0: link up",
        "syslog",
        ["eth0: link up"],
        1,
    ),
    "dmesg": (
        "[   7.123456] eth0: link up\n[ 1007.123456] eth0: link down",
        "dmesg",
        ["eth0: link up", "eth0: link down"],
        0,
    ),
    "dmesg --time-format iso": (
        "2024-07-03T09:00:@S,123456+00:00 Command line: root=/dev/sda1 ro",
        "timed",
        ["Command line: root=/dev/sda1 ro"],
        1,
    ),
    "env_logger": (
        "[2024-07-03T09:00:@SZ INFO  shop::orders] stored",
        "env-logger",
        ["INFO:  stored"],
        1,
    ),
    "logrus on a terminal": ("WARN[0007] low on stock", "logrus", ["WARN:  low on stock"], 0),
    "a GitLab job with times": (
        "2024-07-03T09:00:@S.123456Z 01E+npm WARN deprecated",
        "gitlab-ci",
        ["npm WARN deprecated"],
        1,
    ),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_s_log_is_read_as_it_is_meant(program):
    block, name, messages, timed = PROGRAMS[program]
    lines = (
        [line for at in TIMES for line in block.replace("@S", f"{at:02}").split("\n")]
        if timed
        else block.split("\n") * len(TIMES)
    )
    described = recognise(pl.Series(lines), today=TODAY).format
    records, counts = read(described, lines)
    assert (described.name, counts["rejected"]) == (name, 0)
    written = [
        message.replace("@S", f"{at:02}") if timed else message
        for at in TIMES
        for message in messages
    ]
    assert records["message"].to_list() == written
    assert records["time"].count() == timed * len(TIMES)
    assert records["time"].drop_nulls().dt.date().unique().to_list() == (
        [date(2024, 7, 3)] if timed else []
    )


def read(described, lines):
    settings = PrepareSection(format=described, mask=MaskSection(rules="off"))
    reader = Reader(settings, today=TODAY, stdin=io.BytesIO("\n".join(lines).encode()))
    return pl.concat(list(reader.read(["-"]))), reader.tally.counts
