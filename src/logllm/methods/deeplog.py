"""The next event, predicted from the ones before."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from logllm.config.recipe import Recipe
from logllm.methods.contract import Method, Needs, Workplace, normal_sessions
from logllm.methods.learnt import Learnt
from logllm.methods.network import descend, restored, seeded, weights_of
from logllm.methods.vocabulary import UNKNOWN, Vocabulary
from logllm.metrics import Labels, Scores
from logllm.progress import Progress
from logllm.sessions.message_table import Rows, distinct, lengths

WINDOW = 10
"""From how many events a prediction is made."""
RARE = 0.01
"""Probability of an event that scores .5."""
_BATCH = 256
_STEPS = 1000
_AT_ONCE = 4096


class DeepLog(Method):
    """How surprising events are to an LSTM that has read normal sessions.

    After Du et al.: *DeepLog*, CCS 2017. A session's score is that of its most surprising event,
    r / (r + p), p being the probability that the network gave the event and r one in a hundred. An
    event that no normal session holds scores 1.

    Ours differs: a masked message is an event, where theirs are a parser's; an event counts by its
    probability, where theirs is normal among the nine most likely (the HDFS sample's normal
    sessions have 15 events, and nine of them leave little to find); events near a session's start,
    which theirs leaves out, are predicted from fewer than ten, and the session's end is predicted
    too; the limit is chosen on validation; parameters of events (their second network) are not
    looked at. It has two layers of 64 units, as theirs.

    With labels the anomalous sessions are left out, without labels it learns from all.
    """

    needs: ClassVar[Needs] = Needs.NOTHING

    def __init__(
        self,
        recipe: Recipe,
        workplace: Workplace,
        *,
        steps: int = _STEPS,
        batch: int = _BATCH,
    ) -> None:
        """Begin with nothing learnt.

        Args:
            recipe: not looked at.
            workplace: not looked at.
            steps: how many steps it learns.
            batch: how many windows a step has.
        """
        self._steps = steps
        self._batch = batch

    def fit(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        labels: Labels | None,
        line_labels: Sequence[Labels] | None,
        seed: int,
    ) -> None:
        """Learn from the normal sessions, or without labels from all: 1,000 steps of 256 windows.

        Raises:
            DataError: there is no such session.
        """
        normal = normal_sessions(sessions, labels)
        self._events = Vocabulary.of(normal, messages)
        apart, of = distinct(normal)
        windows, which, session = windows_of(apart, self._numbers(apart, messages))

        # Distinct windows of distinct sessions, each drawn as often as it occurs in all of them:
        # once for each session that is equal to the one that it is in.
        times = np.bincount(of)[session]
        counts = np.bincount(which, weights=times, minlength=len(windows))
        events = torch.from_numpy(windows)
        rng = np.random.default_rng(seed)

        def loss(rows: Rows) -> Tensor:
            logits: Tensor = self._network(events[rows, :-1])
            return nn.functional.cross_entropy(logits, events[rows, -1])

        with seeded(seed):
            self._network: nn.Module = _NextEvent(len(self._events) + 2)
            draws = _draws(counts / counts.sum(), batch=self._batch, rng=rng)
            descend(self._network, draws, loss=loss, steps=self._steps)

    def score(
        self,
        sessions: Sequence[Rows],
        messages: pl.Series,
        *,
        progress: Progress | None = None,
    ) -> Scores:
        """Scores of the most surprising events, in [0, 1]."""
        apart, of = distinct(sessions)
        surprises = self._surprises(apart, messages)
        scores = np.array([surprise.max() for surprise in surprises], dtype=np.float64)
        return scores[of]

    def score_lines(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """How surprising each message is where it stands.

        The session's end is left out: it is no message.
        """
        apart, of = distinct(sessions)
        surprises = self._surprises(apart, messages)
        return [surprises[row][:-1] for row in of]

    def save(self, folder: Path) -> None:
        """Write `fitted.safetensors` and `fitted.json`."""
        Learnt(weights_of(self._network), {"messages": self._events.texts}).write(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ModelError: files that are missing or of another method.
        """
        fitted = Learnt.read(folder)
        self._events = Vocabulary(fitted.fact("messages"))
        self._network = restored(lambda: _NextEvent(len(self._events) + 2), fitted)

    def _numbers(self, sessions: Sequence[Rows], messages: pl.Series) -> Rows:
        """The number of each message, and behind these the number of a session's end."""
        numbers = self._events.numbers(sessions, messages)
        end = len(self._events) + 1
        return np.append(numbers, end)

    def _surprises(self, sessions: Sequence[Rows], messages: pl.Series) -> list[Scores]:
        """For each session the scores of its events; the last one is that of its end."""
        # Each distinct window is predicted once: most events of a log are like many others.
        numbers = self._numbers(sessions, messages)
        windows, which, _ = windows_of(sessions, numbers)
        chunks = [windows[at : at + _AT_ONCE] for at in range(0, len(windows), _AT_ONCE)]
        surprise = np.concatenate([*map(self._surprise, chunks), np.zeros(0)])
        ends = np.cumsum(lengths(sessions) + 1)
        return np.split(surprise[which], ends)[:-1]

    def _surprise(self, windows: Rows) -> Scores:
        """Scores of the windows' last events."""
        events = torch.from_numpy(windows)
        with torch.inference_mode():
            probabilities = self._network(events[:, :-1]).softmax(1)  # (windows, events)
        # Of an event that is not known the probability is 0, and the surprise 1.
        own = probabilities.gather(1, events[:, -1:])[:, 0].double()  # (windows,)
        surprise: Scores = (RARE / (RARE + own)).numpy()
        return surprise


