"""The rule that what was never seen in normal operation is a sign of trouble."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from logllm.data.sequences import Rows, lengths
from logllm.methods.baseline import Labelled
from logllm.methods.vocabulary import UNKNOWN, Vocabulary
from logllm.metrics import Scores


class Unseen:
    """The share of a session's messages that no normal session to learn from holds; any such message is an alarm.

    The share ranks; so that .5 parts none from some it is raised by one half, and halved, wherever it is not zero.
    """

    def fit(self, train: Labelled, *, seed: int) -> None:
        """Note the messages of the normal sessions.

        Raises:
            DataError: there is none.
        """
        self._known = Vocabulary(train.normal(), train.messages)

    def score(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """0, or .5 and half the share."""
        new = self._known.numbers(messages) == UNKNOWN
        sizes = lengths(sessions)
        of = np.repeat(np.arange(len(sessions)), sizes)
        flat = new[np.concatenate(sessions)] if len(sessions) else np.zeros(0)
        shares = np.bincount(of, weights=flat, minlength=len(sessions)) / sizes.clip(min=1)
        return np.where(shares > 0, 0.5 + shares / 2, 0.0)
