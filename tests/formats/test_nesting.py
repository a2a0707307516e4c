"""Lines of one program inside the records of another: a server's, Java's, Python's and nginx's in
what writes logs for them."""

import io
import json
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from logllm.config.format import FormatSection
from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.config.sessions import SessionSection
from logllm.datasets.settings import suited
from logllm.errors import RecipeError
from logllm.formats.postgres_prefix import postgres_format
from logllm.logs.reader import Reader

TODAY = date(2024, 7, 4)
SERVER = [
    line
    for pid in range(4100, 4112)
    for line in (
        f"2024-07-03 09:00:00.337 CEST [{pid}] LOG:  connection authorized: user=app",
        f"2024-07-03 09:00:01.337 CEST [{pid}] ERROR:  deadlock detected",
        f"2024-07-03 09:00:01.337 CEST [{pid}] STATEMENT:  UPDATE orders",
        "\tSET state = 4",
    )
]
JAVA = [
    "2024-07-03 09:00:00,123 ERROR [http-1] com.shop.Cart: broke",
    "java.io.IOException: x",
    "\tat a.B.c(B.java:7)",
] * 12
PYTHON = [
    "2024-07-03 09:00:00,123 - shop - ERROR - broke",
    "Traceback (most recent call last):",
    '  File "a.py", line 3',
] * 12
NGINX = ['10.0.0.4 - - [03/Jul/2024:09:00:00 +0000] "GET /a HTTP/1.1" 200 512 "-" "curl/8"'] * 30
CLOCK = "2024-07-03T09:00:0{}.123456Z"


def at(place):
    return CLOCK.format(place % 10)


AROUND = {
    "docker": lambda place, text: json.dumps(
        {"log": text + "\n", "stream": "stderr", "time": at(place)}
    ),
    "cri": lambda place, text: f"{at(place)} stderr F {text}",
    "json": lambda place, text: json.dumps(
        {"@timestamp": at(place), "message": text, "host": {"name": "db7"}}
    ),
    "cloud": lambda place, text: json.dumps(
        {"textPayload": text, "timestamp": at(place), "resource": {"labels": {"pod_name": "db-0"}}}
    ),
    "gelf": lambda place, text: json.dumps(
        {"host": "db7", "short_message": text, "timestamp": 1_719_997_200.5 + place}
    ),
    "azure": lambda place, text: json.dumps(
        {"time": at(place), "properties": {"message": text, "errorLevel": "LOG"}}
    ),
    "journal": lambda place, text: json.dumps(
        {"__REALTIME_TIMESTAMP": f"171999720000000{place % 10}", "MESSAGE": text, "_PID": "77"}
    ),
    "compose": lambda place, text: f"db-1  | {text}",
    "docker -t": lambda place, text: f"{at(place)} {text}",
    "kubectl --prefix": lambda place, text: f"[pod/db-0/postgres] {text}",
    "stern": lambda place, text: f"db-0 postgres {text}",
    "logcli": lambda place, text: f'{at(place)} {{app="db"}} {text}',
    "aws logs tail": lambda place, text: f"{at(place)} db-7/postgresql.log {text}",
    "heroku": lambda place, text: f"{at(place)} app[postgres.77]: {text}",
    "fly": lambda place, text: f"{at(place)} app[148e21] ams [info]postgres | {text}",
    "fluentd": lambda place, text: f"{at(place)}\tdocker.db\t{json.dumps({'log': text})}",
    "rfc5424": lambda place, text: f"<134>1 {at(place)} db7 postgres 77 - - {text}",
    "rsyslog": lambda place, text: f"Jul  3 09:00:0{place % 10} db7 docker[77]: {text}".replace(
        "\t", "#011"
    ),
    "syslog-ng": lambda place, text: f"{at(place)} db7 postgres[77]: {text}",
    "json in cri": lambda place, text: (
        f"{at(place)} stderr F {json.dumps({'ts': at(place), 'msg': text})}"
    ),
}


def wrapped(around, lines):
    return [around(place, text) for place, text in enumerate(lines)]


