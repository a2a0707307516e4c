"""A threshold from kinds of fault that were held out: what a validation part that is told apart perfectly cannot give."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from logllm.config.recipe import Recipe
from logllm.counting import plural
from logllm.errors import DataError
from logllm.methods.contract import Method, Workplace
from logllm.methods.prepared_part import Part
from logllm.methods.registry import make
from logllm.metrics import (
    Labels,
    Scores,
    Threshold,
    choose_threshold,
    on_scale,
    score_at,
    within_verdicts,
)
from logllm.sessions.message_table import Rows, kinds_of, lengths

_FEWEST_KINDS = 6
"""Kinds of fault below which none is held out."""
_FEWEST_SHARES = 3
"""A fold holds out one of so many shares of the kinds of fault, or one of as many as there are folds."""
_NORMAL_SHARES = 5
"""And one of so many shares of what normal sessions are known by."""
_KNOWN_SHARE = 0.15
"""Of the other anomalous sessions, and of normal ones that are frequent: of these much is held out, too."""
_FREQUENT = 0.02
"""A kind of message by which more of the normal sessions than this are known is never held out whole."""

_CLOSE = 0.01
"""F1 that is lower than the best by no more than this is as good."""

_NAMED = re.compile(r"""["'«»„“]([^"'«»„“]+)["'«»„“]|=([^ ,;)]+)""")
"""Where a message names things: in quotes, and behind a sign of equality."""
_WORD = re.compile(r"[A-Za-z]{4,}")
_KEY = re.compile(r"([A-Za-z]{4,})=")
_SYLLABLES = tuple(first + second for first in "bdfgklmnprstvz" for second in "aeiou")

Kinds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Which sessions are learnt from, and which are judged."""

    learnt: Rows
    held: Rows


@dataclass(frozen=True)
class Frozen:
    """Thresholds that were chosen on what was held out."""

    sessions: Threshold
    """From where on a session is called anomalous."""
    lines: Threshold | None
    """From where on a line is, which says no more than its session; none: lines have no labels."""


def frozen_thresholds(recipe: Recipe, part: Part, *, workplace: Workplace) -> Frozen | None:
    """The thresholds of best F1 on sessions whose kinds of fault, or whose messages, were held out.

    As often as the recipe says (`train.folds`) its method learns from the train part but for a
    share of the kinds of fault, of what normal sessions are known by, and of the rest; then it
    judges what was held out, as it is and with the names of the application in other words. Each
    of these judgements has thresholds of which F1 is about the best, and the mean of them all is
    taken: a single one moves with the kinds that were drawn. Every kind of fault counts as much
    as any other, all together as much as their share of the train part. Of lines likewise: the
    guilty lines of every kind of fault count the same, all of them their share of all lines.

    Args:
        recipe: the method and its settings.
        part: the train part.
        workplace: whom to tell which fold is under way, and of its steps.

    Returns:
        None where there are too few kinds of fault, or too few anomalies, to hold some out.

    Raises:
        DataError: the sessions have no labels.
        ModelError, RecipeError: as `Method.fit`.
    """
    labels, kinds, count = labels_of(part), known_by(part), recipe.train.folds
    if len(np.unique(kinds[labels])) < _FEWEST_KINDS:
        return None

    # Learn and judge, fold after fold.
    of_sessions: list[Threshold] = []
    of_lines: list[Threshold] = []
    for number, fold in enumerate(folds(labels, kinds, count=count, seed=recipe.train.seed)):
        if workplace.report is not None:
            doing = "learning without some kinds of fault, for the threshold"
            workplace.report(doing, number / count)
        method = make(recipe.method, recipe, workplace=replace(workplace, folder=None, begun={}))
        learnt = taken(part, fold.learnt)
        method.fit(
            learnt.sessions,
            learnt.messages,
            labels=learnt.labels,
            line_labels=learnt.line_labels,
            seed=recipe.train.seed,
        )
        judge = _Judge(method, part, kinds)
        for messages in (part.messages, renamed(part.messages)):
            of_session, of_line = judge.best(fold.held, messages)
            of_sessions.append(of_session)
            of_lines += [of_line] if of_line else []

    # The middle of all judgements.
    how = f"best F1 on kinds of fault held out, {plural(count, 'fold')}, as they are and with other names"
    sessions = middle_of(of_sessions, scale=method.scale, how=how)
    lines = middle_of(of_lines, scale=method.scale, how=how)
    return None if sessions is None else Frozen(sessions, lines)


