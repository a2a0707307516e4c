"""`logllm threshold`."""

import json
import shutil

import pytest

from logllm.runs.manifest import read_manifest


def test_the_verb_shows_sets_and_chooses(logllm, tiny_run, tiny_data, tmp_path) -> None:
    copy = shutil.copytree(tiny_run, tmp_path / "copy")
    shown = logllm("threshold", copy, "--json")
    assert json.loads(shown.out) == read_manifest(copy)["threshold"]
    tried = logllm(
        "threshold", copy, "--data", tiny_data, "--split", "train", "--dry-run", "--json"
    )
    assert json.loads(tried.out)["how"].startswith("best F1 on the train part")
    assert json.loads(logllm("threshold", copy, "--json").out) == json.loads(shown.out)
    done = logllm("threshold", copy, "0.25", "--because", "two alarms a day")
    assert done.code == 0, done.err
    assert "at least 0.25 are called anomalous (two alarms a day)" in done.out
    assert read_manifest(copy)["threshold"]["value"] == 0.25
    both = logllm("threshold", copy, "0.25", "--data", tiny_data)
    assert (both.code, "give either a value or --data" in both.err) == (2, True)


def test_the_verb_chooses_what_is_wanted(logllm, tiny_run, tiny_data, tmp_path) -> None:
    copy = shutil.copytree(tiny_run, tmp_path / "copy")
    on = ["--data", tiny_data, "--split", "train", "--json"]
    done = logllm("threshold", copy, "--target-recall", 0.5, *on)
    assert done.code == 0, done.err
    threshold = json.loads(done.out)
    assert threshold["how"].startswith("recall of at least 0.5 (")
    assert (
        f"on the train part of {read_manifest(copy)['data']['fingerprint'][:8]} ({tiny_data.name})"
        in threshold["how"]
    )
    assert read_manifest(copy)["threshold"] == threshold
    few = json.loads(logllm("threshold", copy, "--top-share", 0.1, *on, "--dry-run").out)
    assert few["how"].startswith("at most 0.1 of the sessions on the train part")
    assert few["value"] != threshold["value"]
    day = json.loads(logllm("threshold", copy, "--alerts-per-day", 1000, *on, "--dry-run").out)
    assert day["how"].startswith("at most 1000 alerts a day, of ")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--target-recall", 0.9], "name them with --data"),
        (
            ["--target-recall", 0.9, "--target-precision", 0.9, "--data", "."],
            "one target only: give one of precision and recall",
        ),
        (["--top-share", 1, "--data", "."], "top_share: must be less than 1"),
    ],
    ids=["no data", "two", "all"],
)
def test_what_does_not_go_together_is_said(logllm, tiny_run, more, words) -> None:
    done = logllm("threshold", tiny_run, *more)
    assert (done.code, words in done.err) == (2, True), done.err


def test_train_takes_the_same(logllm, tiny_data, tmp_path) -> None:
    run = tmp_path / "run"
    few = logllm("train", "tree-counts", "--data", tiny_data, "--out", run, "--target-recall", 0.9)
    assert (
        few.code,
        "10 needed; alerts a day or a share of the sessions need none" in few.err,
    ) == (2, True), few.err
    assert (
        logllm(
            "train",
            "tree-counts",
            "--data",
            tiny_data,
            "--out",
            run,
            "--target-recall",
            0.9,
            "--check",
        ).code
        == 2
    )
    done = logllm("train", "logistic-words", "--data", tiny_data, "--out", run, "--top-share", 0.4)
    assert done.code == 0, done.err
    assert "(at most 0.4 of the sessions on validation)" in done.err
    assert "[target]\ntop_share = 0.4" in (run / "recipe.toml").read_text()
