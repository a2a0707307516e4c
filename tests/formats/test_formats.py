"""Lines to records: a block of lines in, a block of records out, for each format."""

import gzip
from datetime import date

import polars as pl
import pytest

from logllm.config.format import FormatSection
from logllm.config.sessions import SessionSection
from logllm.errors import RecipeError
from logllm.formats.description import known, load_format
from logllm.logs.calendar.years import Years
from logllm.logs.fields import read_fields
from logllm.logs.lines import Lines
from logllm.logs.records import Parser
from logllm.logs.structured.json_lines import json_fields
from logllm.logs.times import with_years

TODAY = date(2024, 3, 1)
WINDOWS = SessionSection()


def parse(described, block, sessions=WINDOWS):
    lines = block if isinstance(block, list) else block.strip("\n").split("\n")
    frame = pl.DataFrame(
        {"line": range(1, len(lines) + 1), "text": lines},
        schema={"line": pl.UInt64, "text": pl.String},
    )
    described = load_format(described) if isinstance(described, str) else described
    records, rejects = Parser(described, sessions=sessions).parse(Lines(frame, "-", 0, 0, 0, 0))
    return records.with_columns(with_years(records["time"], Years(today=TODAY), zone=None)), rejects


def rows(records, *columns):
    return records.select(columns).rows()


def times(records):
    return [time and time.isoformat() for time in records["time"]]


def test_hdfs():
    block = """
081109 203518 143 INFO dfs.DataNode$DataXceiver: Receiving block blk_-1608999687919862906 \
src: /10.250.19.102:54106
081109 203519 145 WARN dfs.FSNamesystem: BLOCK* ask 10.0.0.1 to replicate blk_1 to blk_2 and blk_1
081109 203520 145 INFO dfs.X:  two  spaces\x20
081109 203521 145 INFO dfs.X:
java.io.IOException: broken
"""
    described = load_format("hdfs")
    records, rejects = parse(described, block, described.sessions)
    assert rows(records, "line", "keys", "message", "anomalous") == [
        (
            1,
            ["blk_-1608999687919862906"],
            "Receiving block blk_-1608999687919862906 src: /10.250.19.102:54106",
            None,
        ),
        (2, ["blk_1", "blk_2"], "BLOCK* ask 10.0.0.1 to replicate blk_1 to blk_2 and blk_1", None),
        (3, [], "two  spaces", None),
    ]
    assert times(records)[0] == "2008-11-09T20:35:18+00:00"
    assert rows(rejects, "line", "anomalous") == [(4, None), (5, None)]


def test_bgl():
    block = """
- 1117838570 2005.06.03 R02-M1 2005-06-03-15.42.50.363779 R02-M1 RAS KERNEL INFO \
instruction cache parity error corrected
KERNDTLB 1117838571 2005.06.03 R02-M1 2005-06-03-15.42.51.5 R02-M1 RAS KERNEL FATAL \
data TLB error interrupt
APPSEV 1117838572 2005.06.03 R02-M1 2005-06-03-15.42.52.5 R02-M1 RAS KERNEL FATAL
- 1117838573 2005.06.03 R02-M1 2005-06-03-15.42.53.5 R02-M1 RAS KERNEL FATAL\x20
truncated
"""
    records, rejects = parse("bgl", block)
    assert rows(records, "line", "message", "anomalous", "keys") == [
        (1, "instruction cache parity error corrected", False, []),
        (2, "data TLB error interrupt", True, []),
    ]
    assert times(records) == ["2005-06-03T22:42:50+00:00", "2005-06-03T22:42:51+00:00"]
    assert rows(rejects, "line", "anomalous") == [(3, True), (4, False), (5, None)]


@pytest.mark.parametrize("name", ["thunderbird", "liberty", "spirit"])
def test_the_supercomputers_with_syslog(name):
    block = """
- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228 crond(pam_unix)[2915]: \
session closed for user root
VAPI 1131566462 2005.11.09 #8# Nov 9 12:01:02 #8#/#8# kernel: [KERNEL_IB][x] out
"""
    records, rejects = parse(name, block)
    assert rows(records, "message", "anomalous") == [
        ("crond(pam_unix)[2915]: session closed for user root", False),
        ("kernel: [KERNEL_IB][x] out", True),
    ]
    assert times(records)[0] == "2005-11-09T20:01:01+00:00"
    assert not rejects.height


