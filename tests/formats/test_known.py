"""The built-in formats: for each some lines as its program writes them, what is read from them, and
which other formats fit them too."""

import gzip
import io
import logging
import re
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from logllm.config.sessions import SessionSection
from logllm.formats.description import known, load_format
from logllm.logs.calendar.years import Years
from logllm.logs.fields import read_fields
from logllm.logs.lines import Lines
from logllm.logs.records import Parser
from logllm.logs.times import with_years

TODAY = date(2024, 3, 1)
ALERTS = (
    "bgl",
    "thunderbird",
    "liberty",
    "spirit",
)  # with the json kinds in test_formats.py and below
EXAMPLES = {
    path.stem: tomllib.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent / "known").glob("*.toml"))
}
"""For each format, in a file of its name: `lines` as its program writes them, the `records` they
hold (time and message), `keys`: fields of the records that may be keys, and `also_fitting`: other
formats that fit such lines, too."""
WIDER = {name: set(example.get("also_fitting", ())) for name, example in EXAMPLES.items()} | {
    "thunderbird": {"liberty", "spirit"}
}
WIDEST = {"plain", "timed"}
# the format of each of Loghub's systems, and its times once more: which words of a line they are,
# as Python's datetime reads them
SAMPLES = {
    "Android": ("android", slice(0, 2), "%m-%d %H:%M:%S.%f"),
    "Apache": ("apache-error", slice(0, 5), "[%a %b %d %H:%M:%S %Y]"),
    "BGL": ("bgl", 1, None),
    "HDFS": ("hdfs", slice(0, 2), "%y%m%d %H%M%S"),
    "HPC": ("hpc", -1, None),
    "Hadoop": ("hadoop", slice(0, 2), "%Y-%m-%d %H:%M:%S,%f"),
    "HealthApp": ("healthapp", 0, "%Y%m%d-%H:%M:%S:%f"),
    "Linux": ("syslog", slice(0, 3), "%b %d %H:%M:%S"),
    "Mac": ("syslog", slice(0, 3), "%b %d %H:%M:%S"),
    "OpenSSH": ("openssh", slice(0, 3), "%b %d %H:%M:%S"),
    "OpenStack": ("openstack", slice(1, 3), "%Y-%m-%d %H:%M:%S.%f"),
    "Proxifier": ("proxifier", slice(0, 2), "[%m.%d %H:%M:%S]"),
    "Spark": ("spark", slice(0, 2), "%y/%m/%d %H:%M:%S"),
    "Thunderbird": ("thunderbird", 1, None),
    "Windows": ("windows", slice(0, 2), "%Y-%m-%d %H:%M:%S,"),
    "Zookeeper": ("zookeeper", slice(0, 2), "%Y-%m-%d %H:%M:%S,%f"),
}


def parse(name, lines, *, field=None, today=TODAY):
    sessions = SessionSection(by="key", key_field=field) if field else SessionSection()
    frame = pl.DataFrame(
        {"line": range(1, len(lines) + 1), "text": lines},
        schema={"line": pl.UInt64, "text": pl.String},
    )
    records, rejects = Parser(load_format(name), sessions=sessions).parse(
        Lines(frame, "-", 0, 0, 0, 0)
    )
    return records.with_columns(with_years(records["time"], Years(today=today), zone=None)), rejects


def block(name):
    return EXAMPLES[name]["lines"].split("\n")


def test_every_format_with_a_pattern_has_its_lines():
    patterns = {name for name in known() if load_format(name).kind == "pattern"} - set(ALERTS)
    assert patterns == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_read(name):
    records, rejects = parse(name, block(name))
    assert rejects["text"].to_list() == []
    read = [
        [time.isoformat() if time else "", message]
        for time, message in records.select("time", "message").rows()
    ]
    assert read == EXAMPLES[name]["records"]


@pytest.fixture(scope="module")
def fitting():
    """For each format, which others fit some of its lines; all lines are read at once by each."""
    blocks = [(name, line) for name in EXAMPLES for line in block(name)]
    text, of = (
        pl.Series("text", [line for _, line in blocks]),
        pl.Series([name for name, _ in blocks]),
    )
    fitted = {}
    for other in map(load_format, known()):
        if (
            other.name not in WIDEST and not other.wraps
        ):  # what is around others fits whatever it is around
            for name in of.filter(read_fields(text, other).message.is_not_null()).unique():
                fitted.setdefault(name, set()).add(other.name)
    return fitted


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_format_fits_another_one_s_lines(name, fitting):
    assert fitting.get(name, set()) - {name} == WIDER.get(name, set())


