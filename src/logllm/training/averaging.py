"""The mean of the weights a stage's last steps went through, which is steadier than the last of them."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Average:
    """A running mean of parameters over steps (stochastic weight averaging, Izmailov et al., arXiv:1803.05407)."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        """Begin with no step.

        Args:
            parameters: those that are averaged, by name; read at each `update`.
        """
        self._parameters = dict(parameters)
        self._count = 0
        self._mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are now."""
        self._count += 1
        for name, value in self._parameters.items():
            mean = self._mean.setdefault(name, value.detach().clone())
            mean += (value - mean) / self._count

    @torch.no_grad()
    def apply(self) -> None:
        """Give the parameters their mean, where a step was taken in."""
        for name, mean in self._mean.items():
            self._parameters[name].copy_(mean)

    def state(self) -> dict[str, Tensor]:
        """What `restore` needs, for a checkpoint."""
        return {**self._mean, "count": torch.tensor(self._count)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        held = dict(state)
        self._count = int(held.pop("count"))
        self._mean = held