class _NextEvent(nn.Module):
    """Gives logits of the next event; 0 is no event, and is neither read nor predicted."""

    def __init__(self, events: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(events, 64, padding_idx=UNKNOWN)
        self.lstm = nn.LSTM(64, 64, num_layers=2, batch_first=True)
        self.head = nn.Linear(64, events)

    def forward(self, events: Tensor) -> Tensor:
        """Logits, (windows, events), after ten events each, (windows, 10)."""
        states, _ = self.lstm(self.embedding(events))  # (windows, 10, 64)
        logits: Tensor = self.head(states[:, -1])  # (windows, events)
        return logits.index_fill(1, torch.tensor([UNKNOWN]), -1e9)


def windows_of(sessions: Sequence[Rows], numbers: Rows) -> tuple[Rows, Rows, Rows]:
    """Each event of some sessions, and the end of each, with the ten events before it.

    Args:
        sessions: for each session the rows of its messages.
        numbers: the number of each row; the last one is that of a session's end.

    Returns:
        The distinct windows, (w, 11), with 0 where a session has not begun or an event is not
        known; and for each event its window and its session.
    """
    sessions = [np.append(session, len(numbers) - 1) for session in sessions]
    sizes = lengths(sessions)
    session = np.repeat(np.arange(len(sessions)), sizes)

    # All sessions in one row, each behind ten places of nothing: then every window is a slice of
    # the row, and none looks into the session before.
    ends = np.arange(len(session)) + WINDOW * (session + 1)
    gaps = WINDOW * (len(sessions) + 1)
    laid = np.zeros(len(session) + gaps, dtype=np.int64)
    if len(session):
        laid[ends] = numbers[np.concatenate(sessions)]
    places = ends[:, None] + np.arange(-WINDOW, 1)
    windows = laid[places]  # (events, 11)
    apart, which = np.unique(windows, axis=0, return_inverse=True)
    return apart, which.ravel(), session


def _draws(shares: Scores, *, batch: int, rng: np.random.Generator) -> Iterator[Rows]:
    """Rows of windows, drawn as often as they occur, without end."""
    while True:
        yield rng.choice(len(shares), size=batch, p=shares)
