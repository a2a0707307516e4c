"""The format of some lines: lines in, format, fields and sessions out."""

import gzip
import io
import json
import time
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.datasets.settings import suited
from logllm.formats.description import known, load_format
from logllm.formats.fit import fit_of
from logllm.formats.recognition import fitting, recognise
from logllm.logs.first_lines import first_lines
from logllm.logs.reader import Reader
from logllm.logs.structured.csv_rows import header

TODAY = date(2024, 3, 1)
SERVER = [
    ("LOG", "connection received: host=[local]"),
    ("ERROR", 'relation "nothing" does not exist at character 15'),
    ("STATEMENT", "select *\n\tfrom nothing"),
    ("FATAL", "terminating connection due to administrator command"),
]


def found(log):
    return recognise(pl.Series(log, dtype=pl.String), today=TODAY)


def records(described, lines):
    section = PrepareSection(
        format=described, sessions=described.sessions, mask=MaskSection(rules="off")
    )
    reading = Reader(section, today=TODAY, stdin=io.BytesIO("\n".join(lines).encode()))
    frame = pl.concat(list(reading.read(["-"])))
    return frame.with_columns(text=frame["message"]), reading.tally.counts


def server_lines(prefix, words=None):
    """A server's log of 20 processes under one prefix."""
    lines = []
    for pid in range(7001, 7021):
        for second, (word, text) in enumerate(SERVER):
            filled = prefix.format(
                p=pid, s=f"{second:02d}", c=f"6b02d1c5.{pid:x}", n=1_700_000_000 + second
            )
            lines += f"{filled}{(words or {}).get(word, word)}:  {text}".split("\n")
    return lines


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("prefix", "pid"),
    [
        ("2024-01-02 03:04:{s}.678 CET [{p}] ", "7001"),
        ("2024-01-02 03:04:{s}.678 UTC [{p}] app@shop ", "7001"),
        ("2024-01-02 03:04:{s} UTC:10.0.0.1(51234):app@shop:[{p}]:", "7001"),
        (
            "2024-01-02 03:04:{s} GMT [{p}]: [4-1] user=app,db=shop,app=psql,client=10.0.0.1 ",
            "7001",
        ),
        ("[{c}] 2024-01-02 03:04:{s} +03 psql ", "6b02d1c5.1b59"),
        ("<2024-01-02 03:04:{s}.678 UTC app shop {p}>", "7001"),
        ("{n}.250 pid={p} ", "7001"),
        ("app@shop {p} 2024-01-02 03:04:{s}.678 UTC ", "7001"),
        ("10.0.0.1 [{p}] 2024-01-02 03:04:{s}.678 UTC ann@shop.org 2001:db8::7 ", "7001"),
        ("{p}", "7001"),
    ],
)
def test_postgresql_with_any_prefix(prefix, pid):
    lines = server_lines(prefix)
    recognition = found(lines)
    assert not [
        secret
        for secret in ("10.0.0.1", "ann@shop.org", "2001:db8::7")
        if secret in recognition.format.pattern.replace("\\", "")
    ]
    assert recognition.format.name == "postgresql"
    assert recognition.share == 1
    sessions = suited(
        ["-"], today=TODAY, stdin=io.BytesIO("\n".join(lines).encode())
    ).format.sessions
    assert (sessions.by, sessions.key_field) == ("key", "pid")
    frame, counts = records(recognition.format, lines)
    assert (frame.height, counts["rejected"], counts["continued"]) == (80, 0, 20)
    assert frame["keys"].list.first()[0] == pid
    assert frame["keys"].n_unique() == 20
    assert frame["text"].to_list()[:3] == [
        "LOG:  connection received: host=[local]",
        'ERROR:  relation "nothing" does not exist at character 15',
        "STATEMENT:  select *\nfrom nothing",
    ]
    assert frame["time"].null_count() == (80 if prefix == "{p}" else 0)


@pytest.mark.parametrize(
    "words",
    [
        {"ERROR": "FEHLER", "STATEMENT": "ANWEISUNG"},
        {"ERROR": "ERREUR", "STATEMENT": "INSTRUCTION "},
        {"LOG": "СООБЩЕНИЕ", "ERROR": "ОШИБКА", "FATAL": "ВАЖНО", "STATEMENT": "ОПЕРАТОР"},
        {"STATEMENT": "文"},
        {"LOG": "로그", "ERROR": "오류", "FATAL": "치명적오류", "STATEMENT": "명령 구문"},
    ],
)
def test_postgresql_in_other_languages(words):
    lines = server_lines("<2024-01-02 03:04:{s} CET {p}> ", words)
    described = found(lines).format
    frame, counts = records(described, lines)
    assert (described.name, counts["rejected"], frame["keys"].n_unique()) == ("postgresql", 0, 20)
    assert frame["text"][1].startswith(f"{words.get('ERROR', 'ERROR')}:  relation")


