"""Kinds of fault held out: divisions of a train part that show how a method judges what is new."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl

from logllm.errors import DataError
from logllm.methods.prepared_part import Part
from logllm.metrics import Labels, Scores
from logllm.sessions.message_table import Rows, kinds_of

_FEWEST_SHARES = 3
"""A fold holds out one of so many shares of the kinds of fault, or one of as many as there are
folds."""
_NORMAL_SHARES = 5
"""And one of so many shares of what normal sessions are known by."""
_KNOWN_SHARE = 0.15
"""Of the other anomalous sessions, and of normal ones that are frequent: of these much is held out,
too."""
_FREQUENT = 0.02
"""A kind of message by which more of the normal sessions than this are known is never held out
whole."""

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


def weights_of(labels: Labels, *, kinds: Kinds, share: float) -> Scores:
    """How much each session that is held out counts.

    Every kind of fault the same, all of them their share.

    Args:
        labels: True for anomalous, (b,).
        kinds: what each session is known by, (b,).
        share: of anomalous sessions where nothing is held out.

    >>> labels = np.array([True, True, True, False, False])
    >>> weights_of(labels, kinds=np.array([1, 1, 2, 3, 3]), share=0.5).tolist()
    [0.5, 0.5, 1.0, 1.0, 1.0]
    """
    # Of a kind that holds n sessions each counts 1 / n, and each normal session 1.
    _, of, sizes = np.unique(kinds[labels], return_inverse=True, return_counts=True)
    weights = np.ones(len(labels))
    weights[labels] = 1 / sizes[of]

    # Then all anomalous ones together are to the normal ones as share to 1 - share.
    odds = share / (1 - share)
    weights[labels] *= odds * (~labels).sum() / weights[labels].sum()
    return weights


def labels_of(part: Part) -> Labels:
    """The labels of a part's sessions.

    Raises:
        DataError: there are none.
    """
    if part.labels is None:
        remedy = "--set train.folds=0 takes the threshold without kinds of fault that are held out"
        raise DataError(f"the sessions have no labels: {remedy}")
    return part.labels


def taken(part: Part, rows: Rows) -> Part:
    """Some sessions of a part."""
    sessions = [part.sessions[row] for row in rows]
    labels = None if part.labels is None else part.labels[rows]
    line_labels = None
    if part.line_labels is not None:
        line_labels = [part.line_labels[row] for row in rows]
    return Part(sessions, part.messages, labels, line_labels)


def folds(labels: Labels, kinds: Kinds, *, count: int, seed: int) -> Iterator[Fold]:
    """Divisions of a part; what one of them holds out the others learn from.

    Args:
        labels: True for anomalous, (b,).
        kinds: what each session is known by, (b,).
        count: how many.
        seed: decides the draws.
    """
    # What most normal sessions are known by is never new to a method: it is not held out whole.
    faults = np.unique(kinds[labels])
    normal_kinds, sizes = np.unique(kinds[~labels], return_counts=True)
    seldom = normal_kinds[sizes <= _FREQUENT * (~labels).sum()]

    # Shuffled once, then dealt out: every third kind, from the first, the second, the third on.
    dice = np.random.default_rng(seed)
    faults, seldom = dice.permutation(faults), dice.permutation(seldom)
    for number in range(count):
        held_faults = faults[number :: max(count, _FEWEST_SHARES)]
        held_normal = seldom[number :: max(count, _NORMAL_SHARES)]
        held = np.where(labels, np.isin(kinds, held_faults), np.isin(kinds, held_normal))

        # And some that are like what is learnt: a threshold is for those, too.
        is_known = labels | ~np.isin(kinds, seldom)
        held |= dice.random(len(labels)) < np.where(is_known, _KNOWN_SHARE, 0.0)
        yield Fold(np.flatnonzero(~held), np.flatnonzero(held))


def known_by(part: Part) -> Kinds:
    """For each session the kind of message that it is known by, (b,).

    An anomalous session is known by its first line that is labelled; where lines have no labels,
    and for a normal one, it is the kind that the fewest normal sessions have.
    """
    # Kinds by number, from 1: 0 is left for a session without a message.
    labels = labels_of(part)
    kind_of = kinds_of(part.messages).rank("dense").to_numpy().astype(np.int64)

    # How many normal sessions hold each kind, a session once.
    pairs = zip(part.sessions, labels, strict=True)
    normal = [np.unique(kind_of[session]) for session, anomalous in pairs if not anomalous]
    in_normal = np.concatenate([*normal, np.zeros(0, dtype=np.int64)])
    counts = np.bincount(in_normal, minlength=int(kind_of.max(initial=0)) + 1)
    known = np.zeros(len(part.sessions), dtype=np.int64)
    for row, session in enumerate(part.sessions):
        kinds = kind_of[session]
        if part.line_labels is not None and part.line_labels[row].any():
            known[row] = kinds[part.line_labels[row]][0]
        elif len(kinds):
            known[row] = kinds[np.argmin(counts[kinds])]
    return known


def renamed(messages: pl.Series) -> pl.Series:
    """The messages of another application of the same kind.

    Every name in other words, the same everywhere.

    A name is a word of four letters or more that stands in quotes or behind a sign of equality in
    some message. A word in capitals is none, nor is one that stands before such a sign.

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
    # Two letters for each two of the word's own: as long, and can be spoken.
    digest = blake2b(word.encode(), digest_size=8).digest()
    count = max(2, len(word) // 2)
    syllables = [_SYLLABLES[byte % len(_SYLLABLES)] for byte in digest[:count]]
    return "".join(syllables)
