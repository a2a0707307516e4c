"""Which messages a session holds, as one number: the same in every log and every message table."""

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl

Keys = npt.NDArray[np.uint64]
"""Numbers that stand for messages, or for sets of messages; sums of them wrap around."""
Counts = npt.NDArray[np.int64]
_WORD = 8


class MessageKeys:
    """The keys of a message table's messages; it grows with the table, and no message is hashed twice."""

    def __init__(self) -> None:
        self._keys: Keys = np.zeros(0, dtype=np.uint64)

    def of(self, messages: pl.Series) -> Keys:
        """The key of each message.

        Args:
            messages: the table of earlier calls, or one that continues it.
        """
        new = messages[len(self._keys) :]
        if len(new):
            hashed = b"".join(blake2b(text.encode(), digest_size=_WORD).digest() for text in new)
            self._keys = np.concatenate([self._keys, np.frombuffer(hashed, dtype="<u8")])
        return self._keys


def state(sets: Keys, messages: Keys) -> Keys:
    """The key of a set of messages together with the message that stands at its edge."""
    return sets * np.uint64(3) + messages


def places(keys: Keys, wanted: Keys) -> Counts:
    """Where rising keys have each of some others; -1 for those they lack.

    >>> places(np.array([3, 5], dtype=np.uint64), np.array([5, 4], dtype=np.uint64)).tolist()
    [1, -1]
    """
    if not len(keys):
        return np.full(len(wanted), -1)
    rows = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[rows] == wanted, rows, -1)


def keys_of_messages(messages: pl.Series) -> Keys:
    """The keys of a whole table at once.

    >>> first, second = keys_of_messages(pl.Series(["open", "close"]))
    >>> bool(first == keys_of_messages(pl.Series(["open"]))[0] != second)
    True
    """
    return MessageKeys().of(messages)
