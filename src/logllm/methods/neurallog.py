"""A transformer over messages' vectors."""

import math

import torch
from torch import Tensor, nn

from logllm.config.recipe import Recipe
from logllm.methods.contract import Method, Workplace
from logllm.methods.inputs import MessageVectors
from logllm.methods.network import SessionNetwork
from logllm.methods.vectors import FrozenVectors

_WIDTH = 128


class NeuralLog(nn.Module):
    """One transformer encoder layer over message vectors.

    After Le, Zhang: *Log-based Anomaly Detection Without Log Parsing*, ASE 2021. Ours differs: the
    masked messages' vectors come from the frozen sentence encoder, theirs from BERT with numbers
    and symbols taken out; 128 wide with 4 heads and 256 inside, where theirs is 768, 12 and 2,048.
    """

    def __init__(self, width: int) -> None:
        """Make a network that reads vectors of this width."""
        super().__init__()
        self.project = nn.Linear(width, _WIDTH)
        self.layer = nn.TransformerEncoderLayer(
            _WIDTH, nhead=4, dim_feedforward=256, dropout=0.1, batch_first=True
        )
        hidden = nn.Linear(_WIDTH, 32)
        last = nn.Linear(32, 1)
        self.head = nn.Sequential(nn.Dropout(0.1), hidden, nn.ReLU(), nn.Dropout(0.1), last)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Logits, (b,), of sessions, (b, s, d_enc)."""
        # Of a session of nothing the padding is read, or attention has nothing to weigh.
        is_empty = mask.sum(1, keepdim=True) == 0
        read = mask | is_empty
        placed = self.project(vectors) + _positions(vectors.shape[1])
        states = self.layer(placed, src_key_padding_mask=~read)  # (b, s, 128)

        # The mean of the states of what is read.
        weight = read.unsqueeze(-1).to(states.dtype)  # (b, s, 1)
        mean = (states * weight).sum(1) / weight.sum(1)  # (b, 128)
        logits: Tensor = self.head(mean).squeeze(-1)  # (b,)
        return logits


def neurallog(recipe: Recipe, workplace: Workplace) -> Method:
    """A transformer over frozen vectors."""
    vectors = FrozenVectors.of(recipe, workplace)
    return SessionNetwork(NeuralLog, MessageVectors(vectors))


def _positions(length: int) -> Tensor:
    """Sines and cosines that say where in a session a message stands, (s, 128).

    After Vaswani et al.: *Attention Is All You Need*, 2017.
    """
    # Of component 2i the angle is place / 10,000 ^ (2i / 128).
    exponents = torch.arange(0, _WIDTH, 2) * (-math.log(10_000) / _WIDTH)
    frequencies = torch.exp(exponents)  # (64,)
    angles = torch.arange(length)[:, None] * frequencies  # (s, 64)
    pairs = torch.stack([angles.sin(), angles.cos()], dim=-1)  # (s, 64, 2)
    return pairs.flatten(1)
