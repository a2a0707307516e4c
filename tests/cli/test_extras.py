"""An installation without the extra `train` judges, and says what to install where it cannot go
on."""

import json
import shutil
import sys

import pytest

from logllm.config.recipe import Recipe
from logllm.model.base.weights import base_models

TRAINING = ("accelerate", "peft", "sklearn", "transformers")


@pytest.fixture
def judge_only(monkeypatch) -> None:
    """As if these packages were not installed: to import one fails, and it is not found."""
    loaded = [name for name in sys.modules if name.partition(".")[0] in TRAINING]
    for name in {*TRAINING, *loaded}:
        monkeypatch.setitem(sys.modules, name, None)


def test_detect_and_evaluate_need_no_extra(judge_only, logllm, tiny_run, tiny_data) -> None:
    outcome = logllm("detect", tiny_run, tiny_data.parent / "app.jsonl", "--no-cache")
    assert outcome.code == 0, outcome.err
    assert len(outcome.out.splitlines()) == 120
    outcome = logllm("evaluate", tiny_run, "--data", tiny_data, "--json")
    assert outcome.code == 0, outcome.err
    assert "f1" in json.loads(outcome.out)


@pytest.mark.parametrize("recipe", ["tiny", "tree-counts"])
def test_train_names_what_to_install_and_leaves_the_old_run(
    judge_only, logllm, tiny_data, tmp_path, recipe
) -> None:
    outcome = logllm("train", recipe, "--data", tiny_data, "--out", tmp_path / "run")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert (
        "not installed: pip install 'logllm[train]', or in the source's folder pip install"
        " '.[train]'" in outcome.err
    )
    assert not (tmp_path / "run").exists()


def test_check_names_it_too(judge_only, logllm, tiny_data, tmp_path) -> None:
    outcome = logllm("train", "tiny", "--data", tiny_data, "--out", tmp_path / "run", "--check")
    assert outcome.code == 2
    assert "pip install 'logllm[train]'" in outcome.err


@pytest.fixture
def other_run(tiny_run, tiny_models, tmp_path):
    """A run whose decoder is of an architecture that passes of our own do not serve."""
    run, decoder = (
        shutil.copytree(tiny_run, tmp_path / "run"),
        shutil.copytree(tiny_models.decoder.weights, tmp_path / "decoder"),
    )
    config = json.loads((decoder / "config.json").read_text())
    (decoder / "config.json").write_text(
        json.dumps(config | {"model_type": "granite", "architectures": ["GraniteForCausalLM"]})
    )
    recipe = (run / "recipe.toml").read_text().replace(tiny_models.decoder.weights, str(decoder))
    (run / "recipe.toml").write_text(recipe)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["base_models"] = base_models(Recipe.load(run / "recipe.toml").model.weights)
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


def test_another_architecture_names_it_too(judge_only, logllm, other_run, tiny_data) -> None:
    outcome = logllm("detect", other_run, tiny_data.parent / "app.jsonl", "--no-cache")
    assert outcome.code == 2
    assert "pip install 'logllm[train]'" in outcome.err
