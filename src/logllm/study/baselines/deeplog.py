"""The next event, predicted from the ones before."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from logllm.detect.metrics import Scores
from logllm.model.batch import Rows
from logllm.study.baselines.baseline import Labelled, distinct
from logllm.study.baselines.network import descend, seeded
from logllm.study.baselines.vocabulary import UNKNOWN, Vocabulary, lengths

WINDOW = 10
"""Events that a prediction is made from."""
TOP = 9
"""The paper's g: an event among the g most likely is normal."""
_BATCH = 256
_STEPS = 1000
_AT_ONCE = 4096


class DeepLog:
    """An LSTM that has read normal sessions says how surprising an event is (Du et al.: *DeepLog*, CCS 2017).

    A session's score is that of its most surprising event. An event's is (r + 1 - p) / (r + 1 - p + 9), r being how many
    events the network held for more likely and p the probability it gave: in the order of the paper's ranks, equal
    ranks parted by p, and at .5 the paper's limit of the 9 most likely. An event that no normal session holds scores 1.

    Ours differs: a masked message is an event, where theirs are a parser's; events near a session's start, which theirs
    leaves out, are predicted from fewer than ten; the limit is chosen on validation; parameters of events (their second
    network) are not looked at. Two layers of 64 units, as there.
    """

    def fit(self, train: Labelled, *, seed: int) -> None:
        """Learn from the normal sessions: 1,000 steps of 256 windows.

        Raises:
            DataError: there is none.
        """
        normal = train.normal()
        self._events = Vocabulary(normal, train.messages)
        sessions, of = distinct(normal)
        windows, which, session = _windows(sessions, self._events.numbers(train.messages))
        counts = np.bincount(which, weights=np.bincount(of)[session], minlength=len(windows))
        known = torch.from_numpy(windows)
        rng = np.random.default_rng(seed)

        def loss(rows: Rows) -> Tensor:
            logits: Tensor = self._network(known[rows, :-1])
            return nn.functional.cross_entropy(logits, known[rows, -1])

        with seeded(seed):
            self._network = _NextEvent(len(self._events) + 1)
            descend(self._network, _draws(counts / counts.sum(), rng=rng), loss=loss, steps=_STEPS)

    def score(self, sessions: Sequence[Rows], messages: pl.Series) -> Scores:
        """Scores of the most surprising events, in [0, 1]."""
        kept, of = distinct(sessions)
        windows, which, session = _windows(kept, self._events.numbers(messages))
        surprise = np.concatenate([self._surprise(windows[at : at + _AT_ONCE]) for at in range(0, len(windows), _AT_ONCE)] or [np.zeros(0)])
        scores = np.zeros(len(kept))
        np.maximum.at(scores, session, surprise[which])
        return scores[of]

    def _surprise(self, windows: Rows) -> Scores:
        """Scores of the windows' last events."""
        events = torch.from_numpy(windows)
        with torch.inference_mode():
            probabilities = self._network(events[:, :-1]).softmax(1)  # (windows, events)
        own = probabilities.gather(1, events[:, -1:])  # (windows, 1)
        rank = (probabilities > own).sum(1) + 1 - own[:, 0].double()
        return torch.where(events[:, -1] == UNKNOWN, 1.0, rank / (rank + TOP)).numpy()


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
    """Ten events and the one after them, for each event of some sessions.

    Returns:
        The distinct windows, (w, 11), 0 where a session has not begun or an event is not known; and for each event of
        the sessions which window is its own, and which session.
    """
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
