"""Forward chaining: parts in the order of time, nothing of the future in train."""

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from logllm.cli.app import app
from logllm.config.perturb import PerturbSection
from logllm.config.prepare import SplitSection
from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import PARTS, Prepared
from logllm.errors import DataError
from logllm.evaluate.altered import perturb
from logllm.evaluate.folds import folds
from tests.datasets.test_prepare import json_log, json_section


def windows(tmp_path, labels, *, name="data", **how):
    """Windows of a made log, prepared."""
    prepare([json_log(tmp_path / "raw", labels)], tmp_path / name, settings=json_section(**how))
    return tmp_path / name


def ids(folder):
    """The sessions of each part."""
    prepared = Prepared.load(folder)
    return [prepared.part(name)["session"].to_list() for name in PARTS]


def test_windows_in_five_parts(tmp_path):
    data = windows(
        tmp_path,
        ["normal", "alert", *["normal"] * 3] * 22,
        size=5,
        split=SplitSection(by="random", validation=0.3),
    )
    assert Prepared.load(data).manifest["anomalous"] == 22
    with pytest.raises(DataError, match="fold 1 of 4 would train on only anomalous sessions"):
        folds(data, parts=5, out=tmp_path / "folds")
    assert not (tmp_path / "folds").exists()
    data = windows(
        tmp_path,
        ([*["normal"] * 4, "alert"] + ["normal"] * 5) * 11,
        name="mixed",
        size=5,
        split=SplitSection(by="random"),
    )
    paths = folds(data, parts=5, out=tmp_path / "folds", validation=0)
    every = [f"5@{first}" for first in range(1, 111, 5)]
    cuts = [0, 4, 8, 13, 17, 22]  # the later parts are the larger ones
    assert [path.name for path in paths] == ["fold-1", "fold-2", "fold-3", "fold-4"]
    for number, path in enumerate(paths, start=1):
        assert ids(path) == [every[: cuts[number]], [], every[cuts[number] : cuts[number + 1]]]
        fold = Prepared.load(path)
        assert fold.manifest["fold"] == {
            "number": number,
            "of": 4,
            "source": Prepared.load(data).manifest["fingerprint"],
        }
        assert fold.messages.equals(Prepared.load(data).messages)
        assert fold.manifest["parts"]["train"]["sessions"] == cuts[number]
        assert fold.manifest["sessions"] == cuts[number + 1]
        assert fold.settings.split == SplitSection(
            by="time", test=round(1 - cuts[number] / cuts[number + 1], 6), validation=0
        )
    with pytest.raises(DataError, match="--force"):
        folds(data, parts=5, out=tmp_path / "folds")
    assert len(folds(data, parts=2, out=tmp_path / "folds", force=True)) == 1
    assert sorted(path.name for path in (tmp_path / "folds").iterdir()) == [
        "fold-1",
        "manifest.json",
    ]
    # A tenth validates, as the data were prepared.
    assert ids(tmp_path / "folds" / "fold-1") == [
        every[:9],
        every[9:11],
        every[11:],
    ]


def test_overlapping_windows_do_not_reach_into_later_parts(tmp_path):
    data = windows(
        tmp_path,
        (["normal"] * 9 + ["alert"]) * 10,
        size=6,
        step=2,
        split=SplitSection(by="time", test=0.5),
    )
    every = (
        pl.concat([Prepared.load(data).part(name) for name in PARTS])
        .sort("first")["session"]
        .to_list()
    )
    for path in folds(data, parts=4, out=tmp_path / "folds", validation=0.2):
        fold = Prepared.load(path)
        ends = [
            fold.part(name).select(pl.col("first").min(), pl.col("last").max()).row(0)
            for name in PARTS
        ]
        assert ends[0][1] < ends[1][0] <= ends[1][1] < ends[2][0]
        earlier = every[: every.index(fold.part("test")["session"][0])]
        left_out = len(earlier) - fold.part("train").height - fold.part("validation").height
        assert fold.manifest["overlapping"] == left_out >= 3
        assert (
            f"{left_out} sessions reach into a later part and are in no part"
            in fold.manifest["warnings"]
        )


def test_sessions_by_key_go_by_their_start(tiny_data, tmp_path):
    whole = pl.concat([Prepared.load(tiny_data).part(name) for name in PARTS]).sort(
        "start", "first"
    )
    *_, last = folds(tiny_data, parts=3, out=tmp_path / "folds", validation=0.25)
    assert ids(last) == [
        whole["session"].to_list()[:60],
        whole["session"].to_list()[60:80],
        whole["session"].to_list()[80:],
    ]


def test_without_times_lines_decide(tmp_path):
    raw = tmp_path / "raw"
    raw.write_text(
        "".join(
            json.dumps(
                {"message": f"event {at % 3}", "label": "alert" if at % 7 == 0 else "normal"}
            )
            + "\n"
            for at in range(80)
        )
    )
    prepare(
        [raw],
        tmp_path / "data",
        settings=json_section(size=4, split=SplitSection(by="random", seed=2)),
    )
    (path,) = folds(tmp_path / "data", parts=2, out=tmp_path / "folds", validation=0.1)
    assert [name for part in ids(path) for name in part] == [
        f"4@{first}" for first in range(1, 81, 4)
    ]


def test_what_has_no_order_is_refused(tmp_path, tiny_data):
    data = windows(tmp_path, ["normal"] * 8 + ["alert"] * 8, size=2)
    for parts, validation in ((1, None), (2, 1.0)):
        with pytest.raises(DataError, match="make no folds"):
            folds(data, parts=parts, out=tmp_path / "folds", validation=validation)
    with pytest.raises(DataError, match="8 sessions cannot be cut in 9 parts"):
        folds(data, parts=9, out=tmp_path / "folds")
    perturb(tiny_data, tmp_path / "altered", settings=PerturbSection(kind="remove"))
    with pytest.raises(DataError, match="fold the data it was made from"):
        folds(tmp_path / "altered", parts=2, out=tmp_path / "folds")
    prepare(
        [tmp_path / "raw"],
        tmp_path / "two",
        settings=json_section(size=2),
        test_raw=[tmp_path / "raw"],
    )
    with pytest.raises(DataError, match="without --test-raw"):
        folds(tmp_path / "two", parts=2, out=tmp_path / "folds")


def test_the_verb(tiny_data, tmp_path):
    result = CliRunner().invoke(
        app, ["folds", str(tiny_data), "--parts", "3", "--out", str(tmp_path / "folds"), "--json"]
    )
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [fold["parts"]["test"]["sessions"] for fold in found["folds"]] == [40, 40]
    assert "fold-2" in result.stderr


@pytest.mark.real
def test_bgl_6135(shared, tmp_path):
    data = tmp_path / "data"
    prepare(
        [shared / "bgl" / "BGL_6135.jsonl.gz"],
        data,
        settings=json_section(split=SplitSection(by="time", validation=0)),
    )
    found = [
        Prepared.load(path).manifest["parts"]
        for path in folds(data, parts=5, out=tmp_path / "folds")
    ]
    assert [fold["train"]["sessions"] for fold in found] == [122, 245, 368, 491]
    assert [fold["test"]["sessions"] for fold in found] == [123] * 4
    assert (
        Prepared.load(tmp_path / "folds" / "fold-4")
        .part("test")
        .equals(Prepared.load(data).part("test"))
    )
