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
    """One transformer encoder layer over message vectors (Le, Zhang: *Log-based Anomaly Detection Without Log Parsing*, ASE 2021).

    Ours differs: the masked messages' vectors come from the frozen sentence encoder, theirs from BERT with numbers and
    symbols taken out; 128 wide with 4 heads and 256 inside, where theirs is 768, 12 and 2,048.
    """

    def __init__(self, width: int) -> None:
        """Read vectors of some width."""
        super().__init__()
        self.project = nn.Linear(width, _WIDTH)
        self.layer = nn.TransformerEncoderLayer(_WIDTH, nhead=4, dim_feedforward=256, dropout=0.1, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(_WIDTH, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Logits, (b,), of sessions, (b, s, d_enc)."""
        read = mask | (mask.sum(1, keepdim=True) == 0)  # a session of nothing: its padding is read, or attention has nothing to weigh
        states = self.layer(self.project(vectors) + _positions(vectors.shape[1]), src_key_padding_mask=~read)  # (b, s, 128)
        weight = read.unsqueeze(-1).to(states.dtype)  # (b, s, 1)
        logits: Tensor = self.head((states * weight).sum(1) / weight.sum(1)).squeeze(-1)  # (b,)
        return logits


def neurallog(recipe: Recipe, workplace: Workplace) -> Method:
    """A transformer over frozen vectors."""
    return SessionNetwork(NeuralLog, MessageVectors(FrozenVectors.of(recipe, workplace)))


def _positions(length: int) -> Tensor:
    """Sines and cosines that say where in a session a message stands (Vaswani et al., 2017), (s, 128)."""
    angles = torch.arange(length)[:, None] * torch.exp(torch.arange(0, _WIDTH, 2) * (-math.log(10_000) / _WIDTH))  # (s, 64)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
