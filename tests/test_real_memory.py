"""The memory that is predicted for the small tier is what training it takes (a minute)."""

import pytest
from benchmarks.memory import compare

from tests.test_real import a_part

pytestmark = [pytest.mark.real, pytest.mark.alone]


@pytest.mark.parametrize(
    "settings",
    [["train.micro_batch=16"], ["train.micro_batch=4", "train.gradient_checkpointing=true"]],
)
def test_the_prediction_is_within_a_fifth_of_the_peak(tmp_path, settings) -> None:
    (found,) = compare(
        a_part(tmp_path, lines=1500), recipe="small", settings=settings, sessions=16, last=True
    )
    assert 0.8 <= found["ratio"] <= 1.2, found
