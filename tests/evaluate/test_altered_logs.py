"""Altered logs: how many, which, and what stays."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from logllm.cli.app import app
from logllm.config.mask import MaskSection
from logllm.config.perturb import PerturbSection
from logllm.datasets.prepared import Prepared
from logllm.datasets.splits import number_of
from logllm.errors import DataError
from logllm.evaluate.altered import Statements, altered, perturb
from logllm.sessions.sessionizer import SESSIONS

PREPARED = {name: kind for name, kind in SESSIONS.items() if name != "cut"}

KINDS = ("insert", "remove", "duplicate", "shuffle", "reword")
TABLE = pl.Series(
    "message",
    [
        f"{verb} block <*> of size <*>"
        for verb in ("Received", "Deleting", "Serving", "Closed", "Moving", "<*>")
    ],
)
LISTS = ("messages", "lines", "files", "item_anomalous")


def sessions_of(contents, labels):
    """Sessions of some messages; where a label is none its lines have none."""
    lines = [list(range(100 * at, 100 * at + len(content))) for at, content in enumerate(contents)]
    return pl.DataFrame(
        {
            "session": [f"s{at}" for at in range(len(contents))],
            "part": 1,
            "messages": contents,
            "lines": lines,
            "files": [[0] * len(content) for content in contents],
            "start": None,
            "end": None,
            "anomalous": [bool(label) for label in labels],
            "item_anomalous": [
                None if label is None else [label and not place for place in range(len(content))]
                for label, content in zip(labels, contents, strict=True)
            ],
            "closed": None,
            "first": 1,
            "last": 1,
        },
        schema=PREPARED,
    )


@st.composite
def parts(draw):
    contents = draw(
        st.lists(
            st.lists(st.integers(0, len(TABLE) - 1), min_size=1, max_size=45),
            min_size=1,
            max_size=12,
        )
    )
    labels = draw(
        st.lists(
            st.sampled_from([True, False, None]), min_size=len(contents), max_size=len(contents)
        )
    )
    return sessions_of(contents, labels)


def alter(sessions, settings):
    return altered(
        sessions, Statements(TABLE, pl.Series([4, 4, 5]), MaskSection()), settings=settings
    )


SHARES = st.floats(0.01, 1)


@given(
    sessions=parts(),
    kind=st.sampled_from(KINDS),
    ratio=SHARES,
    strength=SHARES,
    seed=st.integers(0, 3),
)
def test_as_many_as_asked_and_nothing_else(sessions, kind, ratio, strength, seed):
    settings = PerturbSection(kind=kind, ratio=ratio, strength=strength, seed=seed)
    after, table, counts = alter(sessions, settings)
    assert alter(sessions, settings)[0].equals(after)
    assert after.schema == sessions.schema
    assert after.drop(LISTS).equals(sessions.drop(LISTS))
    assert after["item_anomalous"].is_null().equals(sessions["item_anomalous"].is_null())
    assert table.head(len(TABLE)).equals(TABLE)
    assert table.n_unique() == len(table)
    able = [
        len(m) > 1 if kind == "remove" else len(set(m)) > 1 if kind == "shuffle" else True
        for m in sessions["messages"].to_list()
    ]
    rows = list(zip(sessions.iter_rows(named=True), after.iter_rows(named=True), able, strict=True))
    changed = [(old, new) for old, new, _ in rows if old["messages"] != new["messages"]]
    assert counts["sessions"] == len(changed) == min(number_of(len(rows), ratio), sum(able))
    assert all(old == new for old, new, can in rows if not can)
    assert counts["messages"] == sum(
        check(kind, old, new, number_of(len(old["messages"]), strength)) for old, new in changed
    )


def check(kind, old, new, count):
    """Look at one altered session; how many of its messages were altered."""
    before, after, length = old["messages"], new["messages"], len(old["messages"])
    lines = new["lines"]
    assert len(after) == len(lines) == len(new["files"]) == len(new["item_anomalous"] or after)
    assert set(lines) <= set(old["lines"])
    labels = dict(zip(old["lines"], old["item_anomalous"] or [None] * length, strict=True))
    if kind != "insert" and new["item_anomalous"] is not None:
        assert new["item_anomalous"] == [labels[line] for line in lines]
    text = dict(zip(old["lines"], before, strict=True))
    if kind in ("remove", "duplicate", "shuffle"):
        assert after == [text[line] for line in lines]
    if kind in ("insert", "remove", "duplicate", "reword"):
        assert lines == sorted(lines)
    if kind == "insert":
        assert len(after) == length + count
        return count
    if kind == "remove":
        assert len(after) == max(1, length - count)
        return length - len(after)
    if kind == "duplicate":
        times = np.unique(lines, return_counts=True)[1]
        assert len(times) == length
        assert (times > 1).sum() == count
        assert times.max() <= 4
        return count
    if kind == "shuffle":
        moved = np.flatnonzero(np.array(lines) != np.array(old["lines"]))
        run = min(length, max(2, count))
        assert moved.max() - moved.min() < run
        return run
    assert lines == old["lines"]
    assert sum(place >= len(TABLE) for place in after) == count
    assert all(
        place in (text[line], *range(len(TABLE), 99))
        for place, line in zip(after, lines, strict=True)
    )
    return count


@pytest.mark.real
@hypothesis_settings(max_examples=40)
@given(sessions=parts(), kind=st.sampled_from(KINDS), seed=st.integers(0, 3))
def test_labels_do_not_matter_and_smaller_ratios_are_nested(sessions, kind, seed):
    few, more = (
        alter(sessions, PerturbSection(kind=kind, ratio=ratio, seed=seed)) for ratio in (0.3, 0.8)
    )
    relabelled = sessions.with_columns(anomalous=~pl.col("anomalous"))
    assert (
        alter(relabelled, PerturbSection(kind=kind, ratio=0.3, seed=seed))
        .sessions.drop("anomalous")
        .equals(few.sessions.drop("anomalous"))
    )
    for before, early, late in zip(
        sessions["messages"].to_list(), texts(few), texts(more), strict=True
    ):
        assert early in ([TABLE[place] for place in before], late)


def texts(found):
    return [
        [found.messages[place] for place in session]
        for session in found.sessions["messages"].to_list()
    ]


def test_inserted_messages_are_the_train_parts_and_normal():
    sessions = sessions_of([[0, 1, 2]] * 50, [True] * 25 + [False] * 25)
    after = alter(sessions, PerturbSection(kind="insert", ratio=1, strength=0.5)).sessions
    new = [
        (message, label, at)
        for row in after.iter_rows(named=True)
        for at, (message, label) in enumerate(
            zip(row["messages"], row["item_anomalous"], strict=True)
        )
        if message > 2
    ]
    assert {message for message, *_ in new} == {4, 5}
    assert len(new) == 100
    assert not any(label for _, label, _ in new)
    assert {at for *_, at in new} == {0, 1, 2, 3, 4}
    assert sum(map(sum, after["item_anomalous"].to_list())) == 25


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_folder_is_written(tiny_data, tmp_path, kind):
    settings = PerturbSection(kind=kind, ratio=0.5, strength=0.3, seed=1)
    manifest = perturb(tiny_data, tmp_path / "out", settings=settings)
    before, after = Prepared.load(tiny_data), Prepared.load(tmp_path / "out")
    assert after.manifest == manifest
    assert after.settings == before.settings
    assert all(after.part(name).equals(before.part(name)) for name in ("train", "validation"))
    files = [each.manifest["files"]["train.parquet"]["sha256"] for each in (before, after)]
    assert files[0] == files[1]
    test = after.labelled("test")
    assert test["anomalous"].equals(before.part("test")["anomalous"])
    assert (
        (test["messages"] != before.part("test")["messages"]).sum()
        == 12
        == manifest["perturbed"]["sessions"]
    )
    source = before.manifest["fingerprint"]
    assert manifest["perturbed"] == {
        **settings.model_dump(),
        "sessions": 12,
        "messages": manifest["perturbed"]["messages"],
        "source": source,
    }
    assert manifest["distinct_messages"] == len(after.messages)
    assert (len(after.messages) > len(before.messages)) == (kind == "reword")
    assert manifest["parts"]["test"]["distinct_sessions"] == test["messages"].n_unique()
    assert manifest["fingerprint"] != before.manifest["fingerprint"]
    with pytest.raises(DataError, match="altered already"):
        perturb(tmp_path / "out", tmp_path / "again", settings=settings)


def test_a_run_judges_altered_data(tiny_run, tiny_data, tmp_path):
    perturb(
        tiny_data, tmp_path / "out", settings=PerturbSection(kind="reword", ratio=1, strength=1)
    )
    result = CliRunner().invoke(
        app, ["evaluate", str(tiny_run), "--data", str(tmp_path / "out"), "--json"]
    )
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert (report["sessions"], report["sessions_seen_in_train"]) == (24, 0)
    assert (
        report["data_of_training"],
        report["altered"]["kind"],
        report["altered"]["sessions"],
    ) == (True, "reword", 24)


def test_the_verb(tiny_data, tmp_path):
    arguments = [
        "perturb",
        str(tiny_data),
        "--out",
        str(tmp_path / "out"),
        "--kind",
        "remove",
        "--ratio",
        ".25",
    ]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["perturbed"]["sessions"] == 6
    assert "remove in 6 of 24 test sessions" in result.stderr
    again = CliRunner().invoke(app, arguments)
    assert "--force" in str(again.exception)
    wrong = CliRunner().invoke(app, [*arguments, "--force", "--strength", "0"])
    assert "strength" in str(wrong.exception)
    assert "must be more than 0" in str(wrong.exception)
    assert CliRunner().invoke(app, [*arguments, "--force", "--strength", "1"]).exit_code == 0


def test_data_without_test_sessions_are_refused(tmp_path):
    from logllm.datasets.prepare import prepare
    from tests.datasets.test_prepare import json_log, json_section

    settings = json_section(size=2)
    settings = settings.model_copy(
        update={"split": settings.split.model_copy(update={"test": 0.0})}
    )
    prepare(
        [json_log(tmp_path / "raw", ["normal", "alert"] * 10)], tmp_path / "data", settings=settings
    )
    with pytest.raises(DataError, match="no test sessions"):
        perturb(tmp_path / "data", tmp_path / "out", settings=PerturbSection(kind="remove"))
