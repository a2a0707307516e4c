"""Logs of which few lines begin a record, and text that only quotes one."""

from datetime import date

import polars as pl
import pytest

from logllm.formats.recognition import recognise

JAVA = [
    "java.lang.IllegalStateException: none left",
    *[f"\tat com.shop.layer{depth}.Step.run(Step.java:{depth})" for depth in range(40)],
]
LARAVEL = [
    "[stacktrace]",
    *[
        f"#{depth} /var/www/vendor/laravel/src/Pipeline.php({depth}): handle()"
        for depth in range(40)
    ],
    '"}',
    "",
]
PYTHON = [
    "Traceback (most recent call last):",
    *['  File "/app/jobs.py", line 7, in run', "    step()"] * 20,
    "ValueError: no rows",
]
GO = ["goroutine 1 [running]:", *["main.step(0x1)", "\t/app/main.go:10 +0x1d"] * 20]
PLAN = ["\tQuery Text: SELECT 1", *["\t  ->  Nested Loop  (cost=0.0..81.02 rows=0 width=8)"] * 40]
QUERY = ["SELECT o.id", *[f", o.column_{column}" for column in range(40)], "FROM orders o"]
WORDS = ["just some words"] * 300


def log(head, further, records):
    lines = [[head.format(minute=place), *further] for place in range(records)]
    return pl.Series([line for record in lines for line in record])


def recognised(text):
    return recognise(text, today=date(2024, 3, 1))


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("head", "further", "name"),
    [
        ("2024-01-02 03:{minute:02d}:05,000 ERROR [main] com.shop.Shop - broke", JAVA, "log4j"),
        ("[2024-01-02 03:{minute:02d}:05] production.ERROR: broke", LARAVEL, "timed"),
        ("2024-01-02 03:{minute:02d}:05,000 - shop.jobs - ERROR - broke", PYTHON, "python"),
        ("2024-01-02T03:{minute:02d}:05Z panic: broke", GO, "timed"),
        (
            "2024-01-02 03:{minute:02d}:05.112 UTC [900] LOG:  duration: 3.1 ms  plan:",
            PLAN,
            "postgresql",
        ),
        ("2024-01-02 03:{minute:02d}:05 slow query:", QUERY, "timed"),
    ],
    ids=["java", "laravel", "python", "go", "plan", "query"],
)
def test_records_of_many_lines_are_a_log(head, further, name):
    text = log(head, further, records=20)
    recognition = recognised(text)
    assert (recognition.format.name, recognition.share) == (name, 1.0)
    assert "begin a record, the others continue one" in recognition.notes[0]


@pytest.mark.parametrize(
    "further", [JAVA * 8, LARAVEL * 8, PLAN * 8], ids=["java", "laravel", "plan"]
)
def test_one_trace_is_a_log_of_one_record(further):
    text = log(
        "2024-01-02 03:{minute:02d}:05,000 ERROR [main] com.shop.Shop - broke", further, records=1
    )
    assert recognised(text).format.name == "log4j"


QUOTED = [
    f"2024-01-02 03:04:0{second},000 ERROR [main] com.shop.Shop - broke" for second in range(5)
]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "lines",
    [
        [QUOTED[0], *WORDS],
        [*WORDS, *QUOTED, *WORDS],
        [*WORDS, QUOTED[0], *JAVA, *WORDS],
        [*JAVA * 8, QUOTED[0], *JAVA * 8, *WORDS],
        [
            line
            for quoted in QUOTED
            for line in (quoted, *["2024-01-02 03:04 another kind of line"] * 20)
        ],
        [
            line
            for quoted in reversed(QUOTED)
            for day in (2, 1)
            for line in (quoted.replace("-02", f"-0{day}"), *WORDS[:40])
        ],
    ],
    ids=["first line", "amid", "with its trace", "code", "times of their own", "no order"],
)
def test_text_that_quotes_a_log_is_none(lines):
    assert recognised(pl.Series(lines)).format.name in (
        "plain",
        "timed" if "another kind" in lines[1] else "plain",
    )
