"""The verb `baseline`."""

import json

import polars as pl
import pytest

from logllm.methods.registry import names


@pytest.fixture(autouse=True)
def _without_intervals(monkeypatch) -> None:
    monkeypatch.setattr("logllm.detect.evaluate.intervals", lambda *_, **__: {})


def test_writes_and_shows_the_figures(logllm, tiny_data, tmp_path) -> None:
    out = tmp_path / "run"
    done = logllm("baseline", "unseen", "--data", tiny_data, "--out", out, "--seed", 4, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report == json.loads((out / "report.json").read_text())
    assert (report["model"], report["seed"], report["f1"]) == ("unseen", 4, 1.0)
    assert "unseen on 24 test sessions" in done.err
    scores = pl.read_parquet(out / "scores.parquet")
    assert scores["split"].value_counts(sort=True).rows() == [("test", 24), ("validation", len(scores) - 24)]
    again = logllm("baseline", "unseen", "--data", tiny_data, "--out", out)
    assert again.code == 2
    assert "--force" in again.err
    assert logllm("baseline", "tree-words", "--data", tiny_data, "--out", out, "--force").out == ""
    assert json.loads((out / "manifest.json").read_text())["name"] == "tree-words"


def test_reads_another_encoder(logllm, tiny_data, tiny_models, tmp_path) -> None:
    encoder = tiny_models.encoder.weights
    done = logllm("baseline", "rapid", "--data", tiny_data, "--out", tmp_path / "run", "--encoder", encoder)
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["settings"]["encoder"]["weights"] == encoder


def test_help_and_errors_name_them_all(logllm, tmp_path) -> None:
    helped = logllm("baseline", "--help").out
    refused = logllm("baseline", "tree", "--data", tmp_path, "--out", tmp_path / "run")
    assert refused.code == 2
    seeded = logllm("baseline", "unseen", "--data", tmp_path, "--out", tmp_path / "run", "--seed", "-1")
    assert (seeded.code, "Invalid value for '--seed'" in seeded.err) == (2, True)
    for name in set(names()) - {"logllm"}:
        assert name in helped, name
        assert name in refused.err, name
