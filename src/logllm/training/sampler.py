"""What a stage sees: which sessions, in which order, and altered how."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, inf, sqrt
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from logllm.config.train import StageSection, TrainSection
from logllm.metrics import Labels
from logllm.sessions.message_table import Rows, occurring

if TYPE_CHECKING:
    from logllm.model.encoder import MessageTokens

Alerts = npt.NDArray[np.bool_]
"""For each message of a session whether its line is an alert."""
Order = npt.NDArray[np.int64]
"""Row numbers of sessions, in the order in which a stage sees them."""

_NONE: Rows = np.zeros(0, dtype=np.int64)
_TWENTY = 20
"""Messages to one that is inserted."""


class MicroBatch(NamedTuple):
    """Sessions of one forward pass as the stage sees them this time."""

    sessions: list[Rows]
    beginnings: tuple[tuple[int, int], ...]
    """Which sessions are judged after how many messages too."""
    labels: npt.NDArray[np.int64]
    """1 for anomalous: of the sessions, then of the beginnings."""


@dataclass(frozen=True)
class TrainingSet:
    """Labelled sessions over a tokenised message table."""

    sessions: Sequence[Rows]
    labels: Labels
    tokens: "MessageTokens"
    alerts: Sequence[Alerts] | None = None
    """For each session which of its messages are alerts; none: labels are not per line."""

    def orders(self, section: TrainSection) -> list[Order]:
        """For each stage the rows of the sessions it trains on, in order."""
        rows = drawn(self.sessions, self.labels, how=section.draw)
        labels = self.labels[rows]
        stages = range(len(section.stages))
        return [rows[stage_order(labels, section, stage=stage)] for stage in stages]

    def seen(self, order: Order, section: StageSection) -> Rows:
        """Messages that a stage over these sessions can come to see, ascending."""
        sessions = self.sessions
        if not section.draws:
            sessions = [self.sessions[row] for row in np.unique(order)]
        return occurring(sessions)

    def micro_batches(
        self, rows: Order, section: TrainSection, *, stage: int, step: int, count: int | None = None
    ) -> Iterator[MicroBatch]:
        """A step's micro-batches, sessions of like length together.

        Args:
            rows: the step's sessions.
            section: the training.
            stage: which of its stages.
            step: which of the stage's steps.
            count: sessions a micro-batch; none: the section's unit. How each session is altered
                does not depend on it.
        """
        rng = np.random.default_rng([section.seed, stage, step, 1])
        lengths = [len(self.sessions[row]) for row in rows]
        by_length = np.argsort(lengths, kind="stable")
        rows = rows[by_length]
        chosen = section.stages[stage]
        normal = self._normal if chosen.draws else NOTHING

        # All sessions are altered before beginnings are drawn, so that no draw depends on where the
        # step is cut.
        sessions: list[Rows] = []
        alerts: list[Alerts | None] = []
        for row in rows:
            marks = None if self.alerts is None else self.alerts[row]
            session = self.sessions[row]
            session, marks = augmented(session, marks, section=chosen, normal=normal, rng=rng)
            sessions.append(session)
            alerts.append(marks)

        size = count or section.unit
        for start in range(0, len(rows), size):
            # The sessions' beginnings, each with a label of its own.
            taken = slice(start, start + size)
            places: list[tuple[int, int]] = []
            verdicts = self.labels[rows[taken]].tolist()
            for place, marks in enumerate(alerts[taken]):
                if marks is not None and chosen.beginnings:
                    for length, anomalous in beginnings(marks, count=chosen.beginnings, rng=rng):
                        places.append((place, length))
                        verdicts.append(anomalous)
            labels = np.array(verdicts, dtype=np.int64)
            yield MicroBatch(sessions[taken], tuple(places), labels)

    @cached_property
    def _normal(self) -> "Normal":
        return normal_part(self.sessions, self.alerts)


def oversampled(labels: Labels, *, share: float, rng: np.random.Generator) -> Order:
    """Row numbers with the minority class repeated up to a share (paper, section 1).

    The minority count becomes max(int(share * majority / (1 - share)), minority). Each of its rows
    is repeated as often as fits, and the rest is drawn without replacement. Where one class is
    missing nothing is repeated.

    >>> rows = oversampled(np.array([True] + [False] * 7), share=0.3, rng=np.random.default_rng(0))
    >>> sorted(rows.tolist())
    [0, 0, 0, 1, 2, 3, 4, 5, 6, 7]
    """
    minority, majority = sorted((np.flatnonzero(labels), np.flatnonzero(~labels)), key=len)
    if not len(minority):
        return majority
    wanted = max(int(share * len(majority) / (1 - share)), len(minority))
    # Of 3 rows that become 8 each is there twice, and 2 of them once more.
    whole, rest = divmod(wanted, len(minority))
    repeated = np.tile(minority, whole)
    more = rng.choice(minority, size=rest, replace=False)
    return np.concatenate([majority, repeated, more])


def drawn(
    sessions: Sequence[Rows], labels: Labels, *, how: Literal["sessions", "distinct", "roots"]
) -> Order:
    """Row numbers of the sessions that an epoch holds (`train.draw`), ascending.

    Of equal sessions with the same label those that come first are taken.

    >>> sessions = [np.array([1]), np.array([2]), np.array([1]), np.array([1]), np.array([1])]
    >>> labels = np.array([True] + [False] * 4)
    >>> drawn(sessions, labels, how="distinct").tolist()
    [0, 1, 2]
    >>> drawn(sessions, labels, how="roots").tolist()
    [0, 1, 2, 3]
    """
    if how == "sessions":
        return np.arange(len(sessions))
    alike: dict[tuple[bytes, bool], list[int]] = {}
    for row, session in enumerate(sessions):
        kind = (session.tobytes(), bool(labels[row]))
        alike.setdefault(kind, []).append(row)

    # One of each kind, or the square root of how many there are.
    taken: list[int] = []
    for rows in alike.values():
        count = 1 if how == "distinct" else ceil(sqrt(len(rows)))
        taken += rows[:count]
    return np.sort(taken)


def stage_order(labels: Labels, train: TrainSection, *, stage: int) -> Order:
    """Rows of all sessions that a stage trains on, in order.

    The order depends only on labels, seed and stage. An epoch is a permutation of the oversampled
    set, which is first repeated until it has `min_epoch_sessions`.

    Args:
        labels: of the sessions to draw from, True for anomalous.
        train: the training's settings.
        stage: which of its stages.
    """
    section = train.stages[stage]
    most = inf if section.max_sessions is None else section.max_sessions
    rows: list[Order] = []
    epoch = 0
    while epoch != section.epochs and sum(map(len, rows)) < most:
        rng = np.random.default_rng([train.seed, stage, epoch])
        once = oversampled(labels, share=train.oversample, rng=rng)
        repeats = max(1, -(-section.min_epoch_sessions // len(once)))
        rows.append(rng.permutation(np.tile(once, repeats)))
        epoch += 1
    order = np.concatenate(rows)[: section.max_sessions]
    if train.drop_last:
        beyond = len(order) % train.unit
        order = order[: len(order) - beyond]
    return order


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
"""What stands in where a stage draws nothing."""


def normal_part(sessions: Sequence[Rows], alerts: Sequence[Alerts] | None) -> Normal:
    """What augmentation draws from; without labels per line only `lines` and `longest` are known.

    >>> sessions = [np.array([1, 2]), np.array([2, 3])]
    >>> normal_part(sessions, [np.array([False, False]), np.array([True, False])])
    Normal(lines=array([1, 2, 3]), longest=2, messages=array([1, 3]), sessions=[array([1, 2])])
    """
    lines = np.concatenate(sessions)
    longest = max(map(len, sessions))
    if alerts is None:
        return Normal(lines, longest)
    bad = np.concatenate(alerts)
    without_alerts = []
    for session, marked in zip(sessions, alerts, strict=True):
        if not marked.any():
            without_alerts.append(session)
    never_bad = np.setdiff1d(lines[~bad], lines[bad])
    return Normal(lines[~bad], longest, never_bad, without_alerts)


def augmented(
    session: Rows,
    alerts: Alerts | None,
    *,
    section: StageSection,
    normal: Normal,
    rng: np.random.Generator,
) -> tuple[Rows, Alerts | None]:
    """One session, and which of its messages are alerts, as a stage is to see it this time.

    Args:
        session: rows of its messages.
        alerts: which of them are alerts, where that is known.
        section: the stage: `transplant`, `crop`, `replace_normal`, `insert` and `shuffle_messages`.
        normal: what is inserted, what messages are replaced with and alerts are set into
            (`normal_part`).
        rng: decides.
    """
    if (
        section.transplant
        and alerts is not None
        and alerts.any()
        and normal.sessions
        and rng.random() < section.transplant
    ):
        host = normal.sessions[int(rng.integers(len(normal.sessions)))]
        session, alerts = _transplanted(session, alerts, host=host, rng=rng)
    if section.crop and alerts is not None:
        cropped = _crop(alerts, rng)
        session = session[cropped]
        alerts = alerts[cropped]
    if section.replace_normal and alerts is not None and len(normal.messages):
        replaced = (rng.random(len(session)) < section.replace_normal) & ~alerts
        others = rng.choice(normal.messages, size=len(session))
        session = np.where(replaced, others, session)
    if section.insert and rng.random() < section.insert:
        session, alerts = _inserted(session, alerts, normal=normal, rng=rng)
    if not section.shuffle_messages:
        return session, alerts
    order = rng.permutation(len(session))
    return session[order], None if alerts is None else alerts[order]


def beginnings(alerts: Alerts, *, count: int, rng: np.random.Generator) -> list[tuple[int, bool]]:
    """Lengths of some beginnings of a session, and whether each holds an alert.

    The lengths are all different and shorter than the session.

    >>> beginnings(np.array([False, False, True, False]), count=9, rng=np.random.default_rng(0))
    [(1, False), (2, False), (3, True)]
    """
    chosen = rng.permutation(len(alerts) - 1)[:count]
    lengths = 1 + np.sort(chosen)
    return [(int(length), bool(alerts[:length].any())) for length in lengths]


def with_beginnings(
    sessions: Sequence[Rows], labels: npt.NDArray[np.bool_], *, alerts: Sequence[Alerts]
) -> tuple[list[Rows], Alerts]:
    """Sessions and their labels, then all beginnings of each, anomalous from the first alert on.

    >>> alerts = [np.array([False, True, False])]
    >>> sessions, bad = with_beginnings([np.array([5, 6, 7])], np.array([True]), alerts=alerts)
    >>> [session.tolist() for session in sessions], bad.tolist()
    ([[5, 6, 7], [5], [5, 6]], [True, False, True])
    """
    rng = np.random.default_rng()  # all beginnings are taken, whatever is drawn
    shorter: list[Rows] = []
    verdicts: list[bool] = []
    for session, bad in zip(sessions, alerts, strict=True):
        for length, anomalous in beginnings(bad, count=len(bad), rng=rng):
            shorter.append(session[:length])
            verdicts.append(anomalous)
    every_label = np.concatenate([labels, verdicts]).astype(np.bool_)
    return [*sessions, *shorter], every_label


def _transplanted(
    session: Rows, alerts: Alerts, *, host: Rows, rng: np.random.Generator
) -> tuple[Rows, Alerts]:
    """The alerts of one session at a random place of another one, its host.

    The host loses its end where the result would be longer than either of the two.
    """
    bad = session[alerts]
    around = host[: max(len(host), len(session)) - len(bad)]
    place = rng.integers(len(around) + 1)
    marks = np.zeros(len(around), dtype=np.bool_)
    bad_marks = np.ones(len(bad), dtype=np.bool_)
    return np.insert(around, place, bad), np.insert(marks, place, bad_marks)


def _inserted(
    session: Rows, alerts: Alerts | None, *, normal: Normal, rng: np.random.Generator
) -> tuple[Rows, Alerts | None]:
    """A session with more messages anywhere: a random line's, or a copy of the one before it.

    No session becomes longer than the longest one of the training part.
    """
    count = min(-(-len(session) // _TWENTY), normal.longest - len(session))
    if count < 1 or not len(normal.lines):
        return session, alerts
    places = np.sort(rng.integers(len(session) + 1, size=count))
    copied = rng.random(count) < 0.5
    before = np.maximum(places - 1, 0)
    any_lines = rng.choice(normal.lines, size=count)
    more = np.where(copied, session[before], any_lines)
    marks = None if alerts is None else np.insert(alerts, places, copied & alerts[before])
    return np.insert(session, places, more), marks


def _crop(alerts: Alerts, rng: np.random.Generator) -> Rows:
    """Places of a random number of messages, in order; an alert among them where there is one."""
    order = rng.permutation(len(alerts))
    if alerts.any():
        first = rng.choice(np.flatnonzero(alerts))
        order = np.concatenate([[first], order[order != first]])
    count = rng.integers(1, len(alerts) + 1)
    return np.sort(order[:count])
