"""The next event, predicted from the ones before."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from logllm.data.sequences import Rows, distinct, lengths
from logllm.methods.baseline import Labelled
from logllm.methods.network import descend, seeded
from logllm.methods.vocabulary import UNKNOWN, Vocabulary
from logllm.metrics import Scores

WINDOW = 10
"""Events that a prediction is made from."""
RARE = 0.01
"""Probability of an event that scores .5."""
_BATCH = 256
_STEPS = 1000
_AT_ONCE = 4096


class DeepLog:
    """An LSTM that has read normal sessions says how surprising an event is (Du et al.: *DeepLog*, CCS 2017).

    A session's score is that of its most surprising event, r / (r + p), p being the probability that the network gave the event and r one
    in a hundred. An event that no normal session holds scores 1.

    Ours differs: a masked message is an event, where theirs are a parser's; an event counts by its probability, where theirs is normal
    among the nine most likely (the HDFS sample's normal sessions have 15 events, and nine of them leave little to find); events near a
    session's start, which theirs leaves out, are predicted from fewer than ten, and the session's end is predicted too; the limit is
    chosen on validation; parameters of events (their second network) are not looked at. Two layers of 64 units, as there.
    """

    def fit(self, train: Labelled, *, seed: int) -> None:
        """Learn from the normal sessions: 1,000 steps of 256 windows.

        Raises:
            DataError: there is none.
        """
        normal = train.normal()
        self._events = Vocabulary(normal, train.messages)
        sessions, of = distinct(normal)
        windows, which, session = _windows(sessions, self._numbers(train.messages))
        counts = np.bincount(which, weights=np.bincount(of)[session], minlength=len(windows))
        known = torch.from_numpy(windows)
        rng = np.random.default_rng(seed)

        def loss(rows: Rows) -> Tensor:
            logits: Tensor = self._network(known[rows, :-1])
            return nn.functional.cross_entropy(logits, known[rows, -1])

        with seeded(seed):
            self._network = _NextEvent(len(self._events) + 2)
            descend(self._network, _draws(counts / counts.sum(), rng=rng), loss=loss, steps=_STEPS)

    def score(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """Scores of the most surprising events, in [0, 1]."""
        kept, of = distinct(sessions)
        windows, which, session = _windows(kept, self._numbers(messages))
        surprise = np.concatenate([self._surprise(windows[at : at + _AT_ONCE]) for at in range(0, len(windows), _AT_ONCE)] or [np.zeros(0)])
        scores = np.zeros(len(kept))
        np.maximum.at(scores, session, surprise[which])
        return scores[of]

    def _numbers(self, messages: pl.Series) -> Rows:
        """For each message its number, and after them that of the end."""
        return np.append(self._events.numbers(messages), len(self._events) + 1)

    def _surprise(self, windows: Rows) -> Scores:
        """Scores of the windows' last events."""
        events = torch.from_numpy(windows)
        with torch.inference_mode():
            probabilities = self._network(events[:, :-1]).softmax(1)  # (windows, events)
        own = probabilities.gather(1, events[:, -1:])[:, 0].double()  # (windows,); of the unknown it is 0
        surprise: Scores = (RARE / (RARE + own)).numpy()
        return surprise


class _NextEvent(nn.Module):
    """Logits of the next event; 0 is no event, and neither read nor predicted."""

    def __init__(self, events: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(events, 64, padding_idx=UNKNOWN)
        self.lstm = nn.LSTM(64, 64, num_layers=2, batch_first=True)
        self.head = nn.Linear(64, events)

    def forward(self, events: Tensor) -> Tensor:
        """Logits, (windows, events), after ten events each, (windows, 10)."""
        logits: Tensor = self.head(self.lstm(self.embedding(events))[0][:, -1])
        return logits.index_fill(1, torch.tensor([UNKNOWN]), -1e9)


def _windows(sessions: Sequence[Rows], numbers: Rows) -> tuple[Rows, Rows, Rows]:
    """Ten events and the one after them, for each event of some sessions and the end of each, whose number is the last.

    Returns:
        The distinct windows, (w, 11), 0 where a session has not begun or an event is not known; and for each event of
        the sessions which window is its own, and which session.
    """
    sessions = [np.append(each, len(numbers) - 1) for each in sessions]
    sizes = lengths(sessions)
    session = np.repeat(np.arange(len(sessions)), sizes)
    ends = np.arange(len(session)) + WINDOW * (session + 1)  # each session stands behind ten places of nothing
    laid = np.zeros(len(session) + WINDOW * (len(sessions) + 1), dtype=np.int64)
    if len(session):
        laid[ends] = numbers[np.concatenate(sessions)]
    windows = laid[ends[:, None] + np.arange(-WINDOW, 1)]  # (events, 11)
    found, which = np.unique(windows, axis=0, return_inverse=True)
    return found, which.ravel(), session


def _draws(shares: Scores, *, rng: np.random.Generator) -> Iterator[Rows]:
    """Rows of windows, each as often as it occurs, without end."""
    while True:
        yield rng.choice(len(shares), size=_BATCH, p=shares)
