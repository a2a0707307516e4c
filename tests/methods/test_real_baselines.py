"""Baselines reach on the HDFS sample what is known of them (about a minute on one core)."""

import polars as pl
import pytest
from logllm.study.judged import judged

from logllm.data.choice import choose
from logllm.data.prepare import prepare
from logllm.data.prepared import Prepared

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def hdfs(tmp_path_factory, shared):
    out = tmp_path_factory.mktemp("hdfs") / "data"
    settings = choose("hdfs", recipe=None, overrides={"format": {}, "sessions": {}, "split": {}, "mask": {}})
    prepare([shared / "hdfs" / "HDFS_2pct.log.gz"], out, settings=settings, labels=shared / "hdfs" / "anomaly_label.csv")
    return out


@pytest.mark.parametrize(("name", "f1"), [("tree-counts", 0.98), ("deeplog", 0.8)])
def test_known_level(hdfs, name, f1) -> None:
    found = judged(name, Prepared.load(hdfs), seed=0)
    assert found.report["threshold_chosen"] == "best F1 on validation"
    assert found.report["f1"] >= f1, found.report
    assert found.scores.filter(pl.col("split") == "test").height == found.report["sessions"]
