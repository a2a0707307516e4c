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
"""It also holds out one of so many shares of what normal sessions are known by."""
_KNOWN_SHARE = 0.15
"""It also holds out this share of the other anomalous sessions, and of normal ones that are
frequent."""
_FREQUENT = 0.02
"""A kind of message by which a larger share of the normal sessions is known is never held out
whole."""

_NAMED = re.compile(r"""["'«»„“]([^"'«»„“]+)["'«»„“]|=([^ ,;)]+)""")
"""Where a message names things: in quotes, and behind an equals sign."""
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

    Every kind of fault counts the same, and all of them together as much as their share.

    Args:
        labels: True for anomalous, (b,).
        kinds: what each session is known by, (b,).
        share: the share of anomalous sessions where nothing is held out.

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
    normal = (~labels).sum()
    weights[labels] *= odds * normal / weights[labels].sum()
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
        is_held_fault = np.isin(kinds, held_faults)
        is_held_normal = np.isin(kinds, held_normal)
        held = np.where(labels, is_held_fault, is_held_normal)

        # And some that are like what is learnt: a threshold is for those, too.
        is_known = labels | ~np.isin(kinds, seldom)
        chances = np.where(is_known, _KNOWN_SHARE, 0.0)
        held |= dice.random(len(labels)) < chances
        yield Fold(np.flatnonzero(~held), np.flatnonzero(held))


def known_by(part: Part) -> Kinds:
    """For each session the kind of message that it is known by, (b,).

    An anomalous session is known by its first line that is labelled; where lines have no labels,
    and for a normal one, it is the kind that the fewest normal sessions have.
    """
    # Kinds by number, from 1: 0 is left for a session without a message.
    labels = labels_of(part)
    ranks = kinds_of(part.messages).rank("dense")
    kind_of = ranks.to_numpy().astype(np.int64)

    # How many normal sessions hold each kind, a session once.
    pairs = zip(part.sessions, labels, strict=True)
    normal = [np.unique(kind_of[session]) for session, anomalous in pairs if not anomalous]
    in_normal = np.concatenate([*normal, np.zeros(0, dtype=np.int64)])
    last_kind = int(kind_of.max(initial=0))
    counts = np.bincount(in_normal, minlength=last_kind + 1)
    known = np.zeros(len(part.sessions), dtype=np.int64)
    for row, session in enumerate(part.sessions):
        kinds = kind_of[session]
        if part.line_labels is not None and part.line_labels[row].any():
            labelled = kinds[part.line_labels[row]]
            known[row] = labelled[0]
        elif len(kinds):
            rarest = np.argmin(counts[kinds])
            known[row] = kinds[rarest]
    return known


def renamed(messages: pl.Series) -> pl.Series:
    """The messages as another application of the same kind would write them.

    Each name is replaced by a made-up word, everywhere by the same one. A name is a word of four
    letters or more that stands in quotes or behind an equals sign in some message, unless it is in
    capitals or stands before such a sign.

    >>> renamed(pl.Series(['relation "carts" is missing', "SELECT id FROM carts"])).to_list()
    ['relation "duzi" is missing', 'SELECT id FROM duzi']
    """
    named: set[str] = set()
    keys: set[str] = set()
    for message in messages:
        keys.update(_KEY.findall(message))
        for quoted, behind_sign in _NAMED.findall(message):
            words = _WORD.findall(quoted) + _WORD.findall(behind_sign)
            named.update(word for word in words if not word.isupper())
    named -= keys

    def other(match: re.Match[str]) -> str:
        return made_up(match.group()) if match.group() in named else match.group()

    return pl.Series([_WORD.sub(other, message) for message in messages], dtype=pl.String)


def made_up(word: str) -> str:
    """A made-up word, always the same for the same word.

    >>> made_up("carts") == made_up("carts"), made_up("carts") == made_up("orders")
    (True, False)
    """
    # Two letters for each two of the word's own: as long, and can be spoken.
    digest = blake2b(word.encode(), digest_size=8).digest()
    count = max(2, len(word) // 2)
    syllables = [_SYLLABLES[byte % len(_SYLLABLES)] for byte in digest[:count]]
    return "".join(syllables)
