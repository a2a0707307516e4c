"""The device that is there."""

import torch


def device() -> torch.device:
    """The accelerator of this machine, else its processor.

    Asked of the machine: PyTorch's usual Linux build is one for CUDA, and by itself names CUDA on
    machines without a GPU, too.
    """
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
