"""`logllm detect --report`: one page, or a folder with it."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime

import polars as pl
import pytest
from tests.pages import Page, check_alone

from logllm.datasets.settings import choose
from logllm.detect.detector import Detector
from logllm.detect.page.gathered import OTHERS, SESSIONS, gathered
from logllm.detect.page.judged import Judged, Wish
from logllm.detect.page.report import page
from logllm.formats.description import load_format

STEP = "2026-11-20T10:{minute:02d}:{second:02d}Z INFO job={job} {what}\n"
STEPS = ("opened file {job}", "wrote {job} bytes", "wrote {job} bytes", "closed file {job}")
FAULT = (
    "2026-11-20T10:59:00Z ERROR job={job} <script>alert({job})</script> failed for ann@example.org"
    " & others\n  at <b>Store</b>.put\n"
)


def written(path, jobs, *, faults: int = 0):
    """A log of jobs, the last of which fail with a record of two lines."""
    text = ""
    for job in jobs:
        told = [
            STEP.format(
                job=job, minute=job % 3600 // 60, second=job % 60, what=step.format(job=job)
            )
            for step in STEPS
        ]
        text += "".join(told)
    text += "".join(FAULT.format(job=job) for job in list(jobs)[len(jobs) - faults :] if faults)
    path.write_text(text)
    return path


@pytest.fixture
def good(tmp_path):
    return written(tmp_path / "good.log", range(1000, 1300))


@pytest.fixture
def faulty(tmp_path):
    return written(tmp_path / "faulty.log", range(2000, 2300), faults=3)


def made(logllm, tmp_path, *arguments, name="today.html", stdin=None):
    """The page of a call, and what the call wrote."""
    done = logllm(
        "detect", *arguments, "--key", "job=([0-9]+)", "--report", tmp_path / name, stdin=stdin
    )
    assert done.code == 0, done.err
    assert f"the report is {tmp_path / name}: open it in a browser" in done.err
    return (tmp_path / name).read_text(), done


def test_a_page_of_a_log_against_a_good_one(logllm, tmp_path, good, faulty) -> None:
    text, done = made(logllm, tmp_path, faulty, "--against", good)
    check_alone(text)
    shown = Page(text)
    verdicts = [json.loads(line) for line in done.out.splitlines()]
    anomalous = [verdict["session"] for verdict in verdicts if verdict["anomalous"]]
    assert anomalous == ["2297", "2298", "2299"]
    assert "faulty.log: 3 of 300 sessions anomalous" in " ".join(shown.text.split())
    assert {3, 300, 1206} <= set(shown.numbers)
    assert [row["data-session"] for row in shown.of_class("anomalous")] == sorted(anomalous)
    assert len(shown.of_class("row")) == 3 + OTHERS
    assert "left out are 247 others with lower scores" in " ".join(shown.text.split())
    assert shown.of_class("timeline")
    assert shown.of_class("span")
    assert "New kinds of message" in shown.text
    assert len(shown.of_class("marked")) >= 3
    assert "speaks for it" in shown.text
    assert shown.text.count(str(good)) >= 1


def test_lines_are_text_as_they_are_written(logllm, tmp_path, good, faulty) -> None:
    text, _ = made(logllm, tmp_path, faulty, "--against", good)
    shown = Page(text)
    assert (
        "<script>alert(2297)</script> failed for ann@example.org & others\n at <b>Store</b>.put"
        in re.sub(" +", " ", shown.text)
    )
    assert sum(tag == "script" for tag, _ in shown.elements) == 1
    assert "alert" not in "".join(shown.scripts)
    assert "<b>" not in text
    assert "script-src &#39;sha256-" in text or "script-src 'sha256-" in text
    assert "× 2, to line " in shown.text  # what was written twice is there once


def test_a_log_alone_is_ranked(logllm, tmp_path, faulty) -> None:
    text, _ = made(logllm, tmp_path, faulty)
    shown = Page(text)
    told = " ".join(shown.text.split())
    assert "faulty.log: 300 sessions ranked, not judged" in told
    assert not shown.of_class("anomalous")
    assert len(shown.of_class("row")) == SESSIONS + OTHERS
    assert "New kinds" not in shown.text
    assert shown.of_class("marked")
    assert "alert(2299)" in shown.text


def test_a_session_that_lacks_a_step_says_that_no_line_tells(logllm, tmp_path) -> None:
    log = written(tmp_path / "steps.log", range(1000, 1300))
    gone = " job=1150 closed file"
    whole = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in whole if gone not in line))
    text, _ = made(logllm, tmp_path, log)
    assert "No line says why: steps that most sessions hold are missing" in Page(text).text


def test_secrets_are_taken_out(logllm, tmp_path, good, faulty) -> None:
    secret = shutil.copy(faulty, tmp_path / "bob@example.org.log")
    text, _ = made(logllm, tmp_path, secret, "--against", good, "--redact")
    assert "@example.org" not in text
    assert "&lt;email&gt; &amp; others" in text
    assert "Secrets were removed." in text


def test_standard_input_is_shown_as_it_is_written(logllm, tmp_path, good, faulty) -> None:
    text, _ = made(logllm, tmp_path, "-", "--against", good, stdin=faulty.read_bytes())
    shown = Page(text)
    assert "standard input: 3 of 300 sessions anomalous" in " ".join(shown.text.split())
    assert "job=2297 wrote 2297 bytes" in shown.text
    assert not shown.of_class("masked")


def test_several_inputs_are_named(logllm, tmp_path, good, faulty) -> None:
    text, _ = made(logllm, tmp_path, good, faulty, "--against", good)
    told = " ".join(Page(text).text.split())
    assert "2 logs: " in told
    assert "faulty.log:1,201" in told
    assert f"{good} {faulty}" in told


def test_a_healthy_log_says_so(logllm, tmp_path, good) -> None:
    healthy = written(tmp_path / "healthy.log", range(2000, 2100))
    told = " ".join(Page(made(logllm, tmp_path, healthy, "--against", good)[0]).text.split())
    assert "healthy.log: none of 100 sessions is anomalous" in told
    assert "None: no session is anomalous." in told
    assert "None: the good logs hold lines like all of these." in told
    assert "All sessions of the log" in told


def test_what_was_not_read_is_said(logllm, tmp_path, tiny_run, tiny_data) -> None:
    log = tmp_path / "app.jsonl"
    log.write_text("{<i>no\n" + (tiny_data.parent / "app.jsonl").read_text())
    done = logllm("detect", tiny_run, log, "--report", tmp_path / "today.html")
    assert done.code == 0, done.err
    shown = Page((tmp_path / "today.html").read_text())
    assert "app.jsonl:1: {<i>no" in shown.text
    assert "1 rejected" in shown.text
    assert "Judged by tiny@" in " ".join(shown.text.split())


def test_a_log_without_sessions_is_told_too(logllm, tmp_path, tiny_run) -> None:
    (tmp_path / "app.jsonl").write_text('{"time": 1, "message": "nobody\'s"}\n')
    done = logllm("detect", tiny_run, tmp_path / "app.jsonl", "--report", tmp_path / "today.html")
    assert done.code == 0, done.err
    assert "none of 0 sessions is anomalous" in " ".join(
        Page((tmp_path / "today.html").read_text()).text.split()
    )


@pytest.mark.real
def test_a_folder_holds_the_verdicts_too(logllm, tmp_path, good, faulty) -> None:
    call = ["detect", faulty, "--against", good, "--report", tmp_path / "today"]
    done = logllm(*call)
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "today").iterdir()) == [
        "manifest.json",
        "report.html",
        "verdicts.jsonl",
    ]
    assert (tmp_path / "today" / "verdicts.jsonl").read_text() == done.out
    assert f"the report is {tmp_path / 'today' / 'report.html'}: open" in done.err
    assert logllm(*call).code == 2
    assert logllm(*call, "--force").code == 0


@pytest.mark.real
def test_what_verdicts_say_besides_is_shown(good, faulty) -> None:
    grouping = {"by": "key", "key_pattern": "job=([0-9]+)"}
    settings = choose(
        load_format("timed"),
        overrides={"format": {}, "sessions": grouping, "split": {}, "mask": {}},
    )
    detector = Detector.against([good], settings=settings)
    reading = detector.read([faulty], occurrences=True, redact=True)
    frame = pl.concat(list(reading.frames()), how="diagonal_relaxed").with_columns(
        minds=pl.struct(logllm=pl.lit(0.25), words=pl.lit(0.9996)),
        new_words=pl.lit(0.125),
        expected=pl.lit(["closed <file>", "mailed ann@example.org"], dtype=pl.List(pl.String)),
        cut=pl.lit("end"),
    )
    made_at = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)
    contents = gathered(
        Judged(frame, reading, detector),
        Wish([str(faulty)], made_at, redact=True, how_read="read\nby ann@example.org"),
    )
    text = page(contents)
    told = " ".join(Page(text).text.split())
    for words in (
        "logllm .2500, words .9996",
        "12.5 % of its words were never seen in training",
        "closed <file>",
        "mailed <email>",
        "by <email>",
        "it may go on after the input",
        "on 2026-11-27 08:00:00 UTC",
    ):
        assert words in told
    assert "ann@example.org" not in text


@pytest.mark.parametrize("name", ["today.html", "today"])
def test_what_is_there_is_not_replaced(logllm, tmp_path, faulty, name) -> None:
    if name == "today":
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
    else:
        (tmp_path / name).write_text("mine")
    done = logllm("detect", faulty, "--report", tmp_path / name)
    assert (done.code, done.out) == (2, "")
    assert name in done.err


BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def browser(tmp_path):
    """The elements of a page as a browser has them, after its scripts."""
    command = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if command is None:
        pytest.skip(
            "needs Chromium: none of chromium, chromium-browser and google-chrome is installed"
        )

    def dom(page, *options: str, anchor: str = "") -> str:
        place = f"--user-data-dir={tmp_path / 'profile'}"
        still = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--virtual-time-budget=3000",
            place,
        ]
        done = subprocess.run(
            [command, *still, *options, "--dump-dom", f"{page.as_uri()}{anchor}"],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    return dom


@pytest.mark.real
def test_in_a_browser_the_table_sorts_and_a_link_opens_a_session(
    logllm, tmp_path, good, faulty, browser
) -> None:
    made(logllm, tmp_path, faulty, "--against", good)
    shown = Page(browser(tmp_path / "today.html", anchor="#s3"))
    assert sum(tag == "details" and "open" in attrs for tag, attrs in shown.elements) == 1
    (tools,) = shown.of_class("tools")
    assert "hidden" not in tools
    assert "53 of 53 shown" in shown.text
    # Of six columns, and the one that opens all.
    assert sum(tag == "button" for tag, _ in shown.elements) == 7