def test_syslog():
    block = """
Jun  9 06:06:01 combo sshd(pam_unix)[19939]: authentication failure; uid=0
<34>Oct 11 22:14:15 mymachine su: 'su root' failed
Jul  1 09:01:05 host --- last message repeated 1 time ---
no syslog
"""
    records, rejects = parse("syslog", block)
    assert rows(records, "line", "message") == [
        (1, "authentication failure; uid=0"),
        (2, "'su root' failed"),
        (3, "--- last message repeated 1 time ---"),
    ]
    assert times(records) == [
        "2023-06-09T06:06:01+00:00",
        "2023-10-11T22:14:15+00:00",
        "2023-07-01T09:01:05+00:00",
    ]
    assert rejects["text"].to_list() == ["no syslog"]
    by_host, _ = parse("syslog", block, SessionSection(by="key", key_field="host"))
    assert by_host["keys"].to_list()[:2] == [["combo"], ["mymachine"]]


def test_json():
    described = load_format("json").model_copy(
        update={
            "message": "log.text",
            "time": "at",
            "label": "bad",
            "normal": ("false", "0", "normal"),
        }
    )
    block = """
{"log": {"text": " started "}, "at": 1117838570, "bad": false, "id": "a"}
{"log": {"text": "caf\\u00e9"}, "at": 1117838570363, "bad": 0, "id": ["a", "b", "a", null]}
{"log.text": "flat", "at": "2005-06-03T22:42:50Z", "bad": "odd", "id": 7}
{"log": {"text": 42}, "bad": true}
{"log": {"text": ""}, "bad": true}
{"log": {"text": null}}
{"log": "x"}
[1]
not json
{"log": {"text": "cut
"""
    records, rejects = parse(described, block, SessionSection(by="key", key_field="id"))
    assert rows(records, "line", "message", "anomalous", "keys") == [
        (1, "started", False, ["a"]),
        (2, "café", False, ["a", "b"]),
        (3, "flat", True, ["7"]),
        (4, "42", True, []),
    ]
    assert times(records) == [
        "2005-06-03T22:42:50+00:00",
        "2005-06-03T22:42:50.363000+00:00",
        "2005-06-03T22:42:50+00:00",
        None,
    ]
    assert rows(rejects, "line", "anomalous") == [
        (5, True),
        (6, None),
        (7, None),
        (8, None),
        (9, None),
        (10, None),
    ]


def test_plain():
    records, rejects = parse(
        "plain", ["  a line ", "", " \t", "a\ufffdb c d e", "\ufffd\ufffdabc\ufffd"]
    )
    assert rows(records, "line", "message", "time", "anomalous") == [
        (1, "a line", None, None),
        (4, "a\ufffdb c d e", None, None),
    ]
    assert rejects["line"].to_list() == [2, 3, 5]


def test_one_s_own_format(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(r"""
name = "mine"
pattern = '\[(?P<when>[^\]]*)\] (?<grade>\w+) \(?<x>\d*(?<who>:\w+)? (?<text>.*)'
message = "text"
time = "when"
time_format = ["%d.%m.%Y %H:%M"]
label = "grade"
normal = ["ok", "fine"]
""")
    records, rejects = parse(
        load_format(path),
        [
            "[03.02.2024 04:05] fine <x>1:me all well",
            "[?] bad (<x> no",
            "x [03.02.2024 04:05] ok <x>1 y",
        ],
    )
    assert rows(records, "message", "anomalous") == [("all well", False), ("no", True)]
    assert times(records) == ["2024-02-03T04:05:00+00:00", None]
    assert rejects["line"].to_list() == [3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'x'\npattern = '('", "format x: .*no regular expression: unclosed group"),
        ("name = 'x'\npattern = '(?<msg>.*)'", "no group 'message' .it has msg"),
        ("name = 'x'\npattern = '(?<message>.*)'\ntime = 'at'", "no group 'at'"),
        ("name = 'x'\nkind = 'plain'\ntime = 'at'", "is plain"),
        ("name = 'x'\nkind = 'json'\ntime_format = ['rfc']", "time_format 'rfc'"),
        (
            "name = 'x'\nkind = 'json'\ntimes = 'at'",
            "unknown key 'times'; the nearest known one is 'time'",
        ),
        ("name = 'x", "is not TOML"),
        (b"\xff", "cannot be read"),
    ],
)
def test_descriptions_that_are_wrong(text, message, tmp_path):
    path = tmp_path / "own.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecipeError, match=message) as caught:
        load_format(path)
    assert "\n" not in str(caught.value)


