"""What is measured on a GPU, tried out on the processor with tiny models."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from logllm.config.recipe import Recipe
from logllm.datasets.prepared import Prepared
from logllm.model.logllm import collate
from tests.training.test_room import training_set
from tests.training.test_train import changed

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
gpu = pytest.importorskip("gpu")

STAGE = {"trains": ["encoder", "projector", "decoder"], "lr": 1e-3, "max_sessions": 16}


def test_the_published_way_computes_what_ours_does(tiny, tiny_data) -> None:
    model, tokenizer = tiny
    data = training_set(Prepared.load(tiny_data), tokenizer)
    model.trains(STAGE["trains"])
    model.eval()  # no dropout
    rows = np.array([0, 3, 5, 11])
    published = gpu.Published(model, data, lr=1e-3)
    labels = torch.from_numpy(data.labels[rows].astype(np.int64))
    batch = collate([data.sessions[row] for row in rows], tokens=data.tokens, labels=labels)
    ours = model.loss(batch, objective="answer")
    torch.testing.assert_close(published.loss(rows), ours, rtol=0, atol=1e-5)


@pytest.mark.real
def test_both_ways_take_turns(tiny_recipe, tiny_data) -> None:
    recipe = changed(tiny_recipe, batch=4, micro_batch="auto", objective="answer", stages=[STAGE])
    figure = gpu.side_by_side(recipe, tiny_data, steps=1)
    assert figure["micro_batch"] == 4
    assert figure["ratio"] == pytest.approx(
        figure["ours_per_second"] / figure["published_per_second"], rel=1e-6
    )
    assert json.loads(json.dumps(figure)) == figure


def test_the_papers_recipe_takes_the_settings(tmp_path) -> None:
    place = gpu.Place(tmp_path / "log", tmp_path / "labels", tmp_path)
    recipe = Recipe.load("hdfs", overrides=[*place.paper, "train.micro_batch=auto", *gpu.SHORT])
    assert recipe.model.decoder.weights == str(tmp_path / "models" / "decoder")
    assert [stage.max_sessions for stage in recipe.train.stages] == [64, 64, 64]
    assert recipe.model.decoder.quantize == "nf4"


@pytest.mark.real
def test_a_step_that_fails_stops_no_other(tmp_path) -> None:
    place = gpu.Place(tmp_path / "log", tmp_path / "labels", tmp_path)
    figures = list(gpu.measure(place, ["small", "parity"], seconds=60))
    assert [figure["figure"] for figure in figures] == ["small", "parity"]
    assert all("train" in figure["failed"] for figure in figures)
    (late,) = gpu.measure(place, ["small"], seconds=-1)
    assert late["failed"] == "no time was left"
