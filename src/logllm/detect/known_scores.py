"""Sessions in columns to scores: each distinct sequence of messages is looked up, or scored, once."""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import islice, pairwise
from typing import Protocol

import numpy as np
import polars as pl

from logllm.detect.cache import ScoreCache
from logllm.metrics import Scores
from logllm.progress import Progress
from logllm.sessions.message_table import Rows

_DIGEST = 16
_REMEMBERED = 200_000
"""Distinct sessions whose scores are kept between calls."""
_AT_ONCE = 16_384
"""Distinct sessions that are scored, and then kept, at once."""


class Score(Protocol):
    """What gives scores, such as a method's `score`."""

    def __call__(self, sessions: Sequence[Rows], messages: pl.Series, *, progress: Progress | None = None) -> Scores:
        """Scores of some sessions, each the rows of its messages in the table."""


class KnownScores:
    """What is known of the sessions of one log.

    One serves one message table, which may grow between calls. Repeated sessions stay in columns: what a call costs in Python grows with
    the distinct ones. What is held between calls does not grow with their number, nor with that of the sessions.
    """

    def __init__(self, score: Score, *, cache: ScoreCache | None = None) -> None:
        """Score with a function, or take from a cache what it knows."""
        self.from_cache = 0
        """Distinct sessions so far whose scores the cache knew."""
        self._score = score
        self._cache = cache
        self._digests = np.zeros((0, _DIGEST), dtype=np.uint8)
        self._remembered: dict[bytes, float] = {}

    def of(self, sessions: pl.Series, messages: pl.Series, *, progress: Progress | None = None) -> Scores:
        """Scores of sessions, in their order.

        Args:
            sessions: lists of rows of the message table, none of them empty.
            messages: the message table: that of earlier calls, or one that continues it.
            progress: told of the distinct sessions scored.
        """
        rows = sessions.alias("messages").to_frame().with_row_index("row").group_by("messages", maintain_order=True).agg("row")
        known = self._known(rows["messages"], messages, progress=progress)
        scores = np.empty(len(sessions))
        scores[rows["row"].explode().to_numpy()] = np.repeat(known, rows["row"].list.len().to_numpy())
        return scores

    def _known(self, distinct: pl.Series, messages: pl.Series, *, progress: Progress | None) -> Scores:
        """Scores of distinct sessions."""
        ends = distinct.list.len().to_numpy().cumsum(dtype=np.int64)
        flat = distinct.explode().to_numpy().astype(np.int64)
        keys = self._keys(flat, ends, messages=messages)
        found = {key: self._remembered[key] for key in keys if key in self._remembered}
        if self._cache is not None and len(found) < len(keys):
            cached = self._cache.known(key for key in keys if key not in found)
            self.from_cache += len(cached)
            found |= cached
        new = [place for place, key in enumerate(keys) if key not in found]
        for start in range(0, len(new), _AT_ONCE):
            some = new[start : start + _AT_ONCE]
            sessions = [flat[ends[place - 1] if place else 0 : ends[place]] for place in some]
            told = None if progress is None else _further(progress, start, total=len(new))
            scored = self._score(sessions, messages, progress=told)
            fresh = dict(zip((keys[place] for place in some), scored.tolist(), strict=True))
            found |= fresh
            if self._cache is not None:
                self._cache.keep(fresh)
        self._remembered |= found
        for key in list(islice(self._remembered, max(0, len(self._remembered) - _REMEMBERED))):
            del self._remembered[key]
        return np.array([found[key] for key in keys], dtype=np.float64)

    def _keys(self, flat: Rows, ends: Rows, *, messages: pl.Series) -> list[bytes]:
        """A digest of each session's messages, by their texts: rows are others in another call."""
        new = messages[len(self._digests) :]
        if len(new):
            digests = b"".join(blake2b(message.encode(), digest_size=_DIGEST).digest() for message in new)
            self._digests = np.concatenate([self._digests, np.frombuffer(digests, dtype=np.uint8).reshape(-1, _DIGEST)])
        texts = memoryview(self._digests[flat].tobytes())
        bounds = [0, *(ends * _DIGEST).tolist()]
        return [blake2b(texts[start:end], digest_size=_DIGEST).digest() for start, end in pairwise(bounds)]


def _further(progress: Progress, done: int, *, total: int) -> Progress:
    """The same progress, of which so much was told before."""
    return lambda more, _: progress(done + more, total)
