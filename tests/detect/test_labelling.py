"""What a person is asked about a log that was judged, and what becomes of the answers."""

import json

import polars as pl
import pytest

from logllm.config.format import LabelFileSection
from logllm.config.prepare import PrepareSection
from logllm.datasets.labels import read_labels
from logllm.datasets.settings import choose
from logllm.detect.labelling.answers import ANOMALOUS, NORMAL, SKIPPED, Answers, returned
from logllm.detect.labelling.judged_log import files_of, read_judged, read_verdicts
from logllm.detect.labelling.questions import Question, questions
from logllm.errors import DataError

SECTION = LabelFileSection()
NOTHING = {
    "format": {},
    "sessions": {"by": "key", "key_pattern": r"job=(\w+)"},
    "split": {},
    "mask": {},
}


@pytest.fixture
def settings() -> PrepareSection:
    return choose("plain", overrides=NOTHING)


@pytest.fixture
def log(tmp_path):
    """Twelve jobs: nine that are alike, two that fail in one way, one that fails in another."""
    lines = [f"job=j{job} started" for job in range(12)]
    lines += [f"job=j{job} disk failed" for job in (3, 7)] + [
        "job=j5 link lost",
        "job=j5 link is back",
    ]
    path = tmp_path / "app.log"
    path.write_text("\n".join(lines) + "\n")
    return path


SCORES = {"j3": 0.9, "j7": 0.9, "j5": 0.8}


@pytest.fixture
def verdicts(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    rows = []
    for job in range(12):
        score = SCORES.get(f"j{job}", 0.1)
        rows.append(
            {
                "session": f"j{job}",
                "score": score,
                "anomalous": score > 0.85,
                "lines": [],
                "model": "m@1",
            }
        )
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


@pytest.fixture
def judged(log, verdicts, settings):
    return read_judged(
        [log],
        read_verdicts(verdicts, model="m@1"),
        settings=settings,
        redacted=False,
        progress=None,
    )


@pytest.fixture
def asked(judged) -> list[Question]:
    return questions(judged, threshold=0.85, score_lines=None)


def test_equal_sessions_are_one_question_and_the_highest_comes_first(asked) -> None:
    assert [question.names for question in asked[:2]] == [("j3", "j7"), ("j5",)]
    assert asked[0].anomalous
    assert sorted(map(len, (question.names for question in asked))) == [1, 2, 9]


def test_what_most_sessions_are_like_is_asked_about_too(log, verdicts, settings, tmp_path) -> None:
    lines = [f"job=j{job} started" for job in range(12)] + [
        f"job=j{job} failure {'abcdefghijk'[job]}" for job in range(11)
    ]
    log.write_text("\n".join(lines) + "\n")
    rows = [
        {"session": f"j{job}", "score": 0.9 - job / 100, "anomalous": True, "model": "m@1"}
        for job in range(12)
    ]
    rows += [
        {"session": f"k{job}", "score": 0.0, "anomalous": False, "model": "m@1"}
        for job in range(40)
    ]
    log.write_text(log.read_text() + "".join(f"job=k{job} idle\n" for job in range(40)))
    verdicts.write_text("\n".join(map(json.dumps, rows)) + "\n")
    again = read_judged(
        [log],
        read_verdicts(verdicts, model="m@1"),
        settings=settings,
        redacted=False,
        progress=None,
    )
    first = questions(again, threshold=0.85, score_lines=None)[:4]
    assert max(len(question.names) for question in first) == 40


def test_the_telling_line_is_the_one_that_fewest_hold(asked, judged) -> None:
    places = [judged.sessions["messages"][question.row][question.telling] for question in asked[:2]]
    assert judged.messages.gather(places).to_list() == ["job=<*> disk failed", "job=<*> link lost"]


def test_answers_are_labels_that_prepare_reads(asked, tmp_path) -> None:
    place = tmp_path / "labels.csv"
    answers = Answers(place, SECTION)
    answers.give(asked[0], ANOMALOUS)
    answers.give(asked[1], SKIPPED)
    answers.give(asked[2], NORMAL)
    assert answers.tally == (2, 9)
    labels = dict(read_labels(place, SECTION).iter_rows())
    assert labels.pop("j3")
    assert labels.pop("j7")
    assert len(labels) == 9
    assert not any(labels.values())


def test_labels_are_written_as_the_format_has_them(asked, tmp_path) -> None:
    hdfs = choose(
        "hdfs", overrides={"format": {}, "sessions": {}, "split": {}, "mask": {}}
    ).format.label_file
    Answers(tmp_path / "labels.csv", hdfs).give(asked[0], ANOMALOUS)
    assert (tmp_path / "labels.csv").read_text().splitlines()[:2] == [
        "BlockId,Label,asked_about",
        "j3,Anomaly,j3",
    ]


def test_answers_go_on_and_the_last_is_taken_back(asked, tmp_path) -> None:
    place = tmp_path / "labels.csv"
    first = Answers(place, SECTION)
    first.give(asked[0], ANOMALOUS)
    first.give(asked[1], SKIPPED)
    again = Answers(place, SECTION)
    assert [question in again for question in asked] == [True, True, False]
    assert again.take_back() == "j5"
    assert [question in Answers(place, SECTION) for question in asked] == [True, False, False]
    assert again.take_back() == "j3"
    assert again.take_back() is None


def test_a_long_session_is_anomalous_where_one_of_its_pieces_is(tmp_path) -> None:
    pieces = [
        Question(name, 0.5, False, ("long",), row, 0) for row, name in enumerate(("long", "long#2"))
    ]
    answers = Answers(tmp_path / "labels.csv", SECTION)
    answers.give(pieces[0], NORMAL)
    answers.give(pieces[1], ANOMALOUS)
    assert read_labels(
        tmp_path / "labels.csv", LabelFileSection(anomalous=("anomalous",))
    ).rows() == [("long", True)]


def test_answers_come_back_by_any_of_the_equal_sessions(asked, tmp_path) -> None:
    path = tmp_path / "back.csv"
    path.write_text("session,label\nj7, Anomalous\nj0,normal\nj5,\n")
    assert [(question.names[0], answer) for question, answer in returned(path, asked)] == [
        ("j3", ANOMALOUS),
        ("j0", NORMAL),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("session,label\nj3,perhaps\n", "other than anomalous and normal: perhaps"),
        ("session,label\nj99,normal\n", "labels j99, which the verdicts do not name"),
        ("session,label\nj3,normal\nj7,anomalous\n", "just the same messages"),
        ("session,verdict\nj3,normal\n", "no column 'label'"),
        ("", "no CSV|not a CSV"),
    ],
    ids="word session both column empty".split(),
)
def test_answers_that_cannot_be_taken_are_refused(asked, tmp_path, text, said) -> None:
    path = tmp_path / "back.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        returned(path, asked)


