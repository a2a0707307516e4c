"""Engines are admitted by measurement, and refused otherwise."""

import json
import shutil

import numpy as np
import pytest
from logllm.detect.admission import admit
from logllm.model.guard import LARGEST_DIFFERENCE, check_admitted, compare

from logllm.detect.detector import Detector
from logllm.errors import DataError, ModelError, RecipeError


@pytest.mark.parametrize(
    ("rounded", "admitted", "flips"),
    [([0.2, 0.9], True, 0), ([0.2, 0.9 + LARGEST_DIFFERENCE * 1.1], False, 0), ([0.2, 0.9 - LARGEST_DIFFERENCE / 2], False, 1)],
)
def test_near_enough(rounded, admitted, flips) -> None:
    found = compare(np.array([0.2, 0.9]), np.array(rounded), threshold=0.9)
    assert (found["admitted"], found["flips"], found["sessions"]) == (admitted, flips, 2)


def test_one_flip_in_a_thousand_is_admitted() -> None:
    exact = np.full(1000, 0.2)
    exact[0] = 0.4999
    assert compare(exact, np.where(exact == 0.4999, 0.5, exact), threshold=0.5)["admitted"]
    assert not compare(exact[:999], np.where(exact == 0.4999, 0.5, exact)[:999], threshold=0.5)["admitted"]


def test_nothing_measured_admits_nothing() -> None:
    assert not compare(np.zeros(0), np.zeros(0), threshold=0.5)["admitted"]
    check_admitted({"name": "app"}, "exact")
    with pytest.raises(ModelError, match="engine 'bf16' was never measured on run app: admit it with `logllm admit"):
        check_admitted({"name": "app"}, "bf16")


def test_a_refused_engine_is_not_used() -> None:
    manifest = {"name": "app", "engines": {"bf16": {"admitted": False, "sessions": 9, "largest_difference": 0.25, "flips": 3}}}
    with pytest.raises(ModelError, match="not admitted to run app: on 9 sessions scores differed by up to 0.25 and 3 verdicts changed"):
        check_admitted(manifest, "bf16")


def test_admitting_and_using_an_engine(tiny_run, tiny_data, tmp_path, monkeypatch) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest.pop("engines", None)
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="never measured"):
        Detector.load(run, engine="bf16")
    found = admit(run, tiny_data, split="test")
    assert found["admitted"]
    assert json.loads((run / "manifest.json").read_text())["engines"] == {"bf16": found}
    assert Detector.load(run, engine="bf16").recipe.detect.engine == "bf16"
    assert Detector.load(run).recipe.detect.engine == "exact"
    monkeypatch.setattr("logllm.model.engine._doubtful", lambda logits, threshold: logits > np.inf)
    monkeypatch.setattr("logllm.model.guard.LARGEST_DIFFERENCE", 1e-9)
    assert not admit(run, tiny_data, split="test")["admitted"]
    with pytest.raises(ModelError, match="not admitted"):
        Detector.load(run, engine="bf16")


def test_mistakes_are_named(tiny_run, tiny_data) -> None:
    with pytest.raises(RecipeError, match="engine"):
        Detector.load(tiny_run, engine="int3")
    with pytest.raises(DataError, match="no part"):
        admit(tiny_run, tiny_data, split="elsewhere")