def recognised(lines):
    return suited(["-"], today=TODAY, stdin=io.BytesIO("\n".join(lines).encode()))


def read(described, lines, **more):
    section = PrepareSection(
        format=described, sessions=described.sessions, mask=MaskSection(rules="off")
    )
    reading = Reader(section, today=TODAY, stdin=io.BytesIO("\n".join(lines).encode()), **more)
    return pl.concat(list(reading.read(["-"]))), reading.tally.counts


@pytest.mark.sampled(4)
@pytest.mark.parametrize("around", AROUND)
def test_a_server_s_records_are_read_wherever_they_are(around):
    lines = wrapped(AROUND[around], SERVER)
    described = recognised(lines).format
    frame, counts = read(described, lines)
    assert described.innermost.name == "postgresql"
    assert described.sessions.key_field == "pid"
    assert (frame.height, counts["rejected"], counts["continued"]) == (36, 0, 12)
    assert frame["keys"].explode().n_unique() == 12
    assert frame["message"][2] == "STATEMENT:  UPDATE orders\nSET state = 4"
    assert frame["time"][0].isoformat() == "2024-07-03T07:00:00.337000+00:00"


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "around",
    [
        "docker",
        "compose",
        "rsyslog",
        *(pytest.param(name, marks=pytest.mark.real) for name in ("cri", "json", "docker -t")),
    ],
)
@pytest.mark.parametrize(
    ("lines", "name", "records"),
    [(JAVA, "log4j", 12), (PYTHON, "python", 12), (NGINX, "access", 30)],
    ids=["java", "python", "nginx"],
)
def test_other_formats_are_found_inside_too(around, lines, name, records):
    lines = wrapped(AROUND[around], lines)
    described = recognised(lines).format
    frame, counts = read(described, lines)
    assert (described.innermost.name, frame.height, counts["rejected"]) == (name, records, 0)


def test_syslog_s_numbers_say_what_goes_on():
    lines = []
    for pid in range(900, 912):
        begun = f"Jul  3 09:00:01 db postgres[{pid}]: "
        lines += [
            begun + "[8-1] db=shop LOG:  duration: 19 ms  execute x: select",
            begun + "[8-2] #011a.id,",
            begun + "[8-3] b from c",
        ]
        lines += [
            begun + "[9-1] db=shop ERROR:  out of shared memory",
            begun + "[9-2] db=shop HINT:  raise it",
        ]
    described = recognised(lines).format
    frame, counts = read(described, lines)
    assert (described.innermost.name, described.sessions.key_field) == ("postgresql", "pid")
    assert (frame.height, counts["rejected"], counts["continued"]) == (36, 0, 24)
    texts = [
        "LOG:  duration: 19 ms  execute x: select\na.id,\nb from c",
        "ERROR:  out of shared memory",
        "HINT:  raise it",
    ]
    assert frame["message"].to_list()[:3] == texts


