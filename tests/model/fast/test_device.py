"""Where a model computes."""

import pytest
import torch

from logllm.model.fast.light import device


@pytest.mark.parametrize(("there", "wanted"), [(False, "cpu"), (True, "cuda")])
def test_an_accelerator_counts_only_where_the_machine_has_it(there, wanted, monkeypatch) -> None:
    """Torch's own build for a GPU names it on every machine; only when asked does it look."""

    def current_accelerator(check_available: bool = False) -> torch.device | None:
        return torch.device("cuda") if there or not check_available else None

    monkeypatch.setattr(torch.accelerator, "current_accelerator", current_accelerator)
    assert device() == torch.device(wanted)
