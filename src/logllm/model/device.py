"""Where a model computes: the accelerator that is there, else the processor."""

import torch


def device() -> torch.device:
    """The accelerator that this machine has, else its processor.

    Torch's builds for a GPU are also what `pip install torch` gives on machines without one: what torch was built for says
    nothing, so the machine is looked at.
    """
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
