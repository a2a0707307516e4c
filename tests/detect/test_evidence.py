"""Which lines are named for a verdict, and what is shown of them."""

import json
import shutil
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from logllm.config.format import FormatSection
from logllm.datasets.settings import choose
from logllm.detect.detector import Detector
from logllm.detect.evidence.telling_lines import Sources, evidence
from logllm.detect.evidence.turning import Turns, turns
from logllm.detect.evidence.written_lines import WrittenLines
from logllm.detect.verdict import json_lines
from logllm.formats.description import load_format
from logllm.sessions.following import Following
from logllm.sessions.message_sets import keys_of_messages
from logllm.sessions.sessionizer import SESSIONS

FORMAT = {"kind": "pattern", "pattern": r"(?<job>job\d+) (?<message>.*)"}
TABLE = ["open", "read", "close", "disk is full", "giving up", "a", "b", "c"]


def log(*jobs: list[str]) -> str:
    """Jobs one after the other."""
    return "".join(
        f"job{number} {message}\n" for number, messages in enumerate(jobs) for message in messages
    )


@pytest.fixture
def against(tmp_path) -> Callable[[], Detector]:
    """What has learnt good jobs."""

    def learn() -> Detector:
        good = tmp_path / "good.log"
        good.write_text(log(*[["open file 1", "read file 1", "close file 1"]] * 40))
        overrides = {
            "format": FORMAT,
            "sessions": {"by": "key", "key_field": "job"},
            "mask": {},
            "split": {},
        }
        return Detector.against([good], settings=choose("plain", recipe=None, overrides=overrides))

    return learn


def told(
    sessions: dict[tuple[str, ...], float],
    scores: dict[str, float],
    *,
    files: tuple[str, ...] = ("app.log",),
    score: Callable[[list[np.ndarray]], np.ndarray] | None = None,
    **more: object,
) -> pl.DataFrame:
    """What is said of some sessions, of whose messages each has a score; files are those of lines,
    in turn."""
    rows = [[TABLE.index(message) for message in messages] for messages in sessions]
    frame = pl.DataFrame(
        {
            "messages": rows,
            "lines": [list(range(1, len(row) + 1)) for row in rows],
            "files": [[place % len(files) for place in range(len(row))] for row in rows],
            "score": list(sessions.values()),
        },
        schema_overrides={name: SESSIONS[name] for name in ("messages", "lines", "files")},
    )

    def score_lines(distinct) -> list[np.ndarray]:
        return [np.array([scores.get(TABLE[row], 0.0) for row in session]) for session in distinct]

    def searched(sessions) -> Turns:
        groups = [(np.arange(len(sessions)), score or nothing)]
        return turns(sessions, groups, threshold=0.5)

    sources = {"score_lines": score_lines, "turns": searched, **more}
    written = WrittenLines(
        [(name, load_format("plain")) for name in files], key_field=None, redacted=False
    )
    return evidence(
        frame, pl.Series(TABLE), sources=Sources(**sources), written=written, files=files
    )


def nothing(beginnings) -> np.ndarray:
    raise AssertionError("no beginning is to be scored")


def lines_of(frame: pl.DataFrame) -> list[list[tuple]]:
    """The lines that are named for each session."""
    return [[tuple(line.values()) for line in session] for session in frame["evidence"]]


def test_the_most_telling_lines_come_first_and_none_says_more_than_the_verdict() -> None:
    (lines,) = lines_of(
        told(
            {("open", "giving up", "disk is full", "close"): 0.8},
            {"disk is full": 0.9, "giving up": 0.5, "open": 0.1},
        )
    )
    assert lines == [(3, 0.8, "disk is full"), (2, 0.5, "giving up")]


def test_at_most_five_lines_and_a_message_once() -> None:
    (lines,) = lines_of(told({("a", "a", *TABLE): 1.0}, dict.fromkeys(TABLE, 0.7)))
    assert [line[0] for line in lines] == [1, 3, 4, 5, 6]


def test_where_several_files_are_read_a_line_has_its_file() -> None:
    (lines,) = lines_of(
        told({("open", "disk is full"): 1.0}, {"disk is full": 0.9}, files=("a.log", "b.log"))
    )
    assert lines == [(2, "b.log", 0.9, "disk is full")]


def test_sessions_keep_their_order_and_their_lines() -> None:
    sessions = {("open", "a"): 0.9, ("b", "open"): 0.8, ("open", "c"): 0.7}
    assert [
        lines[0][::2] for lines in lines_of(told(sessions, {"a": 0.9, "b": 0.9, "c": 0.9}))
    ] == [(2, "a"), (1, "b"), (2, "c")]


