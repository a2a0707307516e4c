"""Rotary positions: by how much each pair of a head's numbers is turned a position."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_THETA = 10_000.0


@dataclass(frozen=True)
class Rotary:
    """What turns a decoder's queries and keys (Su et al. 2021).

    Attributes:
        frequencies: radians a position, (width / 2,).
        scale: what cosines and sines are multiplied with; 1 but in YaRN.
    """

    frequencies: Tensor
    scale: float = 1.0

    def tables(self, positions: int, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosines and sines at the first positions, (p, width / 2) each, float32."""
        steps = torch.arange(positions, device=device, dtype=torch.float32)
        angles = steps[:, None] * self.frequencies.to(device)  # (p, width / 2)
        return angles.cos() * self.scale, angles.sin() * self.scale


def rotary_of(config: Any, *, width: int) -> Rotary | None:
    """The turns that a configuration describes, as transformers computes them; none where it is of a kind not computed here.

    Args:
        config: with `rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling`.
        width: of a head.
    """
    given: Mapping[str, Any] = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kind = given.get("rope_type", given.get("type", "default"))
    if given.get("partial_rotary_factor", getattr(config, "partial_rotary_factor", 1)) != 1:
        return None
    theta = float(given.get("rope_theta", getattr(config, "rope_theta", _THETA)))
    exponents = torch.arange(0, width, 2, dtype=torch.int64).float() / width
    frequencies: Tensor = 1.0 / (theta**exponents)
    if kind == "default":
        return Rotary(frequencies)
    if kind == "linear":
        return Rotary(frequencies / given["factor"])
    if kind == "llama3":
        return Rotary(_slowed(frequencies, given))
    return None


def _slowed(frequencies: Tensor, given: Mapping[str, Any]) -> Tensor:
    """Llama 3's turns for long contexts: slow ones slower by a factor, quick ones as they are, those between mixed."""
    factor, low, high = (float(given[name]) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    context = given["original_max_position_embeddings"]
    wavelengths = 2 * math.pi / frequencies
    slowed = torch.where(wavelengths > context / low, frequencies / factor, frequencies)
    share = (context / wavelengths - low) / (high - low)
    mixed = (1 - share) * slowed / factor + share * slowed
    between = ~(wavelengths < context / high) * ~(wavelengths > context / low)
    return torch.where(between, mixed, slowed)


def head_width(config: Any) -> int:
    """Numbers of an attention head."""
    width: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return width
