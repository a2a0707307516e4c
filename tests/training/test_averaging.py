"""The mean of a stage's last weights."""

import pytest
import torch

from logllm.training.averaging import Average


def test_the_mean_of_what_was_taken_in() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, 10.0]))
    average = Average({"weight": weight})
    average.apply()
    assert weight.tolist() == [1, 10]  # nothing taken in: nothing changes
    for value in (2.0, 4.0, 9.0):
        weight.data.fill_(value)
        average.update()
    weight.data.fill_(100.0)
    average.apply()
    assert weight.tolist() == pytest.approx([5, 5])


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_restored_mean_goes_on_as_if_it_had_never_stopped(before) -> None:
    values = [torch.randn(3, generator=torch.Generator().manual_seed(seed)) for seed in range(5)]
    weights = torch.zeros(3), torch.zeros(3)
    whole, cut = (Average({"weight": weight}) for weight in weights)
    for at, value in enumerate(values):
        if at == before:
            state = cut.state()
            cut = Average({"weight": weights[1]})
            cut.restore(state)
        for weight, average in zip(weights, (whole, cut), strict=True):
            weight.copy_(value)
            average.update()
    whole.apply()
    cut.apply()
    assert torch.equal(*weights)
    assert torch.allclose(weights[0], torch.stack(values).mean(0), atol=1e-6)
