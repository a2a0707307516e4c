"""Small networks: what they read, the loop that trains them, and those that tell normal from anomalous sessions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from logllm.data.sequences import Rows, distinct, lengths, occurring
from logllm.methods.baseline import Labelled
from logllm.methods.vectors import FrozenVectors
from logllm.methods.vocabulary import Vocabulary
from logllm.metrics import Labels, Scores, sigmoid
from logllm.training.sampler import oversampled

Batch = TypeVar("Batch")

_RATE = 1e-3
_BATCH = 64
_EPOCHS = 20
_MOST_STEPS = 800
_MINORITY = 0.3
"""Share up to which the rarer kind is repeated: LogLLM's own (paper, section 1)."""
_BUCKET = 16
"""Batches that are cut from sessions sorted by length, so that little of them is padding."""


class Inputs(Protocol):
    """What a network reads of each message."""

    def fit(self, train: Labelled) -> int:
        """Settle it, and say how wide it is: events for numbers, components for vectors."""

    def table(self, sessions: Sequence[Rows], messages: pl.Series) -> Tensor:
        """One row a message of the table, (len(messages), ...)."""


class EventNumbers:
    """A message's number; a message that was not there to learn from is 0, as padding is, and is read as nothing."""

    def fit(self, train: Labelled) -> int:
        """Number the messages that occur."""
        self._vocabulary = Vocabulary(train.sessions, train.messages)
        return len(self._vocabulary) + 1

    def table(self, sessions: Sequence[Rows], messages: pl.Series) -> Tensor:
        """Numbers, (len(messages),)."""
        return torch.from_numpy(self._vocabulary.numbers(messages))


class MessageVectors:
    """A message's vector of the frozen encoder; every message has one.

    Encoders' vectors lie close together, which small networks learn from slowly: the messages to learn from are moved to mean 0 and
    scaled, all components alike, to a mean square of 1, and every other message as they are.
    """

    def __init__(self, vectors: FrozenVectors) -> None:
        """Read an encoder's vectors."""
        self._vectors = vectors

    def fit(self, train: Labelled) -> int:
        """Encode the messages that occur."""
        found = self._vectors.table(train.sessions, train.messages)[occurring(train.sessions)]
        self._centre = found.mean(0)
        self._scale = float(np.sqrt(np.square(found - self._centre).mean())) or 1.0  # one message alone has no spread
        return int(found.shape[1])

    def table(self, sessions: Sequence[Rows], messages: pl.Series) -> Tensor:
        """Vectors, (len(messages), d_enc)."""
        return torch.from_numpy((self._vectors.table(sessions, messages) - self._centre) / self._scale)


class Classifier:
    """A network that reads whole sessions and learns from normal and anomalous ones.

    At most 20 epochs and 800 steps of 64 sessions with AdamW, the rate falling from 1e-3 to nothing, the rarer kind
    repeated up to 30 % as LogLLM's training does. The length is fixed: nothing is chosen on validation but the threshold.
    """

    def __init__(self, network: Callable[[int], nn.Module], inputs: Inputs) -> None:
        """Join what makes a network of the inputs' width with inputs.

        The network is given inputs, (b, s) or (b, s, d), and their mask, (b, s), and gives one logit a session, (b,).
        """
        self._new = network
        self._inputs = inputs

    def fit(self, train: Labelled, *, seed: int) -> None:
        """Learn.

        Raises:
            DataError: all sessions are of one kind.
        """
        train = train.of_both_kinds()
        width = self._inputs.fit(train)
        table = _with_padding(self._inputs.table(train.sessions, train.messages))
        rng = np.random.default_rng(seed)
        steps = min(_MOST_STEPS, _EPOCHS * -(-len(oversampled(train.labels, share=_MINORITY, rng=rng)) // _BATCH))

        def loss(rows: Rows) -> Tensor:
            logits = self._network(*_padded([train.sessions[row] for row in rows], table))  # (b,)
            wanted = torch.from_numpy(train.labels[rows]).to(logits.dtype)
            return nn.functional.binary_cross_entropy_with_logits(logits, wanted)

        with seeded(seed):
            self._network = self._new(width)
            descend(self._network, _batches(train.labels, lengths(train.sessions), rng=rng), loss=loss, steps=steps)

    def score(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """P(anomalous)."""
        kept, of = distinct(sessions)
        table = _with_padding(self._inputs.table(kept, messages))
        logits = np.zeros(len(kept))
        by_length = np.argsort(lengths(kept), kind="stable")
        with torch.inference_mode():
            for start in range(0, len(kept), _BATCH):
                rows = by_length[start : start + _BATCH]
                logits[rows] = self._network(*_padded([kept[row] for row in rows], table)).numpy()
        return sigmoid(logits)[of]


def descend(network: nn.Module, batches: Iterable[Batch], *, loss: Callable[[Batch], Tensor], steps: int) -> None:
    """Train a network for some steps of AdamW at a rate that falls to nothing, clipped at norm 1; leave it in evaluation mode."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE)
    rate = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps)
    network.train()
    for batch in islice(batches, steps):
        optimizer.zero_grad()
        loss(batch).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        rate.step()
    network.eval()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's draws as a seed says, and afterwards as if there had been none."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _batches(labels: Labels, sizes: Rows, *, rng: np.random.Generator) -> Iterator[Rows]:
    """Rows of sessions of like length, epoch after epoch without end."""
    while True:
        rows = rng.permutation(oversampled(labels, share=_MINORITY, rng=rng))
        buckets = [rows[start : start + _BUCKET * _BATCH] for start in range(0, len(rows), _BUCKET * _BATCH)]
        ordered = [bucket[np.argsort(sizes[bucket], kind="stable")] for bucket in buckets]
        batches = [bucket[start : start + _BATCH] for bucket in ordered for start in range(0, len(bucket), _BATCH)]
        yield from (batches[at] for at in rng.permutation(len(batches)))


def _with_padding(table: Tensor) -> Tensor:
    """A table with a row of zeros at its end."""
    return torch.cat([table, table.new_zeros((1, *table.shape[1:]))])


def _padded(sessions: Sequence[Rows], table: Tensor) -> tuple[Tensor, Tensor]:
    """Sessions as one tensor, (b, s, ...), padded on the right with the table's last row; and which places are messages, (b, s)."""
    sizes = torch.from_numpy(lengths(sessions))
    mask = torch.arange(max(1, int(sizes.max()))) < sizes[:, None]  # (b, s)
    rows = torch.full(mask.shape, len(table) - 1)
    rows[mask] = torch.from_numpy(np.concatenate(sessions))
    return table[rows], mask
