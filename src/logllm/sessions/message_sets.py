"""Which messages a session holds, as one number: the same in every log and every message table."""

from hashlib import blake2b
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

Keys = npt.NDArray[np.uint64]
"""Numbers that stand for messages, or for sets of messages; sums of them wrap around."""
Counts = npt.NDArray[np.int64]
Saved = npt.NDArray[np.generic]
Arrays = dict[str, Saved]
"""What is saved, by name."""
BEGINNINGS = (2, 3, 4)
"""How many first words stand for a message whose whole text is new: names that differ stand behind
them, and the first word alone, such as a severity, says little."""
NO_BEGINNING = np.uint64(0)
"""Stands where a message has fewer words."""
_WORD = 8


class MessageKeys:
    """The keys of a message table's messages.

    It grows with the table, and no message is hashed twice.
    """

    def __init__(self, messages: pl.Series | None = None) -> None:
        """Begin with a table, or with nothing."""
        self.keys: Keys = np.zeros(0, dtype=np.uint64)
        self._messages = pl.Series(dtype=pl.String)
        if messages is not None:
            self.of(messages)

    def of(self, messages: pl.Series) -> Keys:
        """The key of each message.

        Args:
            messages: the table of earlier calls, or one that continues it.
        """
        new = messages[len(self.keys) :]
        if len(new):
            self.keys = np.concatenate([self.keys, _hashed(new)])
        self._messages = messages
        return self.keys

    def beginnings(self, rows: Counts) -> Keys:
        """The keys of the first words of some messages, (n, `BEGINNINGS`).

        Args:
            rows: of the table given last to `of` (n,).
        """
        # Few distinct messages stand at the ends of many sessions: each is cut into words once.
        distinct, places = np.unique(rows, return_inverse=True)
        of_distinct = beginnings(self._messages.gather(distinct))
        return of_distinct[places]


def beginnings(messages: pl.Series) -> Keys:
    """The keys of the first words of each message, (n, `BEGINNINGS`).

    >>> messages = pl.Series(["user logged in as bob", "user logged in as eve", "user logged"])
    >>> ours, theirs, short = beginnings(messages)
    >>> bool((ours == theirs).all()), bool(short[0] == ours[0]), short[1:].tolist()
    (True, True, [0, 0])
    """
    words = messages.str.extract_all(r"\S+").list.head(max(BEGINNINGS))
    counts = words.list.len().to_numpy()
    columns: list[Keys] = []
    for count in BEGINNINGS:
        starts = words.list.head(count).list.join(" ")
        has_enough = counts >= count
        columns.append(np.where(has_enough, _hashed(starts), NO_BEGINNING))
    return np.stack(columns, axis=1)


class Beginnings(NamedTuple):
    """The first words of the messages of training."""

    keys: Keys
    """The messages, rising (n,)."""
    words: Keys
    """The keys of their first words, (n, `BEGINNINGS`)."""

    @classmethod
    def learn(cls, keys: Keys, messages: pl.Series) -> Self:
        """The first words of a message table whose keys are known."""
        order = np.argsort(keys)
        words = beginnings(messages)
        return cls(keys[order], words[order])

    @classmethod
    def known(cls, keys: Saved, words: Saved | None) -> Self:
        """What was saved; a run made before first words were learnt has none."""
        if words is None:
            words = np.full((len(keys), len(BEGINNINGS)), NO_BEGINNING)
        return cls(keys.astype(np.uint64), words.astype(np.uint64))

    def of(self, keys: Keys) -> Keys:
        """The first words of some messages, `NO_BEGINNING` for those that are unknown."""
        rows = places(self.keys, keys)
        words = np.full((len(keys), len(BEGINNINGS)), NO_BEGINNING)
        known = rows >= 0
        words[known] = self.words[rows[known]]
        return words


def under(name: str, arrays: Arrays) -> Arrays:
    """The same arrays with a name and a point before their own names, as they are saved."""
    return {f"{name}.{own_name}": array for own_name, array in arrays.items()}


def state(sets: Keys, messages: Keys) -> Keys:
    """The key of a set of messages together with the message that stands at its edge."""
    # Times three, so that the message at the edge does not count as one more of the set.
    return sets * np.uint64(3) + messages


def places(keys: Keys, wanted: Keys) -> Counts:
    """The place of each wanted key among rising keys; -1 for those they lack.

    >>> places(np.array([3, 5], dtype=np.uint64), np.array([5, 4], dtype=np.uint64)).tolist()
    [1, -1]
    """
    if not len(keys):
        return np.full(len(wanted), -1)
    # The place where each would stand; past the end it is the last, which then is another key.
    rows = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[rows] == wanted, rows, -1)


def keys_of_messages(messages: pl.Series) -> Keys:
    """The keys of all messages of a table.

    >>> first, second = keys_of_messages(pl.Series(["open", "close"]))
    >>> bool(first == keys_of_messages(pl.Series(["open"]))[0] != second)
    True
    """
    return MessageKeys(messages).keys


def _hashed(texts: pl.Series) -> Keys:
    """A number for each text."""
    # The same in every process and on every machine, which Python's own `hash` is not.
    digests = (blake2b(text.encode(), digest_size=_WORD).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8")
