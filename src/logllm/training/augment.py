"""The same session seen anew each time: settings of a stage that keep a small set from being learnt by heart."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from logllm.config.train import StageSection
from logllm.errors import DataError
from logllm.model.batch import Rows

Alerts = npt.NDArray[np.bool_]
"""For each message of a session whether its line is an alert."""


def normal_messages(sessions: Sequence[Rows], alerts: Sequence[Alerts] | None) -> Rows:
    """The distinct messages that are never an alert.

    >>> normal_messages([np.array([1, 2]), np.array([2, 3])], [np.array([False, False]), np.array([True, False])]).tolist()
    [1, 3]

    Raises:
        DataError: labels are not per line.
    """
    if alerts is None:
        raise DataError("crop and replace_normal need a label for each line, and these data have them for sessions: leave them off")
    messages, bad = np.concatenate(sessions), np.concatenate(alerts)
    return np.setdiff1d(messages[~bad], messages[bad])


def augmented(session: Rows, alerts: Alerts | None, *, section: StageSection, pool: Rows, rng: np.random.Generator) -> Rows:
    """One session as a stage is to see it this time.

    Args:
        session: rows of its messages.
        alerts: which of them are alerts, where that is known.
        section: the stage: `crop`, `replace_normal` and `shuffle_messages`.
        pool: what normal messages are replaced with (`normal_messages`).
        rng: decides.
    """
    if section.crop and alerts is not None:
        kept = _crop(alerts, rng)
        session, alerts = session[kept], alerts[kept]
    if section.replace_normal and alerts is not None and len(pool):
        replaced = (rng.random(len(session)) < section.replace_normal) & ~alerts
        session = np.where(replaced, rng.choice(pool, size=len(session)), session)
    return rng.permutation(session) if section.shuffle_messages else session


def _crop(alerts: Alerts, rng: np.random.Generator) -> Rows:
    """Places of a random number of messages, in order; an alert among them where there is one."""
    order = rng.permutation(len(alerts))
    if alerts.any():
        first = rng.choice(np.flatnonzero(alerts))
        order = np.concatenate([[first], order[order != first]])
    return np.sort(order[: rng.integers(1, len(alerts) + 1)])