def test_all_three_of_postgresql_s_logs_give_the_same_records():
    stderr, csvlog, jsonlog = [], [], []
    for pid in range(7001, 7011):
        at = f"2024-01-02 03:04:05.{pid % 1000:03d} UTC"
        stderr += [
            f'{at} [{pid}] ERROR:  no "t" at character 15',
            f"{at} [{pid}] HINT:  look",
            f"{at} [{pid}] STATEMENT:  ",
            "\tselect",
            "\t 1",
        ]
        csvlog += (
            f'{at},"u","d",{pid},"[local]",6b.1,1,"x",{at},3/0,0,ERROR,42P01,"no'
            ' ""t""",,"look",,,,"\nselect\n 1",15,,"a","b",,0'.split("\n")
        )
        row = {
            "error_severity": "ERROR",
            "message": 'no "t"',
            "hint": "look",
            "statement": "\nselect\n 1",
            "cursor_position": 15,
        }
        jsonlog.append(json.dumps({"timestamp": at, "pid": pid, **row}))
    formats = [found(lines).format for lines in (stderr, csvlog, jsonlog)]
    assert [described.name for described in formats] == [
        "postgresql",
        "postgresql-csv",
        "postgresql-json",
    ]
    frames = [
        records(described, lines)[0].select("time", "keys", "text")
        for described, lines in zip(formats, (stderr, csvlog, jsonlog), strict=True)
    ]
    assert frames[0].height == 30
    assert frames[0].equals(frames[1])
    assert frames[0].equals(frames[2])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ['{"@timestamp": "2024-01-02T03:04:05Z", "log": {"level": "info"}, "message": "up"}'],
            ("json", "message", "@timestamp", "iso"),
        ),
        (
            ['{"ts": 1700000000.5, "msg": "up and running", "level": 30, "err": {"message": "x"}}'],
            ("json", "msg", "ts", "epoch"),
        ),
        (
            ['{"time": 1700000000500, "status": 200, "path": "/a"}'],
            ("json", "$", "time", "epoch_ms"),
        ),
        (
            ['{"when_it_was": "2024-01-02T03:04:05+01:00", "said": "what a fine day"}'],
            ("json", "said", "when_it_was", "iso"),
        ),
        (
            ['time=2024-01-02T03:04:05Z level=info msg="up and running" port=80'],
            ("logfmt", "msg", "time", "iso"),
        ),
        (
            [
                "Date;Level;Text",
                "2024-01-02 03:04:05;INFO;up",
                '2024-01-02 03:04:06;INFO;"a;',
                'b"',
            ],
            ("csv", "Text", "Date", "iso"),
        ),
        (
            ["id,created_at,note", '1,1700000000,"up, and running well"'],
            ("csv", "note", "created_at", "epoch"),
        ),
    ],
)
def test_structured_kinds_and_their_fields(lines, expected):
    lines = lines if len(lines) > 1 else lines * 20
    recognition = found(lines)
    described = recognition.format
    assert (described.kind, described.message, described.time, described.time_format[0]) == expected
    frame, counts = records(described, lines)
    assert (counts["rejected"], frame["time"].null_count(), recognition.share) == (0, 0, 1.0)


def test_journald_s_export():
    lines = [
        line
        for second in range(9)
        for line in (
            "_PID=7",
            f"__REALTIME_TIMESTAMP=170000000{second}000000",
            "MESSAGE=up and running",
            "",
        )
    ]
    recognition = found(lines)
    assert (recognition.format.name, recognition.share) == ("journal-export", 1.0)
    assert records(recognition.format, lines)[0].height == 9


@pytest.mark.parametrize(
    "lines",
    [
        ["hello there", "", "it is: fine", "a=1 but not more"],
        ["x"],
        ["", ""],
        ["a,b", "c", "d,e,f"],
        ["{", "}"],
    ],
)
def test_what_is_in_no_format_is_plain(lines):
    recognition = found(lines)
    assert recognition.format.name == "plain"
    assert "none of the known formats fits" in recognition.notes[0]


def test_what_is_said():
    log = [
        f"Jun  9 06:06:{place:02d} combo sshd(pam_unix)[19939]: authentication failure"
        for place in range(50)
    ]
    recognition = found(log)
    assert recognition.notes[0].startswith("format: syslog (")
    assert "100.0 % of the first 50 lines fit" in recognition.notes[0]
    assert "--format NAME" in recognition.notes[0]
    assert recognition.notes[1].startswith(
        "times have no year, such as Jun  9 06:06:00: it is told from their order"
    )
    assert (
        recognition.notes[2]
        == "times have no zone, such as Jun  9 06:06:00: read as UTC; --time-zone says otherwise"
    )
    whole = suited(
        ["-"], today=TODAY, stdin=io.BytesIO("".join(f"{line}\n" for line in log).encode())
    )
    assert whole.notes == recognition.notes
    assert whole.sessions.startswith("windows of ")
    assert whole.sessions.endswith("another grouping: --key, --key-field, --session-by or --window")
    zoned = found(['{"time": "2024-01-02T03:04:05+01:00", "message": "up"}'] * 9)
    assert len(zoned.notes) == 1