def test_where_no_line_tells_by_itself_it_is_the_one_after_which_the_score_rises() -> None:
    """And what others that begin alike go on with is said, where the log holds it; one that was
    never normal ends too early."""
    keys = keys_of_messages(pl.Series(TABLE))
    opened, read, close = (keys[TABLE.index(message)] for message in ("open", "read", "close"))
    sets = np.array([opened] * 6 + [keys[:2].sum()] * 6)
    last = np.array([opened] * 6 + [read] * 6)
    following = Following.learn(sets, last, following=np.array([read] * 6 + [close] * 6))

    def score(beginnings) -> np.ndarray:
        return np.array(
            [0.9 if 1 not in session or 5 in session else 0.1 for session in beginnings]
        )

    sessions = {
        ("open", "read", "a", "b", "c"): 0.9,
        ("open",): 0.8,
        ("open", "read", "disk is full"): 0.7,
    }
    frame = told(
        sessions, {"disk is full": 0.95, "a": 0.6}, score=score, level=0.7, following=following
    )
    assert lines_of(frame) == [[(3, 0.9, "a")], [(1, 0.8, "open")], [(3, 0.7, "disk is full")]]
    assert frame["expected"].to_list() == [["close"], ["read"], None]


def test_as_many_beginnings_are_scored_as_the_length_has_binary_digits() -> None:
    tried: list[int] = []

    def score(beginnings) -> np.ndarray:
        tried.extend(map(len, beginnings))
        return np.array([float(len(beginning) > 70) for beginning in beginnings])

    turned = turns([np.arange(128)], [(np.arange(1), score)], threshold=0.5)
    assert (turned.places.tolist(), turned.risen.tolist(), len(tried)) == ([70], [True], 7)


def test_a_beginning_that_several_sessions_ask_for_is_scored_once() -> None:
    tried: list[tuple[int, ...]] = []

    def score(beginnings) -> np.ndarray:
        tried.extend(tuple(beginning.tolist()) for beginning in beginnings)
        return np.array([float(len(beginning) > 2) for beginning in beginnings])

    # The first two begin alike: they ask for two and for three messages, in different rounds.
    sessions = [np.arange(4), np.arange(8), np.arange(8) + 1]
    turned = turns(sessions, [(np.arange(3), score)], threshold=0.5)
    assert turned.places.tolist() == [2, 2, 2]
    assert len(tried) == len(set(tried)) == 2 + 1 + 3


def test_anomalous_verdicts_alone_carry_the_lines_as_they_are_written(against, tmp_path) -> None:
    path = tmp_path / "today.log"
    path.write_text(
        log(
            ["open file 7", "read file 7", "close file 7"],
            ["open file 8", "read failed: I/O error 5 on /dev/sdb", "close file 8"],
        )
    )
    normal, bad = against().read([path])
    assert (normal.anomalous, normal.evidence) == (False, None)
    assert bad.evidence[0] | {"score": None} == {
        "line": 5,
        "score": None,
        "text": "job1 read failed: I/O error 5 on /dev/sdb",
    }
    assert 0 < bad.evidence[0]["score"] <= bad.score


def test_of_what_can_be_read_once_only_the_masked_message_is_shown(against) -> None:
    (bad,) = against().detect(
        iter(["job0 open file 8", "job0 read failed: I/O error 5", "job0 close file 8"])
    )
    assert bad.evidence[0]["text"] == "read failed: <*> error <*>"


def test_nothing_secret_is_shown_where_redaction_is_asked_for(against, tmp_path) -> None:
    path = tmp_path / "today.log"
    path.write_text("job0 open file 8\njob0 login failed for ann@example.org\n")
    (bad,) = against().read([path], redact=True)
    assert bad.evidence[0]["text"] == "job0 login failed for <email>"


def test_sessions_beyond_the_share_that_is_called_have_none(against, tmp_path) -> None:
    path = tmp_path / "today.log"
    path.write_text(
        log(
            ["open file 1", "panic: core is broken"],
            ["open file 1", "panic: core is broken"],
            ["open file 2", "read file 2"],
        )
    )
    verdicts = list(against().read([path], top_share=0.4))
    assert [(verdict.anomalous, bool(verdict.evidence)) for verdict in verdicts] == [
        (True, True),
        (False, False),
        (False, False),
    ]


def test_a_line_that_says_nothing_by_itself_gives_way_to_the_message(tmp_path) -> None:
    path = tmp_path / "app.json"
    path.write_text('{\n"message": "disk is full"}\n')
    written = WrittenLines([(str(path), load_format("json"))], key_field=None, redacted=False)
    places = pl.DataFrame(
        {"file": [0, 0], "line": [1, 2], "message": ["disk is full"] * 2},
        schema_overrides={"file": pl.UInt32, "line": pl.UInt64},
    )
    assert written.texts(places).to_list() == ["disk is full", '"message": "disk is full"}']


