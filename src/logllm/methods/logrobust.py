"""A recurrent network over messages' vectors, forwards and backwards, with attention."""

import torch
from torch import Tensor, nn

from logllm.config.recipe import Recipe
from logllm.methods.contract import Method, Workplace
from logllm.methods.inputs import MessageVectors
from logllm.methods.network import SessionNetwork
from logllm.methods.vectors import FrozenVectors


class LogRobust(nn.Module):
    """Attention BiLSTM.

    After Zhang et al.: *Robust Log-Based Anomaly Detection on Unstable Log Data*, ESEC/FSE 2019.
    Ours differs: messages' vectors come from the frozen sentence encoder, where theirs are sums of
    FastText's word vectors weighted by TF-IDF; one layer of 64 units each way instead of two of
    128; attention weights are a softmax.
    """

    def __init__(self, width: int) -> None:
        """Make a network that reads vectors of this width."""
        super().__init__()
        self.lstm = nn.LSTM(width, 64, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(128, 1)
        self.head = nn.Linear(128, 1)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Logits, (b,), of sessions, (b, s, d_enc)."""
        # Packed, or the way back would begin in the padding and a score depend on what else is in
        # its batch.
        sizes = mask.sum(1).clamp(min=1)
        packed = nn.utils.rnn.pack_padded_sequence(
            vectors, sizes, batch_first=True, enforce_sorted=False
        )
        read, _ = self.lstm(packed)
        # What was read in both directions at each place, (b, s, 128).
        states, _ = nn.utils.rnn.pad_packed_sequence(
            read, batch_first=True, total_length=mask.shape[1]
        )

        # Attention to padding is nothing: e to the -1e9.
        attention = self.attention(torch.tanh(states))  # (b, s, 1)
        weights = attention.masked_fill(~mask.unsqueeze(-1), -1e9).softmax(1)
        session = (weights * states).sum(1)  # (b, 128)
        logits: Tensor = self.head(session).squeeze(-1)  # (b,)
        return logits


def logrobust(recipe: Recipe, workplace: Workplace) -> Method:
    """An attention BiLSTM over frozen vectors."""
    vectors = FrozenVectors.of(recipe, workplace)
    return SessionNetwork(LogRobust, MessageVectors(vectors))
