"""Simpler methods on the command line: runs as all others, and the old verb that says the new
words."""

import json

import pytest

from logllm.methods.registry import names


@pytest.fixture
def tree(logllm, tiny_data, tmp_path):
    """A run of `tree-counts`."""
    out = tmp_path / "tree"
    done = logllm(
        "train", "tree-counts", "--data", tiny_data, "--out", out, "--set", "train.seed=4", "--json"
    )
    assert done.code == 0, done.err
    manifest = json.loads(done.out)
    assert (manifest["method"], manifest["seed"], manifest["state"]) == ("tree-counts", 4, "done")
    return out


def test_every_verb_that_takes_a_run_takes_a_simple_one(logllm, tree, tiny_data, tmp_path) -> None:
    evaluated = logllm("evaluate", tree, "--data", tiny_data, "--json")
    assert evaluated.code == 0, evaluated.err
    report = json.loads(evaluated.out)
    assert (report["f1"], report["model"].partition("@")[0], report["data_of_training"]) == (
        1.0,
        "tree",
        True,
    )
    detected = logllm("detect", tree, tiny_data.parent / "app.jsonl")
    assert detected.code == 0, detected.err
    verdicts = [json.loads(line) for line in detected.out.splitlines()]
    assert len(verdicts) == 120
    assert sum(verdict["anomalous"] for verdict in verdicts) == 30
    again = logllm("detect", tree, tiny_data.parent / "app.jsonl")
    assert again.out == detected.out  # from the cache
    assert logllm("threshold", tree, "0.25", "--because", "two alarms a day").code == 0
    assert json.loads(logllm("threshold", tree, "--json").out)["value"] == 0.25
    chosen = logllm("threshold", tree, "--data", tiny_data, "--split", "train")
    assert chosen.code == 0, chosen.err
    assert json.loads(logllm("show", "run", tree).out)["method"] == "tree-counts"
    exported = logllm("export", tree, "--out", tmp_path / "bundle", "--license", "apache-2.0")
    assert exported.code == 0, exported.err
    bundled = logllm("detect", tmp_path / "bundle", tiny_data.parent / "app.jsonl")
    assert [json.loads(line)["score"] for line in bundled.out.splitlines()] == [
        verdict["score"] for verdict in verdicts
    ]


def test_a_run_in_the_folder_is_replaced_only_when_that_is_asked_for(
    logllm, tree, tiny_data
) -> None:
    refused = logllm("train", "unseen", "--data", tiny_data, "--out", tree)
    assert refused.code == 2
    assert "--force" in refused.err
    assert logllm("train", "unseen", "--data", tiny_data, "--out", tree, "--force").code == 0
    assert json.loads((tree / "manifest.json").read_text())["method"] == "unseen"
    assert not [path for path in tree.rglob("*") if path.name.startswith("tree")]


def test_what_needs_no_labels_learns_without_them(logllm, tiny_data, tmp_path) -> None:
    log = tiny_data.parent / "app.jsonl"
    done = logllm(
        "prepare",
        "--raw",
        log,
        "--format",
        "json",
        "--key-field",
        "job",
        "--out",
        tmp_path / "data",
    )
    assert done.code == 0, done.err
    trained = logllm(
        "train", "unseen", "--data", tmp_path / "data", "--out", tmp_path / "run", "--json"
    )
    assert trained.code == 0, trained.err
    assert "no labels" in json.loads(trained.out)["threshold"]["how"]
    assert f"next: logllm detect {tmp_path / 'run'} LOG" in trained.err
    assert logllm("detect", tmp_path / "run", log).code == 0
    refused = logllm(
        "train", "tree-counts", "--data", tmp_path / "data", "--out", tmp_path / "tree"
    )
    assert (refused.code, "--labels" in refused.err) == (2, True)


def test_check_says_what_there_is_to_learn_from(logllm, tiny_data, tmp_path) -> None:
    done = logllm(
        "train", "tree-counts", "--data", tiny_data, "--out", tmp_path / "run", "--check", "--json"
    )
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["sessions"] > found["anomalous"] > 0
    assert "method tree-counts: " in done.err  # beside JSON
    plan = logllm("train", "tree-counts", "--data", tiny_data, "--out", tmp_path / "run", "--check")
    assert plan.out.startswith("method tree-counts: ")
    assert not (tmp_path / "run").exists()
    assert (
        logllm("train", "unseen", "--data", tmp_path, "--out", tmp_path / "run", "--check").code
        == 2
    )


def test_the_old_verb_says_the_new_words(logllm, tiny_data, tmp_path) -> None:
    out = tmp_path / "run"
    done = logllm("baseline", "unseen", "--data", tiny_data, "--out", out, "--seed", 4, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["f1"], report["run"]["seed"]) == (1.0, 4)
    assert f"logllm train unseen --set train.seed=4 --data {tiny_data} --out {out}" in done.err
    assert "baseline" not in logllm("--help").out


def test_another_encoder(logllm, tiny_data, tiny_models, tmp_path) -> None:
    encoder = tiny_models.encoder.weights
    done = logllm(
        "baseline", "rapid", "--data", tiny_data, "--out", tmp_path / "run", "--encoder", encoder
    )
    assert done.code == 0, done.err
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["base_models"]["encoder"]["weights"] == encoder


def test_errors_and_the_list_name_them_all(logllm, tmp_path) -> None:
    listed = logllm("show", "methods").out
    refused = logllm("train", "tree", "--data", tmp_path, "--out", tmp_path / "run")
    assert refused.code == 2
    for name in names():
        assert name in listed, name
        assert name in refused.err, name