def test_names_that_are_wrong(tmp_path):
    with pytest.raises(RecipeError, match="nearest: thunderbird"):
        load_format("thunderbirds")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_format(tmp_path / "none.toml")


def test_bad_keys():
    with pytest.raises(RecipeError, match="has no times, so that no session is ever idle"):
        parse("plain", "x", SessionSection(by="key", key_pattern="x", idle=5))
    with pytest.raises(RecipeError, match=r"key pattern: .* is no regular expression"):
        parse("plain", "x", SessionSection(by="key", key_pattern="["))
    with pytest.raises(RecipeError, match="no group 'block'"):
        parse("bgl", "x", SessionSection(by="key", key_field="block"))
    with pytest.raises(RecipeError, match="plain: its lines have a message and no other field"):
        parse("plain", "x", SessionSection(by="key", key_field="block"))


@pytest.mark.parametrize("name", known())
def test_the_built_in_formats_are_complete(name):
    described = load_format(name)
    assert described.name == name
    assert described.title
    assert FormatSection.read(described.model_dump(), source="x") == described


@pytest.mark.parametrize(
    ("file", "name", "records", "alerts"),
    [
        ("bgl/BGL_first10k.log.gz", "bgl", 10_000, 0),
        ("thunderbird/Thunderbird_19350.log.gz", "thunderbird", 19_350, 715),
        ("loghub_2k/BGL_2k.log.gz", "bgl", 2_000, 143),
        ("loghub_2k/HDFS_2k.log.gz", "hdfs", 2_000, 0),
        ("loghub_2k/Thunderbird_2k.log.gz", "thunderbird", 2_000, 0),
        ("loghub_2k/Linux_2k.log.gz", "syslog", 2_000, 0),
        ("loghub_2k/Mac_2k.log.gz", "syslog", 2_000, 0),
        ("loghub_2k/OpenSSH_2k.log.gz", "syslog", 2_000, 0),
    ],
)
def test_real_lines(file, name, records, alerts, shared):
    lines = (
        gzip.decompress((shared / file).read_bytes())
        .decode("latin-1")
        .removesuffix("\n")
        .split("\n")
    )
    parsed, rejects = parse(name, lines)
    assert (parsed.height, rejects.height) == (records, 0)
    assert (parsed["anomalous"].sum() or 0) == alerts
    assert not parsed["time"].null_count()


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?<time>\d+) +(?<host>[a-z]*): +(?<message>[^ ].*)",
        r"(?<time>\d+) +(?<host>[a-z]*): +(?<message>.*)",
        r"(?<time>\d+) (?:[a-z]+ )*(?<message>[\S].*)",
        r"(?<time>\d+)[^\]]*\] (?<message>[^\]\\].*)",
        r"(?i)(?<time>\d+) +(?<host>[a-z]*): +(?<message>.*)",
        r"(?<time>\d+) +(?<host>[a-z]*): +(?<message>.*)|(?<other>\d+)",
    ],
)
def test_a_message_that_ends_the_line_is_what_the_whole_pattern_finds(pattern):
    lines = [
        "1 abc: def  ghi ",
        "12  ä: b: c",
        "3 : ",
        "4 a b c d",
        "5 x] y] z",
        "6",
        "",
        "7 q:  ü 中",
        "8 a: a: b",
        "9 A: \ufffd",
    ]
    form = FormatSection(name="own", pattern=pattern, time="time", time_format=("epoch",))
    whole = pl.Series("text", lines).str.strip_chars().str.extract_groups(f"^(?:{pattern})$").struct
    found = read_fields(pl.Series("text", lines), form)
    message = whole.field("message").str.strip_chars().replace(["", "\ufffd"], None)
    assert found.message.to_list() == message.to_list()
    assert found.time.to_list() == whole.field("time").to_list()
    assert found.message.null_count() < len(lines)


def test_nesting_deeper_than_python_follows_is_text():
    deep = "[" * 200_000
    form = FormatSection(name="x", kind="json", message="m")
    lines = [deep, '{"m": "one", "id": "' + deep + '"}', '{"m": "two", "id": ["a", "b"]}']
    records, rejects = parse(form, lines, sessions=SessionSection(by="key", key_field="id"))
    assert records["message"].to_list() == ["one", "two"]
    assert records["keys"].to_list() == [[deep], ["a", "b"]]
    assert rejects["line"].to_list() == [1]
    assert [
        json_fields(line)
        for line in (deep, '{"a": ' * 100_000, '{"a": ' * 5_000 + "1" + "}" * 5_000)
    ] == [{}, {}, {}]
