"""Several processes that train one network: which of them writes, and how gradients are summed.

A launcher such as `torchrun` starts them and tells each its number. Every process draws the same
sessions in the same order, and takes every n-th micro-batch of a step; the sum of their gradients
is that of one process.
"""

import os
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

_Item = TypeVar("_Item")


def process_count() -> int:
    """How many processes a launcher has started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_number() -> int:
    """Which of them this one is, from 0."""
    if process_count() == 1:
        return 0
    return int(os.environ.get("RANK", "0"))


def writes() -> bool:
    """Whether this process writes files and reports to people: only the first one does."""
    return process_number() == 0


def together(accelerator: Any | None = None) -> None:
    """Wait until every process has come here; one alone does not wait.

    Args:
        accelerator: Accelerate's; none: that of this process, made now if it is not there yet.
    """
    if process_count() == 1:
        return
    if accelerator is None:
        from accelerate import PartialState

        accelerator = PartialState(cpu=on_processors())
    accelerator.wait_for_everyone()


def on_processors() -> bool:
    """Whether several processes train on processors, for want of an accelerator.

    The library Accelerate has to be told so.
    """
    from torch import accelerator

    return process_count() > 1 and not accelerator.is_available()


def own(items: Iterable[_Item]) -> list[tuple[int, _Item]]:
    """The items that this process takes, each with its place among all of them."""
    return list(islice(enumerate(items), process_number(), None, process_count()))


def summed(parameters: Sequence["Tensor"], loss: float, *, accelerator: Any) -> float:
    """Replace each process's gradients by the sum over all processes, and give the summed loss.

    Args:
        parameters: those that learn, the same in every process; one without a gradient has zeros.
        loss: this process's share of the loss.
        accelerator: Accelerate's.
    """
    if process_count() == 1:
        return loss
    import torch

    # One message for all: each by itself would wait for the network anew.
    gradients = [
        torch.zeros_like(value) if value.grad is None else value.grad for value in parameters
    ]
    numbers = [gradient.float().flatten() for gradient in gradients]
    numbers.append(torch.tensor([loss], device=gradients[0].device))
    flat = torch.cat(numbers)
    flat = accelerator.reduce(flat, reduction="sum")

    # Back to each parameter's shape and number format; the loss is the last number.
    start = 0
    for value, gradient in zip(parameters, gradients, strict=True):
        end = start + value.numel()
        value.grad = flat[start:end].view_as(value).to(gradient.dtype)
        start = end
    return float(flat[-1])