@dataclass(frozen=True)
class _Judge:
    """A method that has learnt from a fold, and where its thresholds are best on what it has not."""

    method: Method
    part: Part
    """The train part, whole."""
    kinds: Kinds
    """What each of its sessions is known by, (b,)."""

    def best(self, rows: Rows, messages: pl.Series) -> tuple[Threshold, Threshold | None]:
        """The thresholds of about the best F1 of some sessions, and of their lines if they have labels.

        Args:
            rows: the sessions.
            messages: the table that they are read with.
        """
        held, kinds, labels = taken(self.part, rows), self.kinds[rows], labels_of(self.part)
        scores = self.method.score(held.sessions, messages)
        own = self._chosen(scores, labels[rows], kinds=kinds, share=float(labels.mean()))
        if held.line_labels is None or self.part.line_labels is None:
            return own, None

        # A line is known by what its session is.
        lines = within_verdicts(self.method.score_lines(held.sessions, messages), scores)
        guilty = np.concatenate(held.line_labels)
        of_lines = np.repeat(kinds, lengths(held.sessions))
        share = float(np.concatenate(self.part.line_labels).mean())
        return own, self._chosen(lines, guilty, kinds=of_lines, share=share)

    def _chosen(self, scores: Scores, labels: Labels, *, kinds: Kinds, share: float) -> Threshold:
        """The mean of the thresholds of about the best F1."""
        weights = weights_of(labels, kinds=kinds, share=share)
        return choose_threshold(
            scores,
            labels,
            scale=self.method.scale,
            weights=weights,
            close=_CLOSE,
        )


def weights_of(labels: Labels, *, kinds: Kinds, share: float) -> Scores:
    """How much each session that is held out counts: every kind of fault the same, all of them their share.

    Args:
        labels: True for anomalous, (b,).
        kinds: what each session is known by, (b,).
        share: of anomalous sessions where nothing is held out.

    >>> weights_of(np.array([True, True, True, False, False]), kinds=np.array([1, 1, 2, 3, 3]), share=0.5).tolist()
    [0.5, 0.5, 1.0, 1.0, 1.0]
    """
    _, of, sizes = np.unique(kinds[labels], return_inverse=True, return_counts=True)
    weights = np.ones(len(labels))
    weights[labels] = 1 / sizes[of]
    weights[labels] *= share / (1 - share) * (~labels).sum() / weights[labels].sum()
    return weights


def middle_of(
    thresholds: Sequence[Threshold],
    *,
    scale: Literal["logits", "scores"],
    how: str,
) -> Threshold | None:
    """The mean of those thresholds that were chosen on data, on their scale; none: no one was.

    >>> middle_of([Threshold(0.2, "", 5, 2, 0.9), Threshold(0.8, "", 5, 3, 0.7)], scale="logits", how="both")
    Threshold(value=0.5, how='both', sessions=10, anomalous=5, f1=0.8)
    """
    chosen = [threshold for threshold in thresholds if threshold.f1 is not None]
    if not chosen:
        return None
    places = on_scale(np.array([threshold.value for threshold in chosen]), scale)
    return Threshold(
        value=score_at(float(places.mean()), scale),
        how=how,
        sessions=sum(threshold.sessions for threshold in chosen),
        anomalous=sum(threshold.anomalous for threshold in chosen),
        f1=float(np.mean([threshold.f1 for threshold in chosen])),
    )


