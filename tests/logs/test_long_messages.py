"""Long messages of one line: what stands at their end is within what a model reads, and nothing is
lost."""

import io
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm.config.format import FormatSection
from logllm.config.mask import MaskSection
from logllm.config.prepare import PrepareSection
from logllm.logs.long_messages import with_early_ends
from logllm.logs.reader import Reader

READ = 350  # characters, some 90 tokens
CAUSES = "; nested exception is ".join(
    f"org.shop.dao.DataAccessException: could not read entity com.shop.Order{place}"
    for place in range(9)
)
LONG = {
    "java": (
        f"request failed: {CAUSES}; Caused by: java.net.SocketTimeoutException: Read timed out",
        "SocketTimeoutException: Read timed out",
    ),
    "sql": (
        "SELECT " + ", ".join(map("t.c{}".format, range(90))) + " FROM t: ERROR deadlock detected",  # noqa: S608
        "deadlock detected",
    ),
    "json": (
        '{"a":0,'
        + ",".join(f'"k{place}":"v"' for place in range(90))
        + "} -> 503 Service Unavailable",
        "-> 503 Service Unavailable",
    ),
    "lines": (
        "failed\n"
        + "\n".join(f"step {place} of the plan is done" for place in range(60))
        + "\nKeyError: 7",
        "KeyError: 7",
    ),
    "url": (
        "GET /find?"
        + "&".join(f"k{place}=v" for place in range(9))
        + " "
        + "word " * 90
        + "-> 500",
        "-> 500",
    ),
}


@pytest.mark.parametrize(("message", "end"), LONG.values(), ids=LONG)
def test_the_end_is_where_a_model_reads_it(message, end):
    early = with_early_ends(pl.Series([message, "up", message])).to_list()
    assert early[1] == "up"
    assert early[0] == early[2]
    assert early[0].index(end) + len(end) < READ
    assert early[0][:20] == message[:20]


@given(st.lists(st.text(alphabet="aB0 ,;\n<*>é{", max_size=400), max_size=4))
def test_no_word_is_lost(messages):
    early = with_early_ends(pl.Series(messages, dtype=pl.String))
    for message, turned in zip(messages, early, strict=True):
        assert sorted("".join(turned.replace(" … ", "").split())) == sorted(
            "".join(message.split())
        )


@pytest.mark.parametrize(
    "message",
    ["x" * 600, "a b " + "x" * 600, "x" * 600 + " end"],
    ids=["one word", "long last", "long first"],
)
def test_what_has_no_end_of_its_own_stays(message):
    assert with_early_ends(pl.Series([message])).item() == message


def read(lines, **mask):
    section = PrepareSection(
        format=FormatSection(name="plain", kind="plain"), mask=MaskSection(**mask)
    )
    reader = Reader(section, today=date(2024, 3, 1), stdin=io.BytesIO("\n".join(lines).encode()))
    return pl.concat(list(reader.read(["-"])))["message"].to_list(), reader.tally.counts


def test_two_faults_behind_one_statement_are_told_apart_and_counted():
    lines = [LONG["sql"][0], LONG["sql"][0].replace("deadlock detected", "disk full"), "up"] * 3
    whole, counts = read(lines)
    assert whole[0].startswith("SELECT <*>, <*>")
    assert "reordered_messages" not in counts
    early, counts = read(lines, ends="early")
    assert counts["reordered_messages"] == 6
    assert [("deadlock" in text[:READ], "disk full" in text[:READ]) for text in early[:3]] == [
        (True, False),
        (False, True),
        (False, False),
    ]


def test_settings_of_before_leave_messages_in_their_order():
    assert MaskSection.read({"rules": "paper", "traces": "short"}, source="run").ends == "last"
