"""The memory that is predicted for the small tier is what training it takes (a minute)."""

import pytest
from benchmarks.memory import compare

from logllm.data.choice import choose
from logllm.data.prepare import prepare

pytestmark = pytest.mark.real


@pytest.mark.parametrize("settings", [["train.micro_batch=16"], ["train.micro_batch=4", "train.gradient_checkpointing=true"]])
def test_the_prediction_is_within_a_fifth_of_the_peak(tmp_path, settings) -> None:
    from demo.simulate import simulate, write_labels, write_log

    lines, labels = simulate(seed=5, sessions=200)
    write_log(lines, tmp_path / "storage.log")
    write_labels(labels, tmp_path / "labels.csv")
    overrides = {"format": {}, "sessions": {}, "split": {"by": "random"}, "mask": {}}
    choice = choose("demo/storage.toml", recipe=None, overrides=overrides)
    prepare([tmp_path / "storage.log"], tmp_path / "data", settings=choice, labels=tmp_path / "labels.csv")
    (found,) = compare(tmp_path / "data", recipe="small", settings=settings, sessions=16, last=True)
    assert 0.8 <= found["ratio"] <= 1.2, found
