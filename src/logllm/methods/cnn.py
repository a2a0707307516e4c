"""Convolutions over event numbers."""

import torch
from torch import Tensor, nn

from logllm.config.recipe import Recipe
from logllm.methods.contract import Method, Workplace
from logllm.methods.inputs import EventNumbers
from logllm.methods.network import SessionNetwork

_KERNELS = (3, 4, 5)


class Cnn(nn.Module):
    """Parallel convolutions over event embeddings.

    After Lu et al.: *Detecting Anomaly in Big Data System Logs Using Convolutional Neural Network*,
    2018. Ours differs: a masked message is an event where theirs are a parser's templates, 64
    channels a width, and dropout before the last layer.
    """

    def __init__(self, events: int) -> None:
        """Make a network that reads numbers below `events`; 0 is nothing."""
        super().__init__()
        self.embedding = nn.Embedding(events, 64, padding_idx=0)
        self.convolutions = nn.ModuleList(nn.Conv1d(64, 64, kernel) for kernel in _KERNELS)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(64 * len(_KERNELS), 1)

    def forward(self, events: Tensor, mask: Tensor) -> Tensor:
        """Logits, (b,), of sessions, (b, s)."""
        sizes = mask.sum(1)

        # Four places of nothing behind: the widest window fits a session of one message.
        padded = nn.functional.pad(events, (0, max(_KERNELS) - 1))  # (b, s + 4)
        embedded = self.embedding(padded).transpose(1, 2)  # (b, 64, s + 4)
        pooled = []
        for convolution in self.convolutions:
            channels = nn.functional.leaky_relu(convolution(embedded))  # (b, 64, at least s)
            # Every place where the window begins in the session, and no other: a score does not
            # depend on the batch's padding.
            places = torch.arange(channels.shape[-1]) < sizes.clamp(min=1)[:, None]
            inside = channels.masked_fill(~places.unsqueeze(1), -torch.inf)
            pooled.append(inside.amax(-1))  # (b, 64)
        logits: Tensor = self.head(self.dropout(torch.cat(pooled, dim=1))).squeeze(-1)  # (b,)
        return logits


def cnn(_recipe: Recipe, _workplace: Workplace) -> Method:
    """Convolutions over event numbers."""
    return SessionNetwork(Cnn, EventNumbers())