def test_stack_traces_belong_to_records_but_a_stray_line_makes_no_log():
    trace = [
        "2024-01-02 03:04:05,678 ERROR [main] com.example.Shop: broke",
        "java.io.IOException: x",
        "\tat com.example.Shop.run(Shop.java:7)",
    ]
    recognition = found(trace * 20)
    assert recognition.format.name in ("log4j", "hadoop")
    assert (
        "100.0 % of the first 60 lines fit (33.3 % begin a record, the others continue one)"
        in recognition.notes[0]
    )
    assert records(recognition.format, trace * 20)[0]["text"].unique().to_list() == [
        "broke\n" + "\n".join(map(str.strip, trace[1:]))
    ]
    assert found([*trace, *["just some words"] * 40]).format.name == "plain"


@pytest.mark.parametrize(
    ("before", "name"),
    [
        ("", "dotnet"),
        ("2024-02-29 10:48:4{} ", "dotnet-time"),
        ("[10:48:4{}] ", "timed"),
        ("web-1  | ", "dotnet inside compose"),
        ("2024-02-29T10:48:4{}Z stdout F ", "dotnet inside cri"),
    ],
    ids=["plain", "time", "clock", "compose", "cri"],
)
def test_dot_net_s_text_is_in_the_lines_below_its_level(before, name):
    error = [
        "fail: Shop.Orders[0]",
        "      Order 7 lost",
        "      System.Exception: full",
        "         at Shop.Store() in /a.cs:line 7",
    ]
    below = before if "|" in before or "stdout" in before else ""
    lines = []
    for second in range(8):
        first, *rest = (
            error if second == 3 else ["info: Shop.Orders[1]", f"      Order {second} stored"]
        )
        lines += [before.format(second) + first, *(below.format(second) + line for line in rest)]
    described = found(lines).format
    frame, counts = records(described, lines)
    assert described.name == name
    assert (frame.height, counts["rejected"]) == (8, 0)
    assert (
        frame["text"][3]
        == "fail: Shop.Orders[0]\nOrder 7 lost\nSystem.Exception: full\nat Shop.Store() in"
        " /a.cs:line 7"
    )


def test_times_must_parse():
    # No day is so late.
    lines = [
        f"0811{place} 203518 143 INFO dfs.DataNode: Receiving block blk_{place}"
        for place in range(40, 90)
    ]
    text = pl.Series(lines)
    assert fit_of(text, load_format("hdfs"), today=TODAY).matched == 0
    assert fitting(text, instead_of="plain", today=TODAY) == []


def test_formats_that_look_like_another_are_never_found():
    line = (
        "- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228 crond(pam_unix)[2915]: session"
        " closed for user root"
    )
    assert found([line] * 30).format.name == "thunderbird"
    for name in known():
        twin = load_format(name).twin
        assert twin is None or load_format(twin).pattern == load_format(name).pattern


def test_a_sample_of_standard_input_loses_no_line(tmp_path):
    lines = b"".join(b'{"message": "m %d", "time": 5}\n' % place for place in range(30_000))
    text, stdin, count = first_lines(["-"], stdin=io.BytesIO(lines))
    assert (len(text), count) == (5_000, None)
    assert stdin is not None
    assert stdin.read() == lines
    packed = gzip.compress(lines)
    text, stdin, count = first_lines(["-"], stdin=io.BytesIO(packed))
    assert stdin is not None
    assert stdin.read() == packed
    (tmp_path / "x").write_bytes(lines[:300])
    assert first_lines([tmp_path / "x"]).lines == len(first_lines([tmp_path / "x"]).text)


LOGHUB = {
    **{
        "Android": "android",
        "Apache": "apache-error",
        "BGL": "bgl",
        "HDFS": "hdfs",
        "HPC": "hpc",
        "Hadoop": "hadoop",
        "HealthApp": "healthapp",
    },
    **{
        "Linux": "syslog",
        "Mac": "syslog",
        "OpenSSH": "openssh",
        "OpenStack": "openstack",
        "Proxifier": "proxifier",
        "Spark": "spark",
    },
    **{"Thunderbird": "thunderbird", "Windows": "windows", "Zookeeper": "zookeeper"},
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("system", "name"), LOGHUB.items())
def test_real_logs(system: str, name: str, shared: Path):
    recognition = recognise(
        first_lines([shared / "loghub_2k" / f"{system}_2k.log.gz"]).text, today=TODAY
    )
    assert recognition.format.name == name
    assert recognition.share >= 0.99


