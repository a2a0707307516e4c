"""Small networks that tell normal from anomalous sessions, and the loop that trains them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from logllm.errors import ModelError, first_line
from logllm.methods.contract import Method, Needs, anything, of_both_kinds
from logllm.methods.inputs import Inputs
from logllm.methods.learnt import Array, Learnt
from logllm.metrics import Labels, Scores, sigmoid
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, distinct, lengths
from logllm.training.sampler import oversampled

Batch = TypeVar("Batch")

_RATE = 1e-3
_BATCH = 64
_EPOCHS = 20
_MOST_STEPS = 800
_MINORITY = 0.3
"""Share up to which the rarer kind is repeated, as in LogLLM's training (paper, section 1)."""
_PREFIX = "network."
"""What a weight's name begins with in files."""
_BUCKET = 16
"""So many batches are cut at once from sessions sorted by length: little of them is padding."""


class SessionNetwork(Method):
    """A network that reads whole sessions and learns from normal and anomalous ones.

    At most 20 epochs and 800 steps of 64 sessions with AdamW, the rate falling from 1e-3 to
    nothing, the rarer kind repeated up to 30 % as LogLLM's training does. The length is fixed:
    nothing is chosen on validation but the threshold.
    """

    needs: ClassVar[Needs] = Needs.SESSIONS

    def __init__(self, network: Callable[[int], nn.Module], inputs: Inputs) -> None:
        """Join a maker of networks with their inputs.

        It is called with the width of the inputs. A network takes inputs, (b, s) or (b, s, d), and
        their mask, (b, s), and gives one logit for each session, (b,).
        """
        self._new = network
        self._inputs = inputs

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Learn.

        Raises:
            DataError: there are no labels, all sessions are of one kind, or they hold no message.
        """
        labels = of_both_kinds(labels)
        self._width = self._inputs.fit(anything(sessions), messages)
        table = with_padding(self._inputs.table(sessions, messages))
        rng = np.random.default_rng(seed)

        # How many sessions an epoch has with the rarer kind repeated; -(-a // b) rounds up.
        epoch = len(oversampled(labels, share=_MINORITY, rng=rng))
        batches_an_epoch = -(-epoch // _BATCH)
        steps = min(_MOST_STEPS, _EPOCHS * batches_an_epoch)

        def loss(rows: Rows) -> Tensor:
            batch = padded([sessions[row] for row in rows], table)
            logits = self._network(*batch)  # (b,)
            wanted = torch.from_numpy(labels[rows]).to(logits.dtype)
            return nn.functional.binary_cross_entropy_with_logits(logits, wanted)

        with seeded(seed):
            self._network = self._new(self._width)
            batches = _batches(labels, lengths(sessions), rng=rng)
            descend(self._network, batches, loss=loss, steps=steps)

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """P(anomalous)."""
        apart, of = distinct(sessions)
        table = with_padding(self._inputs.table(apart, messages))
        logits = np.zeros(len(apart))
        # Sessions of like length together, so that little of a batch is padding.
        by_length = np.argsort(lengths(apart), kind="stable")
        with torch.inference_mode():
            for start in range(0, len(apart), _BATCH):
                rows = by_length[start : start + _BATCH]
                batch = padded([apart[row] for row in rows], table)
                logits[rows] = self._network(*batch).numpy()
                if progress is not None:
                    progress(start + len(rows), len(apart))
        return sigmoid(logits)[of]

    def about(self) -> dict[str, Any]:
        """The encoder, where vectors are read."""
        return self._inputs.about()

    def save(self, folder: Path) -> None:
        """Write `fitted.safetensors` and `fitted.json`."""
        inputs = self._inputs.fitted()
        arrays = {**inputs.arrays, **weights_of(self._network)}
        facts = {**inputs.facts, "width": self._width}
        Learnt(arrays, facts).write(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ModelError: files that are missing or of another method.
        """
        fitted = Learnt.read(folder)
        self._inputs.restore(fitted)
        self._width = int(fitted.fact("width"))
        self._network = restored(lambda: self._new(self._width), fitted)


def weights_of(network: nn.Module) -> dict[str, Array]:
    """A network's weights, for files."""
    tensors = network.state_dict().items()
    return {f"{_PREFIX}{name}": tensor.numpy() for name, tensor in tensors}


def restored(new: Callable[[], nn.Module], fitted: Learnt) -> nn.Module:
    """A network with weights from files, in evaluation mode.

    Args:
        new: makes one; its weights are never drawn.
        fitted: what `weights_of` gave.

    Raises:
        ModelError: the files are of another method.
    """
    # On no device: weights that are about to be replaced are neither drawn nor held.
    with torch.device("meta"):
        network = new()
    tensors: dict[str, Tensor] = {}
    for name, array in fitted.arrays.items():
        if name.startswith(_PREFIX):
            tensors[name.removeprefix(_PREFIX)] = torch.from_numpy(array)
    try:
        network.load_state_dict(tensors, assign=True)
    except RuntimeError as exc:
        raise ModelError(f"{fitted.folder} holds another network: {first_line(exc)}") from exc
    return network.requires_grad_(False).eval()


def descend(
    network: nn.Module,
    batches: Iterable[Batch],
    *,
    loss: Callable[[Batch], Tensor],
    steps: int,
) -> None:
    """Train a network for some steps of AdamW, and leave it in evaluation mode.

    The rate falls to nothing, and gradients are clipped at norm 1.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE)
    rate = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps
    )
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
    """Seed torch's generator inside, and leave it afterwards as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _batches(labels: Labels, sizes: Rows, *, rng: np.random.Generator) -> Iterator[Rows]:
    """Rows of sessions of like length, epoch after epoch without end."""
    many = _BUCKET * _BATCH
    while True:
        rows = rng.permutation(oversampled(labels, share=_MINORITY, rng=rng))

        # Sorted within buckets of 16 batches, not as a whole: batches of an epoch would else be the
        # same each time.
        batches: list[Rows] = []
        for first in range(0, len(rows), many):
            bucket = rows[first : first + many]
            ordered = bucket[np.argsort(sizes[bucket], kind="stable")]
            starts = range(0, len(ordered), _BATCH)
            batches += [ordered[start : start + _BATCH] for start in starts]

        # Not from short to long.
        yield from (batches[at] for at in rng.permutation(len(batches)))


def with_padding(table: Tensor) -> Tensor:
    """A table with a row of zeros at its end."""
    return torch.cat([table, table.new_zeros((1, *table.shape[1:]))])


def padded(sessions: Sequence[Rows], table: Tensor) -> tuple[Tensor, Tensor]:
    """Sessions as one tensor, (b, s, ...), and which places are messages, (b, s).

    They are padded on the right with the table's last row.
    """
    # At least one place, for a network cannot read nothing.
    sizes = torch.from_numpy(lengths(sessions))
    mask = torch.arange(max(1, int(sizes.max()))) < sizes[:, None]  # (b, s)
    rows = torch.full(mask.shape, len(table) - 1)
    rows[mask] = torch.from_numpy(np.concatenate(sessions))
    return table[rows], mask
