"""`logllm threshold`."""

import json
import shutil

from logllm.runs.manifest import read_manifest


def test_the_verb_shows_sets_and_chooses(logllm, tiny_run, tiny_data, tmp_path) -> None:
    copy = shutil.copytree(tiny_run, tmp_path / "copy")
    shown = logllm("threshold", copy, "--json")
    assert json.loads(shown.out) == read_manifest(copy)["threshold"]
    tried = logllm("threshold", copy, "--data", tiny_data, "--split", "train", "--dry-run", "--json")
    assert json.loads(tried.out)["how"].startswith("best F1 on the train part")
    assert json.loads(logllm("threshold", copy, "--json").out) == json.loads(shown.out)
    done = logllm("threshold", copy, "0.25", "--because", "two alarms a day")
    assert done.code == 0, done.err
    assert "at least 0.25 are called anomalous (two alarms a day)" in done.err
    assert read_manifest(copy)["threshold"]["value"] == 0.25
    both = logllm("threshold", copy, "0.25", "--data", tiny_data)
    assert (both.code, "give one of them" in both.err) == (2, True)
