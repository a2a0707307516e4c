"""Baselines reach on the HDFS sample what is known of them (about a minute on one core)."""

import pytest

from logllm.datasets.prepare import prepare
from logllm.datasets.prepared import Prepared
from logllm.datasets.settings import choose
from logllm.evaluate.trivial import judged
from logllm.methods.registry import recipe_for

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def hdfs(tmp_path_factory, shared):
    out = tmp_path_factory.mktemp("hdfs") / "data"
    settings = choose(
        "hdfs", recipe=None, overrides={"format": {}, "sessions": {}, "split": {}, "mask": {}}
    )
    prepare(
        [shared / "hdfs" / "HDFS_2pct.log.gz"],
        out,
        settings=settings,
        labels=shared / "hdfs" / "anomaly_label.csv",
    )
    return out


@pytest.mark.parametrize(("name", "f1"), [("tree-counts", 0.98), ("deeplog", 0.8)])
def test_known_level(hdfs, name, f1) -> None:
    found = judged(recipe_for(name), Prepared.load(hdfs))
    assert found.report["threshold_chosen"] == "best F1 on validation"
    assert found.report["f1"] >= f1, found.report
    assert len(found.scores) == found.report["sessions"]