def test_the_page_s_own_format_reads(tmp_path):
    docs = Path(__file__).parents[2] / "docs"
    own = (docs / "extend" / "format.md").read_text(encoding="utf-8")
    page = (docs / "formats.md").read_text(encoding="utf-8")
    toml = own.partition("```toml\n")[2].partition("```")[0]
    assert toml.count("\n") == 6
    (tmp_path / "shop.toml").write_text(toml)
    frame, counts = records(
        load_format(tmp_path / "shop.toml"),
        ["2024-01-02 03:04:05 [17] ERROR broke", "  at a.b", "2024-01-02 03:04:06 [18] INFO up"],
    )
    assert (frame["text"].to_list(), counts["rejected"]) == (
        ["ERROR:  broke\nat a.b", "INFO:  up"],
        0,
    )
    assert frame["keys"].to_list() == [["17"], ["18"]]
    for name in known():
        assert f"| `{name}` | {load_format(name).kind} |" in page


@pytest.mark.parametrize(
    "line",
    [
        "\x1b[32m{}-01-02 03:04:{:02d}\x1b[0m INFO up",
        "{}-01-02\t03:04:{:02d}\tINFO\tup",
        "02.01.{} 03:04:{:02d},123 up",
        "{}-01-02 03:04:{:02d} up\n\n",
    ],
    ids=["colours", "tabs", "days first", "empty lines between"],
)
def test_dated_lines_as_consoles_and_editors_have_them(line):
    lines = "\n".join(line.format(2024, second) for second in range(50)).split("\n")
    recognition = found(lines)
    assert (recognition.format.name, recognition.share) == ("timed", 1.0)
    frame, counts = records(recognition.format, lines)
    assert (frame.height, counts["rejected"], counts["timeless"]) == (50, 0, 0)
    assert {each.date() for each in frame["time"]} == {date(2024, 1, 2)}


def test_seconds_since_1970_have_a_zone():
    assert len(found([f"{1_704_164_645 + second}.123 INFO up" for second in range(9)]).notes) == 1


def test_an_endless_word_takes_no_time():
    lines = [f"2024-01-02 03:04:{second:02d} INFO up" for second in range(9)] + [
        "2024-01-02 03:05:00 " + "x" * 1_000_000
    ]
    started = time.process_time()  # a busy machine is no failure
    assert found(lines).format.name == "timed"
    assert time.process_time() - started < 10  # it was a quarter of an hour


def test_a_quote_that_never_ends_makes_no_table():
    assert found(['he said "up', 'x"y and so on', "down"] * 9).format.name == "plain"
    assert header('a "b\nc"d', ",") == ()


@pytest.mark.parametrize("indent", [None, 2])
def test_one_json_text_is_told_from_a_log(indent):
    said = "this looks like one JSON text"
    text = json.dumps(
        [{"time": "2024-01-02T03:04:05Z", "message": "up", "ids": [1, "a"]}] * 9, indent=indent
    )
    assert any(note.startswith(said) for note in found(text.split("\n")).notes)
    assert not any(
        note.startswith(said) for note in found(["connection closed", "up", "down"] * 9).notes
    )


@pytest.mark.parametrize(
    "line",
    [
        "[INFO] [2024-07-03 09:00:00] order {n} stored",
        "[worker-1] [order {n}] stored",
        "[12] {n} stored",
        "{{order {n}}} stored",
        '"order {n}" stored',
        '{{"order": {n}, "text": "stored"',
        '{{"order": {n}}}',
    ],
    ids=["levels", "names", "numbers", "braces", "quotes", "broken", "objects"],
)
def test_lines_in_brackets_are_not_one_json_text(line):
    recognition = found([line.format(n=n) if n % 4 else f"up {n}" for n in range(40)])
    assert not any("one JSON text" in note for note in recognition.notes)


def test_fields_of_structured_kinds_are_said_and_how_to_name_a_time():
    recognition = found(
        ["id;day;text", *(f"{place};{place};the thing {place} is up" for place in range(20))]
    )
    assert "csv (CSV with a header: message in text, time in no field)" in recognition.notes[0]
    assert recognition.notes[1].endswith("--time FIELD --time-format says where one is")


def test_a_server_that_writes_times_alone_is_told_from_dated_lines():
    assert found(server_lines("2024-01-02 03:04:{s}.678 UTC ")).format.name == "postgresql"


def test_the_same_lines_are_looked_at_once():
    lines = [f"2024-02-29 09:00:{second:02} order {second} stored" for second in range(60)]
    first = recognise(pl.Series(lines), today=TODAY)
    assert recognise(pl.Series(lines), today=TODAY) is first
    assert recognise(pl.Series(lines), today=TODAY, zone="+02:00").format.time_zone == "+02:00"
