"""Another threshold for a finished run."""

import json
import shutil

import numpy as np
import pytest

from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.detect.cache import identity
from logllm.detect.detector import Detector
from logllm.detect.threshold import choose, write
from logllm.errors import DataError
from logllm.evaluate.doubts import doubts
from logllm.evaluate.evaluation import evaluate
from logllm.metrics import Threshold
from logllm.runs.manifest import read_manifest, read_recipe
from logllm.sessions.message_table import rows_of


@pytest.fixture
def copy(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


def test_no_threshold_has_a_better_f1_on_the_data_it_was_chosen_on(copy, tiny_data) -> None:
    before = (copy / "manifest.json").read_bytes()
    chosen = choose(copy, tiny_data, split="train")
    assert (copy / "manifest.json").read_bytes() == before
    part = Prepared.load(tiny_data).labelled("train")
    scores, labels = (
        Detector.load(copy).score(rows_of(part["messages"]), Prepared.load(tiny_data).messages),
        part["anomalous"].to_numpy(),
    )
    f1 = [
        2 * (labels & (scores >= value)).sum() / (labels.sum() + (scores >= value).sum())
        for value in np.unique(scores)
    ]
    assert chosen.f1 == pytest.approx(max(f1))
    write(copy, chosen)
    report = evaluate(Detector.load(copy), tiny_data, split="train")
    assert report["f1"] == pytest.approx(chosen.f1)
    assert (
        report["threshold_chosen"]
        == f"best F1 on the train part of {report['fingerprint'][:8]} ({tiny_data.name})"
    )
    assert "the threshold was chosen on these sessions: evaluate on others" in doubts(report)


def test_too_few_anomalies_choose_nothing(copy, tiny_data) -> None:
    with pytest.raises(
        DataError,
        match=(
            r"the validation part of .* is too small to choose a threshold on:"
            r" \d anomalies in validation"
        ),
    ):
        choose(copy, tiny_data, split="validation")


def test_what_held_at_the_old_one_goes(copy) -> None:
    manifest = read_manifest(copy)
    before = {"engines": {"bf16": {"admitted": True}}, "metrics": {"validation": {"f1": 1.0}}}
    (copy / "manifest.json").write_text(json.dumps({**manifest, **before}))
    write(copy, Threshold(0.25, "two alarms a day", 0, 0))
    found = read_manifest(copy)
    assert found["engines"] == before["engines"]  # measured on logits, whatever the threshold
    assert found["metrics"] == {"validation": None}
    assert (found["threshold"]["value"], found["threshold"]["how"]) == (0.25, "two alarms a day")
    assert Detector.load(copy).threshold == 0.25


def test_scores_that_round_are_cached_by_threshold_and_exact_ones_are_not(copy) -> None:
    recipe, manifest = read_recipe(copy), read_manifest(copy)
    exact, rounding = (
        Recipe.model_validate(
            {**recipe.model_dump(), "detect": {**recipe.detect.model_dump(), "engine": engine}}
        )
        for engine in ("exact", "bf16")
    )
    assert identity(manifest, exact, threshold=0.5) == identity(manifest, exact, threshold=0.125)
    assert identity(manifest, rounding, threshold=0.5) != identity(
        manifest, rounding, threshold=0.125
    )
    assert identity(manifest, rounding, threshold=0.5) != identity(manifest, exact, threshold=0.5)
