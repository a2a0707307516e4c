"""Which sessions a stage sees, in which order: minority oversampling and seeded draws."""

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt

from logllm.config.train import StageSection, TrainSection
from logllm.sessions.message_table import Rows

Labels = npt.NDArray[np.bool_]
Order = npt.NDArray[np.int64]


def oversampled(labels: Labels, *, share: float, rng: np.random.Generator) -> Order:
    """Row numbers with the minority class repeated up to a share (paper, section 1).

    The minority count becomes max(int(share * majority / (1 - share)), minority): each of its rows as often as fits
    whole, the rest drawn without replacement. Where one class is missing nothing is repeated.

    >>> rows = oversampled(np.array([True] + [False] * 7), share=0.3, rng=np.random.default_rng(0))
    >>> sorted(rows.tolist())
    [0, 0, 0, 1, 2, 3, 4, 5, 6, 7]
    """
    minority, majority = sorted((np.flatnonzero(labels), np.flatnonzero(~labels)), key=len)
    if not len(minority):
        return majority
    wanted = max(int(share * len(majority) / (1 - share)), len(minority))
    whole, rest = divmod(wanted, len(minority))
    return np.concatenate([majority, np.tile(minority, whole), rng.choice(minority, size=rest, replace=False)])


def drawn(sessions: Sequence[Rows], labels: Labels, *, how: Literal["sessions", "distinct", "roots"]) -> Order:
    """Row numbers of the sessions that an epoch holds (`train.draw`); of equal ones with the same label the first.

    >>> sessions, labels = [np.array([1]), np.array([2]), np.array([1]), np.array([1]), np.array([1])], np.array([True] + [False] * 4)
    >>> drawn(sessions, labels, how="distinct").tolist()
    [0, 1, 2]
    >>> drawn(sessions, labels, how="roots").tolist()
    [0, 1, 2, 3]
    """
    if how == "sessions":
        return np.arange(len(sessions))
    alike: dict[tuple[bytes, bool], list[int]] = {}
    for row, session in enumerate(sessions):
        alike.setdefault((session.tobytes(), bool(labels[row])), []).append(row)
    return np.sort(np.concatenate([rows[: 1 if how == "distinct" else ceil(sqrt(len(rows)))] for rows in alike.values()]))


def stage_order(labels: Labels, train: TrainSection, *, stage: int) -> Order:
    """Rows of all sessions that a stage trains on, in order; a function of labels, seed and stage alone.

    An epoch is a permutation of the oversampled set, repeated first until it has `min_epoch_sessions`.

    Args:
        labels: of the sessions to draw from, True for anomalous.
        train: the training's settings.
        stage: which of its stages.
    """
    section = train.stages[stage]
    rows: list[Order] = []
    epoch = 0
    while not _complete(section, epochs=epoch, sessions=sum(map(len, rows))):
        rng = np.random.default_rng([train.seed, stage, epoch])
        once = oversampled(labels, share=train.oversample, rng=rng)
        repeats = max(1, -(-section.min_epoch_sessions // len(once)))
        rows.append(rng.permutation(np.tile(once, repeats)))
        epoch += 1
    order = np.concatenate(rows)[: section.max_sessions]
    return order[: len(order) - len(order) % train.micro_batch] if train.drop_last else order


def _complete(section: StageSection, *, epochs: int, sessions: int) -> bool:
    return epochs == section.epochs if section.max_sessions is None else sessions >= section.max_sessions
