"""What networks read of each message: its number, or its vector."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import polars as pl
import torch
from torch import Tensor

from logllm.methods.learnt import Learnt
from logllm.methods.vectors import FrozenVectors
from logllm.methods.vocabulary import Vocabulary
from logllm.sessions.message_table import Rows, occurring


class Inputs(Protocol):
    """What a network reads of each message."""

    def fit(self, sessions: Sequence[Rows], messages: pl.Series) -> int:
        """Settle the inputs, and give their width: events for numbers, components for vectors."""

    def table(self, sessions: Sequence[Rows], messages: pl.Series) -> Tensor:
        """One row for each message of the table, (len(messages), ...)."""

    def about(self) -> dict[str, Any]:
        """What a run's manifest says of it."""

    def fitted(self) -> Learnt:
        """What `fit` settled, for files."""

    def restore(self, fitted: Learnt) -> None:
        """Settle the inputs as files say.

        Raises:
            ModelError: they are of another method.
        """


class EventNumbers:
    """A message's number.

    A message that was not learnt from is 0, as padding is, and is read as nothing.
    """

    def fit(self, sessions: Sequence[Rows], messages: pl.Series) -> int:
        """Number the messages that occur."""
        self._vocabulary = Vocabulary.of(sessions, messages)
        # One more than there are messages: 0 is what is not known.
        return len(self._vocabulary) + 1

    def table(self, sessions: Sequence[Rows], messages: pl.Series) -> Tensor:
        """Numbers, (len(messages),)."""
        return torch.from_numpy(self._vocabulary.numbers(sessions, messages))

    def about(self) -> dict[str, Any]:
        """Nothing that its files do not say."""
        return {}

    def fitted(self) -> Learnt:
        """The messages."""
        return Learnt({}, {"messages": self._vocabulary.texts})

    def restore(self, fitted: Learnt) -> None:
        """Number the messages that files name."""
        self._vocabulary = Vocabulary(fitted.fact("messages"))


class MessageVectors:
    """A message's vector of the frozen encoder; every message has one.

    Encoders' vectors lie close together, which small networks learn from slowly. So the messages to
    learn from are moved to mean 0 and scaled, all components alike, to a mean square of 1. Every
    other message is moved and scaled in the same way.
    """

    def __init__(self, vectors: FrozenVectors) -> None:
        """Read an encoder's vectors."""
        self._vectors = vectors

    def fit(self, sessions: Sequence[Rows], messages: pl.Series) -> int:
        """Encode the messages that occur."""
        vectors = self._vectors.table(sessions, messages)[occurring(sessions)]
        self._centre = vectors.mean(0)
        squares = np.square(vectors - self._centre)
        spread = float(np.sqrt(squares.mean()))
        self._scale = spread or 1.0  # one message alone has no spread
        return int(vectors.shape[1])

    def table(self, sessions: Sequence[Rows], messages: pl.Series) -> Tensor:
        """Vectors, (len(messages), d_enc)."""
        vectors = self._vectors.table(sessions, messages)
        return torch.from_numpy((vectors - self._centre) / self._scale)

    def about(self) -> dict[str, Any]:
        """The encoder."""
        return self._vectors.about()

    def fitted(self) -> Learnt:
        """The mean of the messages' vectors, and how far they are from it."""
        return Learnt({"centre": self._centre}, {"scale": self._scale})

    def restore(self, fitted: Learnt) -> None:
        """Move and scale as files say."""
        self._centre, self._scale = fitted.array("centre"), float(fitted.fact("scale"))
