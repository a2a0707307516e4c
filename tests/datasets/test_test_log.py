"""A test part from a log of its own."""

import json

import polars as pl
import pytest

from logllm.config.format import FormatSection
from logllm.config.prepare import PrepareSection, SplitSection
from logllm.config.sessions import SessionSection
from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import Prepared
from logllm.errors import DataError
from logllm.formats.description import load_format

KEYED = SessionSection(by="key", key_field="job", max_messages=4)
WINDOWS = SessionSection(by="count", size=3)


def settings(sessions=KEYED, **split):
    described = load_format("json").model_copy(
        update={"label": "label", "normal": ("ok",), "sessions": sessions, "time": None}
    )
    return PrepareSection(format=described, sessions=sessions, split=SplitSection(**split))


def log(path, jobs, *, words="abc", message="message"):
    """Lines of some jobs, five a job; every third job fails."""
    rows = [
        {
            message: f"step {words[step % 3]}",
            "job": f"j{job}",
            "label": "bad" if job % 3 == 0 and step == 4 else "ok",
        }
        for job in range(jobs)
        for step in range(5)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("by", ["time", "random"])
def test_the_test_part_is_the_other_log(tmp_path, by) -> None:
    raw, other = log(tmp_path / "a.jsonl", 20), log(tmp_path / "b.jsonl", 6, words="cde")
    manifest = prepare([raw], tmp_path / "out", settings=settings(by=by), test_raw=[other])
    test = manifest["parts"]["test"]
    assert (test["sessions"], test["anomalous"]) == (12, 2)  # each job has a part 2, with its fault
    assert (
        sum(part["sessions"] for part in manifest["parts"].values())
        == manifest["sessions"]
        == 40 + 12
    )
    assert manifest["parts"]["validation"]["sessions"] == 4
    assert (manifest["lines"], manifest["distinct_messages"], manifest["overlapping"]) == (
        130,
        5,
        0,
    )
    assert [[file["name"] for file in manifest[name]] for name in ("raw", "test_raw")] == [
        ["a.jsonl"],
        ["b.jsonl"],
    ]
    assert (
        manifest["warnings"][0]
        == "the test part is another log: the share of 0.2 for testing is not used"
    )
    prepared = Prepared.load(tmp_path / "out")
    assert prepared.part("test")["session"].to_list()[:3] == ["test:j0", "test:j0#2", "test:j1"]
    assert prepared.messages.gather(prepared.part("test")["messages"][0]).to_list() == [
        "step c",
        "step d",
        "step e",
        "step c",
    ]
    names = pl.concat([prepared.part(part) for part in ("train", "validation", "test")])["session"]
    assert names.n_unique() == len(names)


def test_windows_of_all_lines_of_both(tmp_path) -> None:
    raw, other = log(tmp_path / "a.jsonl", 20), log(tmp_path / "b.jsonl", 2)
    prepare([raw], tmp_path / "out", settings=settings(WINDOWS), test_raw=[other])
    prepared = Prepared.load(tmp_path / "out")
    assert prepared.part("test")["session"].to_list() == [
        f"test:3@{start}" for start in (1, 4, 7, 10)
    ]
    lines = pl.concat([prepared.part(part) for part in ("train", "validation")])["lines"].explode()
    assert sorted(lines) == list(range(1, 101))


def test_overlapping_windows_share_no_line_between_train_and_validation(tmp_path) -> None:
    raw, other = log(tmp_path / "a.jsonl", 20), log(tmp_path / "b.jsonl", 2)
    sessions = SessionSection(by="count", size=4, step=2)
    manifest = prepare([raw], tmp_path / "out", settings=settings(sessions), test_raw=[other])
    train, validation = (
        set(Prepared.load(tmp_path / "out").part(name)["lines"].explode())
        for name in ("train", "validation")
    )
    assert not train & validation
    assert manifest["overlapping"] == 1


def test_key_sessions_that_lie_across_each_other_all_stay(tmp_path) -> None:
    """Sessions by key overlap in time and share no line for it."""
    raw = tmp_path / "a.jsonl"
    rows = [
        {"message": "x", "job": f"j{place % 20}", "label": "bad" if place < 5 else "ok"}
        for place in range(60)
    ]
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = prepare(
        [raw], tmp_path / "out", settings=settings(), test_raw=[log(tmp_path / "b.jsonl", 6)]
    )
    assert (manifest["parts"]["train"]["sessions"], manifest["overlapping"]) == (18, 0)


def test_each_log_has_its_labels(tmp_path) -> None:
    raw, other = log(tmp_path / "a.jsonl", 20), log(tmp_path / "b.jsonl", 6)
    (tmp_path / "a.csv").write_text(
        "session,label\n"
        + "".join(f"j{job},{'bad' if job == 1 else 'normal'}\n" for job in range(20))
    )
    (tmp_path / "b.csv").write_text("line,label\n6,bad\n11,bad\n12,bad\n")
    manifest = prepare(
        [raw],
        tmp_path / "out",
        settings=settings(),
        labels=tmp_path / "a.csv",
        test_raw=[other],
        test_labels=tmp_path / "b.csv",
    )
    assert manifest["parts"]["test"]["anomalous"] == 2
    assert manifest["anomalous"] == 2 + 2  # both parts of j1
    assert (manifest["labels"]["name"], manifest["test_labels"]["name"]) == ("a.csv", "b.csv")


def test_the_other_log_may_have_another_format(tmp_path) -> None:
    raw, other = log(tmp_path / "a.jsonl", 20), tmp_path / "b.log"
    lines = [
        f"[{job}] {'bad' if step == 4 and job < 2 else 'ok'} step {'abc'[step % 3]}"
        for job in range(6)
        for step in range(5)
    ]
    other.write_text("\n".join(lines))
    own = FormatSection(
        name="own",
        pattern=r"\[(?<pid>\d+)\] (?<label>\w+) (?<message>.+)",
        label="label",
        normal=("ok",),
        sessions=SessionSection(by="key", key_field="pid"),
    )
    with pytest.raises(DataError, match="30 of 30 lines are not in the format json"):
        prepare([raw], tmp_path / "out", settings=settings(), test_raw=[other])
    manifest = prepare(
        [raw], tmp_path / "out", settings=settings(), test_raw=[other], test_format=own
    )
    assert manifest["parts"]["test"] == {"sessions": 12, "anomalous": 2, "distinct_sessions": 2}
    assert (
        manifest["settings"]["format"]["name"],
        manifest["test_format"]["name"],
        manifest["distinct_messages"],
    ) == ("json", "own", 3)


def test_without_a_test_log_the_manifest_is_as_ever(tmp_path) -> None:
    manifest = prepare([log(tmp_path / "a.jsonl", 20)], tmp_path / "out", settings=settings())
    assert not {"test_raw", "test_labels", "test_format"} & manifest.keys()