def test_another_file_is_not_taken_for_answers(tmp_path) -> None:
    place = tmp_path / "labels.csv"
    place.write_text("session,label\nj3,anomalous\n")
    with pytest.raises(DataError, match="has no column 'asked_about'"):
        Answers(place, SECTION)
    assert place.read_text() == "session,label\nj3,anomalous\n"


@pytest.mark.parametrize(
    "text", ["", "{}\n", "hello\n", '{"session": 3}\n'], ids="nothing object words number".split()
)
def test_what_holds_no_verdicts_is_refused(tmp_path, text) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match="no verdicts, one JSON object a line"):
        read_verdicts(path, model="m@1")


def test_verdicts_of_another_run_are_refused(verdicts) -> None:
    with pytest.raises(DataError, match="are of m@1, and the run is other@2"):
        read_verdicts(verdicts, model="other@2")


def test_verdicts_on_another_log_are_refused(verdicts, log, settings) -> None:
    log.write_text("job=x1 started\n")
    with pytest.raises(DataError, match="name sessions like j0, and the log holds 1 session"):
        read_judged(
            [log],
            read_verdicts(verdicts, model="m@1"),
            settings=settings,
            redacted=False,
            progress=None,
        )


def test_the_log_is_named_or_known_from_the_verdicts(verdicts, log) -> None:
    frame = read_verdicts(verdicts, model="m@1")
    with pytest.raises(DataError, match="does not say which log it is of"):
        files_of(frame, verdicts)
    named = frame.with_columns(files=pl.lit([str(log)]))
    assert files_of(named, verdicts) == [str(log)]