@pytest.mark.real
def test_an_operator_s_json_around_a_server_s_fields():
    record = {
        "log_time": "2024-07-03 09:00:00.961 UTC",
        "error_severity": "ERROR",
        "message": "no",
        "query": "select 1",
        "query_pos": "15",
    }
    rows = [
        {"ts": at(0), "msg": "record", "record": {**record, "process_id": str(7 + place // 3)}}
        for place in range(36)
    ]
    rows[5] = {"ts": at(0), "msg": "Reconciling instance"}
    for lines in (
        [json.dumps(row) for row in rows],
        [f"{at(0)} {json.dumps(row)}" for row in rows],
    ):
        described = recognised(lines).format
        frame, counts = read(described, lines)
        assert (described.innermost.name, described.sessions.key_field) == (
            "postgresql-json",
            "record.process_id",
        )
        assert (frame.height, counts["rejected"], frame["time"].null_count()) == (36, 0, 0)
        assert frame["message"].to_list()[4:6] == [
            "ERROR:  no at character 15\nSTATEMENT:  select 1",
            "Reconciling instance",
        ]


def test_a_server_is_never_sought_across_raw_json():
    raw = pl.Series([json.dumps({"pid": 7, "x": text}) for text in SERVER])
    assert postgres_format(raw) is None


def test_messages_that_are_no_lines_of_a_format_stay_what_they_are():
    lines = [
        json.dumps({"time": at(place), "message": f"order {place} placed | paid"})
        for place in range(40)
    ]
    assert recognised(lines).format.inside is None


INNER = FormatSection(name="inner", pattern="(?<level>[A-Z]+): (?<message>.*)", continuation=r"^\s")
OUTER = FormatSection(
    name="outer", pattern="(?<pod>[ab]) (?<message>.*)", streams=("pod",), inside=INNER
)


def test_what_goes_on_goes_on_with_its_own_stream():
    frame, counts = read(
        OUTER, ["a E: one", "b E: two", "a  at x", "b  at y", "  at z", "a noise", "a  at w"]
    )
    assert frame["message"].to_list() == ["one\nat x\nat w", "two\nat y\nat z"]
    assert (counts["lines"], counts["rejected"], counts["continued"]) == (7, 1, 4)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_record_that_another_kind_of_line_has_ended_goes_on_no_more_though_it_is_held_back(batch):
    lines = ["a E: first"] * 20 + [
        "b E: two",
        "a E: one",
        "2024-01-01 10:00:00 odd",
        "a  at x",
        "b  at y",
    ]
    frame, counts = read(OUTER, lines, batch_lines=batch)
    assert frame["message"].to_list()[-2:] == ["two\nat y", "one"]
    assert (counts["rejected"], counts["continued"]) == (2, 1)


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_a_record_that_was_ended_stays_so_while_other_streams_go_on(batch):
    lines = ["a E: first"] * 20 + ["b E: y", "2024-01-01 10:00:00 odd", "a E: x", "b  at"]
    frame, counts = read(OUTER, lines, batch_lines=batch)
    assert frame["message"].to_list()[-2:] == ["y", "x"]
    assert (counts["rejected"], counts["continued"]) == (2, 0)


def test_a_line_whose_lists_hold_no_record_is_counted():
    described = FormatSection(name="own", kind="json", message="body", records="groups.items")
    whole, misspelt = (
        '{"groups": [{"items": [{"body": "up"}, {"body": "down"}]}]}',
        '{"groups": [{"itemz": [{"body": "lost"}]}]}',
    )
    frame, counts = read(described, [whole] * 3 + [misspelt, '{"groups": []}'])
    assert frame["message"].to_list() == ["up", "down"] * 3
    assert (counts["lines"], counts["rejected"]) == (5, 2)


ANY = st.lists(
    st.sampled_from(
        [
            "2024-01-01 10:00:00 odd",
            "a E: x",
            "b E: y",
            "a  at",
            "b  at",
            " at",
            "a noise",
            "stray",
            "a ",
        ]
    ),
    min_size=1,
    max_size=20,
)


@pytest.mark.real
@settings(max_examples=10)
@given(lines=ANY, batch=st.integers(1, 9))
def test_no_size_of_batch_changes_inner_records(lines, batch):
    lines = ["a E: first"] * 20 + lines
    whole, pieces = read(OUTER, lines), read(OUTER, lines, batch_lines=batch)
    assert_frame_equal(whole[0], pieces[0])
    assert whole[1] == pieces[1]


def test_a_key_of_either_layer():
    by_pod = OUTER.model_copy(update={"sessions": SessionSection(by="key", key_field="pod")})
    assert read(by_pod, ["a E: one", "b E: two"])[0]["keys"].to_list() == [["a"], ["b"]]
    with pytest.raises(RecipeError, match="there is no group 'pid'"):
        read(
            OUTER.model_copy(update={"sessions": SessionSection(by="key", key_field="pid")}),
            ["a E: one"],
        )
    with pytest.raises(RecipeError, match="what is inside is read line by line"):
        FormatSection.read(
            {"name": "x", "kind": "json", "inside": {"name": "rows", "kind": "csv"}}, source="x"
        )
