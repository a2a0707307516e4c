"""What `train --check` says, with the weights and without."""

import json

import pytest
from tests.training.test_train import changed

from logllm.errors import DataError
from logllm.training.plan import plan

pytestmark = pytest.mark.real  # for its time alone


def test_a_plan_says_sizes_time_and_memory(tiny_recipe, tiny_data) -> None:
    found = plan(tiny_recipe, tiny_data)
    assert found.assumed == ()
    assert found.seconds is not None
    assert found.seconds > 0
    assert len({stage.memory.weights for stage in found.stages}) == 1
    assert [stage.memory.optimiser for stage in found.stages] == [
        12 * stage.parameters for stage in found.stages
    ]
    assert all(0 < stage.memory.unused < stage.memory.activations for stage in found.stages)
    assert found.peak == found.program + max(stage.memory.total for stage in found.stages)


@pytest.mark.real  # for its time alone
def test_larger_micro_batches_need_more(tiny_recipe, tiny_data) -> None:
    stages = [{"trains": ["encoder", "projector", "decoder"], "lr": 1e-3, "max_sessions": 32}]
    found = [
        plan(changed(tiny_recipe, batch=16, micro_batch=size, stages=stages), tiny_data)
        .stages[0]
        .memory
        for size in (1, 16)
    ]
    assert found[0].activations < found[1].activations
    assert found[0].weights == found[1].weights


def test_augmentation_without_labels_per_line_is_refused_before_training(
    tiny_recipe, tiny_data
) -> None:
    recipe = changed(
        tiny_recipe, stages=[{"trains": ["projector"], "lr": 1e-3, "max_sessions": 8, "crop": True}]
    )
    with pytest.raises(
        DataError,
        match=(
            r"train.stages.0.\w+ need a label for each line.* --set train.stages.0.\w+=(false|0)$"
        ),
    ):
        plan(recipe, tiny_data)


@pytest.mark.real  # for its time alone
def test_the_papers_recipe_is_planned_without_its_weights(
    tiny_data, monkeypatch, capfd, tmp_path
) -> None:
    """Two layers of each, so that it does not take long; tests/model/base/test_blueprint.py has all
    of them."""
    import sys

    from logllm.cli.app import main
    from logllm.model.base.published import PUBLISHED

    for shape in PUBLISHED.values():
        monkeypatch.setitem(shape, "num_hidden_layers", 2)
    short = [f"--set=train.stages.{stage}.min_epoch_sessions=0" for stage in (1, 2)]
    arguments = [
        "train",
        "bgl",
        *short,
        "--data",
        str(tiny_data),
        "--out",
        str(tmp_path / "run"),
        "--check",
        "--json",
    ]
    monkeypatch.setattr(sys, "argv", ["logllm", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    said = capfd.readouterr()
    assert "weights not here: google-bert/bert-base-uncased, meta-llama/Meta-Llama-3-8B" in said.err
    assert "derived" in said.err
    assert "time not known" in said.err
    found = json.loads(said.out)
    assert found["seconds"] is None
    assert [stage["parameters"] for stage in found["stages"]] == [
        212_992,
        24_576 + 3_149_824,
        212_992 + 24_576 + 3_149_824,
    ]
    memory = found["stages"][-1]["memory"]
    in_16_bits = 2 * 128_256 * 4096 + (30_522 + 512 + 2) * 768  # tables and output head
    in_4_bits = (
        2 * 4096 * (2 * 4096 + 2 * 1024 + 3 * 14_336) + 2 * 768 * (4 * 768 + 2 * 3072) + 768 * 768
    )
    assert memory["weights"] == pytest.approx(
        2 * in_16_bits + in_4_bits * (1 / 2 + 4 / 64), rel=0.001
    )
    assert memory["optimiser"] == 12 * found["stages"][-1]["parameters"]
    assert memory["activations"] > 0
    assert found["peak"] == found["program"] + max(
        sum(stage["memory"].values()) for stage in found["stages"]
    )