@pytest.mark.parametrize(
    ("name", "field"),
    [(name, field) for name, example in EXAMPLES.items() for field in example.get("keys", ())],
)
def test_fields_that_may_be_keys(name, field):
    records, _ = parse(name, block(name), field=field)
    assert [keys[0] if keys else "" for keys in records["keys"].to_list()] == EXAMPLES[name][
        "keys"
    ][field]


@pytest.mark.parametrize(
    ("name", "line", "time", "message"),
    [
        (
            "docker",
            '{"log":"GET /a 200\\n","stream":"stdout","time":"2024-02-29T10:48:46.123456789Z"}',
            "10:48:46.123456",
            "GET /a 200",
        ),
        (
            "journal",
            '{"MESSAGE":"Started cron.","_PID":"7","__REALTIME_TIMESTAMP":"1709203726123456"}',
            "10:48:46.123456",
            "Started cron.",
        ),
    ],
)
def test_formats_of_json_lines(name, line, time, message):
    records, rejects = parse(
        name, [line, '{"message": "up", "time": "2024-02-29T10:48:46Z"}', "text"]
    )
    assert records.select("time", "message").rows()[0][1] == message
    assert records["time"][0].isoformat() == f"2024-02-29T{time}+00:00"
    assert rejects["line"].to_list() == [2, 3]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("python", "%(asctime)s - %(name)s - %(levelname)s - %(message)s"),
        ("python-basic", logging.BASIC_FORMAT),
    ],
)
def test_what_python_writes(name, form):
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter(form))
    logger = logging.Logger("shop.cart")
    logger.addHandler(handler)
    logger.warning("low on %s", "stock")
    try:
        raise ValueError("no such order")
    except ValueError:
        logger.exception("failed")
    records, rejects = parse(name, written.getvalue().splitlines())
    assert records["message"].to_list() == ["low on stock", "failed"]
    assert rejects["text"].to_list()[0] == "Traceback (most recent call last):"
    assert rejects["text"].str.contains(load_format(name).continuation).all()


@pytest.mark.parametrize(
    "name",
    ["hadoop", "log4j", "logback", "postgresql", "python", "spark", "spring-boot", "zookeeper"],
)
def test_lines_that_go_on_are_no_records_of_their_own(name):
    described = load_format(name)
    more = ["\tat com.example.Shop.main(Shop.java:7)"]
    if name != "postgresql":
        more += [
            "java.lang.IllegalStateException: no",
            "Caused by: java.io.IOException: disk full",
            "  ... 12 more",
            "",
        ]
    _, rejects = parse(name, more)
    assert rejects.height == len(more)
    assert pl.Series(more).str.contains(f"^(?:{described.continuation})$").all()


@pytest.mark.sampled(4)
@pytest.mark.parametrize("system", SAMPLES)
def test_loghub_s_samples(system, shared):
    name, words, form = SAMPLES[system]
    text = gzip.decompress((shared / "loghub_2k" / f"{system}_2k.log.gz").read_bytes()).decode(
        "latin-1"
    )
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    records, rejects = parse(name, lines)
    assert rejects.height <= len(lines) // 100
    assert records["time"].to_list() == [
        at(lines[line - 1], words, form) for line in records["line"]
    ]
    text = pl.Series("text", lines)
    others = [load_format(other) for other in known() if other not in {name, *WIDEST}]
    others = [other for other in others if not other.wraps]
    assert {
        other.name for other in others if read_fields(text, other).message.is_not_null().any()
    } == WIDER.get(name, set())


def at(line, words, form):
    """The time in a line, read without Polars."""
    if words == -1:  # the state before it may be several words
        return datetime.fromtimestamp(int(re.search(r" (\d{9,10}) -?\d+ ", line)[1]), UTC)
    if form is None:
        return datetime.fromtimestamp(int(line.split()[words]), UTC)
    if form.endswith(":%f"):  # milliseconds without leading zeros
        clock, _, milliseconds = line.partition("|")[0].rpartition(":")
        return datetime.strptime(clock, form[:-3]).replace(
            tzinfo=UTC, microsecond=1000 * int(milliseconds)
        )
    written = " ".join(line.split()[words])
    if "%y" in form.lower():
        return datetime.strptime(written, form).replace(tzinfo=UTC)
    found = datetime.strptime(f"{TODAY.year} {written}", f"%Y {form}").replace(tzinfo=UTC)
    return (
        found if found.date() <= TODAY + timedelta(days=1) else found.replace(year=TODAY.year - 1)
    )
