"""The same session seen anew each time: settings of a stage that keep a small set from being learnt by heart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from logllm.config.train import StageSection
from logllm.sessions.message_table import Rows

_NONE: Rows = np.zeros(0, dtype=np.int64)
_TWENTY = 20
"""Messages to one that is inserted."""

Alerts = npt.NDArray[np.bool_]
"""For each message of a session whether its line is an alert."""


class Normal(NamedTuple):
    """What is normal in a training part."""

    lines: Rows
    """Each line's message, alerts left out; of all lines where labels are not per line."""
    longest: int
    """Messages of the longest session."""
    messages: Rows = _NONE
    """Distinct messages that are never an alert."""
    sessions: Sequence[Rows] = ()
    """Sessions without an alert."""


NOTHING = Normal(_NONE, 0)
"""Of a part in which nothing is looked for."""


def normal_part(sessions: Sequence[Rows], alerts: Sequence[Alerts] | None) -> Normal:
    """What augmentation draws from; without labels per line only `lines` and `longest` are known.

    >>> normal_part([np.array([1, 2]), np.array([2, 3])], [np.array([False, False]), np.array([True, False])])
    Normal(lines=array([1, 2, 3]), longest=2, messages=array([1, 3]), sessions=[array([1, 2])])
    """
    lines, longest = np.concatenate(sessions), max(map(len, sessions))
    if alerts is None:
        return Normal(lines, longest)
    bad = np.concatenate(alerts)
    sound = [session for session, marked in zip(sessions, alerts, strict=True) if not marked.any()]
    return Normal(lines[~bad], longest, np.setdiff1d(lines[~bad], lines[bad]), sound)


def augmented(
    session: Rows, alerts: Alerts | None, *, section: StageSection, normal: Normal, rng: np.random.Generator
) -> tuple[Rows, Alerts | None]:
    """One session, and which of its messages are alerts, as a stage is to see it this time.

    Args:
        session: rows of its messages.
        alerts: which of them are alerts, where that is known.
        section: the stage: `transplant`, `crop`, `replace_normal`, `insert` and `shuffle_messages`.
        normal: what is inserted, what messages are replaced with and alerts are set into (`normal_part`).
        rng: decides.
    """
    if section.transplant and alerts is not None and alerts.any() and normal.sessions and rng.random() < section.transplant:
        session, alerts = _transplanted(session, alerts, host=normal.sessions[int(rng.integers(len(normal.sessions)))], rng=rng)
    if section.crop and alerts is not None:
        kept = _crop(alerts, rng)
        session, alerts = session[kept], alerts[kept]
    if section.replace_normal and alerts is not None and len(normal.messages):
        replaced = (rng.random(len(session)) < section.replace_normal) & ~alerts
        session = np.where(replaced, rng.choice(normal.messages, size=len(session)), session)
    if section.insert and rng.random() < section.insert:
        session, alerts = _inserted(session, alerts, normal=normal, rng=rng)
    if not section.shuffle_messages:
        return session, alerts
    order = rng.permutation(len(session))
    return session[order], None if alerts is None else alerts[order]


def beginnings(alerts: Alerts, *, count: int, rng: np.random.Generator) -> list[tuple[int, bool]]:
    """Lengths of some beginnings of a session, all different and shorter than it, and whether an alert is among them.

    >>> beginnings(np.array([False, False, True, False]), count=9, rng=np.random.default_rng(0))
    [(1, False), (2, False), (3, True)]
    """
    lengths = 1 + np.sort(rng.permutation(len(alerts) - 1)[:count])
    return [(int(length), bool(alerts[:length].any())) for length in lengths]


def with_beginnings(sessions: Sequence[Rows], labels: npt.NDArray[np.bool_], *, alerts: Sequence[Alerts]) -> tuple[list[Rows], Alerts]:
    """Sessions and their labels, then all beginnings of each, anomalous from the first alert on.

    >>> found, bad = with_beginnings([np.array([5, 6, 7])], np.array([True]), alerts=[np.array([False, True, False])])
    >>> [each.tolist() for each in found], bad.tolist()
    ([[5, 6, 7], [5], [5, 6]], [True, False, True])
    """
    every = [beginnings(bad, count=len(bad), rng=np.random.default_rng()) for bad in alerts]  # all of them, whatever is drawn
    shorter = [session[:length] for session, parts in zip(sessions, every, strict=True) for length, _ in parts]
    return [*sessions, *shorter], np.concatenate([labels, [anomalous for parts in every for _, anomalous in parts]]).astype(np.bool_)


def _transplanted(session: Rows, alerts: Alerts, *, host: Rows, rng: np.random.Generator) -> tuple[Rows, Alerts]:
    """The alerts of one session at a random place of another one, whose end goes where both would be longer than either."""
    bad = session[alerts]
    kept = host[: max(len(host), len(session)) - len(bad)]
    place = rng.integers(len(kept) + 1)
    marks = np.zeros(len(kept), dtype=np.bool_)
    return np.insert(kept, place, bad), np.insert(marks, place, np.ones(len(bad), dtype=np.bool_))


def _inserted(session: Rows, alerts: Alerts | None, *, normal: Normal, rng: np.random.Generator) -> tuple[Rows, Alerts | None]:
    """More messages anywhere, each any line's or a copy of the one before it; no session becomes longer than the longest."""
    count = min(-(-len(session) // _TWENTY), normal.longest - len(session))
    if count < 1 or not len(normal.lines):
        return session, alerts
    places = np.sort(rng.integers(len(session) + 1, size=count))
    copied = rng.random(count) < 0.5
    before = np.maximum(places - 1, 0)
    more = np.where(copied, session[before], rng.choice(normal.lines, size=count))
    marks = None if alerts is None else np.insert(alerts, places, copied & alerts[before])
    return np.insert(session, places, more), marks


def _crop(alerts: Alerts, rng: np.random.Generator) -> Rows:
    """Places of a random number of messages, in order; an alert among them where there is one."""
    order = rng.permutation(len(alerts))
    if alerts.any():
        first = rng.choice(np.flatnonzero(alerts))
        order = np.concatenate([[first], order[order != first]])
    return np.sort(order[: rng.integers(1, len(alerts) + 1)])
