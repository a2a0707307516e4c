"""A PostgreSQL server's own lines, whatever its prefix and zone: what they are read as, and what
looks like them but is none."""

import io
from datetime import date

import polars as pl
import pytest

from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.config.sessions import SessionSection
from logllm.datasets.settings import for_format, suited
from logllm.formats.description import load_format
from logllm.logs.reader import Reader

TODAY = date(2024, 7, 4)
SESSION = (
    ("LOG", "connection authorized: user=app database=shop"),
    ("ERROR", "deadlock detected"),
    ("STATEMENT", "UPDATE orders\n{further}SET state = 4"),
    ("LOG", "disconnection: session time: 0:00:00.121 user=app database=shop"),
)


def server(prefix, *, further="\t", sessions=12):
    """A server's log: sessions of four records, one of them of two lines."""
    lines = []
    for number in range(sessions):
        for word, text in SESSION:
            begun = prefix.format(p=4100 + 7 * number, s=f"{number:02d}", l=number % 4 + 1)
            lines += f"{begun}{word}:  {text.format(further=further)}".split("\n")
    return lines


def recognised(lines):
    return suited(["-"], today=TODAY, stdin=io.BytesIO("\n".join(lines).encode()))


def records(log, lines):
    section = PrepareSection(
        format=log.format, sessions=log.format.sessions, mask=MaskSection(rules="off")
    )
    reading = Reader(section, today=TODAY, stdin=io.BytesIO("\n".join(lines).encode()))
    return pl.concat(list(reading.read(["-"]))), reading.tally.counts


ZONES = [
    "CEST",
    "SAST",
    "+0530",
    *(
        pytest.param(name, marks=pytest.mark.real)
        for name in ("EEST", "AEST", "WEST", "ACST", "-03")
    ),
]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("more", ["", "app@shop "])
def test_a_zone_s_name_is_no_level_of_java_s(zone, more):
    lines = server(f"2024-07-03 09:00:{{s}}.337 {zone} [{{p}}] {more}")
    log = recognised(lines)
    frame, counts = records(log, lines)
    assert (log.format.name, log.format.sessions.key_field) == ("postgresql", "pid")
    assert (frame.height, counts["rejected"], counts["continued"]) == (48, 0, 12)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "prefix",
    [
        "2024-07-03 09:00:{s} UTC ",
        "2024-07-03 09:00:{s}.123 CEST app: ",
        "< 2024-07-03 09:00:{s}.123 UTC >",
        "",
        "user=app,db=shop,app=web,client=10.0.0.4 ",
        "timestamp: 2024-07-03 09:00:{s}.639 MSK user: app host: [local] db: shop ",
        "2024-07-03 09:00:{s} UTC [{l}-1] user=app,db=shop ",
        "2024-07-03 09:00:{s} UTC {l} app@shop ",
        "2024-07-03 09:00:{s} UTC 00000 app@shop ",
    ],
    ids=["time", "user", "brackets", "nothing", "names", "words", "line", "bare-line", "state"],
)
def test_a_prefix_without_the_process_gives_windows_and_a_word(prefix):
    lines = server(prefix)
    log = recognised(lines)
    frame, counts = records(log, lines)
    assert log.format.name == "postgresql"
    assert log.format.sessions == SessionSection(size=10)
    assert any("log_line_prefix = '%m [%p] '" in note for note in log.notes)
    assert (frame.height, counts["rejected"], counts["continued"]) == (48, 0, 12)
    assert frame["message"][2] == "STATEMENT:  UPDATE orders\nSET state = 4"
    run = PrepareSection(
        format=load_format("postgresql"),
        sessions=SessionSection(by="key", key_field="pid", long="cut"),
    )
    assert for_format(run, log.format).sessions == SessionSection(size=10, long="cut")


def test_a_run_s_key_is_sought_in_json_whatever_the_format_names():
    run = PrepareSection(
        format=load_format("json"), sessions=SessionSection(by="key", key_field="order")
    )
    assert for_format(run, load_format("docker")).sessions.key_field == "order"


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "prefix",
    [
        "{s} {c} ",
        "2024-07-03 09:00:{s} UTC [{c}] ",
        "2024-07-03 09:00:{s} UTC [{c}] [{l}] ",
        "{c}/{l} app@shop ",
    ],
    ids=["bare", "alone", "line", "slash"],
)
def test_a_session_s_id_is_a_key(prefix):
    lines = server(prefix.replace("{c}", "66a0{p:04d}.{p}"))
    log = recognised(lines)
    assert log.format.sessions == SessionSection(by="key", key_field="pid")
    keys = records(log, lines)[0]["keys"].explode().unique()
    assert keys.str.contains(r"^66a0[0-9]{4}\.[0-9]+$").all()


@pytest.mark.parametrize("further", ["\t", "    ", " "], ids=["tab", "blanks", "blank"])
def test_further_lines_begin_with_any_white_space(further):
    lines = server("2024-07-03 09:00:{s} UTC:10.2.0.4(40000):app@shop:[{p}]:", further=further)
    frame, counts = records(recognised(lines), lines)
    assert (frame.height, counts["rejected"], counts["continued"]) == (48, 0, 12)


@pytest.mark.parametrize(
    "lines",
    [
        [
            "INFO:     Started server process [{0}]",
            "INFO:     10.0.0.1:{0} - GET / 200 OK",
            "ERROR:    Exception in ASGI application",
        ],
        [
            "INFO:     Waiting for {0}",
            "WARNING:  StatReload detected changes in {0}. Reloading...",
            "INFO:     Shutting down {0}",
        ],
    ],
    ids=["uvicorn", "uvicorn-warnings"],
)
def test_levels_that_are_filled_up_are_no_server_s(lines):
    log = recognised([line.format(number) for number in range(20) for line in lines])
    assert not log.format.name.startswith("postgresql")


def test_what_pools_connections_is_no_server():
    lines = [
        f"2024-02-29 23:50:{second:02d}.000 UTC [19] LOG C-0x55f0c{second // 3:04d}:"
        " shop/app@10.0.0.1:40000 login attempt"
        for second in range(60)
    ]
    log = recognised(lines)
    assert (log.format.name, log.format.sessions.key_field) == ("pgbouncer", "client")