def labels_of(part: Part) -> Labels:
    """The labels of a part's sessions.

    Raises:
        DataError: there are none.
    """
    if part.labels is None:
        raise DataError("the sessions have no labels: --set train.folds=0 takes the threshold without kinds of fault that are held out")
    return part.labels


def taken(part: Part, rows: Rows) -> Part:
    """Some sessions of a part."""
    lines = part.line_labels
    return Part(
        [part.sessions[row] for row in rows],
        part.messages,
        None if part.labels is None else part.labels[rows],
        None if lines is None else [lines[row] for row in rows],
    )


def folds(labels: Labels, kinds: Kinds, *, count: int, seed: int) -> Iterator[Fold]:
    """Divisions of a part; what one of them holds out the others learn from.

    Args:
        labels: True for anomalous, (b,).
        kinds: what each session is known by, (b,).
        count: how many.
        seed: decides the draws.
    """
    faults = np.unique(kinds[labels])
    normal_kinds, sizes = np.unique(kinds[~labels], return_counts=True)
    seldom = normal_kinds[sizes <= _FREQUENT * (~labels).sum()]
    dice = np.random.default_rng(seed)
    faults, seldom = dice.permutation(faults), dice.permutation(seldom)
    for number in range(count):
        held_faults = faults[number :: max(count, _FEWEST_SHARES)]
        held_normal = seldom[number :: max(count, _NORMAL_SHARES)]
        held = np.where(labels, np.isin(kinds, held_faults), np.isin(kinds, held_normal))
        held |= dice.random(len(labels)) < np.where(labels | ~np.isin(kinds, seldom), _KNOWN_SHARE, 0.0)
        yield Fold(np.flatnonzero(~held), np.flatnonzero(held))


def known_by(part: Part) -> Kinds:
    """For each session the kind of message that it is known by, (b,).

    An anomalous session is known by its first line that is labelled; where lines have no labels, and for a normal one, it is the
    kind that the fewest normal sessions have.
    """
    labels = labels_of(part)
    kind_of = kinds_of(part.messages).rank("dense").to_numpy().astype(np.int64)
    normal = [np.unique(kind_of[session]) for session, anomalous in zip(part.sessions, labels, strict=True) if not anomalous]
    counts = np.bincount(np.concatenate([*normal, np.zeros(0, dtype=np.int64)]), minlength=int(kind_of.max(initial=0)) + 1)
    known = np.zeros(len(part.sessions), dtype=np.int64)  # 0: a session without a message
    for row, session in enumerate(part.sessions):
        kinds = kind_of[session]
        if part.line_labels is not None and part.line_labels[row].any():
            known[row] = kinds[part.line_labels[row]][0]
        elif len(kinds):
            known[row] = kinds[np.argmin(counts[kinds])]
    return known


def renamed(messages: pl.Series) -> pl.Series:
    """The messages of another application of the same kind: every name in other words, the same everywhere.

    A name is a word of four letters or more that stands in quotes or behind a sign of equality in some message. A word in capitals is
    none, nor is one that stands before such a sign.

    >>> renamed(pl.Series(['relation "carts" is missing', "SELECT id FROM carts"])).to_list()
    ['relation "duzi" is missing', 'SELECT id FROM duzi']
    """
    named = {
        word
        for message in messages
        for pieces in _NAMED.findall(message)
        for piece in pieces
        for word in _WORD.findall(piece)
        if not word.isupper()
    }
    named -= {word for message in messages for word in _KEY.findall(message)}

    def other(match: re.Match[str]) -> str:
        return made_up(match.group()) if match.group() in named else match.group()

    return pl.Series([_WORD.sub(other, message) for message in messages], dtype=pl.String)


def made_up(word: str) -> str:
    """A word that is none, always the same for the same word.

    >>> made_up("carts") == made_up("carts"), made_up("carts") == made_up("orders")
    (True, False)
    """
    digest = blake2b(word.encode(), digest_size=8).digest()
    return "".join(_SYLLABLES[byte % len(_SYLLABLES)] for byte in digest[: max(2, len(word) // 2)])