@pytest.mark.parametrize(
    ("name", "key"),
    [("csv", None), ("plain", "password")],
    ids=["columns-of-a-table", "key-with-a-secret-name"],
)
def test_a_line_that_does_not_say_what_is_secret_gives_way_to_the_message(
    tmp_path, name, key
) -> None:
    path = tmp_path / "app.log"
    path.write_text("1,hunter2,disk is full\n")
    described = FormatSection(name="app", kind="csv") if name == "csv" else load_format(name)
    places = pl.DataFrame(
        {"file": [0], "line": [1], "message": ["disk is full"]},
        schema_overrides={"file": pl.UInt32, "line": pl.UInt64},
    )
    shown = {
        redacted: (
            WrittenLines([(str(path), described)], key_field=key, redacted=redacted)
            .texts(places)
            .item()
        )
        for redacted in (False, True)
    }
    assert shown == {False: "1,hunter2,disk is full", True: "disk is full"}


def test_further_lines_of_a_record_are_shown_and_long_ones_are_cut_at_their_ends(tmp_path) -> None:
    path = tmp_path / "app.log"
    calls = [f"  at {name * 400}" for name in "abcdefghijklmnopqrstuvwxyzABCDEFG"]
    path.write_text("\n".join(["job1 lost " + "x" * 2_000, *calls, "job2 up", "  at rest"]))
    joining = FormatSection(name="app", continuation=r"^\s", **FORMAT)
    written = WrittenLines([(str(path), joining)], key_field=None, redacted=False)
    places = pl.DataFrame(
        {"file": [0, 0], "line": [1, len(calls) + 2], "message": ["lost\nat", "up"]},
        schema_overrides={"file": pl.UInt32, "line": pl.UInt64},
    )
    whole, other = written.texts(places)
    lines = whole.split("\n")
    assert lines[0] == "job1 lost " + "x" * 990 + "…"
    assert lines[1] == calls[0][:300] + "…"
    assert (len(lines), lines[20], lines[-1]) == (31, "…", calls[-1][:300] + "…")
    assert other == "job2 up"  # whose message says that it has one line


def test_later_and_earlier_lines_of_a_long_file_and_one_that_is_gone(tmp_path) -> None:
    path, gone = tmp_path / "long.log", tmp_path / "gone.log"
    path.write_text("".join(f"line {number} {'x' * 1_500}\n" for number in range(1, 20_001)))
    gone.write_text("here\n")
    described = load_format("plain")
    written = WrittenLines(
        [(str(path), described), (str(gone), described)], key_field=None, redacted=False
    )
    gone.unlink()

    def shown(file: int, *numbers: int) -> list[str]:
        rows = {
            "file": [file] * len(numbers),
            "line": list(numbers),
            "message": ["masked"] * len(numbers),
        }
        return written.texts(
            pl.DataFrame(rows, schema_overrides={"file": pl.UInt32, "line": pl.UInt64})
        ).to_list()

    for numbers in ((3, 1), (19_999, 20_000), (2, 12_000)):
        assert [text.split()[1] for text in shown(0, *numbers)] == [
            str(number) for number in numbers
        ]
    assert shown(0, 1) == [f"line 1 {'x' * 993}…"]
    assert shown(1, 1) == ["masked"]


def test_verdicts_of_the_command_hold_the_lines(against, tmp_path) -> None:
    """As JSON: without a file where there is one input."""
    path = tmp_path / "today.log"
    path.write_text(log(["open file 8", "read failed: I/O error 5"]))
    (frame,) = against().read([path]).frames()
    (row,) = [json.loads(text) for text in "".join(json_lines(frame.drop("messages"))).splitlines()]
    assert [list(line) for line in row["evidence"]] == [["line", "score", "text"]]


def test_a_log_that_was_judged_before_takes_no_model_for_its_evidence(
    tiny_run, tiny_data, tmp_path, cached
) -> None:
    """All that is scored for it is kept: the run's weights may be gone."""
    run = shutil.copytree(tiny_run, tmp_path / "run")
    first, again = (Detector.load(run, cache=True, threshold=0.0) for _ in range(2))
    wanted = [verdict.evidence for verdict in first.read([tiny_data.parent / "app.jsonl"])]
    (run / "projector.safetensors").unlink()
    assert [verdict.evidence for verdict in again.read([tiny_data.parent / "app.jsonl"])] == wanted
    assert all(wanted)
